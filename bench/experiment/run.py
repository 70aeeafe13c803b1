"""One run of an experiment: from its file to a report."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from pathlib import Path

from bench.build import build
from bench.data import partition
from bench.errors import ConfigError
from bench.experiment import summary
from bench.experiment.cohort import Seat
from bench.experiment.config import Variant
from bench.experiment.rounds import central, federate
from bench.experiment.setting import Setting, prepare
from bench.federation.journal import Journal
from bench.progress import Reporter
from bench.rack.board import Board
from bench.rack.client import BoardClient, OnBoard, Streamed
from bench.rack.probe_identity import identities
from bench.rack.rack import STATE_DIR, Rack, at_once
from bench.report import write_report
from bench.results.folders import folder_name, unfinished_runs
from bench.results.store import point_latest, write_run
from bench.results.table import Measurement


def run(
    name: str,
    *,
    rack: Path | None = None,
    source: str | None = None,
    scheme: str | None = None,
    reports: Path = Path("reports"),
    state_dir: Path = STATE_DIR,
    resume: bool = False,
    command: str = "",
    reporter: Reporter,
) -> Path:
    """Runs an experiment on a rack and writes results and report.

    Args:
        name: an experiment file, or the name of one that ships.
        rack: the inventory; by default the experiment's, else the virtual rack.
        source: a model in place of the experiment's.
        scheme: an update scheme in place of those of its variants.
        reports: where runs are kept.
        state_dir: where virtual boards keep their flash, and boards their logs.
        resume: go on with the newest run of this experiment that was not finished.
        command: the command line, for the report.
        reporter: is told what happens.

    Returns:
        The run's folder.

    Raises:
        BenchError: see the class that is raised for who has to act.
    """
    setting = prepare(name, rack, source=source, scheme=scheme, say=reporter.say)
    started = datetime.now(UTC)
    folder = _run_folder(reports, setting, resume, started)
    rows: list[Measurement] = []
    with Rack.open(
        setting.inventory,
        [entry.name for entry in setting.entries],
        purpose=f"run {folder.name}",
        state_dir=state_dir,
        log_dir=folder / "logs",
    ) as opened:
        # Behind the boards' locks: a run that is refused its boards is none to resume, and no two write one journal.
        journal = Journal(folder / "journal", setting.digest())
        started = _started(journal, started)
        reporter.say(f"run {folder.name}: {len(opened.boards)} boards of {setting.inventory.path}")
        probes = identities(opened.boards.values())
        for board in opened.boards.values():
            board.on_recovery = lambda found: journal.record("recovery", **found.document())
        for variant in setting.experiment.model.variants:
            done = journal.last_round(variant.name)
            if done is not None and done.state and done.state["simulation"]["core"]["finished"] is not None:
                continue  # a resumed run has nothing left to do here: its boards are not flashed for it
            prepare_boards(setting, variant, opened, reporter)
            clients = clients_of(setting, variant, opened)
            boards = _boards_of(setting, opened)
            federate(setting, variant, clients, boards, journal, folder.name, reporter, opened.watched)
        rows += journal.rows()
        if setting.experiment.central:
            for variant in setting.experiment.model.variants:
                reporter.say(f"training {variant.name} centrally on the host, for comparison")
                last = journal.last_round(variant.name)
                rows += central(setting, variant, folder.name, 0 if last is None else last.round)
    document = summary.document(setting, folder.name, rows, journal, started, command, probes)
    write_run(folder, document, rows)
    write_report(folder)
    point_latest(reports, folder)
    return folder


def _started(journal: Journal, now: datetime) -> datetime:
    """When the run began, also where it is resumed."""
    if not journal.events("started"):
        journal.record("started", at=now.isoformat())
    return datetime.fromisoformat(journal.events("started")[0]["at"])


def _run_folder(reports: Path, setting: Setting, resume: bool, started: datetime) -> Path:
    runs = reports / "runs"
    if not resume:
        return runs / folder_name(setting.experiment.name, started)
    unfinished = unfinished_runs(runs, setting.experiment.name)
    if not unfinished:
        raise ConfigError(f"no unfinished run of {setting.experiment.name} in {runs}: run without --resume")
    return unfinished[-1]


def prepare_boards(setting: Setting, variant: Variant, rack: Rack, reporter: Reporter) -> dict[str, Path]:
    """Builds the images of a variant, brings them and the shards onto its boards, all at the same time, and returns the
    images by environment."""
    streamed = setting.experiment.data.placement == "stream"
    seats = setting.cohort.seats[variant.name]
    boards = [board for board in rack.boards.values() if any(seat.board == board.name for seat in seats)]
    images = build([board.entry.env for board in boards], setting.engines[variant.name].plan.name, reporter.say)
    cancelled = threading.Event()

    def bring(board: Board) -> None:
        board.flash(
            images[board.entry.env].read_bytes(),
            None if streamed else setting.records(setting.cohort.indices(board.name)),
            cancelled=cancelled,
            step=lambda text: reporter.board_step(board.name, text),
        )

    at_once(boards, bring, cancelled)
    return images


def clients_of(setting: Setting, variant: Variant, rack: Rack) -> list[BoardClient]:
    """A variant's clients, on their boards."""
    plan, codec = setting.engines[variant.name].plan, setting.codec(variant)
    update = setting.experiment.update_of(variant)
    streamed = setting.experiment.data.placement == "stream"

    def client(seat: Seat) -> BoardClient:
        shard: OnBoard | Streamed = OnBoard(seat.offset, seat.count)
        if streamed:
            records = setting.records(setting.cohort.shards[seat.client])[partition.HEADER_BYTES :]
            shard = Streamed(records, seat.count)
        checkpoint = update is None or update.checkpoint
        return BoardClient(seat.client, rack.boards[seat.board], plan, shard, codec, checkpoint=checkpoint)

    return [client(seat) for seat in setting.cohort.seats[variant.name]]


def _boards_of(setting: Setting, rack: Rack) -> dict[str, Board]:
    return {entry.name: rack.boards[entry.name] for entry in setting.entries}

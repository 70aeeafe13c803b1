"""`bench soak`: legs under faults on a rack of virtual boards, until all faults of the plan have struck."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.errors import ConfigError, DeviceError, InfrastructureError
from bench.experiment.run import clients_of, prepare_boards
from bench.experiment.setting import Setting, prepare
from bench.progress import Reporter
from bench.rack import image as images
from bench.rack.board import Board
from bench.rack.rack import Rack, at_once
from bench.results.files import write_atomically
from bench.soak.boards import Injector
from bench.soak.disk import DiskFull, mark, started
from bench.soak.leg import Scene, run_leg
from bench.soak.meter import MeterBench
from bench.soak.plan import DISK, METER, Planned, Queue, make_plan
from bench.soak.record import Injected, Leg, markdown, passed, totals

EXPERIMENT = "soak"
_TEST_IMAGES = 200  # of which each step is judged: here the rounds matter, not how good the model is
_ENDS_S = 10.0  # for processes to be gone
_WATCH_S = 0.1


@dataclass(frozen=True)
class SoakSettings:
    """What decides a soak. `minutes` ends it early."""

    kinds: tuple[str, ...]
    count: int
    seed: int
    minutes: float | None = None


def soak(
    settings: SoakSettings,
    *,
    rack: Path | None,
    state_dir: Path,
    reports: Path,
    resume: bool,
    reporter: Reporter,
) -> dict[str, Any]:
    """Runs it to its end and returns its document, which is also written, with a table, into its folder.

    What a leg has come to is kept when it ends, with the table so far; `resume` goes on with the newest soak of these
    settings that is not complete, and injects again what had struck in a leg that did not end.

    Raises:
        ConfigError: a board of the rack is real, or the settings cannot be.
        InfrastructureError: the rack cannot be used, or a leg could not go on.
    """
    mark()
    setting = prepare(EXPERIMENT, rack, say=reporter.say)
    if real := [entry.name for entry in setting.entries if entry.virtual is None]:
        raise ConfigError(
            f"{setting.inventory.path}: {', '.join(real)}: faults are injected into virtual boards alone: "
            "give a rack of these with --rack"
        )
    dataset = setting.dataset
    few = replace(dataset, test_x=dataset.test_x[:_TEST_IMAGES], test_y=dataset.test_y[:_TEST_IMAGES])
    setting = replace(setting, dataset=few)
    plan = make_plan(settings.kinds, settings.count, settings.seed, len(setting.entries))
    folder = _folder(reports, settings, resume)
    store = _Store(folder, settings)
    earlier_s = sum(leg.seconds for leg in store.legs)
    begun = time.monotonic()
    purpose = f"soak {folder.name}"
    names = [entry.name for entry in setting.entries]
    with Rack.open(setting.inventory, names, purpose=purpose, state_dir=state_dir, log_dir=folder / "logs") as opened:
        reporter.say(f"soak {folder.name}: {len(plan)} faults on {len(opened.boards)} boards, seed {settings.seed}")
        try:
            _Soak(settings, setting, opened, plan, store, reporter).run(begun)
        except BaseException:
            with suppress(OSError):
                kept = f"{len(store.legs)} legs are kept, see {store.folder / 'soak.md'}"
                reporter.say(f"{kept if store.legs else 'no leg has ended'}; `--resume` goes on")
            raise
    deadline = time.monotonic() + _ENDS_S
    while started() and time.monotonic() < deadline:
        threading.Event().wait(_WATCH_S)  # for processes that end by themselves
    document = {
        **store.document(),
        **totals(store.legs, len(started())),
        "seconds": round(earlier_s + time.monotonic() - begun, 1),
        "rack": str(setting.inventory.path),
        "boards": names,
    }
    document["complete"] = document["injected"] == len(plan)
    document["passed"] = passed(document) and (document["complete"] or settings.minutes is not None)
    store.finish(document)
    return document


class _Soak:
    def __init__(
        self,
        settings: SoakSettings,
        setting: Setting,
        rack: Rack,
        plan: Sequence[Planned],
        store: _Store,
        reporter: Reporter,
    ) -> None:
        self._settings = settings
        self._setting = setting
        self._rack = rack
        self._store = store
        self._reporter = reporter
        done = {fault.number for leg in store.legs for fault in leg.faults}
        left = [planned for planned in plan if planned.number not in done]
        self._on_boards = Queue([planned for planned in left if planned.kind not in (METER, DISK)])
        self._disks = [planned for planned in left if planned.kind == DISK]
        self._meters = [planned for planned in left if planned.kind == METER]
        self._whole = max(1, len(self._on_boards))
        self._count = len(plan)
        self._struck = len(done)
        self._lock = threading.Lock()
        (self._variant,) = setting.experiment.model.variants

    def run(self, begun: float) -> None:
        """Legs, until nothing is left of the plan or the time is up."""
        built = prepare_boards(self._setting, self._variant, self._rack, self._reporter)
        wrong = self._wrong_images(built)
        scene = Scene(
            self._setting,
            self._rack,
            clients_of(self._setting, self._variant, self._rack),
            DiskFull(),
            lambda: at_once(list(self._rack.boards.values()), _renewed),
            lambda: at_once([board for board in self._rack.boards.values() if board.quarantine is not None], _renew),
        )
        limit_s = 60 * (self._settings.minutes or float("inf"))
        with MeterBench(self._meters) as meters:
            while (legs := self._unfinished()) and time.monotonic() - begun < limit_s:
                meters.freeze(1 - len(self._on_boards) / self._whole)
                self._leg(scene, wrong, meters)
            if not legs:
                meters.finish()
            self._store.add_to_last(*meters.take())

    def _unfinished(self) -> bool:
        """Whether there is to be one leg more: one at least, which meters freeze beside."""
        return bool(len(self._on_boards) or self._disks or not self._store.legs)

    def _leg(self, scene: Scene, wrong: Mapping[str, Path], meters: MeterBench) -> None:
        number = len(self._store.legs) + 1
        folder = self._store.folder / f"leg-{number:04}"
        shutil.rmtree(folder, ignore_errors=True)

        def struck(_fault: Injected) -> None:
            meters.freeze(1 - len(self._on_boards) / self._whole)  # in step with the boards
            self._told()

        injector = Injector(list(self._rack.boards.values()), self._on_boards, wrong, struck)
        disk_fault = self._disks.pop() if self._disks else None
        leg, left = run_leg(scene, number, self._settings.seed + number, injector, disk_fault, folder)
        if left is not None:
            self._disks.append(left)
        faults, figures = meters.take()
        self._store.add(leg := _beside(leg, faults, figures))
        if leg.weights_equal and not leg.wrong_figures and not leg.lost_updates:
            shutil.rmtree(folder)
        with suppress(OSError):
            self._reporter.say(_line(leg))

    def _told(self) -> None:
        with self._lock:
            self._struck += 1
            struck = self._struck
        with suppress(OSError):  # progress on a disk that is full on purpose
            self._reporter.count("faults", min(struck, self._count), self._count)

    def _wrong_images(self, built: Mapping[str, Path]) -> dict[str, Path]:
        """By board: its image but for the program's name, so another build, as its id says."""
        found = {}
        for entry in self._setting.entries:
            path = self._store.folder / f"wrong-{entry.name}.bin"
            path.write_bytes(images.renamed(built[entry.env].read_bytes(), b"another!"))
            found[entry.name] = path
        return found


def _renew(board: Board) -> None:
    """Faults go on meanwhile, so that one flash may fail."""
    with board.exclusive:
        try:
            board.restore()
        except (InfrastructureError, DeviceError) as error:
            board.recover(reason=str(error))


def _renewed(board: Board) -> None:
    """Likewise, but a board that no rung brings back stays in quarantine, which its fault's row tells."""
    try:
        _renew(board)
    except InfrastructureError as error:
        if board.quarantine is None:
            raise
        board.log(f"the run goes on without it: {error}")


class _Store:
    """A soak's folder: settings, a file for each leg, and at last the document."""

    def __init__(self, folder: Path, settings: SoakSettings) -> None:
        self.folder = folder
        self._settings = settings
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / "settings.json", json.dumps(_settings_document(settings)).encode())
        paths = sorted(folder.glob("legs/*.json"))
        self.legs = [Leg.from_document(json.loads(path.read_text(encoding="utf-8"))) for path in paths]
        (folder / "legs").mkdir(exist_ok=True)

    def add(self, leg: Leg) -> None:
        """A leg has ended."""
        self.legs.append(leg)
        self._write(leg)

    def add_to_last(self, faults: Sequence[Injected], figures: Sequence[str]) -> None:
        """What came beside the last leg after its end."""
        if self.legs and (faults or figures):
            self.legs[-1] = leg = _beside(self.legs[-1], faults, figures)
            self._write(leg)

    def document(self) -> dict[str, Any]:
        """What it was to be."""
        return {"folder": str(self.folder), **_settings_document(self._settings)}

    def finish(self, document: Mapping[str, Any]) -> None:
        """All is over."""
        self._tell(document)
        write_atomically(self.folder / "soak.json", json.dumps(document, indent=2).encode())

    def _write(self, leg: Leg) -> None:
        """With the table so far, which is there then however the soak ends."""
        path = self.folder / "legs" / f"{leg.number:04}.json"
        write_atomically(path, json.dumps(leg.document()).encode())
        self._tell(totals(self.legs, 0))

    def _tell(self, document: Mapping[str, Any]) -> None:
        faults = [fault for leg in self.legs for fault in leg.document()["faults"]]
        lines = "".join(json.dumps(fault) + "\n" for fault in sorted(faults, key=lambda fault: fault["at"]))
        write_atomically(self.folder / "faults.jsonl", lines.encode())
        write_atomically(self.folder / "soak.md", markdown(document).encode())


def _beside(leg: Leg, faults: Sequence[Injected], figures: Sequence[str]) -> Leg:
    """With what the meters have come to."""
    return replace(leg, faults=(*leg.faults, *faults), wrong_figures=(*leg.wrong_figures, *figures))


def _settings_document(settings: SoakSettings) -> dict[str, Any]:
    return {"faults": list(settings.kinds), "count": settings.count, "seed": settings.seed}


def _folder(reports: Path, settings: SoakSettings, resume: bool) -> Path:
    base = reports / "soaks"
    if not resume:
        return base / f"soak-{datetime.now(UTC):%Y%m%d-%H%M%S}"
    wanted = _settings_document(settings)
    for folder in sorted(base.glob("soak-*"), reverse=True):
        file = folder / "settings.json"
        if file.is_file() and json.loads(file.read_text()) == wanted and not _complete(folder / "soak.json"):
            return folder
    raise ConfigError(f"no unfinished soak with these faults, count and seed in {base}: run without --resume")


def _complete(document: Path) -> bool:
    return document.is_file() and bool(json.loads(document.read_text(encoding="utf-8")).get("complete", True))


def _line(leg: Leg) -> str:
    healed = sum(fault.rung != "" for fault in leg.faults)
    text = f"leg {leg.number}: {len(leg.faults)} faults, {healed} recovered, {leg.updates} updates"
    text += f", {leg.left_out} left out" if leg.left_out else ""
    wrong = {
        "lost": leg.lost_updates,
        "counted twice": leg.duplicated_updates,
        "hangs": leg.hangs,
        "wrong figures": len(leg.wrong_figures),
    }
    text += "".join(f", {count} {what}" for what, count in wrong.items() if count)
    text += f", weights {'equal' if leg.weights_equal else 'DIFFERENT'}, {leg.seconds:.0f} s"
    return f"{text} ({leg.faults_s:.0f} + {leg.settling_s:.0f} + {leg.repetition_s:.0f} without faults)"

"""A federated client on an emulated board: the same weights as the host's engine, exact figures, and a way back."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from bench.build import build
from bench.data import partition
from bench.errors import BenchError, DeviceError
from bench.federation.client import Trained, TrainJob
from bench.fleet.engine import Engine
from bench.link.messages import MessageType
from bench.link.session import Cancelled
from bench.model.plan import load_initial
from bench.pytest_plugin.boards import RackBoard
from bench.rack import flash as pyocd
from bench.rack.board import Board
from bench.rack.client import BoardClient, OnBoard, Streamed
from bench.results.table import Recorder, compare_counted

pytestmark = pytest.mark.board(env="microbit")
OFFSET, COUNT, STEPS = 5, 30, 70  # the client's records lie behind another one's, and are gone through more than twice


@pytest.fixture(scope="module")
def data() -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(3)
    return generator.integers(-64, 64, (OFFSET + COUNT, 196)).astype(np.int8), generator.integers(
        0, 10, OFFSET + COUNT
    ).astype(np.uint8)


@pytest.fixture(scope="module")
def engine(int8_program: str) -> Engine:
    return Engine(int8_program)


@pytest.fixture(scope="module")
def flashed(board: RackBoard, data: tuple[np.ndarray, np.ndarray], int8_program: str) -> Board:
    """With the program and the client's data."""
    board.flash_image(build([board.env], int8_program)[board.env].read_bytes(), partition.build(*data, 10))
    return board.opened


@pytest.fixture
def client(flashed: Board, engine: Engine) -> BoardClient:
    return BoardClient("client-2", flashed, engine.plan, OnBoard(OFFSET, COUNT))


@pytest.fixture
def job(engine: Engine) -> TrainJob:
    down = engine.plan.encode_down(load_initial(engine.plan.name))
    return TrainJob(round=4, variant="int8", down=down, first=17, count=STEPS, learning_rate=0.02, seed=0xFFFF_FFF0)


def fit(client: BoardClient, job: TrainJob) -> Trained:
    return client.fit(job, lambda _done, _total: None, threading.Event())


def figures(update: Trained) -> dict[tuple[str, str], float]:
    return {(row.metric, row.phase): row.value for row in update.figures}


@pytest.fixture(scope="module")
def expected(engine: Engine, data: tuple[np.ndarray, np.ndarray]) -> bytes:
    samples, labels = data[0][OFFSET:], data[1][OFFSET:]
    down = engine.plan.encode_down(load_initial(engine.plan.name))
    params, _ = engine.train(
        engine.begin(down), samples, labels, learning_rate=0.02, seed=0xFFFF_FFF0, first=17, count=STEPS
    )
    return params[: engine.plan.up_bytes]  # state between steps never leaves the board


def test_the_board_trains_what_the_hosts_engine_trains(client: BoardClient, job: TrainJob, expected: bytes) -> None:
    seen: list[tuple[int, int]] = []
    update = client.fit(job, lambda done, total: seen.append((done, total)), threading.Event())
    assert update.update == expected
    assert (update.client, update.round, update.samples) == ("client-2", 4, STEPS)
    assert seen[-1] == (STEPS, STEPS)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert client.capacity == COUNT


def test_streamed_samples_train_the_same(
    flashed: Board, engine: Engine, job: TrainJob, data: tuple[np.ndarray, np.ndarray], expected: bytes
) -> None:
    records = partition.build(data[0][OFFSET:], data[1][OFFSET:], 10)[partition.HEADER_BYTES :]
    client = BoardClient("client-2", flashed, engine.plan, Streamed(records, COUNT))
    update = fit(client, job)
    assert update.update == expected
    rows = figures(update)
    assert rows["payload_down", "train"] > STEPS * 197  # each step's sample crosses the line


def test_the_figures_of_a_round(client: BoardClient, flashed: Board, job: TrainJob, engine: Engine) -> None:
    board_manifest = flashed.manifest
    update = fit(client, job)
    rows = {(row.metric, row.phase): row for row in update.figures}
    assert {row.kind for row in update.figures} == {"counted"}
    assert client.host == "bit"
    assert client.at_least_s(job) < update.seconds
    energy, manifest = board_manifest.energy, board_manifest
    wire = sum(rows[f"wire_{way}", phase].value for way in ("up", "down") for phase in ("download", "train", "upload"))
    compute_s = rows["instructions", "train"].value * energy.cycles_per_instruction / manifest.core_hz
    assert update.seconds == pytest.approx(compute_s + wire * 10 / manifest.baud)
    plan = engine.plan
    assert 0 <= rows["sram_arena", ""].value - plan.arena_bytes < 8
    assert rows["sram_static", ""].value > plan.params_bytes
    for phase in ("link", "train"):
        high_water = rows["sram_stack_high_water", phase].value
        assert 0 < high_water < 16 * 1024
        total = rows["sram_static", ""].value + rows["sram_arena", ""].value + high_water
        assert rows["sram_total", phase].value == total
        assert total + rows["sram_federation", ""].value <= 16 * 1024
    macs = (plan.macs_forward + plan.macs_backward) * STEPS
    assert macs < rows["instructions", "train"].value < 60 * macs
    writes = -(-plan.down_bytes // 1020)
    assert rows["payload_down", "download"].value == plan.down_bytes + 4 * writes + 8, "WRITE's offsets, and BEGIN"
    assert rows["payload_up", "upload"].value == plan.up_bytes
    for phase, way in (("download", "down"), ("upload", "up")):
        payload, wire = rows[f"payload_{way}", phase].value, rows[f"wire_{way}", phase].value
        assert payload < wire <= 1.03 * payload
    assert rows["samples", ""].value == STEPS


def test_two_runs_give_the_same_figures(client: BoardClient, job: TrainJob) -> None:
    one, other = fit(client, job), fit(client, job)
    assert one.update == other.update
    recorder = Recorder("a-run", "int8")
    rows = [[recorder.row(f.metric, f.value, f.kind, f.phase) for f in trained.figures] for trained in (one, other)]
    assert compare_counted(*rows) == []


def test_a_board_that_resets_in_mid_round_starts_the_round_again(
    client: BoardClient, flashed: Board, job: TrainJob, expected: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    undisturbed = figures(fit(client, job))
    session = flashed.device().session
    request, resets = session.request, []

    def disturbed(kind: MessageType, *arguments: bytes, **options: object) -> bytes:
        if kind == MessageType.TRAIN and len(resets) < 1:
            resets.append(kind)
            pyocd.reset(flashed._target(), log=lambda _line: None)
        return request(kind, *arguments, **options)

    monkeypatch.setattr(session, "request", disturbed)
    update = fit(client, job)
    assert resets
    assert update.update == expected
    assert figures(update)["instructions", "train"] == undisturbed["instructions", "train"]
    assert "recovered by resync" in flashed.log.path.read_text()


def test_a_board_that_keeps_resetting_fails_the_round(
    client: BoardClient, flashed: Board, job: TrainJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = flashed.device().session
    request = session.request

    def disturbed(kind: MessageType, *arguments: bytes, **options: object) -> bytes:
        if kind == MessageType.TRAIN:
            pyocd.reset(flashed._target(), log=lambda _line: None)
        return request(kind, *arguments, **options)

    monkeypatch.setattr(session, "request", disturbed)
    with pytest.raises(DeviceError, match="reset before it answered TRAIN"):
        fit(client, job)
    monkeypatch.undo()
    client.recover()
    assert fit(client, job).samples == STEPS


def test_a_partition_that_goes_bad_is_flashed_again(
    client: BoardClient, flashed: Board, job: TrainJob, expected: bytes
) -> None:
    pyocd.flash(
        flashed._target(),
        {flashed.manifest.flash.data_base + 4096: bytes(64)},
        flashed._scratch,
        timeout_s=60,
        log=lambda _line: None,
    )
    assert fit(client, job).update == expected
    assert "recovered by flash" in flashed.log.path.read_text()


def test_cancelling_is_prompt_and_the_board_comes_back(client: BoardClient, job: TrainJob, expected: bytes) -> None:
    cancelled = threading.Event()
    with pytest.raises(Cancelled):
        client.fit(job, lambda _done, _total: cancelled.set(), cancelled)
    client.recover()
    assert fit(client, job).update == expected


def test_clients_of_one_board_take_turns(flashed: Board, engine: Engine, job: TrainJob) -> None:
    clients = [BoardClient(f"client-{i}", flashed, engine.plan, OnBoard(OFFSET, COUNT)) for i in (1, 2)]
    results: dict[str, Trained | BenchError] = {}

    def work(client: BoardClient) -> None:
        try:
            results[client.name] = fit(client, job)
        except BenchError as error:
            results[client.name] = error

    threads = [threading.Thread(target=work, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    one, other = results["client-1"], results["client-2"]
    assert isinstance(one, Trained)
    assert isinstance(other, Trained)
    assert one.update == other.update


def test_a_board_with_another_program_is_refused(flashed: Board, job: TrainJob, float32_program: str) -> None:
    client = BoardClient("client-1", flashed, Engine(float32_program).plan, OnBoard(0, COUNT))
    with pytest.raises(DeviceError, match=r"board bit cannot be used: its plan is .* flash the program"):
        fit(client, job)


def test_the_log_has_what_the_board_said(flashed: Board) -> None:
    assert "board: ftte microbit: reset by" in Path(flashed.log.path).read_text()

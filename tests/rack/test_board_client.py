"""A federated client on a board: the same weights as the host's engine, exact figures, and a way back."""

from __future__ import annotations

import threading
from collections.abc import Mapping
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
from bench.rack.board import Board
from bench.rack.client import BoardClient, OnBoard, Streamed
from bench.rack.manifest import BoardManifest
from bench.results.table import Recorder, compare_counted

pytestmark = pytest.mark.board(one=True)
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
def image(board: RackBoard, int8_program: str) -> bytes:
    return build([board.env], int8_program)[board.env].read_bytes()


@pytest.fixture
def flashed(board: RackBoard, data: tuple[np.ndarray, np.ndarray], image: bytes) -> Board:
    """With the program and the client's data."""
    board.flash_image(image, partition.build(*data, 10))
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


def work_of(rows: Mapping[tuple[str, str], float], manifest: BoardManifest) -> tuple[float, float]:
    """What the training took, and in how many seconds: instructions that an emulator counted, or a core's cycles."""
    if ("instructions", "train") in rows:
        instructions = rows["instructions", "train"]
        return instructions, instructions * manifest.energy.cycles_per_instruction / manifest.core_hz
    return rows["cycles", "train"], rows["cycles", "train"] / manifest.core_hz


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
    manifest = flashed.manifest
    before = client.at_least_s(job)
    update = fit(client, job)
    rows = figures(update)
    assert {row.kind for row in update.figures if row.metric != "cycles"} == {"counted"}
    assert client.host == flashed.name
    wire = sum(rows[f"wire_{way}", phase] for way in ("up", "down") for phase in ("download", "train", "upload"))
    work, compute_s = work_of(rows, manifest)
    assert update.seconds == pytest.approx(compute_s + wire * 10 / manifest.baud)
    assert before < 0.9 * compute_s < client.at_least_s(job) < update.seconds, "a job's time bounds the next one's"
    plan = engine.plan
    assert 0 <= rows["sram_arena", ""] - plan.arena_bytes < 8
    assert rows["sram_static", ""] > plan.params_bytes
    for phase in ("link", "train"):
        high_water = rows["sram_stack_high_water", phase]
        assert 0 < high_water < manifest.ram.size
        total = rows["sram_static", ""] + rows["sram_arena", ""] + high_water
        assert rows["sram_total", phase] == total
        assert total + rows["sram_federation", ""] <= manifest.ram.size
    macs = (plan.macs_forward + plan.macs_backward) * STEPS
    assert macs < work < 60 * macs
    writes = -(-plan.down_bytes // 1020)
    assert rows["payload_down", "download"] == plan.down_bytes + 4 * writes + 8, "WRITE's offsets, and BEGIN"
    assert rows["payload_up", "upload"] == plan.up_bytes
    for phase, way in (("download", "down"), ("upload", "up")):
        payload, wire = rows[f"payload_{way}", phase], rows[f"wire_{way}", phase]
        assert payload < wire <= 1.03 * payload
    assert rows["samples", ""] == STEPS


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
            flashed.pull_reset()
        return request(kind, *arguments, **options)

    monkeypatch.setattr(session, "request", disturbed)
    update = fit(client, job)
    assert resets
    assert update.update == expected
    if ("instructions", "train") in undisturbed:  # a real core's cycles are nearly, but not exactly the same
        assert figures(update)["instructions", "train"] == undisturbed["instructions", "train"]
    assert "recovered by resync" in flashed.log.path.read_text()


def test_a_board_that_keeps_resetting_fails_the_round(
    client: BoardClient, flashed: Board, job: TrainJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = flashed.device().session
    request = session.request

    def disturbed(kind: MessageType, *arguments: bytes, **options: object) -> bytes:
        if kind == MessageType.TRAIN:
            flashed.pull_reset()
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
    flashed.overwrite(flashed.manifest.flash.data_base + 4096, bytes(64))
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
    with pytest.raises(DeviceError, match=rf"board {flashed.name} cannot be used: its plan is .* flash the program"):
        fit(client, job)


def test_the_log_has_what_the_board_said(flashed: Board) -> None:
    assert f"board: ftte {flashed.entry.env}: reset by" in Path(flashed.log.path).read_text()

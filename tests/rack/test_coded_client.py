"""A client whose updates travel coded, on a board: what it begins from is the job's to say."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from bench.build import build
from bench.compiler.recipe import Recipe, make
from bench.data import partition
from bench.federation.client import ClientState, Trained, TrainJob
from bench.federation.update_codec import CodecSettings, UpdateCodec
from bench.fleet.engine import Engine
from bench.link.messages import MessageType
from bench.link.session import Cancelled
from bench.pytest_plugin.boards import RackBoard
from bench.rack.board import Board
from bench.rack.client import BoardClient, OnBoard

pytestmark = pytest.mark.board(one=True)
SCHEME = "list:conv1.bias,fc2.weight[:2],fc2.bias"
COUNT, STEPS, RATE = 30, 20, 0.02
SETTINGS = CodecSettings(bits=4)


@pytest.fixture(scope="module")
def data() -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(3)
    x = generator.integers(-64, 64, (COUNT, 196)).astype(np.int8)
    return x, generator.integers(0, 10, COUNT).astype(np.uint8)


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine(make(Recipe("demo-cnn", SCHEME, federated=True, name="test_coded_client")).plan.name)


@pytest.fixture(scope="module")
def image(board: RackBoard, engine: Engine) -> bytes:
    return build([board.env], engine.plan.name)[board.env].read_bytes()


@pytest.fixture
def flashed(board: RackBoard, data: tuple[np.ndarray, np.ndarray], image: bytes) -> Board:
    """With the program and the client's data."""
    board.flash_image(image, partition.build(*data, 10))
    return board.opened


class Twin:
    """The same client on the host: what each job's update has to be, bit by bit, and the model that follows."""

    def __init__(self, engine: Engine, data: tuple[np.ndarray, np.ndarray]) -> None:
        self.engine, self.data = engine, data
        self.codec = UpdateCodec(engine.plan, SETTINGS)
        self.down = engine.initial()
        self.feedback: np.ndarray | None = None

    def job(self, round_: int, state: ClientState | None) -> TrainJob:
        return TrainJob(round_, "int8", self.down, round_ * STEPS % COUNT, STEPS, RATE, 100 * round_, state)

    def train(self, round_: int) -> bytes:
        params, _ = self.engine.train(
            self.engine.begin(self.down),
            *self.data,
            learning_rate=RATE,
            seed=100 * round_,
            first=round_ * STEPS % COUNT,
            count=STEPS,
        )
        return params[: self.engine.plan.up_bytes]

    def update(self, round_: int) -> bytes:
        encoded = self.codec.encode(self.train(round_), self.down, self.feedback)
        self.feedback = encoded.residual
        return encoded.blob

    def step(self, update: bytes) -> None:
        moved = self.codec.to_real(self.codec.decode(update))
        values = self.engine.plan.decode(self.down)
        self.down = self.engine.plan.encode_down({name: value + moved[name] for name, value in values.items()})


@pytest.fixture
def twin(engine: Engine, data: tuple[np.ndarray, np.ndarray]) -> Twin:
    return Twin(engine, data)


def fit(client: BoardClient, job: TrainJob) -> Trained:
    return client.fit(job, lambda _done, _total: None, threading.Event())


def client_on(board: Board, engine: Engine, name: str = "client-1", *, checkpoint: bool = True) -> BoardClient:
    codec = UpdateCodec(engine.plan, SETTINGS)
    return BoardClient(name, board, engine.plan, OnBoard(0, COUNT), codec, checkpoint=checkpoint)


def figure(trained: Trained, metric: str, phase: str = "") -> float:
    [value] = [one.value for one in trained.figures if (one.metric, one.phase) == (metric, phase)]
    return value


def test_updates_are_the_host_codecs_and_only_differences_go_down(flashed: Board, engine: Engine, twin: Twin) -> None:
    client, state = client_on(flashed, engine), ClientState()
    downloads = []
    for round_ in (1, 2, 3):
        trained = fit(client, twin.job(round_, state))
        assert trained.update == twin.update(round_)
        assert trained.state is not None
        assert trained.state.feedback is not None
        assert trained.state.base == twin.down
        twin.step(trained.update)
        state = trained.state
        downloads.append(figure(trained, "payload_down", "download"))
        assert len(trained.update) <= figure(trained, "payload_up", "upload") <= len(trained.update) + 16
        assert figure(trained, "checkpoint") == engine.plan.error_bytes
    assert max(downloads[1:]) < downloads[0]


def test_what_is_decoded_is_what_was_trained_within_half_a_level(flashed: Board, engine: Engine, twin: Twin) -> None:
    trained = fit(client_on(flashed, engine), twin.job(1, ClientState()))
    moved = twin.codec.grid(twin.train(1), twin.down)
    decoded = twin.codec.decode(trained.update)
    assert np.any(moved)
    at = 0
    for tensor in engine.plan.trained:
        for start in range(at, at + tensor.size, 64):
            block = slice(start, min(start + 64, at + tensor.size))
            level = 1.15 * np.abs(moved[block]).max() / 7 + 1  # scales have four bits of mantissa; 7 levels each way
            assert np.abs(decoded[block] - moved[block]).max() <= level / 2 + 1
        at += tensor.size


def test_a_reset_in_mid_job_loses_no_error_feedback(
    flashed: Board, engine: Engine, twin: Twin, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = client_on(flashed, engine)
    first = fit(client, twin.job(1, ClientState()))
    twin.step(twin.update(1))
    session = flashed.device().session
    request, resets = session.request, []

    def disturbed(kind: MessageType, *arguments: bytes, **options: object) -> bytes:
        if kind == MessageType.TRAIN and not resets:
            resets.append(kind)
            flashed.pull_reset()
        return request(kind, *arguments, **options)

    monkeypatch.setattr(session, "request", disturbed)
    second = fit(client, twin.job(2, first.state))
    assert resets
    assert second.update == twin.update(2)
    assert figure(second, "feedback_lost") == 0
    assert "its base and error feedback are brought back" in flashed.log.path.read_text()


def test_a_cancelled_job_leaves_nothing(flashed: Board, engine: Engine, twin: Twin) -> None:
    client = client_on(flashed, engine)
    first = fit(client, twin.job(1, ClientState()))
    twin.step(twin.update(1))
    cancelled = threading.Event()
    with pytest.raises(Cancelled):
        client.fit(twin.job(9, first.state), lambda _done, _total: cancelled.set(), cancelled)
    assert fit(client, twin.job(2, first.state)).update == twin.update(2)


def test_clients_that_share_a_board_each_have_their_own_error_feedback(
    flashed: Board, engine: Engine, twin: Twin
) -> None:
    one, other = client_on(flashed, engine, "client-1"), client_on(flashed, engine, "client-2")
    first = fit(one, twin.job(1, ClientState()))
    fit(other, twin.job(5, ClientState()))
    twin.step(twin.update(1))
    assert fit(one, twin.job(2, first.state)).update == twin.update(2)


def test_without_a_checkpoint_a_reset_costs_the_error_feedback_and_is_recorded(
    flashed: Board, engine: Engine, twin: Twin
) -> None:
    client = client_on(flashed, engine, checkpoint=False)
    first = fit(client, twin.job(1, ClientState()))
    twin.step(twin.update(1))
    assert figure(first, "checkpoint") == 0
    second = fit(client, twin.job(2, first.state))
    assert second.update == twin.update(2), "it is in the board's RAM still"
    twin.step(second.update)
    flashed.reset()
    twin.feedback = None
    third = fit(client, twin.job(3, second.state))
    assert third.update == twin.update(3)
    assert figure(third, "feedback_lost") == 1
    assert figure(third, "payload_down", "download") > figure(second, "payload_down", "download")

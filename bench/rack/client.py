"""A federated client on a board: its shard lies in the board's flash, its training happens there."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from itertools import pairwise

from bench.errors import DeviceError
from bench.federation.client import Progress, TrainJob, Update
from bench.link.counters import CounterCheck, Counters
from bench.link.device import Device
from bench.link.messages import Stats, TrainResult
from bench.link.session import BoardReset, BoardSilent, Refused
from bench.model.plan import Plan
from bench.rack.board import Board
from bench.results.table import Measurement, Recorder

_SLICE = 100  # steps a TRAIN request: a lost one is noticed early; fixed, so that bytes repeat exactly
_CYCLES_PER_MAC = 60  # an upper bound for time-outs: twice what the slowest core needs
_MARGIN_S = 10.0


@dataclass(frozen=True)
class _Work:
    """What one round's training on the board came to."""

    result: TrainResult
    instructions: int | None
    link: Stats
    train: Stats
    params: bytes
    counters: dict[str, Counters]
    wire_difference: int  # bytes that host and board count differently


@dataclass(frozen=True)
class OnBoard:
    """A shard that lies in the board's flash: records [offset, offset + count) of its data partition."""

    offset: int
    count: int

    def train(self, device: Device, first: int, count: int, job: TrainJob, done: int, timeout_s: float) -> TrainResult:
        """Steps `done` and following, on samples [first, first + count) of the shard."""
        return device.train(self.offset + first, count, job.learning_rate, job.seed + done, timeout_s)


@dataclass(frozen=True)
class Streamed:
    """A shard that the host holds and sends as it is trained on: `count` records, a label and the features each."""

    records: bytes
    count: int

    def train(self, device: Device, first: int, count: int, job: TrainJob, done: int, timeout_s: float) -> TrainResult:
        """Steps `done` and following, on samples [first, first + count) of the shard."""
        size = len(self.records) // self.count
        part = self.records[first * size : (first + count) * size]
        return device.stream(part, job.learning_rate, job.seed + done, timeout_s)


class BoardClient:
    """Carries out `bench.federation.client.Client`. Several may share a board; they take turns."""

    def __init__(self, name: str, board: Board, plan: Plan, run: str, shard: OnBoard | Streamed) -> None:
        """`shard` is the client's data, on the board or on its way there."""
        self._name = name
        self._board = board
        self._plan = plan
        self._run = run
        self._shard = shard

    @property
    def name(self) -> str:
        """Unique in the cohort."""
        return self._name

    @property
    def capacity(self) -> int:
        """Samples in the shard."""
        return self._shard.count

    def fit(self, job: TrainJob, progress: Progress, cancelled: threading.Event) -> Update:
        """Trains on the board; when it resets, falls silent or refuses in between, once more after its recovery.

        Raises BenchError: it fails twice, does not come back, or `cancelled` was set.
        """
        while not self._board.exclusive.acquire(timeout=0.1):
            if cancelled.is_set():
                raise DeviceError(f"{self._name}: board {self._board.name} was busy with another client to the end")
        try:
            try:
                work = self._work(job, progress, cancelled)
            except (BoardReset, BoardSilent, Refused) as error:
                if cancelled.is_set():
                    raise
                self._board.log(f"{self._name}: {error}; trying once more")
                self._board.recover(cancelled)
                work = self._work(job, progress, cancelled)
        finally:
            self._board.exclusive.release()
        return self._update(job, work)

    def recover(self) -> None:
        """Brings the board back. Raises InfrastructureError."""
        with self._board.exclusive:
            self._board.recover()

    def close(self) -> None:
        """The board is the rack's: nothing to let go of."""

    def _work(self, job: TrainJob, progress: Progress, cancelled: threading.Event) -> _Work:
        device = self._device(cancelled)
        with device.cancellable(cancelled):
            marks = [device.session.totals]
            # Repainted, so that no round sees the stack of what was before it: boot, HELLO, DATA.
            begun = device.check_counters(repaint=True)
            marks.append(device.session.totals)
            device.send_round(job.round, job.down)
            marks.append(device.session.totals)
            link = device.stats(repaint=True)
            executed = self._board.instructions("train")
            result = self._train(device, job, progress)
            train = device.stats(repaint=True)
            after = self._board.instructions("train")
            marks.append(device.session.totals)
            params = device.read_params(length=self._plan.up_bytes)
            marks.append(device.session.totals)
            difference = _difference(device.name, begun, device.check_counters())
            instructions = None if executed is None or after is None else after - executed
            marks.append(device.session.totals)
            spent = [later - earlier for earlier, later in pairwise(marks)]
            counters = {"download": spent[1], "train": spent[0] + spent[2] + spent[4], "upload": spent[3]}
            return _Work(result, instructions, link, train, params, counters, difference)

    def _device(self, cancelled: threading.Event) -> Device:
        device = self._board.device()
        if not device.session.is_open:
            self._board.connect(cancelled=cancelled)
        hello = device.info
        problems = hello.problems(
            env=self._board.entry.env, plan_id=self._plan.plan_id, params_bytes=self._plan.params_bytes
        )
        if problems:
            raise DeviceError(f"board {self._board.name} cannot be used: " + "; ".join(problems))
        return device

    def _train(self, device: Device, job: TrainJob, progress: Progress) -> TrainResult:
        """In slices that end at the end of the shard, behind which another client's may lie."""
        macs = self._plan.macs_forward + self._plan.macs_backward
        step_s = macs * _CYCLES_PER_MAC / device.info.core_hz
        done, position = 0, job.first % self._shard.count
        result = TrainResult(0, 0, 0, 0, 0)
        while done < job.count:
            size = min(_SLICE, job.count - done, self._shard.count - position)
            part = self._shard.train(device, position, size, job, done, _MARGIN_S + size * step_s)
            if part.samples != size:
                raise DeviceError(f"{device.name}: asked to train {size} samples, trained {part.samples}")
            result += part
            done += size
            position = (position + size) % self._shard.count
            progress(done, job.count)
        return result

    def _update(self, job: TrainJob, work: _Work) -> Update:
        recorder = Recorder(self._run, job.variant, self._board.name, self._name, job.round)
        return Update(
            client=self._name,
            round=job.round,
            params=work.params,
            samples=work.result.samples,
            loss=work.result.loss,
            accuracy=work.result.accuracy,
            saturated=work.result.saturated,
            measurements=tuple(_rows(recorder, work, self._board.physical)),
        )


def _difference(name: str, begun: CounterCheck, ended: CounterCheck) -> int:
    """Bytes of a round that host and board counted differently: what the line lost.

    Raises DeviceError when there are any although nothing was corrupt or sent again: then one of them counts wrongly.
    """
    spent = ended.host - begun.host
    difference = sum(abs(after - before) for before, after in zip(begun.ahead, ended.ahead, strict=True))
    if difference and not (spent.corrupt or spent.retransmitted_down or spent.retransmitted_up):
        raise DeviceError(f"{name}: host and board count differently: {'; '.join(ended.differences)}")
    return difference


def _rows(recorder: Recorder, work: _Work, physical: bool) -> list[Measurement]:
    static, arena = work.train.sram_static, work.train.sram_arena
    rows = [
        recorder.row("sram_static", static, "counted"),
        recorder.row("sram_arena", arena, "counted"),
        recorder.row("sram_federation", work.train.sram_federation, "counted"),
    ]
    for phase, stats in (("link", work.link), ("train", work.train)):
        rows.append(recorder.row("sram_stack_high_water", stats.stack_high_water, "counted", phase))
        rows.append(recorder.row("sram_total", static + arena + stats.stack_high_water, "counted", phase))
    if work.instructions is not None:
        rows.append(recorder.row("instructions", work.instructions, "counted", "train"))
    elif physical:
        rows.append(recorder.row("cycles", work.result.cycles, "measured", "train"))
    for phase, counted in work.counters.items():
        traffic = {
            "payload_up": counted.payload_up,
            "payload_down": counted.payload_down,
            "wire_up": counted.wire_up - counted.retransmitted_up,
            "wire_down": counted.wire_down - counted.retransmitted_down,
            "retransmitted_up": counted.retransmitted_up,
            "retransmitted_down": counted.retransmitted_down,
        }
        rows += [recorder.row(metric, value, "counted", phase) for metric, value in traffic.items()]
    figures = {
        "wire_difference": work.wire_difference,
        "samples": work.result.samples,
        "saturated": work.result.saturated,
        "local_loss": work.result.loss,
        "local_accuracy": work.result.accuracy,
    }
    rows += [recorder.row(metric, value, "counted") for metric, value in figures.items()]
    return rows

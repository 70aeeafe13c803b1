"""A federated client on a board: its shard lies in the board's flash, its training happens there."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from itertools import pairwise

from bench.errors import DeviceError, InfrastructureError
from bench.federation.client import ClientState, Figure, Progress, Trained, TrainJob
from bench.federation.update_codec import UpdateCodec
from bench.link.counters import CounterCheck, Counters
from bench.link.device import Device
from bench.link.messages import Stats, TrainResult
from bench.meters.modelled import BoardRound
from bench.model.plan import Plan
from bench.rack.board import Board

_SLICE = 100  # steps a TRAIN request: a lost one is noticed early; fixed, so that bytes repeat exactly
_CYCLES_PER_MAC = 60  # an upper bound for time-outs: twice what the slowest core needs
_MARGIN_S = 2.0  # so that a lost request is sent again soon
_INSTRUCTIONS_PER_MAC = 0.25  # a lower bound: a core with SIMD makes two products an instruction
_OF_SEEN = 5.0  # times the fastest seen, and no step is slower; should one be, its request is but sent again too soon
_OF_LAST = 0.9  # of what a sample took the last time, the next will take: steps do not depend on data, nearly


@dataclass(frozen=True)
class _Work:
    """What one round's training on the board came to."""

    result: TrainResult
    instructions: int | None
    link: Stats
    train: Stats
    update: bytes
    state: ClientState | None
    clipped: int | None  # where updates travel coded
    feedback_lost: bool
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
    """Carries out `bench.federation.client.Client`. Several may share a board; they take turns.

    Where updates travel coded, the board keeps the client's state in its RAM. What a job begins from is the job's
    `state`: if the RAM holds something else (it is another client's turn, the board has reset, a job was cancelled),
    the base is sent whole again, and the error feedback as it was read back after the last job. Both are the bench's
    own traffic, and in no row but `checkpoint`.
    """

    def __init__(
        self,
        name: str,
        board: Board,
        plan: Plan,
        shard: OnBoard | Streamed,
        codec: UpdateCodec | None = None,
        *,
        checkpoint: bool = True,
    ) -> None:
        """`shard` is the client's data, on the board or on its way there.

        Args:
            name: unique in the cohort.
            board: that it trains on.
            plan: of the program that the board runs.
            shard: its data.
            codec: of updates; None for parameters that travel whole.
            checkpoint: whether error feedback is read back after each job, so that it outlives a reset and the run.
        """
        self._name = name
        self._board = board
        self._plan = plan
        self._shard = shard
        self._codec = codec
        self._checkpoint = checkpoint
        self._sample_s = 0.0  # modelled, of the last job
        self._step_s: float | None = None  # wall time, of the fastest slice so far

    @property
    def name(self) -> str:
        """Unique in the cohort."""
        return self._name

    @property
    def host(self) -> str:
        """The board."""
        return self._board.name

    @property
    def capacity(self) -> int:
        """Samples in the shard."""
        return self._shard.count

    def at_least_s(self, job: TrainJob) -> float:
        """By what the last job took, before a first one by the forward pass's products; and what travels at least."""
        manifest = self._board.manifest
        per_mac = _INSTRUCTIONS_PER_MAC * min(1.0, manifest.energy.cycles_per_instruction)
        sample_s = max(_OF_LAST * self._sample_s, per_mac * self._plan.macs_forward / manifest.core_hz)
        travels = 0 if self._codec is not None else self._plan.down_bytes + self._plan.up_bytes
        return sample_s * job.count + travels * 10 / manifest.baud

    def fit(self, job: TrainJob, progress: Progress, cancelled: threading.Event) -> Trained:
        """Trains on the board; when that fails, whatever the board or its line did, once more after its recovery.

        Raises BenchError: it fails twice, does not come back, or `cancelled` was set.
        """
        while not self._board.exclusive.acquire(timeout=0.1):
            if cancelled.is_set():
                raise DeviceError(f"{self._name}: board {self._board.name} was busy with another client to the end")
        try:
            try:
                work = self._work(job, progress, cancelled)
            except (InfrastructureError, DeviceError) as error:
                if cancelled.is_set():
                    raise
                self._board.log(f"{self._name}: {error}; trying once more")
                self._board.recover(cancelled, reason=str(error))
                work = self._work(job, progress, cancelled)
        finally:
            self._board.exclusive.release()
        return self._trained(job, work)

    def recover(self) -> None:
        """Brings the board back. Raises InfrastructureError."""
        with self._board.exclusive:
            self._board.recover(reason=f"{self._name} failed, or did not answer in time")

    def _work(self, job: TrainJob, progress: Progress, cancelled: threading.Event) -> _Work:
        device = self._device(cancelled)
        with device.cancellable(cancelled):
            held, self._board.resident = self._board.resident, None
            there = held == (self._name, job.state)
            lost = self._codec is not None and not there and self._bring_back(device, job)
            marks = [device.session.totals]
            # Repainted, so that no round sees the stack of what was before it: boot, HELLO, DATA.
            begun = device.check_counters(repaint=True)
            marks.append(device.session.totals)
            self._send(device, job, lost)
            marks.append(device.session.totals)
            link = device.stats(repaint=True)
            executed = self._board.instructions("train")
            result = self._train(device, job, progress)
            train = device.stats(repaint=True)
            after = self._board.instructions("train")
            marks.append(device.session.totals)
            update, clipped = self._fetch(device, job, lost)
            marks.append(device.session.totals)
            # What is counted ends here: a checkpoint is the bench's own.
            difference = _difference(device.name, begun, device.check_counters())
            instructions = None if executed is None or after is None else after - executed
            marks.append(device.session.totals)
            state = self._keep(device, job)
            spent = [later - earlier for earlier, later in pairwise(marks)]
            counters = {"download": spent[1], "train": spent[0] + spent[2] + spent[4], "upload": spent[3]}
            self._board.resident = (self._name, state)
            return _Work(result, instructions, link, train, update, state, clipped, lost, counters, difference)

    def _bring_back(self, device: Device, job: TrainJob) -> bool:
        """Makes the board hold what the job begins from; whether error feedback is lost for good."""
        assert self._codec is not None
        state = job.state
        if state is None or state.base is None:
            return False  # a first job
        if not self._codec.settings.error_feedback:
            device.send_round(job.round, state.base)
            return False
        if state.feedback is None:
            self._board.log(f"{self._name}: the error feedback of its updates is lost")
            return True
        self._board.log(f"{self._name}: its base and error feedback are brought back")
        device.send_round(job.round, state.base)
        device.write_feedback(state.feedback)
        return False

    def _send(self, device: Device, job: TrainJob, lost: bool) -> None:
        base = None if job.state is None else job.state.base
        if self._codec is None or base is None or lost:
            device.send_round(job.round, job.down)
        else:
            device.send_difference(job.round, self._codec.encode_down(job.down, base), job.down)

    def _fetch(self, device: Device, job: TrainJob, lost: bool) -> tuple[bytes, int | None]:
        if self._codec is None:
            return device.read_params(length=self._plan.up_bytes), None
        settings = self._codec.settings
        coded = device.encode_update(
            settings.bits,
            settings.keep,
            entropy=settings.entropy,
            error_feedback=settings.error_feedback,
            forget=lost or job.state is None or job.state.base is None,
        )
        return device.fetch_update(coded), coded.clipped

    def _keep(self, device: Device, job: TrainJob) -> ClientState | None:
        if self._codec is None:
            return None
        if not (self._checkpoint and self._codec.settings.error_feedback):
            return ClientState(job.down)
        return ClientState(job.down, device.read_feedback(self._plan.error_bytes))

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
        most_s = macs * _CYCLES_PER_MAC / device.info.core_hz
        done, position = 0, job.first % self._shard.count
        result = TrainResult(0, 0, 0, 0, 0)
        while done < job.count:
            size = min(_SLICE, job.count - done, self._shard.count - position)
            # A request that was lost, or a board that hangs, is noticed the sooner the more is known.
            step_s = most_s if self._step_s is None else min(most_s, _OF_SEEN * self._step_s)
            begun = time.monotonic()
            part = self._shard.train(device, position, size, job, done, _MARGIN_S + size * step_s)
            took_s = (time.monotonic() - begun) / size
            self._step_s = took_s if self._step_s is None else min(self._step_s, took_s)
            if part.samples != size:
                raise DeviceError(f"{device.name}: asked to train {size} samples, trained {part.samples}")
            result += part
            done += size
            position = (position + size) % self._shard.count
            progress(done, job.count)
        return result

    def _trained(self, job: TrainJob, work: _Work) -> Trained:
        wire = sum(counted.needed_up + counted.needed_down for counted in work.counters.values())
        cycles = work.result.cycles if work.instructions is None and self._board.physical else 0
        took = BoardRound(
            self._board.name, self._board.manifest, work.instructions or 0, cycles, wire, work.result.samples
        )
        self._sample_s = took.compute_s / max(1, work.result.samples)
        return Trained(
            client=self._name,
            round=job.round,
            update=work.update,
            samples=work.result.samples,
            loss=work.result.loss,
            accuracy=work.result.accuracy,
            saturated=work.result.saturated,
            seconds=took.busy_s,
            figures=tuple(_figures(work, self._board.physical)),
            state=work.state,
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


def _figures(work: _Work, physical: bool) -> list[Figure]:
    static, arena = work.train.sram_static, work.train.sram_arena
    rows = [
        Figure("sram_static", static, "counted"),
        Figure("sram_arena", arena, "counted"),
        Figure("sram_federation", work.train.sram_federation, "counted"),
    ]
    for phase, stats in (("link", work.link), ("train", work.train)):
        rows.append(Figure("sram_stack_high_water", stats.stack_high_water, "counted", phase))
        rows.append(Figure("sram_total", static + arena + stats.stack_high_water, "counted", phase))
    if work.instructions is not None:
        rows.append(Figure("instructions", work.instructions, "counted", "train"))
    elif physical:
        if work.result.samples and not work.result.cycles:
            raise DeviceError("the core's cycle counter stands still: reset the board, and leave no debugger attached")
        rows.append(Figure("cycles", work.result.cycles, "measured", "train"))
    for phase, counted in work.counters.items():
        traffic = {
            "payload_up": counted.payload_up,
            "payload_down": counted.payload_down,
            "wire_up": counted.needed_up,
            "wire_down": counted.needed_down,
            "retransmitted_up": counted.retransmitted_up + counted.void_up,
            "retransmitted_down": counted.retransmitted_down + counted.void_down,
        }
        rows += [Figure(metric, value, "counted", phase) for metric, value in traffic.items()]
    figures = {
        "wire_difference": work.wire_difference,
        "samples": work.result.samples,
        "saturated": work.result.saturated,
        "local_loss": work.result.loss,
        "local_accuracy": work.result.accuracy,
    }
    rows += [Figure(metric, value, "counted") for metric, value in figures.items()]
    if work.clipped is not None:
        rows.append(Figure("clipped", work.clipped, "counted"))
        rows.append(Figure("feedback_lost", int(work.feedback_lost), "counted"))
        kept = 0 if work.state is None or work.state.feedback is None else len(work.state.feedback)
        rows.append(Figure("checkpoint", kept, "counted"))
    return rows

"""A training program compiled for the host and driven through ctypes: the same arithmetic as on a board.

The kernels are compiled once for each state of their sources, a program once for each state of its own, and kept in the
cache folder (native.py says where) under names that hash everything that goes into them, compiler included.
Calls keep no state in the library and release Python's lock, so threads may share an Engine.
"""

import ctypes
import math
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from bench import native
from bench.errors import ConfigError
from bench.model.plan import FIRMWARE, Plan, load_initial, load_plan, program_folder

# As the boards': no contraction into fused multiply-add, so that float32 gives the same bits with and without one.
FLAGS = (
    "-std=c++17",
    "-O3",
    "-march=native",
    "-fPIC",
    "-fno-exceptions",
    "-fno-rtti",
    "-ffp-contract=off",
    "-ffunction-sections",
    "-fdata-sections",
)

Kernels = Literal["host", "general"]
"""Those made for the host where there are any (`kernels`, beside this file), or those of the boards' oracle alone."""
KERNELS: tuple[Kernels, ...] = get_args(Kernels)

_API = Path(__file__).with_name("engine_api.cpp")
_HOST_KERNELS = Path(__file__).with_name("kernels")
_ARENA_ALIGNMENT = 8


@dataclass(frozen=True)
class EvalResult:
    """Mean cross-entropy in nats, share of samples predicted right, and the prediction for each sample."""

    loss: float
    accuracy: float
    predictions: NDArray[np.uint8]


@dataclass(frozen=True)
class TrainResult:
    """What a board's TRAIN replies: all figures are of the forward passes before each update."""

    samples: int
    correct: int
    loss_q16: int
    saturated: int

    @property
    def loss(self) -> float:
        """Mean cross-entropy in nats."""
        return self.loss_q16 / 65536 / self.samples if self.samples else 0.0

    @property
    def accuracy(self) -> float:
        """Share of samples predicted right."""
        return self.correct / self.samples if self.samples else 0.0


class _Info(ctypes.Structure):
    _fields_ = tuple(
        (name, ctypes.c_uint32)
        for name in ("dtype", "classes", "params_bytes", "down_bytes", "arena_bytes", "sample_bytes")
    )


class _Totals(ctypes.Structure):
    _fields_ = (
        ("loss_q16", ctypes.c_uint64),
        ("samples", ctypes.c_uint32),
        ("correct", ctypes.c_uint32),
        ("saturated", ctypes.c_uint32),
    )


class _Job(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("given", "params", "samples", "labels", "order")),
        *((name, ctypes.c_uint32) for name in ("given_bytes", "count", "first", "steps", "seed")),
        ("totals", _Totals),
    )


@dataclass(frozen=True, eq=False)
class LocalTraining:
    """What one client does: step i has seed `seed` + i (modulo 2^32).

    Args:
        params: all parameters, or what is sent down (then begin() comes first).
        samples: int8 [N, ...].
        labels: uint8 [N].
        seed: of the stochastic rounding, unsigned 32 bits.
        first: step i trains on sample (first + i) mod N.
        count: steps; by default one for each sample.
        order: instead of `first` and `count`: the sample of each step.
    """

    params: bytes
    samples: NDArray[np.int8]
    labels: NDArray[np.uint8]
    seed: int
    first: int = 0
    count: int | None = None
    order: Sequence[int] | NDArray[np.int64] | None = None


def learning_rate_q16(rate: float) -> int:
    """A learning rate as boards take it, unsigned Q16.16.

    Raises:
        ConfigError: it rounds to zero or does not fit.
    """
    value = round(rate * 65536) if 0 < rate < 65536 else 0
    if value == 0:
        raise ConfigError(f"learning rate {rate}: must be in [2^-17, 65536) to be more than zero in Q16.16")
    return value


class Engine:
    """A program on the host.

    Args:
        program: name of a folder in firmware/generated.
        firmware: the firmware's folder.
        kernels: both give the same bits.

    Raises:
        ConfigError: no such program, no compiler, a program that does not compile or is not what its plan says.
    """

    def __init__(self, program: str, firmware: Path = FIRMWARE, kernels: Kernels = "host") -> None:
        self.plan: Plan = load_plan(program, firmware)
        self._firmware = firmware
        self._library = ctypes.CDLL(str(compile_program(program, firmware, kernels)))
        self._library.engine_info.restype = None
        info = _Info()
        self._library.engine_info(ctypes.byref(info))
        _check_against_plan(self.plan, info)

    def initial(self) -> bytes:
        """What the server sends first: the program's initial values."""
        return self.plan.encode_down(load_initial(self.plan.name, self._firmware))

    def begin(self, down: bytes) -> bytes:
        """All parameters as a board has them after BEGIN: what was sent down, fresh residuals and state."""
        if len(down) != self.plan.down_bytes:
            raise ConfigError(
                f"program {self.plan.name}: {len(down)} bytes sent down, the plan says {self.plan.down_bytes}"
            )
        params = _aligned(self.plan.params_bytes)
        params[: len(down)] = np.frombuffer(down, np.uint8)
        self._library.engine_begin(_pointer(params))
        return params.tobytes()

    def infer(self, params: bytes, samples: NDArray[np.int8], labels: NDArray[np.uint8]) -> EvalResult:
        """Evaluates samples.

        Args:
            params: all parameters, or what is sent down.
            samples: int8 [N, ...], `sample_bytes` features each.
            labels: uint8 [N].

        Raises:
            ConfigError: sizes or labels that are not the plan's.
        """
        stored = self._params(params)
        flat, checked = self._samples(samples, labels)
        predictions = np.zeros(len(flat), np.uint8)
        totals = _Totals()
        arena = _aligned(self.plan.arena_bytes)
        self._library.engine_infer(
            _pointer(stored), _pointer(arena), _pointer(flat), _pointer(checked), ctypes.c_uint32(len(flat)),
            _pointer(predictions), ctypes.byref(totals),
        )  # fmt: skip
        count = max(1, totals.samples)
        return EvalResult(totals.loss_q16 / 65536 / count, totals.correct / count, predictions)

    def train(
        self,
        params: bytes,
        samples: NDArray[np.int8],
        labels: NDArray[np.uint8],
        *,
        learning_rate: float,
        seed: int,
        first: int = 0,
        count: int | None = None,
        order: Sequence[int] | NDArray[np.int64] | None = None,
        proximal_mu: float = 0.0,
    ) -> tuple[bytes, TrainResult]:
        """Trains as a board's TRAIN does on a partition that holds `samples`.

        Args:
            params, samples, labels, seed, first, count, order: of LocalTraining.
            learning_rate: rounded to Q16.16.
            proximal_mu: of FedProx's pull towards `params` after each step.

        Returns:
            All parameters after training, and totals over the steps.

        Raises:
            ConfigError: sizes, labels, indices or a learning rate that are not possible.
        """
        training = LocalTraining(params, samples, labels, seed, first, count, order)
        return self.train_many([training], learning_rate=learning_rate, proximal_mu=proximal_mu)[0]

    def train_many(
        self, trainings: Sequence[LocalTraining], *, learning_rate: float, threads: int = 1, proximal_mu: float = 0.0
    ) -> list[tuple[bytes, TrainResult]]:
        """Trains clients independently of each other: the number of threads does not change a result.

        A client takes twice its parameters while this runs, a thread one arena.

        Args:
            trainings: one for each client; `params` may be the same object for all.
            learning_rate: rounded to Q16.16.
            threads: at most so many; they hold no Python lock.
            proximal_mu: FedProx's mu (Li et al. 2020, equation 2): each step is followed by
                w <- w - learning_rate * mu * (w - params).

        Returns:
            For each, in order, what train() returns.

        Raises:
            ConfigError: as train() does, or a proximal term in an int8 program, whose steps are too coarse for it;
                then nothing was trained.
        """
        if proximal_mu > 0 and self.plan.dtype != "float32":
            raise ConfigError(f"program {self.plan.name}: FedProx's proximal term needs float32, mu is {proximal_mu}")
        pull = ctypes.c_float(learning_rate * proximal_mu)
        rate = ctypes.c_uint32(learning_rate_q16(learning_rate))
        size = self.plan.params_bytes
        stride = -(-size // _ARENA_ALIGNMENT) * _ARENA_ALIGNMENT
        stored = _aligned(stride * len(trainings))
        jobs, used = (_Job * len(trainings))(), []
        for index, training in enumerate(trainings):
            used.append(self._fill(jobs[index], training, stored.ctypes.data + stride * index))
        arenas = [_aligned(self.plan.arena_bytes) for _ in range(max(1, min(threads, len(trainings))))]
        taken = ctypes.c_uint32(0)

        def work(arena: NDArray[np.uint8]) -> None:
            count = ctypes.c_uint32(len(jobs))
            self._library.engine_train(jobs, count, ctypes.byref(taken), _pointer(arena), rate, pull)

        if len(arenas) == 1:
            work(arenas[0])
        else:
            with ThreadPoolExecutor(len(arenas)) as pool:
                list(pool.map(work, arenas))
        return [
            (stored[stride * index : stride * index + size].tobytes(), _result(job.totals))
            for index, job in enumerate(jobs)
        ]

    def _fill(self, job: _Job, training: LocalTraining, params: int) -> tuple[NDArray[np.generic], ...]:
        """Says what a job is; returns the arrays that it points into."""
        given = np.frombuffer(training.params, np.uint8)
        self._check_params(given.size)
        samples, labels = self._samples(training.samples, training.labels)
        steps = training.count
        if training.order is not None:
            wanted = np.asarray(training.order, dtype=np.int64)
            steps = len(wanted)
            if steps and not (int(wanted.min()) >= 0 and int(wanted.max()) < len(samples)):
                raise ConfigError(f"program {self.plan.name}: training order leaves the {len(samples)} samples given")
            order = np.ascontiguousarray(wanted, dtype=np.uint32)
            job.order = order.ctypes.data
        else:
            order = np.empty(0, np.uint32)
            steps = len(samples) if steps is None else steps
            if steps < 0 or (steps and not len(samples)):
                raise ConfigError(f"program {self.plan.name}: {steps} steps on {len(samples)} samples")
        job.given, job.params, job.given_bytes = given.ctypes.data, params, given.size
        job.samples, job.labels, job.count = samples.ctypes.data, labels.ctypes.data, len(samples)
        job.first, job.steps, job.seed = training.first % max(1, len(samples)), steps, training.seed % 2**32
        return given, samples, labels, order

    def _params(self, params: bytes) -> NDArray[np.uint8]:
        """An aligned copy that the library may write."""
        self._check_params(len(params))
        if len(params) != self.plan.params_bytes:
            params = self.begin(params)
        stored = _aligned(len(params))
        stored[:] = np.frombuffer(params, np.uint8)
        return stored

    def _check_params(self, size: int) -> None:
        if size not in (self.plan.params_bytes, self.plan.down_bytes):
            raise ConfigError(
                f"program {self.plan.name}: {size} bytes of parameters; "
                f"the plan says {self.plan.down_bytes} (down) or {self.plan.params_bytes} (all)"
            )

    def _samples(
        self, samples: NDArray[np.int8], labels: NDArray[np.uint8]
    ) -> tuple[NDArray[np.int8], NDArray[np.uint8]]:
        flat = np.ascontiguousarray(samples).reshape(len(samples), math.prod(samples.shape[1:]))
        if flat.dtype != np.int8 or (len(flat) and flat.shape[1] != self.plan.sample_bytes) or len(labels) != len(flat):
            raise ConfigError(
                f"program {self.plan.name}: samples {samples.dtype}{list(samples.shape)} with {len(labels)} labels; "
                f"the plan says {self.plan.sample_bytes} int8 features a sample"
            )
        if len(labels) and not (int(labels.min()) >= 0 and int(labels.max()) < self.plan.classes):
            raise ConfigError(f"program {self.plan.name}: labels must be in 0..{self.plan.classes - 1}")
        return flat, np.ascontiguousarray(labels, dtype=np.uint8)


def _aligned(size: int) -> NDArray[np.uint8]:
    """Zeroed bytes at an address that the program contract asks for."""
    spare = np.zeros(size + _ARENA_ALIGNMENT, np.uint8)
    start = -spare.ctypes.data % _ARENA_ALIGNMENT
    return spare[start : start + size]


def _result(totals: _Totals) -> TrainResult:
    return TrainResult(totals.samples, totals.correct, totals.loss_q16, totals.saturated)


def _pointer(array: NDArray[np.generic]) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


def _check_against_plan(plan: Plan, info: _Info) -> None:
    dtypes = {"int8": 0, "float32": 1}
    expected = {
        "dtype": dtypes[plan.dtype],
        "classes": plan.classes,
        "params_bytes": plan.params_bytes,
        "down_bytes": plan.down_bytes,
        "arena_bytes": plan.arena_bytes,
        "sample_bytes": plan.sample_bytes,
    }
    for field, value in expected.items():
        found = int(getattr(info, field))
        if found != value:
            raise ConfigError(f"program {plan.name}: {field} is {found} in program.cpp and {value} in plan.json")


def kernel_sources(firmware: Path = FIRMWARE, kernels: Kernels = "host") -> list[Path]:
    """The engine's C++ sources, in a fixed order: a kernel made for the host takes the place of the general one."""
    engine = firmware / "engine"
    general = sorted(engine.rglob("*.cpp"))
    return general if kernels == "general" else for_host(general, firmware)


def for_host(sources: Sequence[Path], firmware: Path = FIRMWARE) -> list[Path]:
    """These sources of the engine, with the kernels made for the host, which define the same functions, instead."""
    made = {path.relative_to(_HOST_KERNELS): path for path in _HOST_KERNELS.rglob("*.cpp")}
    engine = firmware / "engine"
    return [made.get(path.relative_to(engine), path) if path.is_relative_to(engine) else path for path in sources]


def program_sources(program: str, firmware: Path = FIRMWARE) -> list[Path]:
    """A program's C++ sources, in a fixed order. Raises ConfigError for an unknown program."""
    return sorted(program_folder(program, firmware).glob("*.cpp"))


def compile_shared(files: Sequence[Path], firmware: Path, name: str, *, kernels: Kernels | None = None) -> Path:
    """Compiles C++ files into a cached shared library and returns its path.

    Args:
        files: sources; every header of the engine and beside a source counts as read.
        firmware: include folder.
        name: what to call the library, for a reader of the cache.
        kernels: link the engine's kernels in, which are compiled on their own.

    Raises:
        ConfigError: there is no compiler, or the sources do not compile.
    """
    archive = [] if kernels is None else [_kernel_archive(firmware, kernels)]
    target = _cached([*files, *archive], firmware, name, ".so")
    if not target.is_file():
        command = [native.compiler(), *FLAGS, "-shared", *_include(firmware, files), *map(str, [*files, *archive])]
        native.compile_to(command, target, name)
    return target


def compile_program(program: str, firmware: Path = FIRMWARE, kernels: Kernels = "host") -> Path:
    """Path of a program's shared library, compiled if the cache lacks it. Raises as compile_shared does."""
    return compile_shared([*program_sources(program, firmware), _API], firmware, program, kernels=kernels)


def _kernel_archive(firmware: Path, kernels: Kernels) -> Path:
    """All kernels in one relocatable object; what a program does not call is left out when it is linked."""
    sources = kernel_sources(firmware, kernels)
    parts = []
    for source in sources:
        target = _cached([source], firmware, f"kernels/{source.parent.name}-{source.stem}", ".o")
        parts.append(target)
    missing = [(source, part) for source, part in zip(sources, parts, strict=True) if not part.is_file()]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(lambda pair: _compile_object(firmware, *pair), missing))
    target = _cached(parts, firmware, "kernels", ".o")
    if not target.is_file():
        native.compile_to([native.compiler(), "-r", "-nostdlib", *map(str, parts)], target, "the engine")
    return target


def _compile_object(firmware: Path, source: Path, target: Path) -> None:
    command = [native.compiler(), *FLAGS, "-c", *_include(firmware, [source]), str(source)]
    native.compile_to(command, target, source.name)


def _include(firmware: Path, files: Sequence[Path]) -> list[str]:
    """Options for the folders of headers: the firmware's, the host kernels', and each source's own."""
    return [f"-I{folder}" for folder in dict.fromkeys([firmware, _HOST_KERNELS, *(file.parent for file in files)])]


def _cached(inputs: Sequence[Path], firmware: Path, name: str, suffix: str) -> Path:
    """Where the cache keeps what is made of these files, and of the engine's headers and those beside a source."""
    folders = {firmware / "engine", _HOST_KERNELS, *(file.parent for file in inputs if file.suffix == ".cpp")}
    headers = {header for folder in folders for header in folder.rglob("*.hpp")}
    return native.cached("engine", name, suffix, inputs, headers, FLAGS)

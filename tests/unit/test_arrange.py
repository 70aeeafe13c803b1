"""Order, in-place reuse and addresses together: a step is replayed over an arena that remembers who wrote each byte."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.compiler.adapters import insert
from bench.compiler.arrange import Arranged, arrange
from bench.compiler.differentiate import Call, Dtype, Schedule, Value, differentiate
from bench.compiler.fuse import fuse
from bench.compiler.scheme import choose
from bench.compiler.tasks import rounded
from bench.model.graph import Graph, Window
from bench.model.zoo import load_zoo, zoo_names
from bench.model.zoo.builder import Builder

SCHEMES = ("full", "bias", "last-2", "sparse-10")
CASES: list[tuple[str, str, Dtype]] = [
    *(
        (name, scheme, "int8")
        for name in zoo_names()
        for scheme in SCHEMES
        if (name, scheme) != ("mcunet-5fps", "full")
    ),
    *((name, scheme, "float32") for name in ("demo-cnn", "lenet-5", "ds-cnn", "autoencoder") for scheme in SCHEMES),
    ("mcunet-5fps", "tte-49kb", "int8"),
    ("mcunet-5fps", "tte-49kb", "float32"),
    ("lenet-5", "lite-residual", "int8"),
    ("resnet-8", "low-rank-2", "float32"),
    ("resnet-8", "last-3", "float32"),
    ("ds-cnn", "lite-residual", "int8"),
    ("autoencoder", "low-rank-2", "int8"),
]

FREE, SCRATCH = -1, -2


def schedule_of(graph: Graph, scheme: str, dtype: Dtype = "int8") -> Schedule:
    model = insert(graph, scheme)
    return differentiate(model, choose(model, scheme), dtype)


class Replay:
    """An arena in which every byte knows the value that was last written to it."""

    def __init__(self, arranged: Arranged) -> None:
        self.values, self.graph, self.dtype = arranged.schedule.values, arranged.schedule.graph, arranged.schedule.dtype
        self.offsets = arranged.offsets
        self.scratch = arranged.scratch
        self.ids = {name: index for index, name in enumerate(self.values)}
        self.owner: NDArray[np.int64] = np.full(arranged.arena_bytes, FREE)

    def span(self, name: str) -> slice:
        start = self.offsets[name]
        assert start >= 0
        assert start + self.values[name].bytes <= len(self.owner), f"{name} ends outside of the arena"
        return slice(start, start + self.values[name].bytes)

    def holds(self, name: str) -> bool:
        return bool((self.owner[self.span(name)] == self.ids[name]).all())

    def run(self, call: Call) -> None:
        """What it reads must be there, and what it may not overwrite must be there still when it is done."""
        if call.stages:
            RowReplay(self, call).run()
            return
        for name in call.reads.values():
            assert self.holds(name), f"{call.name} reads {name}, which is overwritten"
        if call.scratch:
            start = self.scratch[call.name]
            assert start % 4 == 0
            assert start + call.scratch <= len(self.owner)
            self.owner[start : start + call.scratch] = SCRATCH
        for name in call.writes.values():
            self.owner[self.span(name)] = self.ids[name]
        for name in call.writes.values():
            assert self.holds(name), f"{call.name} writes two values to one place"
        if call.scratch:
            assert (self.owner[start : start + call.scratch] == SCRATCH).all(), f"{call.name} writes into its scratch"
        for role, name in call.reads.items():
            over = [written for written, read in call.in_place if read == role]
            shared = [call.writes[w] for w in over if self.offsets[call.writes[w]] == self.offsets[name]]
            assert shared or self.holds(name), f"{call.name} overwrites {name} while it reads it"


class RowReplay:
    """A fused call, row by row, with windows that forget what does not fit."""

    def __init__(self, arena: Replay, call: Call) -> None:
        self.arena, self.call = arena, call
        self.graph = arena.graph
        self.makers = {stage.writes["y"]: stage for stage in call.stages}
        self.made = dict.fromkeys(self.makers, 0)
        self.windows: dict[str, list[int]] = {name: [] for name in call.windows}
        start = arena.scratch.get(call.name, 0)
        self.scratch = slice(start, start + call.scratch)
        assert sum(call.windows.values()) + max(stage.scratch for stage in call.stages) <= call.scratch

    def run(self) -> None:
        self.arena.owner[self.scratch] = SCRATCH
        (source,) = self.call.reads.values()
        assert self.arena.holds(source)
        last = self.call.stages[-1]
        for row in range(last.node.shape[0]):  # type: ignore[union-attr]
            self.make(last, row)
        assert (self.arena.owner[self.scratch] == SCRATCH).all(), "an output row lies over a window"
        assert all(self.arena.holds(name) for name in self.call.writes.values())

    def make(self, stage: Call, row: int) -> None:
        """Each row is made once, in order, when all that it looks at is there and not overwritten."""
        target = stage.writes["y"]
        assert row == self.made[target]
        rows = self.looked_at(stage, row)
        for name in stage.reads.values():
            if name in self.windows:
                self.fill(name, rows)
        for name in stage.reads.values():
            for needed in rows:
                assert self.present(name, needed), f"{stage.name}: row {needed} of {name} is gone"
        if target not in self.windows:
            span, height = self.arena.span(target), self.height(target)
            size = (span.stop - span.start) // height
            self.arena.owner[span.start + row * size : span.start + (row + 1) * size] = self.arena.ids[target]
            for name in set(self.call.writes.values()) - {target}:
                self.arena.owner[self.arena.span(name)] = self.arena.ids[name]
        self.made[target] += 1

    def fill(self, name: str, rows: range) -> None:
        capacity = self.call.windows[name] * self.height(name) // self.bytes(name)
        while self.made[name] < rows.stop:
            if len(self.windows[name]) == capacity:
                self.windows[name] = [row for row in self.windows[name] if row >= rows.start]
            self.make(self.makers[name], self.made[name])
            self.windows[name].append(self.made[name] - 1)
            assert len(self.windows[name]) <= capacity, f"{name}: more rows than its window holds"

    def present(self, name: str, row: int) -> bool:
        if name in self.windows:
            return row in self.windows[name]
        span = self.arena.span(name)
        size = (span.stop - span.start) // self.height(name)
        start = span.start + row * size
        return bool((self.arena.owner[start : start + size] == self.arena.ids[name]).all())

    def looked_at(self, stage: Call, row: int) -> range:
        assert stage.node is not None
        op, height = stage.node.op, self.height(next(iter(stage.reads.values())))
        if not isinstance(op, Window):
            return range(row, row + 1)
        top = row * op.stride[0] - op.pad[0]
        inside = [y for y in range(top, top + op.kernel[0]) if 0 <= y < height]
        return range(inside[0], inside[-1] + 1)

    def height(self, name: str) -> int:
        return self.graph.shape_of(name)[0]

    def bytes(self, name: str) -> int:
        height, width, channels = self.graph.shape_of(name)
        return height * width * channels * (1 if self.arena.dtype == "int8" else 4)


@pytest.fixture(scope="module", params=[(*case, fused) for case in CASES for fused in ("apart", "fused")],
                ids=lambda case: "-".join(case))  # fmt: skip
def arranged(request: pytest.FixtureRequest) -> Arranged:
    name, scheme, dtype, fused = request.param
    schedule = schedule_of(load_zoo(name), scheme, dtype)
    return arrange(fuse(schedule) if fused == "fused" else schedule)


def test_no_call_reads_what_another_has_overwritten(arranged: Arranged) -> None:
    replay = Replay(arranged)
    for call in arranged.calls:
        replay.run(call)


def test_inference_over_the_same_addresses_is_sound_too(arranged: Arranged) -> None:
    """Calls that only training needs are left out; bytes may hold anything, as a step's remains."""
    replay = Replay(arranged)
    for call in arranged.calls:
        if call.forward and not call.training:
            replay.run(call)


def test_the_order_is_legal_and_loses_no_call(arranged: Arranged) -> None:
    assert sorted(call.name for call in arranged.calls) == sorted(call.name for call in arranged.schedule.calls)
    ran: set[str] = set()
    for call in arranged.calls:
        assert set(call.after) <= ran
        ran.add(call.name)


def test_every_address_suits_its_elements(arranged: Arranged) -> None:
    """Kernels read and write words."""
    assert all(offset % 4 == 0 for offset in arranged.offsets.values())
    assert arranged.offsets.keys() == arranged.schedule.values.keys()
    assert arranged.scratch.keys() == {call.name for call in arranged.calls if call.scratch}


def test_sizes_agree(arranged: Arranged) -> None:
    """The arena ends with the highest value, but for alignment, and holds what lives at the fullest moment."""
    values = arranged.schedule.values
    top = max(arranged.offsets[name] + value.bytes for name, value in values.items())
    top = max([top, *(arranged.scratch[call.name] + call.scratch for call in arranged.calls if call.scratch)])
    assert arranged.arena_bytes % 8 == 0
    assert top <= arranged.arena_bytes < top + 12
    assert arranged.lower_bound_bytes <= arranged.arena_bytes
    fullest = max(live_bytes(arranged, step) for step in range(len(arranged.calls)))
    assert arranged.lower_bound_bytes == -(-fullest // 8) * 8


def live_bytes(arranged: Arranged, step: int) -> int:
    """Blocks with an address of their own overlap: of them, the ground up to the highest end counts."""
    live = [block for block in arranged.blocks if block.lower <= step < block.upper]
    ground = max((block.offset + block.size for block in live if block.offset is not None), default=0)
    return ground + sum(block.size for block in live if block.offset is None)


def test_blocks_live_as_long_as_what_shares_them(arranged: Arranged) -> None:
    """For the plan's pictures: at each call, blocks cover what it reads and writes, and its scratch."""
    blocks = {block.name: block for block in arranged.blocks}
    at = {name: arranged.placement.offsets[name] for name in blocks}
    for step, call in enumerate(arranged.calls):
        live = [block for block in arranged.blocks if block.lower <= step < block.upper]
        for name in (*call.reads.values(), *call.writes.values()):
            start, size = arranged.offsets[name], arranged.schedule.values[name].bytes
            assert any(at[b.name] <= start and start + size <= at[b.name] + b.size for b in live), (call.name, name)
        if call.scratch:
            assert blocks[f"scratch:{call.name}"] in live


# --- what it is worth ---


def test_demo_cnn_by_hand() -> None:
    """No order avoids that at the pool's gradient there live d_conv1 (1,728 bytes), d_pool1 (432), the winners (108)
    and the input (196): 2,464. Nothing forces more than the pool's output (432) on top."""
    arranged = arrange(schedule_of(load_zoo("demo-cnn"), "full"))
    assert 2_464 <= arranged.arena_bytes <= 2_464 + 432
    assert arranged.arena_bytes == arranged.lower_bound_bytes


def test_a_sparse_scheme_trains_mcunet_in_the_memory_of_inference() -> None:
    """Input and output of the fullest layer, 163,840 bytes: the backward pass fits below."""
    graph = load_zoo("mcunet-5fps")
    fullest = max(graph.node(node.inputs[0]).size + node.size for node in graph.nodes[1:] if node.is_conv)
    schedule = schedule_of(graph, "tte-49kb")
    scratch = max(rounded(call.scratch) for call in schedule.calls if call.layer in ("conv3", "dw4"))
    assert fullest == 163_840
    assert arrange(schedule).arena_bytes == fullest + scratch


def test_fused_mcunet_trains_in_little_more_than_its_input() -> None:
    """Input (49,152), three rows of the first convolution (3,072), one of the depthwise (1,024), and scratch."""
    schedule = schedule_of(load_zoo("mcunet-5fps"), "tte-49kb")
    scratch = max(rounded(call.scratch) for call in schedule.calls if call.layer in ("conv0", "dw1", "conv2"))
    arranged = arrange(fuse(schedule))
    assert arranged.arena_bytes == arranged.lower_bound_bytes == -(-(49_152 + 3_072 + 1_024 + scratch) // 8) * 8


def test_the_same_schedule_is_arranged_the_same_way() -> None:
    first, again = (arrange(schedule_of(load_zoo("resnet-8"), "sparse-10")) for _ in range(2))
    assert [call.name for call in first.calls] == [call.name for call in again.calls]
    assert (first.offsets, first.scratch, first.placement) == (again.offsets, again.scratch, again.placement)


def test_without_reordering_the_calls_stay_as_they_are() -> None:
    schedule = schedule_of(load_zoo("lenet-5"), "full")
    arranged = arrange(schedule, reorder=False)
    assert arranged.calls == schedule.calls
    replay = Replay(arranged)
    for call in arranged.calls:
        replay.run(call)


def test_of_two_wide_branches_one_is_finished_first() -> None:
    """Beside each other both would hold 2,048 bytes between their layers."""
    net = Builder("net", (8, 8, 1), 0)
    trunk = net.conv(1, 3)
    wide = [net.conv(32, 1, source=trunk), net.conv(32, 1, source=trunk)]
    narrow = [net.conv(1, 1, source=name) for name in wide]
    net.add(*narrow)
    net.dense(2, activation="linear")
    schedule = schedule_of(net.graph(), "last-1")
    assert arrange(schedule, reorder=False).arena_bytes > 4_096
    assert arrange(schedule).arena_bytes < 2_048 + 4 * 64


def test_a_sum_takes_the_memory_of_a_term_that_dies() -> None:
    net = Builder("net", (16, 16, 1), 0)
    trunk = net.conv(8, 3)
    net.add(trunk, net.conv(8, 3, source=trunk))
    net.global_average()
    net.dense(2, activation="linear")
    arranged = arrange(schedule_of(net.graph(), "last-1"))
    assert arranged.offsets["add1"] in (arranged.offsets["conv1"], arranged.offsets["conv2"])
    scratch = max(call.scratch for call in arranged.calls)
    assert arranged.arena_bytes < 2 * 2_048 + scratch + 8, "two maps and scratch, not three maps"


@pytest.mark.parametrize(
    ("name", "scheme"),
    [
        ("resnet-8", "full"),
        ("ds-cnn", "bias"),
        ("demo-cnn", "full"),
        ("lenet-5", "full"),
        ("ds-cnn", "sparse-10"),
    ],
)
def test_in_place_reuse_is_never_worse_than_none(name: str, scheme: str) -> None:
    schedule = schedule_of(load_zoo(name), scheme)
    apart = tuple(dataclasses.replace(call, in_place=()) for call in schedule.calls)
    assert arrange(schedule).arena_bytes <= arrange(dataclasses.replace(schedule, calls=apart)).arena_bytes


# --- schedules made up for what no network's has ---


def made_up(*calls: Call, **sizes: int) -> Arranged:
    values = {name: Value(name, "activation", size, size) for name, size in sizes.items()}
    return arrange(Schedule(load_zoo("mlp"), {}, "int8", calls, values))


def call(name: str, reads: str = "", writes: str = "", in_place: str = "", scratch: int = 0) -> Call:
    """Roles are called as their values; `in_place` as "written=read"."""
    pairs = tuple((pair.split("=")[0], pair.split("=")[1]) for pair in in_place.split())
    read, written = ({value: value for value in values.split()} for values in (reads, writes))
    return Call(name, name, None, read, written, in_place=pairs, scratch=scratch)


def test_two_values_do_not_take_the_memory_of_one() -> None:
    arranged = made_up(
        call("load", "", "x"), call("split", "x", "a b", in_place="a=x b=x"), call("use", "a b"), x=8, a=8, b=8
    )
    assert arranged.offsets["a"] == arranged.offsets["x"] != arranged.offsets["b"]
    assert arranged.arena_bytes == 16


def test_a_value_takes_the_memory_only_of_one_that_is_as_large() -> None:
    arranged = made_up(call("load", "", "x"), call("grow", "x", "y", in_place="y=x"), call("use", "y"), x=8, y=12)
    assert arranged.offsets["x"] != arranged.offsets["y"]
    assert arranged.arena_bytes == 24


def test_chains_in_place_stay_where_they_are() -> None:
    steps = [call(f"step{i}", f"v{i}", f"v{i + 1}", in_place=f"v{i + 1}=v{i}") for i in range(4)]
    arranged = made_up(call("load", "", "v0"), *steps, call("use", "v4"), **{f"v{i}": 64 for i in range(5)})
    assert set(arranged.offsets.values()) == {0}
    assert arranged.arena_bytes == 64


def test_scratch_counts_when_calls_are_ordered() -> None:
    """With 100 bytes of scratch `slow` waits until the large value has gone."""
    arranged = made_up(
        call("load", "", "large x"), call("slow", "x", "y", scratch=100), call("shrink", "large", "small"),
        call("use", "y small"), large=100, x=4, y=4, small=12,
    )  # fmt: skip
    assert [made.name for made in arranged.calls] == ["load", "shrink", "slow", "use"]
    assert arranged.arena_bytes == 120

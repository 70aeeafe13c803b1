"""Fusion: which chains may be computed row by row, which are, and what of their maps is kept."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.compiler import fuse as fusion
from bench.compiler.differentiate import Schedule, differentiate
from bench.compiler.flow import follow
from bench.compiler.fuse import fuse
from bench.compiler.order import moments
from bench.compiler.scheme import choose
from bench.compiler.tasks import tasks_of
from bench.model.graph import INPUT, Graph
from bench.model.zoo import load_zoo
from bench.model.zoo.builder import Builder


def schedule_of(graph: Graph, scheme: str = "last-1") -> Schedule:
    return differentiate(graph, choose(graph, scheme), "int8")


def peak(schedule: Schedule) -> int:
    return max(moments(*tasks_of(schedule)))


def fused(schedule: Schedule) -> list[list[str]]:
    return [[stage.layer for stage in call.stages] for call in fuse(schedule).calls if call.stages]


def inverted_residual(height: int = 16) -> Graph:
    net = Builder("net", (height, height, 8), 0)
    net.conv(48, 1)
    net.depthwise(3)
    net.conv(8, 1, activation="linear")
    net.global_average()
    net.dense(2, activation="linear")
    return net.graph()


def test_an_inverted_residual_never_holds_its_wide_map() -> None:
    graph = inverted_residual()
    schedule = schedule_of(graph)
    (call,) = [call for call in fuse(schedule).calls if call.stages]
    assert [stage.layer for stage in call.stages] == ["conv1", "dw2", "conv3"]
    row = 16 * 48
    assert call.windows == {"conv1": 3 * row, "dw2": row}, "three rows under the window of 3x3, one under that of 1x1"
    scratch = {call.layer: call.scratch for call in schedule.calls}
    assert peak(schedule) == 2 * 16 * row + scratch["dw2"]
    # The output lies over the input; the operators take turns with their scratch.
    assert peak(fuse(schedule)) == 16 * 16 * 8 + 4 * row + max(scratch[layer] for layer in ("conv1", "dw2", "conv3"))


def test_what_the_backward_pass_reads_stays_whole() -> None:
    """Full training reads every map, bias training its gates: an operator alone may lie over its input all the same."""
    assert fused(schedule_of(inverted_residual(), "full")) == []
    assert all(len(chain) == 1 for chain in fused(schedule_of(inverted_residual(), "bias")))


def test_a_map_that_two_branches_read_stays_whole() -> None:
    net = Builder("net", (16, 16, 4), 0)
    first = net.conv(16, 3)
    net.add(net.conv(16, 1, source=first), net.conv(16, 1, source=first))
    net.dense(2, activation="linear")
    for chain in fused(schedule_of(net.graph())):
        assert first not in chain[:-1]


def test_a_step_whose_backward_pass_is_fullest_is_left_alone() -> None:
    schedule = schedule_of(load_zoo("ds-cnn"), "full")
    assert fuse(schedule) == schedule


def test_a_max_pool_is_fused_only_where_a_row_s_winners_are_whole_bytes() -> None:
    """Of the pool's 4 x 4 maps with 3 or 2 channels, 2 bits each: 24 bits a row, or 16; with 3 columns of 1: 6."""
    for columns, channels, whole in ((8, 3, True), (8, 2, True), (6, 1, False)):
        net = Builder("net", (8, columns, 1), 0)
        net.conv(channels, 3)
        net.max_pool(2)
        net.dense(2, activation="linear")
        schedule = schedule_of(net.graph(), "full")
        candidates = {chain for chain, _ in fusion._candidates(schedule)}
        assert any("max_pool:pool1" in chain for chain in candidates) == whole


def test_fused_calls_do_all_the_work_of_their_stages() -> None:
    for name, scheme in (("mcunet-5fps", "tte-49kb"), ("mobilenet-v1-0.25", "sparse-25"), ("resnet-8", "last-1")):
        schedule = schedule_of(load_zoo(name), scheme)
        result = fuse(schedule)
        assert result.macs_forward == schedule.macs_forward
        flat = [part.name for call in result.calls for part in call.parts]
        assert flat == [call.name for call in schedule.calls]
        assert peak(result) < peak(schedule)
        inside = {value for call in result.calls for value in call.windows}
        assert set(schedule.values) - set(result.values) == inside


def test_the_cover_is_the_best_there_is() -> None:
    """Beside all ways to cover the path, tried one by one."""

    @settings(max_examples=80, deadline=None, derandomize=True)
    @given(st.integers(1, 6), st.randoms(use_true_random=False))
    def check(length: int, random: st.Random) -> None:  # type: ignore[name-defined]
        path = [f"c{i}" for i in range(length)]
        alone = {name: random.randrange(1, 9) for name in path}
        spans = [tuple(path[a:b]) for a in range(length) for b in range(a + 1, length + 1)]
        chains = {chain: random.randrange(1, 9) for chain in spans if random.random() < 0.5}
        every = list(covers(path, chains))
        cost = {way: max([alone[n] for n in path if not any(n in c for c in way)] + [chains[c] for c in way])
                for way in every}  # fmt: skip
        lowest = fusion._cover(path, alone, chains, None)
        assert lowest.cost == min(cost.values()) == cost[lowest.chains]
        fewest = fusion._cover(path, alone, chains, lowest.cost)
        operators = {way: sum(map(len, way)) for way in every if cost[way] <= lowest.cost}
        assert fewest.cost == min(operators.values()) == operators[fewest.chains]

    check()


def covers(path: list[str], chains: dict[tuple[str, ...], int]) -> list[tuple[tuple[str, ...], ...]]:
    if not path:
        return [()]
    found = covers(path[1:], chains)
    for chain in chains:
        if tuple(path[: len(chain)]) == chain:
            found = [*found, *(((chain, *rest)) for rest in covers(path[len(chain) :], chains))]
    return found


@pytest.mark.parametrize(("kernel", "stride", "pad"), list(itertools.product((1, 2, 3, 5, 7), (1, 2, 3), (0, 1, 3))))
def test_a_window_holds_what_its_reader_looks_at_and_no_row_more(kernel: int, stride: int, pad: int) -> None:
    """One operator behind another: as many rows as the kernel has inside the map."""
    if pad >= kernel:
        return
    net = Builder("net", (12, 12, 2), 0)
    net.conv(4, 1)
    net.conv(2, kernel, stride=stride, pad=pad)
    net.dense(2, activation="linear")
    schedule = schedule_of(net.graph())
    chain = schedule.calls[1:3]
    flow = follow(schedule.graph, chain, {INPUT: 24, "conv1": 48, "conv2": schedule.values["conv2"].bytes})
    height = schedule.graph.node("conv2").shape[0]
    tops = [(max(0, row * stride - pad), min(12, row * stride - pad + kernel)) for row in range(height)]
    # Where the stride skips rows they are made all the same, and kept until the next asks for what lies behind them.
    skipped = [last - before for (before, _), (_, last) in itertools.pairwise(tops)] if stride > kernel else []
    assert flow.kept["conv1"] <= max([last - first for first, last in tops] + skipped)
    assert flow.kept["conv1"] >= max(last - first for first, last in tops)


def test_an_output_may_lie_over_its_input_as_far_as_rows_are_dead() -> None:
    """A 3x3 convolution still reads the row above the one it writes: with rows of one size, two rows of lead."""
    net = Builder("net", (8, 8, 4), 0)
    net.conv(4, 3)
    net.conv(2, 1)
    net.dense(2, activation="linear")
    schedule = schedule_of(net.graph())
    rows = {INPUT: 32, "conv1": 32, "conv2": 16}
    assert follow(schedule.graph, schedule.calls[1:2], rows).lead == 2 * 32
    # Half as wide, the output falls behind: only its first row is written while the input's first is still read.
    assert follow(schedule.graph, schedule.calls[1:3], rows).lead == 16

"""Differentiation at compile time: what no trained parameter asks for is neither computed nor kept."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterable

import pytest

from bench.compiler.adapters import insert
from bench.compiler.differentiate import Call, Dtype, Schedule, differentiate, winner_bits
from bench.compiler.scheme import Trained, choose
from bench.model.graph import INPUT, Graph
from bench.model.zoo import load_zoo, zoo_names
from bench.model.zoo.builder import Builder, Padding
from bench.model.zoo.mcunet_5fps import TABLE

ALL = [(name, scheme) for name in zoo_names() for scheme in ("full", "bias", "last-2", "sparse-10")] + [
    ("mcunet-5fps", "tte-49kb"),
    ("lenet-5", "lite-residual"),
    ("resnet-8", "low-rank-2"),
    ("mlp", "list:fc1.bias,fc2.weight[:3]"),
    ("ds-cnn", "list:dw2.weight[:5]"),
]


def schedule_of(graph: Graph, scheme: str, dtype: Dtype = "int8") -> Schedule:
    model = insert(graph, scheme)
    return differentiate(model, choose(model, scheme), dtype)


def backward(schedule: Schedule) -> list[Call]:
    return [call for call in schedule.calls if not call.forward]


def named(schedule: Schedule, kernel: str) -> list[str]:
    return [call.layer for call in schedule.calls if call.kernel == kernel]


def kinds(schedule: Schedule, names: Iterable[str]) -> set[str]:
    return {schedule.values[name].kind for name in names}


@pytest.fixture(scope="module", params=ALL, ids=lambda case: "-".join(case))
def schedule(request: pytest.FixtureRequest) -> Schedule:
    name, scheme = request.param
    return schedule_of(load_zoo(name), scheme)


# --- of every schedule ---


def test_every_value_is_written_once_before_it_is_read(schedule: Schedule) -> None:
    written: set[str] = set()
    ran: set[str] = set()
    for call in schedule.calls:
        assert set(call.reads.values()) <= written, call.name
        assert set(call.after) <= ran, call.name
        assert not written & set(call.writes.values()), call.name
        written |= set(call.writes.values())
        ran.add(call.name)
    assert written == set(schedule.values)
    assert len(ran) == len(schedule.calls), "calls have names of their own"


def test_everything_that_is_written_is_read(schedule: Schedule) -> None:
    read = {name for call in schedule.calls for name in call.reads.values()}
    assert read == set(schedule.values)


def test_what_is_saved_for_the_backward_pass_is_read_there(schedule: Schedule) -> None:
    read = {name for call in backward(schedule) for name in call.reads.values()}
    kept = {name for name, value in schedule.values.items() if value.kind in ("saved", "gate", "winners")}
    assert kept <= read


def test_inference_needs_nothing_that_only_training_computes(schedule: Schedule) -> None:
    written: set[str] = set()
    for call in schedule.calls:
        if call.forward and not call.training:
            assert set(call.reads.values()) <= written, call.name
            written |= set(call.writes.values())


def test_every_trained_parameter_is_updated_once_and_no_other(schedule: Schedule) -> None:
    updates = [*named(schedule, "conv2d_update"), *named(schedule, "depthwise2d_update")]
    chosen = schedule.chosen
    assert sorted(updates) == sorted(name for name, trained in chosen.items() if trained.in_channels)
    assert sorted(named(schedule, "update_bias")) == sorted(name for name, trained in chosen.items() if trained.bias)


def test_weights_change_only_after_the_gradient_that_goes_through_them(schedule: Schedule) -> None:
    for call in schedule.calls:
        if call.kernel in ("conv2d_update", "depthwise2d_update"):
            own = [other for other in backward(schedule) if other.node is call.node]
            assert call.after == tuple(other.name for other in own if other.kernel.endswith("_input_gradient"))


def test_gradients_gates_and_winners_are_of_nodes_behind_something_that_trains(schedule: Schedule) -> None:
    behind = set(schedule.chosen)
    for node in schedule.graph.nodes:
        if behind & set(node.inputs):
            behind.add(node.name)
    parts = re.compile(r"(?:d|gate|winners)_(.+?)(?:_gated|_from_.+|_\d+)?")
    for name, value in schedule.values.items():
        if value.kind in ("gradient", "gate", "winners"):
            match = parts.fullmatch(name)
            assert match is not None
            assert match[1] in behind, name
    assert {call.layer for call in backward(schedule)} <= behind
    assert set(named(schedule, "slice_channels")) <= set(schedule.chosen)


def test_values_take_the_bytes_of_their_kind(schedule: Schedule) -> None:
    float32 = differentiate(schedule.graph, schedule.chosen, "float32")
    assert float32.values.keys() == schedule.values.keys() - {"logits"}
    for found, width in ((schedule, 1), (float32, 4)):
        for value in found.values.values():
            expected = {"gate": (value.elements + 7) // 8, "winners": value.elements, "logits": 4 * value.elements}
            assert value.bytes == expected.get(value.kind, width * value.elements), value.name


def test_a_gate_has_a_bit_for_each_element(schedule: Schedule) -> None:
    for name, value in schedule.values.items():
        if value.kind == "gate":
            assert value.elements == schedule.graph.node(name.removeprefix("gate_")).size


def test_both_number_formats_compute_the_same_kernels(schedule: Schedule) -> None:
    float32 = differentiate(schedule.graph, schedule.chosen, "float32")
    translated = [call.name.replace("conv2d_logits", "conv2d") for call in schedule.calls if call.kernel != "widen"]
    assert [call.name for call in float32.calls] == translated
    assert (float32.macs_forward, float32.macs_backward) == (schedule.macs_forward, schedule.macs_backward)


# --- pruning ---


@pytest.mark.parametrize("name", zoo_names())
def test_biases_alone_need_no_activation(name: str) -> None:
    """Their gradients are sums of gradients: bits of gates and winners are all that is kept."""
    schedule = schedule_of(load_zoo(name), "bias")
    read = {value for call in backward(schedule) for value in call.reads.values()}
    assert kinds(schedule, read) <= {"gradient", "gate", "winners"}
    assert "saved" not in kinds(schedule, schedule.values)


@pytest.mark.parametrize("name", zoo_names())
@pytest.mark.parametrize("count", [1, 2])
def test_last_k_computes_no_gradient_before_the_last_k_layers(name: str, count: int) -> None:
    graph = load_zoo(name)
    schedule = schedule_of(graph, f"last-{count}")
    last = {node.name for node in graph.convs[-count:]}
    touched = {call.layer for call in backward(schedule) if call.macs}
    assert touched == last
    first = graph.convs[-count]
    assert first.name not in named(schedule, "conv2d_input_gradient")
    before = [node.name for node in graph.nodes[: graph.nodes.index(first)]]
    kept = {name for name, value in schedule.values.items() if value.kind in ("saved", "gate", "winners", "gradient")}
    assert not kept & {f"{kind}_{node}" for kind in ("saved", "gate", "winners", "d") for node in before}


def test_a_branch_without_trained_layers_has_no_gradient() -> None:
    """resnet-8's second block: conv4 and conv5 in sequence beside conv6. Training conv6 leaves the first two alone."""
    graph = load_zoo("resnet-8")
    schedule = schedule_of(graph, "list:conv6.weight")
    gradients = {name.removeprefix("d_") for name, value in schedule.values.items() if value.kind == "gradient"}
    assert not gradients & {"conv1", "conv2", "conv3", "conv4", "conv5", "add1"}
    assert named(schedule, "conv2d_update") == ["conv6"]


@pytest.mark.parametrize(
    ("scheme", "layer", "saved", "reads"),
    [
        ("list:conv3.weight[:8]", "conv3", 25 * 5 * 8, "saved_conv3"),
        ("list:conv3.weight", "conv3", None, "dw2"),
        ("list:dw2.weight[:5]", "dw2", 25 * 5 * 5, "saved_dw2"),
        ("list:dw2.weight", "dw2", None, "conv1"),
        ("list:conv1.weight", "conv1", None, INPUT),
    ],
)
def test_only_the_channels_that_train_are_saved(scheme: str, layer: str, saved: int | None, reads: str) -> None:
    schedule = schedule_of(load_zoo("ds-cnn"), scheme)
    found = {name: value.elements for name, value in schedule.values.items() if value.kind == "saved"}
    assert found == ({} if saved is None else {f"saved_{layer}": saved})
    (update,) = [call for call in schedule.calls if call.kernel.endswith("_update")]
    assert (update.layer, update.reads["x"]) == (layer, reads)


def test_channels_of_a_grouped_convolution_are_not_sliced() -> None:
    """The first channels of each group do not lie together: the whole map is kept."""
    graph = insert(load_zoo("ds-cnn"), "lite-residual")
    grouped = next(node for node in graph.convs if 1 < node.conv.groups < node.shape[2])
    schedule = differentiate(graph, {grouped.name: Trained(bias=False, in_channels=1)}, "int8")
    (update,) = [call for call in schedule.calls if call.kernel == "conv2d_update"]
    assert update.reads["x"] == grouped.inputs[0]
    height, width, channels = grouped.shape
    assert update.macs == height * width * channels * grouped.conv.taps


# --- gates and winners ---


def test_demo_cnn_in_full() -> None:
    """The whole schedule, written out. conv1's ReLU is gated behind the pool: 432 bits instead of 1,728."""
    schedule = schedule_of(load_zoo("demo-cnn"), "full")
    assert [(call.name, *call.reads.values(), "->", *call.writes.values()) for call in schedule.calls] == [
        ("load_sample:input", "->", "input"),
        ("conv2d:conv1", "input", "->", "conv1"),
        ("max_pool:pool1", "conv1", "->", "pool1", "winners_pool1"),
        ("pack_gate:pool1", "pool1", "->", "gate_pool1"),
        ("conv2d_logits:fc2", "pool1", "->", "fc2"),
        ("softmax_cross_entropy:fc2", "fc2", "->", "d_fc2"),
        ("conv2d_input_gradient:fc2", "d_fc2", "gate_pool1", "->", "d_pool1"),
        ("update_bias:fc2", "d_fc2", "->"),
        ("conv2d_update:fc2", "d_fc2", "pool1", "->"),
        ("max_pool_gradient:pool1", "d_pool1", "winners_pool1", "->", "d_conv1"),
        ("update_bias:conv1", "d_conv1", "->"),
        ("conv2d_update:conv1", "d_conv1", "input", "->"),
    ]
    sizes = {name: value.bytes for name, value in schedule.values.items()}
    assert sizes == {
        "input": 196, "conv1": 12 * 12 * 12, "pool1": 6 * 6 * 12, "winners_pool1": 432 * 2 // 8, "gate_pool1": 432 // 8,
        "fc2": 40, "d_fc2": 10, "d_pool1": 432, "d_conv1": 1728,
    }  # fmt: skip


def test_a_relu_that_somebody_else_reads_too_is_gated_itself() -> None:
    """Behind the pool one would see only the winners."""
    net = Builder("net", (8, 8, 2), 0)
    first = net.conv(4, 3)
    net.max_pool(2, stride=1, pad="same")
    net.add(first, net.last)
    net.dense(3, activation="linear")
    schedule = schedule_of(net.graph(), "full")
    assert {name for name, value in schedule.values.items() if value.kind == "gate"} == {"gate_conv1"}
    (join,) = [call for call in schedule.calls if call.kernel == "add_gradients"]
    assert join.reads["gate"] == "gate_conv1"


def test_a_map_that_a_sum_reads_twice_gets_its_gradient_twice() -> None:
    net = Builder("net", (1, 1, 4), 0)
    first = net.dense(4, activation="relu6")
    net.add(first, first)
    net.dense(3, activation="linear")
    (join,) = [call for call in schedule_of(net.graph(), "full").calls if call.kernel == "add_gradients"]
    assert (join.reads["a"], join.reads["b"]) == ("d_add1", "d_add1")


@pytest.mark.parametrize("readers", [2, 3, 4])
def test_contributions_to_a_map_s_gradient_are_summed_and_gated_once(readers: int) -> None:
    net = Builder("net", (4, 4, 2), 0)
    trunk = net.conv(3, 3)
    total = net.conv(3, 3, source=trunk)
    for _ in range(readers - 1):
        total = net.add(total, net.conv(3, 3, source=trunk))
    net.dense(2, activation="linear")
    schedule = schedule_of(net.graph(), "list:conv1.bias")
    sums = [call for call in schedule.calls if call.kernel == "add_gradients"]
    assert len(sums) == readers - 1
    assert ["gate" in call.reads for call in sums] == [False] * (readers - 2) + [True]
    parts = {name for call in sums for role, name in call.reads.items() if role in "ab"}
    assert {f"d_conv1_from_conv{index}" for index in range(2, readers + 2)} <= parts


def test_an_activation_in_front_of_the_loss_gates_the_loss_s_gradient() -> None:
    net = Builder("net", (1, 1, 4), 0)
    net.dense(3)
    net.dense(4, activation="relu6")
    schedule = schedule_of(net.graph("mean_squared_error"), "full")
    assert named(schedule, "gate_gradient") == named(schedule, "widen") == ["fc2"]
    (loss,) = [call for call in schedule.calls if call.kernel == "mean_squared_error"]
    assert loss.reads == {"logits": "wide_fc2", "target": INPUT}, "an autoencoder is compared with its input"
    (update,) = [call for call in schedule.calls if call.name == "update_bias:fc2"]
    assert update.reads["gy"] == "d_fc2_gated"


@pytest.mark.parametrize(("taps", "bits"), [(1, 2), (4, 2), (5, 4), (9, 4), (16, 4), (17, 8), (25, 8)])
def test_a_winner_is_one_of_the_taps(taps: int, bits: int) -> None:
    assert winner_bits(taps) == bits
    assert 2**bits >= taps


@pytest.mark.parametrize(("kernel", "bits"), [(2, 2), (3, 4), (5, 8)])
def test_winners_take_their_bits_for_each_output(kernel: int, bits: int) -> None:
    net = Builder("net", (11, 11, 3), 0)
    net.conv(3, 3)
    pool = net.max_pool(kernel, stride=2)
    net.dense(2, activation="linear")
    graph = net.graph()
    schedule = schedule_of(graph, "full")
    assert schedule.values[f"winners_{pool}"].bytes == math.ceil(graph.node(pool).size * bits / 8)
    assert f"winners_{pool}" not in schedule_of(graph, "last-1").values


def test_a_gradient_that_is_summed_up_finds_its_own_scale() -> None:
    """Windows of a max-pool that do not overlap pass values on as they are; all else adds values up."""
    for stride, scaled in ((2, False), (1, True)):
        net = Builder("net", (8, 8, 2), 0)
        net.conv(4, 3)
        net.max_pool(2, stride=stride)
        net.dense(3, activation="linear")
        peaks = {call.kernel: call.peak for call in schedule_of(net.graph(), "full").calls if "gx" in call.writes}
        assert peaks == {"conv2d_input_gradient": True, "max_pool_gradient": scaled}


# --- in place, scratch ---


def test_what_may_be_computed_in_place_is_of_the_call_s_own_values(schedule: Schedule) -> None:
    for call in schedule.calls:
        for written, read in call.in_place:
            assert written in call.writes
            assert read in call.reads
            assert call.kernel in {
                "add", "max_pool", "slice_channels", "gate_gradient", "add_gradients", "softmax_cross_entropy",
                "mean_squared_error",
            }, call.name  # fmt: skip


@pytest.mark.parametrize(("pad", "pairs"), [("valid", (("y", "x"),)), ("same", ()), (1, ())])
def test_a_max_pool_works_in_place_unless_it_is_padded(pad: Padding, pairs: tuple[tuple[str, str], ...]) -> None:
    """With padding an output would run ahead of what is still to be read."""
    net = Builder("net", (7, 7, 2), 0)
    net.conv(3, 3)
    net.max_pool(3, stride=1, pad=pad)
    net.dense(2, activation="linear")
    (pool,) = [call for call in schedule_of(net.graph(), "full").calls if call.kernel == "max_pool"]
    assert pool.in_place == pairs


def test_float32_convolutions_pack_four_positions_or_gather_a_window() -> None:
    """64 values of four positions for the blocks of cores with an FPU; a dense layer reads its input as it is."""
    float32 = schedule_of(load_zoo("ds-cnn"), "last-1", "float32")
    scratch = {call.layer: call.scratch for call in float32.calls if call.scratch}
    assert scratch == dict.fromkeys(("conv1", "conv3", "conv5", "conv7", "conv9"), 4 * 4 * 64)
    net = Builder("net", (8, 8, 40), 0)
    net.conv(3, 3)
    net.conv(8, 7)
    net.dense(2, activation="linear")
    scratch = {call.layer: call.scratch for call in schedule_of(net.graph(), "last-1", "float32").calls if call.scratch}
    assert scratch == {"conv1": 4 * 9 * 40, "conv2": 1024}, (
        "three channels do not repay packing; 49 taps of three are less"
    )


def test_int8_convolutions_have_columns_of_what_they_multiply() -> None:
    """A window's bytes where it is gathered, six bytes a channel for where it begins, two columns of int16."""
    resnet = schedule_of(load_zoo("resnet-8"), "last-1")
    scratch = {call.layer: call.scratch for call in resnet.calls if call.kernel == "conv2d"}
    assert scratch["conv1"] == 28 + 6 * 16 + 4 * 28, "27 taps are seven words"
    assert scratch["conv2"] == 144 + 6 * 16 + 4 * 144
    assert scratch["conv6"] == 6 * 32 + 4 * 16, "1x1: read in place"
    net = Builder("net", (4, 4, 10), 0)
    sparse = net.conv(6, 1)
    odd = net.conv(7, 3)
    graph = net.graph("mean_squared_error")
    schedule = differentiate(graph, {sparse: Trained(bias=False, in_channels=3)}, "int8")
    scratch = {call.layer: call.scratch for call in schedule.calls if call.kernel == "conv2d"}
    assert scratch[sparse] == 6 * 6 + 4 * (4 + 8), "columns of the three channels that train and of the seven others"
    assert scratch[odd] == 9 * 6, "the general kernel gathers a window"


# --- multiply-accumulates ---


@pytest.mark.parametrize(
    ("name", "scheme", "forward", "backward_"),
    [
        # conv1: 12x12x12 outputs of 9 taps, 15,552; fc2: 10 of 432, 4,320.
        ("demo-cnn", "full", 15_552 + 4_320, 4_320 + 4_320 + 15_552),
        ("demo-cnn", "bias", 19_872, 4_320),
        ("demo-cnn", "last-1", 19_872, 4_320),
        ("demo-cnn", "list:fc2.weight[:3],conv1.bias", 19_872, 4_320 + 4_320 // 4),
        ("mlp", "full", 50_176 + 2_048 + 320, 50_176 + 2 * 2_048 + 2 * 320),
        # the published graph's, and TinyTrainingEngine's sparse scheme for it: 9.15 M input and 0.78 M weight gradients
        ("mcunet-5fps", "tte-49kb", 22_455_104, 9_929_600),
    ],
)
def test_macs(name: str, scheme: str, forward: int, backward_: int) -> None:
    schedule = schedule_of(load_zoo(name), scheme)
    assert (schedule.macs_forward, schedule.macs_backward) == (forward, backward_)


def test_macs_of_mcunet_are_those_of_its_table_layer_by_layer() -> None:
    """Backward, by the table alone: an input gradient costs what the forward layer does, a weight gradient the share of
    it that trains. Nothing goes before the first trained row."""
    with TABLE.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    first = next(index for index, row in enumerate(rows) if row["train_bias"] == "1")
    schedule = schedule_of(load_zoo("mcunet-5fps"), "tte-49kb")
    names = [node.name for node in schedule.graph.nodes]
    for index, row in enumerate(rows):
        calls = [call for call in schedule.calls if call.layer == names[index]]
        assert sum(call.macs for call in calls if call.forward) == int(row["macs"]), names[index]
        through = int(row["macs"]) if index > first else 0
        share = int(row["train_weight_first_in_channels"] or 0) * int(row["macs"]) // int(row["in_c"])
        assert sum(call.macs for call in calls if not call.forward) == through + share, names[index]


def test_a_weight_gradient_is_output_positions_times_trained_taps() -> None:
    graph = load_zoo("ds-cnn")
    for scheme, macs in (
        ("list:conv3.weight[:8]", 25 * 5 * 8 * 64),
        ("list:dw2.weight[:5]", 25 * 5 * 9 * 5),
        ("list:conv1.weight", 25 * 5 * 40 * 64),
    ):
        (update,) = [call for call in schedule_of(graph, scheme).calls if call.kernel.endswith("_update")]
        assert update.macs == macs, scheme

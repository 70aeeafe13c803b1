"""Schemes: which parameters train, for every form, and messages that help with what is mistyped."""

from __future__ import annotations

import pytest

from bench.compiler import scheme_file
from bench.compiler.adapters import insert
from bench.compiler.compile import Settings
from bench.compiler.scheme import Trained, choose, describe, scheme_help, split_scheme
from bench.errors import ConfigError
from bench.model import graph as g
from bench.model.plan import Rule
from bench.model.zoo import load_zoo, zoo_names


@pytest.fixture(scope="module")
def ds_cnn():
    return load_zoo("ds-cnn")


def trained_share(graph, scheme):
    rows = describe(graph, choose(graph, scheme))
    return sum(row.weights + row.bias for row in rows) / graph.parameters


@pytest.mark.parametrize("name", zoo_names())
def test_full_trains_every_parameter(name):
    assert trained_share(load_zoo(name), "full") == 1.0


def test_last_k_trains_the_last_layers_in_full(ds_cnn):
    assert choose(ds_cnn, "last-2") == {
        "conv9": Trained(bias=True, in_channels=64),
        "fc10": Trained(bias=True, in_channels=64),
    }


def test_bias_trains_all_biases_and_nothing_else(ds_cnn):
    chosen = choose(ds_cnn, "bias")
    assert list(chosen) == [node.name for node in ds_cnn.convs]
    assert set(chosen.values()) == {Trained(bias=True, in_channels=0)}


def test_a_depthwise_layer_is_chosen_by_its_channels(ds_cnn):
    assert choose(ds_cnn, "full")["dw2"].in_channels == 64
    assert choose(ds_cnn, "list:dw2.weight[:5]") == {"dw2": Trained(bias=False, in_channels=5)}
    (row,) = [row for row in describe(ds_cnn, choose(ds_cnn, "list:dw2.weight[:5]")) if row.weights]
    assert (row.layer, row.weights, row.of) == ("dw2", 5 * 9, 64 * 9)


@pytest.mark.parametrize("name", zoo_names())
@pytest.mark.parametrize("percent", [2, 10, 25, 60])
def test_sparse_p_trains_at_most_p_percent(name, percent):
    graph = load_zoo(name)
    assert trained_share(graph, f"sparse-{percent}") <= percent / 100
    assert graph.convs[-1].name in choose(graph, f"sparse-{percent}")


def test_sparse_p_by_its_rule():
    """mlp, 52,650 parameters, 10 percent: 5,265. The last layer takes 330, fc2's biases 32, half of its input channels
    1,024 (at most half of the 4,903 left), fc1's biases 64; fc1 has one input channel, of which there is no half."""
    assert choose(load_zoo("mlp"), "sparse-10") == {
        "fc1": Trained(bias=True, in_channels=0),
        "fc2": Trained(bias=True, in_channels=32),
        "fc3": Trained(bias=True, in_channels=32),
    }


def test_sparse_p_cuts_a_last_layer_that_does_not_fit():
    """demo-cnn, 25 percent of 4,450: 1,112. Ten biases and 3 of 12 channels at 360; what is left has room for conv1's
    biases alone: there is no half of its one input channel."""
    assert choose(load_zoo("demo-cnn"), "sparse-25") == {
        "conv1": Trained(bias=True, in_channels=0),
        "fc2": Trained(bias=True, in_channels=3),
    }


def test_lists_name_layers_weights_and_biases(ds_cnn):
    assert choose(ds_cnn, "list:conv1.bias, conv3.weight[:8],conv3.bias,fc10") == {
        "conv1": Trained(bias=True, in_channels=0),
        "conv3": Trained(bias=True, in_channels=8),
        "fc10": Trained(bias=True, in_channels=64),
    }


def test_files_name_channels_or_fractions(ds_cnn, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(
        '[[layer]]\nname = "conv3"\nbias = false\nchannels = 8\n[[layer]]\nname = "conv5"\nfraction = 0.25\n'
        '[[layer]]\nname = "dw4"\n'
    )
    assert choose(ds_cnn, f"sparse:{path}") == {
        "conv3": Trained(bias=False, in_channels=8),
        "dw4": Trained(bias=True, in_channels=0),
        "conv5": Trained(bias=True, in_channels=16),
    }


@pytest.mark.parametrize("name", scheme_file.shipped())
def test_files_that_come_with_the_bench_fit_the_network_they_are_named_after(name):
    assert 0 < trained_share(load_zoo(name), f"sparse:{name}") < 0.15


def test_tte_s_scheme_needs_the_macs_that_its_table_implies():
    """9.93 M backward: 9.15 M input gradients and 0.78 M weight gradients, as worked out from the table by hand."""
    graph = load_zoo("mcunet-5fps")
    chosen = choose(graph, "tte-49kb")
    weights = sum(
        node.shape[0] * node.shape[1] * row.weights
        for node, row in zip(graph.convs, describe(graph, chosen), strict=True)
    )
    first = next(index for index, node in enumerate(graph.convs) if node.name in chosen)
    inputs = sum(g.macs(graph, node) for node in graph.convs[first + 1 :])
    assert round(weights / 1e6, 2) == 0.78
    assert round(inputs / 1e6, 2) == 9.15
    assert chosen["conv27"] == Trained(bias=True, in_channels=12)
    assert chosen["dw25"] == Trained(bias=True, in_channels=0)
    assert "conv24" not in chosen


def test_the_table_counts_bytes_of_int8(ds_cnn):
    """A trained weight is a byte and a byte of residual, a bias four."""
    row = describe(ds_cnn, choose(ds_cnn, "last-1"))[-1]
    assert (row.layer, row.weights, row.of, row.bias, row.bytes) == ("fc10", 768, 768, 12, 2 * 768 + 4 * 12)


# --- adapters ---


@pytest.mark.parametrize(
    ("scheme", "parts"),
    [
        ("full", (None, "full")),
        ("low-rank-4", ("low-rank-4", "")),
        ("low-rank-16+bias", ("low-rank-16", "bias")),
        ("lite-residual+sparse:a+b.toml", ("lite-residual", "sparse:a+b.toml")),
        ("sparse:a+b.toml", (None, "sparse:a+b.toml")),
    ],
)
def test_adapters_stand_in_front(scheme, parts):
    assert split_scheme(scheme) == parts


def test_low_rank_trains_its_matrices_and_the_last_layer(ds_cnn):
    graph = insert(ds_cnn, "low-rank-4")
    chosen = choose(graph, "low-rank-4")
    assert chosen["conv3_lora_a"] == Trained(bias=False, in_channels=64)
    assert chosen["conv3_lora_b"] == Trained(bias=False, in_channels=4)
    assert chosen["fc10"] == Trained(bias=True, in_channels=64)
    assert {name for name in chosen if "lora" not in name} == {"fc10"}


def test_lite_residual_trains_its_branches_all_biases_and_the_last_layer(ds_cnn):
    graph = insert(ds_cnn, "lite-residual")
    chosen = choose(graph, "lite-residual")
    assert list(chosen) == [node.name for node in graph.convs]
    assert all(trained.bias for trained in chosen.values())
    whole = {name for name, trained in chosen.items() if trained.in_channels}
    assert whole == {name for name in chosen if "lite" in name} | {"fc10"}


def test_the_rest_of_a_scheme_is_about_the_network_proper(ds_cnn):
    graph = insert(ds_cnn, "low-rank-4")
    alone, more = choose(graph, "low-rank-4"), choose(graph, "low-rank-4+last-2")
    assert set(more) - set(alone) == {"conv9"}
    assert more["conv9"] == Trained(bias=True, in_channels=64)


# --- messages ---


@pytest.mark.parametrize(
    ("scheme", "said"),
    [
        ("sprse-10", "did you mean sparse-10"),
        ("", "unknown"),
        ("last-0", "last-1 to last-10"),
        ("last-11", "10 layers"),
        ("sparse-0", "percent"),
        ("sparse-0.01", "0.053 percent"),
        ("sparse-101", "100 percent"),
        ("list:cnv3.bias", "did you mean conv3"),
        ("list:pool1.bias", "no parameters"),
        ("list:conv3.weight[:65]", "64 channels"),
        ("list:conv3.weight[8]", "CHANNELS"),
        ("list:", "NAME"),
        ("list:conv3.weight[:0]", "nothing"),
        ("sparse:nope", "ds-cnn"),
        ("sparse:nope.toml", "cannot be read"),
        ("tte-49kb", "mcunet-5fps"),
        ("low-rank", "low-rank-4"),
        ("low-rank-0+bias", "at least 1"),
        ("low-rank-4+", "after the plus"),
        ("low-rank-4", "insert"),
    ],
)
def test_a_scheme_that_cannot_be_is_refused(ds_cnn, scheme, said):
    with pytest.raises(ConfigError) as error:
        choose(ds_cnn, scheme)
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("layer = 3", "[[layer]]"),
        ("[[layer]]\nname = 'conv3'\n[other]\n", "[[layer]]"),
        ("[[layer", "TOML"),
        ("[[layer]]\nbias = true", "layer 1"),
        ("[[layer]]\nname = 'conv3'\nchanels = 3", "chanels"),
        ("[[layer]]\nname = 'conv3'\nchannels = 3\nfraction = 0.5", "not both"),
        ("[[layer]]\nname = 'conv3'\nchannels = true", "whole number"),
        ("[[layer]]\nname = 'conv3'\nchannels = 65", "64 channels"),
        ("[[layer]]\nname = 'conv3'\nchannels = -1", "64 channels"),
        ("[[layer]]\nname = 'conv3'\nfraction = 1.5", "at most 1"),
        ("[[layer]]\nname = 'conv3'\nfraction = 'all'", "number"),
        ("[[layer]]\nname = 'conv3'\nbias = 1", "true or false"),
        ("[[layer]]\nname = 'conv33'", "did you mean conv3"),
        ("[[layer]]\nname = 'conv3'\n[[layer]]\nname = 'conv3'", "twice"),
        ("[[layer]]\nname = 'conv3'\nbias = false", "nothing"),
    ],
)
def test_a_file_that_cannot_be_is_refused_with_layer_and_field(ds_cnn, tmp_path, text, said):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as error:
        choose(ds_cnn, f"sparse:{path}")
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("asked", "rule"),
    [
        (Settings("tte-49kb"), "compensated4"),
        (Settings("tte-49kb", rule="compensated"), "compensated"),
        (Settings("tte-49kb", batch=2), "compensated"),
        (Settings("tte-49kb", dtype="float32"), "compensated"),
        (Settings("full"), "compensated"),
        (Settings("full", rule="truncated"), "truncated"),
    ],
)
def test_a_scheme_has_its_own_update_rule_unless_told_otherwise(asked: Settings, rule: str) -> None:
    assert asked.update_rule == rule


@pytest.mark.parametrize("rule", ["compensated4", "truncated"])
def test_only_int8_steps_of_one_sample_have_a_choice_of_rules(rule: Rule) -> None:
    with pytest.raises(ConfigError, match=f"the {rule} update rule is int8's, with batch 1"):
        Settings("full", "int8", 2, rule)
    with pytest.raises(ConfigError, match="update rule"):
        Settings("full", "float32", 1, rule)


def test_the_help_names_every_form():
    text = scheme_help()
    forms = (
        "full",
        "last-K",
        "bias",
        "sparse-P",
        "sparse:FILE.toml",
        "list:",
        "tte-49kb",
        "low-rank-R",
        "lite-residual",
    )
    for form in (*forms, *scheme_file.shipped()):
        assert form in text
    assert max(len(line) for line in text.splitlines()) <= 120

"""Updates that boards code themselves are the bytes that the host's codec makes of the same parameters."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bench.data import partition
from bench.federation.update_codec import CodecSettings, UpdateCodec
from bench.link.device import Device
from bench.link.messages import Capability, ErrorCode
from bench.link.session import Refused
from bench.model.plan import Plan, load_initial
from bench.planning import Planned
from bench.pytest_plugin.boards import RackBoard

SCHEME = "list:conv1.bias,fc2.weight[:2],fc2.bias"
INT8: dict[str, Any] = {"federated": True}
COMPENSATED4: dict[str, Any] = {"federated": True, "rule": "compensated4"}
FLOAT32: dict[str, Any] = {"federated": True, "dtype": "float32"}


def shard(plan: Plan) -> bytes:
    generator = np.random.default_rng(3)
    samples = generator.integers(-60, 100, (20, plan.sample_bytes)).astype(np.int8)
    return partition.build(samples, generator.integers(0, plan.classes, 20).astype(np.uint8), plan.classes)


def flashed(board: RackBoard, recipe: dict[str, Any]) -> tuple[Planned, Device]:
    """With the program and some samples, newly booted."""
    made = board.plan("demo-cnn", SCHEME, **recipe)
    assert made.fits
    if not board.flash_image(made.elf.with_suffix(".bin").read_bytes(), shard(made.compiled.plan)):
        board.reset()
    return made, board.device


def three_rounds_of_coded_updates(board: RackBoard, recipe: dict[str, Any]) -> None:
    made, device = flashed(board, recipe)
    plan = made.compiled.plan
    assert made.footprint.federation_bytes >= plan.base_bytes + plan.error_bytes > 0
    codec = UpdateCodec(plan, CodecSettings(bits=4, keep=128))
    assert made.footprint.federation_bytes - codec.state_bytes in range(16), "all of it is the client's state"
    assert device.info.capabilities & Capability.FEDERATION
    down = plan.encode_down(load_initial(plan.name))
    device.send_round(1, down)
    residual = None
    for round_ in range(1, 4):
        device.train(round_ * 5, 5, 0.02, seed=round_, timeout_s=120.0)
        params = device.read_params()
        update = device.encode_update(4, 128)
        blob = device.fetch_update(update)
        expected = codec.encode(params[: plan.up_bytes], down, residual)
        assert blob == expected.blob
        assert update.clipped == expected.clipped
        residual = expected.residual
        values = plan.decode(down)
        moved = codec.to_real(codec.decode(blob))
        assert any(np.any(change) for change in moved.values())
        new = plan.encode_down({name: value + moved[name] for name, value in values.items()})
        device.send_difference(round_ + 1, codec.encode_down(new, down), new)
        assert device.read_params(0, plan.down_bytes) == new
        down = new
    forgotten = device.fetch_update(device.encode_update(4, 128, forget=True))
    assert forgotten == codec.encode(device.read_params()[: plan.up_bytes], down).blob
    assert device.stats().sram_federation == made.footprint.federation_bytes


@pytest.mark.board(fpu=False)
def test_three_rounds_of_coded_updates(board: RackBoard) -> None:
    three_rounds_of_coded_updates(board, INT8)


@pytest.mark.board(fpu=True, one=True)  # with the other kernels of int8, for cores with SIMD
@pytest.mark.parametrize("recipe", [COMPENSATED4, FLOAT32], ids=["compensated4", "float32"])
def test_three_rounds_with_a_residual_of_four_bits_and_in_float32(board: RackBoard, recipe: dict[str, Any]) -> None:
    three_rounds_of_coded_updates(board, recipe)


@pytest.mark.board(one=True)
def test_a_difference_to_another_version_is_found_and_mended(board: RackBoard) -> None:
    made, device = flashed(board, INT8)
    plan = made.compiled.plan
    codec = UpdateCodec(plan, CodecSettings(bits=4))
    generator = np.random.default_rng(1)
    first, second, third = (
        plan.encode_down({t.name: generator.normal(0, 0.1, t.shape) for t in plan.trained}) for _ in range(3)
    )
    with pytest.raises(Refused) as refused:
        device.encode_update(4)
    assert refused.value.code == ErrorCode.NOT_BEGUN
    device.send_round(1, first)
    for wrong in (codec.encode_down(third, second), b"\x13nonsense"):
        with pytest.raises(Refused) as refused:
            device.send_difference(2, wrong, third)
        assert refused.value.code in (ErrorCode.PARAMS_CORRUPT, ErrorCode.UPDATE_MALFORMED)
        with pytest.raises(Refused, match="NOT_BEGUN"):
            device.train(0, 1, 0.01, seed=1)
        device.send_round(2, first)
    with pytest.raises(Refused) as refused:
        device.encode_update(3)
    assert refused.value.code == ErrorCode.UPDATE_MALFORMED
    device.send_difference(3, codec.encode_down(second, first), second)
    assert device.read_params(0, plan.down_bytes) == second


@pytest.mark.board(one=True)
def test_a_program_without_a_client_s_state_says_so_and_has_none(board: RackBoard) -> None:
    made, device = flashed(board, {})
    assert made.footprint.federation_bytes == 0
    assert not device.info.capabilities & Capability.FEDERATION
    device.send_round(1, made.compiled.plan.encode_down(load_initial(made.compiled.plan.name)))
    with pytest.raises(Refused) as refused:
        device.encode_update(4)
    assert refused.value.code == ErrorCode.NOT_FEDERATED

"""Order, in-place reuse and addresses of whole training steps, replayed byte by byte."""

from __future__ import annotations

import pytest

from bench.compiler.arrange import Arranged
from bench.compiler.compile import Compiled
from bench.compiler.recipe import Recipe, compile_recipe

RECIPES = [
    Recipe("demo-cnn"),
    Recipe("lenet-5", "last-2"),
    Recipe("lenet-5", "lite-residual", dtype="float32"),
    Recipe("ds-cnn", "sparse-25"),
    Recipe("ds-cnn", dtype="float32"),
    Recipe("resnet-8"),
    Recipe("resnet-8", "low-rank-4"),
    Recipe("autoencoder"),
    Recipe("mcunet-5fps", "tte-49kb"),
]


@pytest.fixture(scope="module", params=RECIPES, ids=[f"{r.model}-{r.scheme}-{r.dtype}" for r in RECIPES])
def compiled(request: pytest.FixtureRequest) -> Compiled:
    return compile_recipe(request.param)


def replay(arranged: Arranged) -> int:
    """Runs the calls on an arena that knows whose byte is whose; returns one above the highest byte that was used.

    A call may write where something lies that it reads only in pairs that it declares as in place.
    """
    values = arranged.schedule.values
    owner: dict[int, str] = {}
    top = 0
    for call in arranged.calls:
        for name in call.reads.values():
            start = arranged.offsets[name]
            kept = all(owner.get(byte) == name for byte in range(start, start + values[name].bytes))
            assert kept, f"{call.name} reads {name}, which has been overwritten"
        taken = {}
        for role, name in call.writes.items():
            start = arranged.offsets[name]
            allowed = {call.reads[read] for written, read in call.in_place if written == role}
            for byte in range(start, start + values[name].bytes):
                assert byte not in taken, f"{call.name} writes {name} over {taken.get(byte)}"
                taken[byte] = name
                read_now = owner.get(byte) in set(call.reads.values()) - allowed
                assert not read_now, f"{call.name} writes {name} where it reads {owner.get(byte)}"
        if call.scratch:
            start = arranged.scratch[call.name]
            for byte in range(start, start + call.scratch):
                assert byte not in taken, f"{call.name}: scratch over what it writes"
                assert owner.get(byte) not in call.reads.values(), f"{call.name}: scratch over what it reads"
                taken[byte] = "scratch"
        owner |= taken
        top = max([top, *(byte + 1 for byte in taken)])
    return top


def test_nothing_is_overwritten_before_its_last_reader(compiled: Compiled) -> None:
    top = replay(compiled.arranged)
    assert compiled.arranged.arena_bytes - 8 < top <= compiled.arranged.arena_bytes, "the arena is as large as needed"


def test_the_zoo_is_placed_at_its_bound(compiled: Compiled) -> None:
    assert compiled.arranged.arena_bytes == compiled.arranged.lower_bound_bytes


def test_no_order_takes_more_than_the_program_s_own(compiled: Compiled) -> None:
    from bench.compiler.arrange import arrange

    plain = arrange(compiled.arranged.schedule, reorder=False)
    assert compiled.arranged.arena_bytes <= plain.arena_bytes
    replay(plain)


def test_inference_alone_reads_what_it_wrote(compiled: Compiled) -> None:
    """infer() leaves the training's calls out; what it reads must not depend on them."""
    written: set[str] = set()
    for call in compiled.arranged.calls:
        if call.forward and not call.training:
            assert set(call.reads.values()) <= written, call.name
            written |= set(call.writes.values())


def test_every_offset_is_aligned(compiled: Compiled) -> None:
    assert all(offset % 4 == 0 for offset in compiled.arranged.offsets.values())

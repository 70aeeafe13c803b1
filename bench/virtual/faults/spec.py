"""What goes wrong with a virtual board; it crosses to the board's process as JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, Self, get_args

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from bench.errors import ConfigError

LinkKind = Literal["bit-flip", "drop", "burst", "stall", "disconnect"]
BoardKind = Literal["slow", "reset", "hang", "hard-fault", "wrong-build", "brown-out", "probe-gone", "power-cycle"]
Direction = Literal["down", "up"]
"""Towards the board, or from it."""

LINK_KINDS: tuple[LinkKind, ...] = get_args(LinkKind)


@dataclass(frozen=True)
class Fault:
    """One fault. It strikes when the line has carried `after` more bytes in `direction`; `seed` decides the rest.

    * bit-flip: one bit of each of `size` bytes. drop: `size` bytes are lost. burst: `size` bytes become noise.
    * stall: the line holds everything back for `seconds`. disconnect: the terminal is gone for `seconds`.
    * slow: the board executes a `size`-th of the time, for `seconds`. reset: of the chip, by nobody's order.
    * hang: it executes nothing until it is reset. hard-fault: it jumps to where nothing may be executed.
    * wrong-build: `image`, a file, is in its flash. brown-out: the same, and at the `size`-th change of flash from then
      on the power fails for `seconds`, with a word half written.
    * probe-gone: the debug probe disappears and the board hangs, until its power is switched off and on.
    * power-cycle: power fails for `seconds`.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    kind: LinkKind | BoardKind
    direction: Direction = "down"
    after: Annotated[int, Field(ge=0)] = 0
    size: Annotated[int, Field(ge=1)] = 1
    seconds: Annotated[float, Field(ge=0, le=60)] = 0.0
    seed: int = 0
    image: str = ""

    @property
    def on_link(self) -> bool:
        """Whether it is the line that suffers, not the board."""
        return self.kind in LINK_KINDS

    def to_json(self) -> bytes:
        """One JSON object, without a line end."""
        return TypeAdapter(type(self)).dump_json(self)

    @classmethod
    def from_json(cls, text: bytes) -> Self:
        """Reads what to_json wrote. Raises ConfigError."""
        try:
            return TypeAdapter(cls).validate_json(text)
        except ValidationError as error:
            faults = [f"{'.'.join(map(str, e['loc'])) or 'fault'}: {e['msg']}" for e in error.errors()]
            raise ConfigError("; ".join(faults)) from error

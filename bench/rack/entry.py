"""A board's entry in the inventory, field by field. What must hold between fields and the world: entry_faults.py."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from bench.virtual.instruments.spec import Faults

_REMOTE = re.compile(r"^remote:(?P<host>[^:\s]+):(?P<port>\d{1,5})$")


class Section(BaseModel):
    """A mapping whose fields are all known."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Power(Section):
    """How a board's supply is switched: not at all; by commands, which are run without a shell; by `uhubctl`, on a hub
    that can switch its ports; or by the PPK2 that feeds it."""

    kind: Literal["none", "command", "uhubctl", "ppk2"]
    off: tuple[str, ...] = Field(default=(), strict=False)
    on: tuple[str, ...] = Field(default=(), strict=False)
    """A command and its arguments, in which {name}, {probe} and {serial} stand for the board's own."""
    location: str = Field(default="", pattern=r"^\S*$")
    """The hub, as `uhubctl` lists it: 1-1.4."""
    port: int | None = Field(default=None, ge=1, le=127)
    """The hub's port that feeds the board."""
    off_s: float = Field(default=1.0, gt=0, le=60)
    """How long it stays off, in seconds."""

    @model_validator(mode="after")
    def _fields_belong_to_their_kind(self) -> Power:
        commands = [name for name, command in (("off", self.off), ("on", self.on)) if command]
        hub = [name for name, given in (("location", self.location), ("port", self.port)) if given]
        if self.kind == "command" and commands != ["off", "on"]:
            raise ValueError("kind `command` needs both `off` and `on`, each a command and its arguments in a list")
        if self.kind == "uhubctl" and hub != ["location", "port"]:
            raise ValueError("kind `uhubctl` needs both `location` and `port`, as `uhubctl` by itself lists them")
        if self.kind != "command" and commands:
            raise ValueError(f"kind `{self.kind}` has no commands; say `kind: command` to have them run")
        if self.kind != "uhubctl" and hub:
            raise ValueError(f"kind `{self.kind}` has no {hub[0]}; say `kind: uhubctl` for a hub's port")
        for word in (*self.off, *self.on):
            _filled(word, dict.fromkeys(_PLACES, ""))
        return self

    def command(self, way: Literal["off", "on"], entry: BoardEntry) -> list[str]:
        """What switches this board's power."""
        if self.kind == "uhubctl":
            return ["uhubctl", "--action", way, "--location", self.location, "--ports", str(self.port)]
        values = {place: str(getattr(entry, place)) for place in _PLACES}
        return [_filled(word, values) for word in (self.off if way == "off" else self.on)]


_PLACES = ("name", "probe", "serial")


def _filled(word: str, values: dict[str, str]) -> str:
    """A word of a command with the board's own in it; other braces are left as they are."""

    def value(match: re.Match[str]) -> str:
        if match[1] not in values:
            raise ValueError(
                f"`{word}`: {{{match[1]}}} stands for nothing; there are {{name}}, {{probe}} and {{serial}}"
            )
        return values[match[1]]

    return re.sub(r"\{(\w+)\}", value, word)


class Meter(Section):
    """What measures the board's current; `modelled`: nothing, its energy is modelled from data-sheet currents."""

    kind: Literal["ppk2", "lpm01a", "joulescope", "modelled"]
    port: str = ""
    """Its serial port; a Joulescope's serial number, which may be left out when there is only one."""
    voltage_mv: int | None = Field(default=None, gt=0)
    """What the board is fed with; of a virtual board, the manifest's unless given."""
    supply: Literal["meter", "external"] = "meter"
    """Who feeds the board: the meter, or something else through the meter."""
    marker: int | None = Field(default=0, ge=0, le=7)
    """The logic channel that the board's marker pin is connected to; null: none."""
    line: tuple[Annotated[int, Field(ge=0, le=7)], ...] = Field(default=(), max_length=2, strict=False)
    """The logic channels that the console's TX and RX are connected to, if they are: they tell transfers from rest."""
    virtual: Faults | None = None
    """An emulated meter, of a virtual board, and what is wrong with it on purpose."""


class Virtual(Section):
    """The emulated board behind probe and serial line; absent for a real one."""

    machine: str
    """QEMU's name of the machine."""
    serial_index: int | None = Field(default=None, ge=0, le=15)
    """Which of the machine's serial lines is the console; absent: the one that the board's firmware uses."""


class BoardEntry(Section):
    """One board of the rack."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=64)
    env: str
    target: str = ""
    """pyOCD's target; that of the environment's manifest unless given."""
    probe: str = Field(pattern=r"^\S+$")
    """The probe's full unique id, or remote:HOST:PORT. `stlink:`, `jlink:` or `cmsisdap:` before an id keeps pyOCD from
    asking probes of other kinds for theirs."""
    serial: str = ""
    """A pyserial URL; empty (or `auto`) only for virtual boards, whose line is made when they start."""
    baud: int = Field(default=0, ge=1200, le=4_000_000)
    """Baud rate that the firmware was built for; the manifest's unless given."""
    power: Power | None = None
    meter: Meter | None = None
    features: tuple[str, ...] = Field(default=(), strict=False)
    pack: str | None = None
    """A CMSIS pack for a target that pyOCD does not have built in; a relative path starts at the inventory's folder."""
    virtual: Virtual | None = None

    @property
    def remote_port(self) -> int | None:
        """TCP port of a remote probe."""
        match = _REMOTE.match(self.probe)
        return int(match["port"]) if match else None

"""What a virtual board is made of, as the inventory or a person says it; it crosses to the board process as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Self

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from bench.errors import ConfigError
from bench.virtual.parts import MACHINES, Machine

HOST_MACHINE = "host"

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=64)]
Address = Annotated[int, Field(ge=0, lt=1 << 32)]


@dataclass(frozen=True)
class VirtualBoardSpec:
    """One virtual board.

    `env` is the PlatformIO environment whose image it runs, `machine` QEMU's name for it, or `host` for the firmware as
    a process of this computer. `probe_port` is the debug port's TCP port on 127.0.0.1, 0 for any free one. The flash
    and RAM fields (bytes) are what the board's manifest says; they must lie inside the emulated part's memories.
    `serial_index` is which of QEMU's serial lines is the console; None takes the machine's own.

    Only with machine `host`: `host_program` is the firmware's executable, `data_file` its data partition. Such a board
    has no debug port: memory fields and `probe_port` are 0.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    name: Name
    env: str
    machine: str
    probe_port: Annotated[int, Field(ge=0, le=65535)] = 0
    flash_base: Address = 0
    flash_size: Address = 0
    ram_base: Address = 0
    ram_size: Address = 0
    serial_index: Annotated[int, Field(ge=0, le=15)] | None = None
    host_program: str | None = None
    data_file: str | None = None

    @property
    def is_host(self) -> bool:
        """True when the firmware runs as a process, without a debug port."""
        return self.machine == HOST_MACHINE

    def emulated(self) -> Machine:
        """The emulated machine. Raises ConfigError for an unknown one, or when the spec's memories are not its own."""
        machine = MACHINES.get(self.machine)
        if machine is None:
            known = ", ".join([*MACHINES, HOST_MACHINE])
            raise ConfigError(f"board {self.name}: unknown virtual.machine {self.machine!r}: choose one of {known}")
        part = machine.part
        if (self.flash_base, self.flash_size) != (part.flash.base, part.flash.size):
            raise ConfigError(
                f"board {self.name}: flash of {self.env} is 0x{self.flash_base:08x}, {self.flash_size} bytes, but "
                f"machine {self.machine} has 0x{part.flash.base:08x}, {part.flash.size} bytes"
            )
        if not any(ram.holds(self.ram_base, self.ram_size) for ram in part.ram):
            raise ConfigError(
                f"board {self.name}: RAM of {self.env}, 0x{self.ram_base:08x} and {self.ram_size} bytes, is not inside "
                f"that of machine {self.machine}"
            )
        return machine

    def check(self) -> None:
        """Raises ConfigError for what cannot be started."""
        if not self.is_host:
            self.emulated()
        elif self.host_program is None:
            raise ConfigError(f"board {self.name}: machine host needs host_program, the built firmware's executable")

    def to_json(self) -> str:
        """The spec as one JSON object."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str, source: str = "spec") -> Self:
        """Reads what to_json wrote, or a person did; `source` names it in the ConfigError."""
        try:
            return TypeAdapter(cls).validate_json(text)
        except ValidationError as error:
            faults = [f"{'.'.join(str(part) for part in e['loc']) or 'spec'}: {e['msg']}" for e in error.errors()]
            raise ConfigError(f"{source}: " + "; ".join(faults)) from error

    @classmethod
    def for_env(
        cls, name: str, env: str, machine: str | None = None, *, probe_port: int = 0, host_program: Path | None = None
    ) -> Self:
        """The spec of a board from its manifest; `machine` defaults to the one that carries the environment's name."""
        from bench.rack.manifest import load_manifest

        manifest = load_manifest(env)
        machine = machine if machine is not None else env.replace("_", "-")
        if machine == HOST_MACHINE:
            return cls(name, env, machine, host_program=None if host_program is None else str(host_program))
        flash, ram = manifest.flash, manifest.ram
        return cls(name, env, machine, probe_port, flash.base, flash.size, ram.base, ram.size)

"""An inventory of what is plugged in: debug probes as pyOCD lists them, and the serial ports beside them."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench import process
from bench.errors import InfrastructureError
from bench.rack.doctor.host import probe_id
from bench.rack.doctor.usb import Machine, UsbDevice
from bench.rack.manifest import all_manifests

_LIST_TIMEOUT_S = 30.0
_NAMES = {
    "micro:bit": "microbit",
    "disco-l475vg-iot01a": "b_l475e_iot01a",
    "nucleo-f412zg": "nucleo_f412zg",
    "nucleo-f429zi": "nucleo_f429zi",
    "nrf52840-dk": "nrf52840_dk",
}
"""Environments by the names that pyOCD's table of boards has for them (pyocd/board/board_ids.py), in lower case."""


@dataclass(frozen=True)
class Probe:
    """A probe as pyOCD lists it; `board` and `target` are empty where its board is not known."""

    uid: str
    kind: str
    board: str
    target: str


@dataclass(frozen=True)
class Found:
    """A board to be: its probe, the serial port of the same device, and which environment it may be."""

    probe: Probe
    serial: str
    env: str
    choices: tuple[str, ...]


def list_probes() -> list[Probe]:
    """The probes that are plugged in. Raises InfrastructureError when pyOCD cannot tell.

    It opens each for a moment, which disturbs a run that uses it.
    """
    try:
        ended = process.run(
            [sys.executable, "-m", "pyocd", "json", "--probes", "--no-config"], timeout_s=_LIST_TIMEOUT_S
        )
    except process.NotEndedError as error:
        raise InfrastructureError(
            f"pyocd json --probes did not end within {_LIST_TIMEOUT_S:.0f} s: is a run using the probes?"
        ) from error
    return read_probes(ended.output)


def read_probes(text: str) -> list[Probe]:
    """What `pyocd json --probes` printed. Raises InfrastructureError for an error that it tells."""
    try:
        document = json.loads(text[text.index("{") :])
    except ValueError as error:
        raise InfrastructureError(f"pyocd json --probes printed no JSON: {text.strip()[:200]!r}") from error
    if document.get("status") != 0:
        raise InfrastructureError(f"pyocd json --probes failed: {document.get('error', 'no reason given')}")
    return [
        Probe(item["unique_id"], item.get("info", ""), _known(item, "board_name"), _known(item, "target"))
        for item in document["boards"]
    ]


def pair(probes: Sequence[Probe], devices: Sequence[UsbDevice], machine: Machine) -> list[Found]:
    """Each probe with the serial port of its own USB device."""
    return [_found(probe, devices, machine) for probe in probes]


def unpaired_ports(probes: Sequence[Probe], devices: Sequence[UsbDevice], machine: Machine) -> list[tuple[str, str]]:
    """Serial ports that no probe has, and what they are: adapters of boards whose probe has no port."""
    taken = {probe.uid for probe in probes}
    return [
        (machine.stable_name(tty), str(device))
        for device in devices
        if probe_id(device) not in taken
        for tty in device.ttys
    ]


def inventory_text(found: Sequence[Found], ports: Sequence[tuple[str, str]]) -> str:
    """An inventory, commented; what could not be found out is in comments, so that the rest can be used at once."""
    lines = [
        "# Written by `bench rack discover` from what was plugged in. `bench rack doctor FILE` says what is wrong.",
        "# hosts/lab.example.yaml explains every field.",
    ]
    whole = [one for one in found if one.env and one.serial]
    lines += (
        ["boards:"]
        if whole
        else ["# No board is known whole yet; complete one of these, with `boards:` before it."]
        if found
        else ["# No probe is plugged in, or none that this user may use: `bench rack doctor FILE --hardware` tells."]
    )
    names = _names(found)
    for one, name in zip(found, names, strict=True):
        lines += ["", *_entry(one, name, comment=one not in whole)]
    if ports:
        lines += ["", "# Serial ports that belong to no probe, for boards whose console is on header pins:"]
        lines += [f"#   {path}  # {what}" for path, what in ports]
    return "\n".join(lines) + "\n"


def _entry(one: Found, name: str, *, comment: bool) -> list[str]:
    head = [f"  # {one.probe.kind or 'debug probe'}" + (f": {one.probe.board}" if one.probe.board else "")]
    mark = "# " if comment else ""
    env = one.env or "ENV"
    body = [f"  - name: {name}", f"    env: {env}", f'    probe: "{one.probe.uid}"']
    body.append(f"    serial: {one.serial or '/dev/serial/by-id/PORT'}")
    hints = []
    if not one.env:
        hints.append(f"  # Which board is on this probe is not known. Put for ENV: {', '.join(one.choices)}.")
    if not one.serial:
        hints.append("  # This probe has no serial port of its own: put the board's for PORT.")
    return [*head, *hints, *(mark + line if comment else line for line in body)]


def _found(probe: Probe, devices: Sequence[UsbDevice], machine: Machine) -> Found:
    own = [device for device in devices if probe_id(device).lower() == probe.uid.lower()]
    ttys = [tty for device in own for tty in device.ttys]
    env = _NAMES.get(probe.board.lower(), "")
    return Found(probe, machine.stable_name(ttys[0]) if ttys else "", env, _choices(probe))


def _choices(probe: Probe) -> tuple[str, ...]:
    """The environments that a board may be of which pyOCD does not say more than its target, or nothing."""
    targets = {env: manifest.pyocd_target for env, manifest in all_manifests().items() if manifest.pyocd_target}
    return tuple(env for env, target in targets.items() if target == probe.target) or tuple(targets)


def _names(found: Sequence[Found]) -> list[str]:
    counts: dict[str, int] = {}
    names = []
    for one in found:
        base = re.sub(r"[^A-Za-z0-9]+", "-", one.env or "board").strip("-")
        counts[base] = counts.get(base, 0) + 1
        names.append(f"{base}-{counts[base]}")
    return names


def _known(item: Mapping[str, Any], key: str) -> str:
    value = item.get(key) or ""
    return "" if str(value).lower() in ("generic", "cortex_m", "n/a", "none", "unknown") else str(value)

"""What is wrong between this machine and the boards of an inventory: probes, serial ports, rights, remote ends."""

from __future__ import annotations

import socket
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from bench.link.port import find_holder
from bench.rack.doctor.finding import Finding, Level
from bench.rack.doctor.usb import Machine, UsbDevice
from bench.rack.entry import BoardEntry

_SEGGER = 0x1366
_PROBE_VENDORS = {0x0483: "ST-LINK", 0x0D28: "DAPLink", _SEGGER: "J-Link", 0x2E8A: "picoprobe"}
_CONNECT_S = 2.0
_LOOK_UP_S = 3.0  # in which a name server has answered; without one the C library tries for a minute and more


def probe_id(device: UsbDevice) -> str:
    """The unique id that pyOCD gives a probe: the USB serial number, but of a J-Link the plain number."""
    if device.vendor == _SEGGER and device.serial.isdecimal():
        return str(int(device.serial))
    return device.serial


def is_probe(device: UsbDevice) -> bool:
    """Whether it is a debug probe, by its maker or, as CMSIS-DAP asks for, by its name."""
    name = device.name.upper()
    if device.vendor == 0x0483:
        return "LINK" in name  # ST's boards themselves have this vendor's number as well
    return device.vendor in _PROBE_VENDORS or "CMSIS-DAP" in name


def matching(entry: BoardEntry, devices: Sequence[UsbDevice]) -> list[UsbDevice]:
    """The probes that pyOCD would take for this board's."""
    wanted = _wanted(entry)
    return [device for device in devices if is_probe(device) and device.serial and wanted in probe_id(device).lower()]


def is_here(entry: BoardEntry, machine: Machine, devices: Sequence[UsbDevice]) -> bool:
    """Whether anything of a real board can be reached from this machine: its probe or its line."""
    if entry.probe.startswith("remote:"):
        return _answers(_remote_probe(entry)) is None
    return bool(matching(entry, devices)) or ("://" not in entry.serial and machine.resolve(entry.serial).exists())


def examine(entries: Sequence[BoardEntry], machine: Machine) -> list[Finding]:
    """All findings about the real boards of an inventory."""
    devices = machine.usb_devices()
    real = [entry for entry in entries if entry.virtual is None]
    findings = [finding for entry in real for finding in _probe(entry, machine, devices)]
    findings += [finding for entry in real for finding in _serial(entry, real, machine, devices)]
    return [*findings, *_alike(devices)]


def _wanted(entry: BoardEntry) -> str:
    return entry.probe.rpartition(":")[2].lower()


def _probe(entry: BoardEntry, machine: Machine, devices: Sequence[UsbDevice]) -> Iterator[Finding]:
    if entry.probe.startswith("remote:"):
        yield from _remote(entry, "probe", _remote_probe(entry), "start `pyocd server` there")
        return
    found = matching(entry, devices)
    if not found:
        yield _missing_probe(entry, devices)
        return
    if len(found) > 1:
        what = f"{entry.probe} is that of {len(found)} probes: {'; '.join(map(str, found))}"
        mend = "give the full id; two probes of one id cannot both be used: change one's, or use it on another machine"
        yield Finding(Level.ERROR, entry.name, "probe", what, mend, reach=True)
        return
    device = found[0]
    if not machine.may_use(device.node):
        what = f"you may not use {device} at {_shown(device.node, machine)}"
        yield Finding(Level.ERROR, entry.name, "permissions", what, _udev_rule(device), reach=True)
    elif machine.uid != 0 and not machine.has_udev_rule(device.vendor):
        what = f"no udev rule is about {device}: the right to use it may be gone when it is plugged in again"
        yield Finding(Level.WARNING, entry.name, "udev rules", what, _udev_rule(device))
    if device.vendor == _SEGGER and device.mass_storage:
        what = f"the mass storage of {device} is on: its serial port may corrupt more than 64 bytes at a time"
        mend = "`JLinkExe`, then `MSDDisable`, then plug it in again"
        yield Finding(Level.WARNING, entry.name, "J-Link mass storage", what, mend)


def _missing_probe(entry: BoardEntry, devices: Sequence[UsbDevice]) -> Finding:
    wanted = _wanted(entry)
    plain = wanted.lstrip("0")
    if any(plain == probe_id(device) for device in devices if device.vendor == _SEGGER):
        what = f"pyOCD knows the J-Link {wanted} as {plain}, without leading zeros, and would not find it"
        return Finding(Level.ERROR, entry.name, "probe", what, f"write `probe: jlink:{plain}`", reach=True)
    here = "; ".join(probe_id(device) for device in devices if is_probe(device)) or "none"
    mend = f"plug it in, or correct `probe`; there are: {here}"
    return Finding(Level.ERROR, entry.name, "probe", f"{entry.probe} is not plugged in", mend, reach=True)


def _serial(
    entry: BoardEntry, real: Sequence[BoardEntry], machine: Machine, devices: Sequence[UsbDevice]
) -> Iterator[Finding]:
    if "://" in entry.serial:
        url = urlsplit(entry.serial)
        if url.scheme in ("rfc2217", "socket"):
            port = (url.hostname or "", url.port or 0)
            yield from _remote(entry, "serial line", port, "start the serial server there")
        return
    node = machine.resolve(entry.serial)
    if not node.exists():
        ports = [machine.stable_name(tty) for device in devices for tty in device.ttys]
        mend = f"plug it in, or correct `serial`; there are: {'; '.join(ports) or 'none'}"
        yield Finding(Level.ERROR, entry.name, "serial line", f"{entry.serial} does not exist", mend, reach=True)
        return
    if not machine.may_use(node):
        what = f"you may not open {entry.serial}"
        mend = f"`sudo usermod -aG {_group(node)} $USER`, then log in again"
        yield Finding(Level.ERROR, entry.name, "permissions", what, mend, reach=True)
    elif (
        machine.root == Path("/")
        and node.parent != Path("/dev/pts")  # whose other end is a process that holds it rightly
        and (holder := find_holder(entry.serial))
    ):
        what = f"{entry.serial} is held by {holder}"
        mend = 'end it, or wait; of ModemManager, give the port a udev rule with ENV{ID_MM_DEVICE_IGNORE}="1"'
        yield Finding(Level.ERROR, entry.name, "serial line", what, mend, reach=True)
    stable = machine.stable_name(node.name)
    if entry.serial != stable and stable.startswith("/dev/serial/"):
        what = f"{entry.serial} changes with the order in which boards are plugged in"
        yield Finding(Level.WARNING, entry.name, "serial line", what, f"write `serial: {stable}`")
    yield from _crossed(entry, real, node.name, devices)


def _crossed(
    entry: BoardEntry, real: Sequence[BoardEntry], tty: str, devices: Sequence[UsbDevice]
) -> Iterator[Finding]:
    """The line is that of another board's probe."""
    device = next((device for device in devices if tty in device.ttys), None)
    if device is None or device in matching(entry, devices):
        return
    other = next((other for other in real if other is not entry and device in matching(other, devices)), None)
    if other is not None:
        what = f"its serial port is that of {other.name}'s probe, {device}"
        mend = "of boards whose probe is their serial port, `probe` and `serial` have the same serial number"
        yield Finding(Level.ERROR, entry.name, "serial line", what, mend)


def _alike(devices: Sequence[UsbDevice]) -> Iterator[Finding]:
    """Devices that cannot be told apart, whether or not the inventory has them: names under by-id show only one."""
    counted = Counter((device.vendor, device.product, device.serial) for device in devices if _matters(device))
    for (vendor, product, serial), number in counted.items():
        if number > 1:
            what = f"{number} devices {vendor:04x}:{product:04x} have the same serial number {serial or '(none)'}"
            mend = "use one of them on another machine, or give it a number (CP210x and FT232 keep it in an EEPROM)"
            yield Finding(Level.WARNING, "this machine", "two alike", what, mend)


def _matters(device: UsbDevice) -> bool:
    return is_probe(device) or bool(device.ttys)


def _remote_probe(entry: BoardEntry) -> tuple[str, int]:
    return entry.probe.removeprefix("remote:").rpartition(":")[0], entry.remote_port or 0


def _remote(entry: BoardEntry, check: str, end: tuple[str, int], mend: str) -> Iterator[Finding]:
    refused = _answers(end)
    if refused is not None:
        what = f"{end[0]}:{end[1]} does not answer: {refused}"
        yield Finding(Level.ERROR, entry.name, check, what, f"{mend}, or correct host and port", reach=True)


def _answers(end: tuple[str, int]) -> str | None:
    """None when something listens there, else why not. The look-up of the name has a time limit too."""
    late = f"nothing within {_LOOK_UP_S + _CONNECT_S:g} s: is there a name server for it, and a way to it?"
    refused = [late]

    def connect() -> None:
        try:
            socket.create_connection(end, timeout=_CONNECT_S).close()
            refused.clear()
        except (OSError, UnicodeError) as error:  # the latter of a name with an empty or too long part
            refused[:] = [str(error)]

    asking = threading.Thread(target=connect, daemon=True)  # a look-up cannot be ended
    asking.start()
    asking.join(_LOOK_UP_S + _CONNECT_S)
    return next(iter(tuple(refused)), None)


def _udev_rule(device: UsbDevice) -> str:
    rule = f'SUBSYSTEM=="usb", ATTR{{idVendor}}=="{device.vendor:04x}", MODE="0660", TAG+="uaccess"'
    return f"write {rule} into /etc/udev/rules.d/60-probes.rules, `sudo udevadm control --reload`, plug it in again"


def _shown(node: Path, machine: Machine) -> str:
    return "/" + str(node.relative_to(machine.root))


def _group(node: Path) -> str:
    try:
        return node.group()
    except (KeyError, OSError):
        return "dialout"

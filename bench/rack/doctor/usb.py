"""What is plugged into this machine, as Linux shows it in /sys and /dev, and whether this user may use it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

_RULE_FOLDERS = ("etc/udev/rules.d", "run/udev/rules.d", "usr/lib/udev/rules.d", "lib/udev/rules.d")
_MASS_STORAGE = 0x08  # USB interface class


@dataclass(frozen=True)
class UsbDevice:
    """A USB device. `ttys` are the names of the serial ports that are its own."""

    vendor: int
    product: int
    serial: str
    name: str
    node: Path
    ttys: tuple[str, ...] = ()
    interface_classes: tuple[int, ...] = ()

    @property
    def mass_storage(self) -> bool:
        """Whether it shows itself as a disk, too."""
        return _MASS_STORAGE in self.interface_classes

    def __str__(self) -> str:
        """As a person would look for it."""
        return f"{self.name or 'USB device'} ({self.vendor:04x}:{self.product:04x}, serial number {self.serial or '-'})"


@dataclass(frozen=True)
class Machine:
    """This machine, or a tree that looks like one; `uid` and `groups` are whose rights count."""

    root: Path = Path("/")
    uid: int = field(default_factory=os.geteuid)
    groups: frozenset[int] = field(default_factory=lambda: frozenset((os.getegid(), *os.getgroups())))

    def usb_devices(self) -> tuple[UsbDevice, ...]:
        """Everything on the buses but hubs."""
        folder = self.root / "sys/bus/usb/devices"
        found = (self._device(path) for path in sorted(folder.glob("*")) if (path / "idVendor").is_file())
        return tuple(device for device in found if device is not None)

    def resolve(self, path: str) -> Path:
        """A device path in this tree, links followed."""
        inside = self.root / path.lstrip("/")
        return inside.resolve() if inside.exists() else inside

    def stable_name(self, tty: str) -> str:
        """The path under /dev/serial/by-id that leads to a port, or its own path where there is none."""
        for link in sorted((self.root / "dev/serial/by-id").glob("*")):
            if link.resolve().name == tty:
                return f"/dev/serial/by-id/{link.name}"
        return f"/dev/{tty}"

    def may_use(self, node: Path) -> bool:
        """Whether this user may read and write a device node, by its owner, group and mode."""
        try:
            status = node.stat()
        except OSError:
            return False
        if self.uid == 0:
            return True
        if status.st_uid == self.uid:
            wanted = stat.S_IRUSR | stat.S_IWUSR
        elif status.st_gid in self.groups:
            wanted = stat.S_IRGRP | stat.S_IWGRP
        else:
            wanted = stat.S_IROTH | stat.S_IWOTH
        if status.st_mode & wanted == wanted:
            return True
        # An access list, which systemd's uaccess makes, is not in the mode: only the kernel knows.
        return self.root == Path("/") and os.access(node, os.R_OK | os.W_OK)

    def has_udev_rule(self, vendor: int) -> bool:
        """Whether any rule is about that vendor's devices."""
        return any(f"{vendor:04x}" in text for text in self._rules())

    def _rules(self) -> Iterator[str]:
        for folder in _RULE_FOLDERS:
            for path in sorted((self.root / folder).glob("*.rules")):
                try:
                    lines = path.read_text(encoding="utf-8", errors="replace").lower().splitlines()
                except OSError:
                    continue
                yield "\n".join(line for line in lines if "idvendor" in line and not line.lstrip().startswith("#"))

    def _device(self, path: Path) -> UsbDevice | None:
        if _word(path / "bDeviceClass") == "09":
            return None
        bus, number = _word(path / "busnum"), _word(path / "devnum")
        if not bus.isdecimal() or not number.isdecimal():
            return None
        interfaces = [inner for inner in sorted(path.glob(f"{path.name}:*")) if (inner / "bInterfaceClass").is_file()]
        # A port lies directly below its interface (ttyACM0 in `tty`), or as an adapter's does (ttyUSB0).
        ttys = [tty.name for inner in interfaces for tty in (*inner.glob("tty/tty*"), *inner.glob("ttyUSB*"))]
        return UsbDevice(
            int(_word(path / "idVendor"), 16),
            int(_word(path / "idProduct"), 16),
            _word(path / "serial"),
            " ".join(filter(None, (_word(path / "manufacturer"), _word(path / "product")))),
            self.root / f"dev/bus/usb/{int(bus):03}/{int(number):03}",
            tuple(sorted(set(ttys))),
            tuple(int(_word(inner / "bInterfaceClass"), 16) for inner in interfaces),
        )


def _word(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""

"""A tree that looks like /sys and /dev of a Linux machine, with what a test plugs in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.rack.doctor.usb import Machine

USER, GROUP = 1000, 1000


class FakeMachine:
    """`machine` reads what was plugged in, as a user who is in no group of devices unless said otherwise."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._count = 0
        (root / "sys/bus/usb/devices").mkdir(parents=True)
        (root / "dev/serial/by-id").mkdir(parents=True)
        (root / "etc/udev/rules.d").mkdir(parents=True)

    def machine(self, *, groups: Sequence[int] = (GROUP,)) -> Machine:
        return Machine(self.root, USER, frozenset(groups))

    def plug(
        self,
        vendor: int,
        product: int,
        serial: str,
        name: str,
        *,
        tty: str = "",
        by_id: str = "",
        classes: Sequence[int] = (0xFF,),
        mode: int = 0o666,
    ) -> None:
        """A device, with a serial port on its last interface if `tty` names one; modes of its nodes."""
        self._count += 1
        label = f"1-{self._count}"
        folder = self.root / "sys/bus/usb/devices" / label
        words = {"idVendor": f"{vendor:04x}", "idProduct": f"{product:04x}", "serial": serial, "product": name}
        words |= {"busnum": "1", "devnum": str(self._count), "bDeviceClass": "ef"}
        folder.mkdir()
        for key, value in words.items():
            (folder / key).write_text(value + "\n")
        for index, number in enumerate(classes):
            interface = folder / f"{label}:1.{index}"
            interface.mkdir()
            (interface / "bInterfaceClass").write_text(f"{number:02x}\n")
        if tty:
            (interface / "tty" / tty).mkdir(parents=True)
            self.node(f"dev/{tty}", mode)
        if by_id:
            (self.root / "dev/serial/by-id" / by_id).symlink_to(f"../../{tty}")
        self.node(f"dev/bus/usb/001/{self._count:03}", mode)

    def node(self, path: str, mode: int) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"")
        file.chmod(mode)

    def rule(self, text: str) -> None:
        (self.root / "etc/udev/rules.d/60-probes.rules").write_text(text + "\n")

    def plug_stlink(self, serial: str, tty: str = "ttyACM0", *, mode: int = 0o666) -> str:
        """A NUCLEO's or Discovery kit's; returns the path of its serial port."""
        by_id = f"usb-STMicroelectronics_STM32_STLink_{serial}-if02"
        self.plug(0x0483, 0x374B, serial, "STM32 STLink", tty=tty, by_id=by_id, classes=(0xFF, 8, 2), mode=mode)
        return f"/dev/serial/by-id/{by_id}"

    def plug_jlink(self, serial: str, *, mass_storage: bool = False) -> None:
        """Of a Nordic development kit: its serial number has leading zeros on USB."""
        self.plug(0x1366, 0x1015, serial, "J-Link", tty="ttyACM7", classes=(8, 2) if mass_storage else (0xFF, 2),
                  by_id=f"usb-SEGGER_J-Link_{serial}-if00")  # fmt: skip

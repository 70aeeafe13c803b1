"""What pyOCD's own probe classes read from probes that are emulated at the wire: USB transfers, CMSIS-DAP packets.

A J-Link has no wire that could be emulated: pylink calls SEGGER's library.
"""

from __future__ import annotations

import struct

import pytest
from pyocd.core.session import Session
from pyocd.probe.cmsis_dap_probe import CMSISDAPProbe
from pyocd.probe.pydapaccess.dap_access_cmsis_dap import DAPAccessCMSISDAP
from pyocd.probe.stlink_probe import StlinkProbe

from bench.rack.probe_identity import ProbeIdentity, identity


class StlinkUsb:
    """An ST-LINK/V2-1 on USB (UM2448 and ST's own drivers for the commands)."""

    vendor_name, product_name = "STMicroelectronics", "STM32 STLink"
    serial_number, vid, pid, version_name = "066CFF505750827567154312", 0x0483, 0x374B, "V2-1"
    is_open = False

    def __init__(self, version: tuple[int, int, int], voltage: tuple[int, int]) -> None:
        hardware, jtag, storage = version
        self.answers = {
            0xF1: struct.pack(">HHH", hardware << 12 | jtag << 6 | storage, 0x8304, 0x4B37),  # GET_VERSION
            0xF5: b"\x02\x00",  # GET_CURRENT_MODE: debug
            0xF7: struct.pack("<II", *voltage),  # GET_TARGET_VOLTAGE: of the reference, half of the target's
            0xF2: b"\x80\x00",
        }

    def open(self) -> None:
        self.is_open = True

    def close(self) -> None:
        self.is_open = False

    def transfer(self, command: list[int], **options: int) -> bytes | None:
        size = options.get("readSize")
        return None if size is None else self.answers[command[0]][:size]


class DapPackets:
    """A CMSIS-DAP probe that answers DAP_Info (CMSIS-DAP, DAP_Info command); strings end with a zero byte."""

    vid, pid, vendor_name, product_name = 0x0D28, 0x0204, "Arm", "BBC micro:bit CMSIS-DAP"
    serial_number = unique_id = "9900000031324e45000f9019000000340000000097969901"
    is_bulk, has_swo_ep = False, False

    def __init__(self, protocol: bytes, firmware: bytes) -> None:
        def text(value: bytes) -> bytes:
            return value + b"\0" if value else b""

        self.info = {
            0x04: text(protocol), 0x09: text(firmware),
            0xF0: b"\x01", 0xFD: struct.pack("<I", 0), 0xFE: b"\x04", 0xFF: struct.pack("<H", 64),
        }  # fmt: skip
        self.asked = b""

    def open(self) -> None: ...
    def close(self) -> None: ...
    def set_packet_count(self, count: int) -> None: ...
    def set_packet_size(self, size: int) -> None: ...
    def get_serial_number(self) -> str:
        return self.unique_id

    def write(self, packet: list[int]) -> None:
        self.asked = bytes(packet)

    def read(self) -> bytes:
        assert self.asked[0] == 0x00, "nothing but DAP_Info is sent: the board is left alone"
        value = self.info.get(self.asked[1], b"")
        return (bytes([0, len(value)]) + value).ljust(64, b"\0")


def opened(probe: StlinkProbe | CMSISDAPProbe) -> ProbeIdentity:
    probe.session = Session(None, no_config=True)
    probe.open()
    try:
        return identity(probe)
    finally:
        probe.close()


def test_an_stlink_tells_its_version_and_the_targets_voltage() -> None:
    told = opened(StlinkProbe(StlinkUsb((2, 45, 30), (1500, 2040))))
    assert told == ProbeIdentity("STM32 STLink", "V2J45M30", 3.264)


def test_a_board_without_power_has_no_voltage() -> None:
    assert opened(StlinkProbe(StlinkUsb((2, 45, 30), (0, 0)))).target_v is None


@pytest.mark.parametrize(
    ("protocol", "firmware", "told"),
    [(b"1.3.0", b"0257", "0257"), (b"2.0.0", b"", "CMSIS-DAP 2.0.0"), (b"1.10", b"", "CMSIS-DAP 1.10")],
)
def test_a_cmsis_dap_probe_tells_its_firmware_or_at_least_its_protocol(
    protocol: bytes, firmware: bytes, told: str
) -> None:
    found = opened(CMSISDAPProbe(DAPAccessCMSISDAP(None, interface=DapPackets(protocol, firmware))))
    assert found == ProbeIdentity("BBC micro:bit CMSIS-DAP", told, None)

"""What the doctor finds on the way to a board: probes, ports, rights and remote ends, on a machine made of files."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest
from fake_machine import FakeMachine

from bench import process
from bench.rack import flash
from bench.rack.doctor import host, wire
from bench.rack.doctor.finding import Finding, Level
from bench.rack.doctor.host import examine
from bench.rack.doctor.usb import Machine
from bench.rack.entry import BoardEntry

ST_ID, OTHER_ST_ID = "066CFF505750827567154312", "066AFF343339415043185928"
EMPTY = Machine(Path("/nonexistent"))
ST_RULE = 'SUBSYSTEM=="usb", ATTR{idVendor}=="0483", MODE="0660", TAG+="uaccess"'


@pytest.fixture
def pc(tmp_path: Path) -> FakeMachine:
    machine = FakeMachine(tmp_path / "root")
    machine.rule(ST_RULE)
    return machine


def entry(name: str = "iot", *, probe: str = f"stlink:{ST_ID}", serial: str = "/dev/ttyACM0") -> BoardEntry:
    return BoardEntry(name=name, env="b_l475e_iot01a", probe=probe, serial=serial)


def found(pc: FakeMachine, *entries: BoardEntry, groups: tuple[int, ...] = (1000,)) -> list[Finding]:
    return examine(entries, pc.machine(groups=groups))


def only(findings: list[Finding]) -> Finding:
    assert len(findings) == 1, findings
    return findings[0]


def test_a_board_that_is_well(pc: FakeMachine) -> None:
    port = pc.plug_stlink(ST_ID)
    assert found(pc, entry(serial=port)) == []


def test_ids_match_as_in_pyocd(pc: FakeMachine) -> None:
    port = pc.plug_stlink(ST_ID)
    for probe in (ST_ID.lower(), f"stlink:{ST_ID}", ST_ID[:10]):
        assert found(pc, entry(probe=probe, serial=port)) == []


def test_a_missing_probe_and_what_there_is_instead(pc: FakeMachine) -> None:
    port = pc.plug_stlink(OTHER_ST_ID)
    finding = only(found(pc, entry(serial=port)))
    assert (finding.level, finding.check, finding.reach) == (Level.ERROR, "probe", True)
    assert finding.mend == f"plug it in, or correct `probe`; there are: {OTHER_ST_ID}"


def test_a_missing_port_and_what_there_is_instead(pc: FakeMachine) -> None:
    port = pc.plug_stlink(ST_ID)
    finding = only(found(pc, entry(serial="/dev/ttyACM5")))
    assert finding.what == "/dev/ttyACM5 does not exist"
    assert port in finding.mend


def test_a_j_links_leading_zeros(pc: FakeMachine) -> None:
    pc.plug_jlink("001050288420")
    pc.rule(ST_RULE.replace("0483", "1366"))
    port = "/dev/serial/by-id/usb-SEGGER_J-Link_001050288420-if00"
    assert found(pc, entry(probe="jlink:1050288420", serial=port)) == []
    finding = only(found(pc, entry(probe="001050288420", serial=port)))
    assert finding.mend == "write `probe: jlink:1050288420`"


def test_a_j_links_mass_storage(pc: FakeMachine) -> None:
    pc.plug_jlink("001050288420", mass_storage=True)
    pc.rule(ST_RULE.replace("0483", "1366"))
    board = entry(probe="jlink:1050288420", serial="/dev/serial/by-id/usb-SEGGER_J-Link_001050288420-if00")
    finding = only(found(pc, board))
    assert (finding.level, finding.check) == (Level.WARNING, "J-Link mass storage")
    assert "MSDDisable" in finding.mend


def test_a_probe_and_a_port_that_may_not_be_used(pc: FakeMachine) -> None:
    """What a fresh Linux does: both belong to root, the port to a group as well."""
    port = pc.plug_stlink(ST_ID, mode=0o660)
    probe, line = found(pc, entry(serial=port))
    assert (probe.check, line.check) == ("permissions", "permissions")
    assert 'ATTR{idVendor}=="0483"' in probe.mend
    assert "/dev/bus/usb/001/001" in probe.what
    assert "usermod -aG" in line.mend


def test_a_group_that_may_use_them(pc: FakeMachine) -> None:
    port = pc.plug_stlink(ST_ID, mode=0o660)
    group = (pc.root / "dev/ttyACM0").stat().st_gid
    assert found(pc, entry(serial=port), groups=(1000, group)) == []


def test_a_right_that_no_rule_gives(pc: FakeMachine) -> None:
    port = pc.plug_stlink(ST_ID)
    pc.rule("# " + ST_RULE)
    finding = only(found(pc, entry(serial=port)))
    assert (finding.level, finding.check) == (Level.WARNING, "udev rules")


def test_a_port_by_a_name_that_changes(pc: FakeMachine) -> None:
    port = pc.plug_stlink(ST_ID)
    finding = only(found(pc, entry(serial="/dev/ttyACM0")))
    assert finding.level is Level.WARNING
    assert finding.mend == f"write `serial: {port}`"


def test_two_boards_with_each_others_ports(pc: FakeMachine) -> None:
    first, second = pc.plug_stlink(ST_ID), pc.plug_stlink(OTHER_ST_ID, "ttyACM1")
    boards = entry("one", serial=second), entry("two", probe=OTHER_ST_ID, serial=first)
    one, two = found(pc, *boards)
    assert one.what.startswith("its serial port is that of two's probe")
    assert two.what.startswith("its serial port is that of one's probe")
    assert one.level is two.level is Level.ERROR


def test_two_probes_of_one_id(pc: FakeMachine) -> None:
    pc.plug_stlink(ST_ID)
    pc.plug(0x0483, 0x374B, ST_ID, "STM32 STLink", tty="ttyACM1")
    ambiguous, alike = found(
        pc, entry(serial="/dev/serial/by-id/usb-STMicroelectronics_STM32_STLink_" + ST_ID + "-if02")
    )
    assert "is that of 2 probes" in ambiguous.what
    assert ambiguous.reach
    assert (alike.check, alike.level) == ("two alike", Level.WARNING)


def test_two_adapters_alike(pc: FakeMachine) -> None:
    for number in (0, 1):
        pc.plug(0x10C4, 0xEA60, "0001", "CP2102 USB to UART", tty=f"ttyUSB{number}")
    finding = only(found(pc))
    assert finding.what == "2 devices 10c4:ea60 have the same serial number 0001"


def test_a_board_whose_usb_is_the_chips_own_is_no_probe(pc: FakeMachine) -> None:
    pc.plug(0x0483, 0x5740, ST_ID, "STM32 Virtual ComPort", tty="ttyACM3")
    assert only(found(pc, entry(serial="/dev/ttyACM3"))).check == "probe"


def test_a_name_server_that_does_not_answer_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = threading.Event()

    def look_up(*_arguments: object) -> None:
        ended.wait(60)
        raise socket.gaierror("Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    monkeypatch.setattr(host, "_LOOK_UP_S", 0.1)
    monkeypatch.setattr(host, "_CONNECT_S", 0.1)
    assert host._answers(("rack2.example", 5555)) == (
        "nothing within 0.2 s: is there a name server for it, and a way to it?"
    )
    ended.set()


def test_remote_ends_that_answer_and_that_do_not() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        ends = {"probe": f"remote:127.0.0.1:{port}", "serial": f"rfc2217://127.0.0.1:{port}"}
        board = BoardEntry(name="far", env="olimex_stm32_h405", **ends)
        assert examine([board], EMPTY) == []
    probe, line = examine([board], EMPTY)
    assert f"127.0.0.1:{port} does not answer" in probe.what
    assert "start `pyocd server` there" in probe.mend
    assert (line.check, line.reach) == ("serial line", True)


@pytest.mark.parametrize(
    ("said", "check", "mend"),
    [
        (
            "STLink 066C is using an unsupported, older firmware version. Please update to the latest STLink firmware.",
            "probe firmware",
            "update it (STSW-LINK007 for an ST-LINK)",
        ),
        (
            "NRF52840 APPROTECT enabled: not automatically unlocking",
            "locked chip",
            "`pyocd erase --mass` unlocks it and erases everything on it",
        ),
        ("No ACK received", "probe", "check the debug cable and the board's power"),
    ],
)
def test_what_pyocd_says_of_a_probe_is_told_with_how_to_mend_it(said: str, check: str, mend: str) -> None:
    """pyOCD's own messages (pyocd/probe/stlink/stlink.py, pyocd/target/family/target_nRF52.py)."""
    ended = process.Ended(1, f"0000345 C {said} [__main__]\n")
    error = flash._failure(flash.Target("iot", ST_ID, "stm32l475xg"), "commander", ended)
    finding = wire._probe_failed(entry(), error)
    assert (finding.check, finding.reach, finding.level) == (check, True, Level.ERROR)
    assert mend in finding.mend

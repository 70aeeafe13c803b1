"""An inventory of what is plugged in: what is known is written, what is not is left to a person in comments."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fake_machine import FakeMachine

from bench import cli
from bench.errors import InfrastructureError
from bench.rack.discover import Probe, inventory_text, pair, read_probes, unpaired_ports
from bench.rack.inventory import load_inventory
from bench.verbs import lab

IOT = Probe("066CFF505750827567154312", "ST DISCO-L475VG-IOT01A", "DISCO-L475VG-IOT01A", "stm32l475xg")
BIT = Probe("9900000031864e45003c10070000006e0000000097969901", "BBC micro:bit", "micro:bit", "nrf51")
BARE = Probe("37FF71064E573436F3D81843", "STMicroelectronics ST-LINK/V2", "", "")
DK = Probe("1050288420", "Segger J-Link OB-SAM3U128-V2-NordicSemi", "", "")


@pytest.fixture
def pc(tmp_path: Path) -> FakeMachine:
    machine = FakeMachine(tmp_path / "root")
    machine.plug_stlink(IOT.uid)
    machine.plug(0x0D28, 0x0204, BIT.uid, "BBC micro:bit CMSIS-DAP", tty="ttyACM1")
    machine.plug(0x0483, 0x3748, BARE.uid, "STM32 STLink")
    machine.plug_jlink("001050288420")
    machine.plug(0x0403, 0x6001, "FTA1B2C3", "TTL232R-3V3", tty="ttyUSB0", by_id="usb-FTDI_TTL232R-3V3_FTA1B2C3-if00")
    return machine


def written(pc: FakeMachine, *probes: Probe) -> str:
    machine = pc.machine()
    devices = machine.usb_devices()
    return inventory_text(pair(probes, devices, machine), unpaired_ports(probes, devices, machine))


def test_boards_that_pyocd_knows_become_entries_that_the_loader_takes(pc: FakeMachine, tmp_path: Path) -> None:
    file = tmp_path / "lab.yaml"
    file.write_text(written(pc, IOT, BIT, BARE, DK))
    iot, bit = load_inventory(file).boards
    assert (iot.env, iot.probe, iot.target) == ("b_l475e_iot01a", IOT.uid, "stm32l475xg")
    assert iot.serial == f"/dev/serial/by-id/usb-STMicroelectronics_STM32_STLink_{IOT.uid}-if02"
    assert (bit.env, bit.serial) == ("microbit", "/dev/ttyACM1"), "no link under by-id: its own name"


def test_what_is_not_known_is_left_to_a_person(pc: FakeMachine) -> None:
    text = written(pc, BARE, DK)
    assert "# No board is known whole yet" in text
    assert f'#     probe: "{BARE.uid}"' in text
    assert "#     serial: /dev/serial/by-id/PORT" in text
    assert "#     serial: /dev/serial/by-id/usb-SEGGER_J-Link_001050288420-if00" in text, "the J-Link's own port"
    assert "netduino2, netduinoplus2" in text
    assert "#   /dev/serial/by-id/usb-FTDI_TTL232R-3V3_FTA1B2C3-if00  # TTL232R-3V3 (0403:6001" in text


def test_two_boards_of_a_kind_have_two_names(pc: FakeMachine, tmp_path: Path) -> None:
    pc.plug_stlink("066AFF343339415043185928", "ttyACM9")
    other = Probe("066AFF343339415043185928", IOT.kind, IOT.board, IOT.target)
    file = tmp_path / "lab.yaml"
    file.write_text(written(pc, IOT, other))
    assert [board.name for board in load_inventory(file).boards] == ["b-l475e-iot01a-1", "b-l475e-iot01a-2"]


def test_a_board_of_the_same_part_is_not_taken_for_ours(pc: FakeMachine) -> None:
    discovery = Probe(IOT.uid, "ST DISCO-F412ZG", "DISCO-F412ZG", "stm32f412xg")
    text = written(pc, discovery)
    assert "Put for ENV: netduino2, netduinoplus2, nucleo_f412zg, olimex_stm32_h405." in text
    assert "#     env: ENV" in text


def test_what_pyocd_prints() -> None:
    item = {"unique_id": "37FF", "info": "STMicroelectronics ST-LINK/V2", "board_vendor": None}
    document = {"status": 0, "boards": [{**item, "board_name": "Generic", "target": "cortex_m"}]}
    assert read_probes("0000 W something\n" + json.dumps(document)) == [Probe("37FF", item["info"], "", "")]
    with pytest.raises(InfrastructureError, match="failed: no backend"):
        read_probes(json.dumps({"status": 1, "error": "no backend", "boards": []}))
    with pytest.raises(InfrastructureError, match="printed no JSON: 'Traceback'"):
        read_probes("Traceback")


def test_a_file_is_never_overwritten_unasked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(lab, "list_probes", lambda: [IOT])  # pyOCD opens every probe of the machine
    file = tmp_path / "lab.yaml"
    file.write_text("mine")
    arguments = ["rack", "discover", "--output", str(file), "--state", str(tmp_path)]
    assert cli.main(arguments) == 2
    assert "exists already" in capsys.readouterr().err
    assert file.read_text() == "mine"
    assert cli.main([*arguments, "--force", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["boards"][0]["env"] == "b_l475e_iot01a"
    assert IOT.uid in file.read_text()

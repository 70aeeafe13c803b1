"""An inventory is read whole: every mistake is told at once, with its line and with what to do about it."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from bench.errors import ConfigError
from bench.rack.entry import BoardEntry, Meter, Power, Virtual
from bench.rack.inventory import load_inventory

GOOD = """\
boards:
  - name: iot-1
    env: b_l475e_iot01a
    probe: 066CFF505750827567154312
    serial: /dev/ttyACM0
  - name: bit
    env: microbit
    probe: remote:127.0.0.1:0
    virtual: {machine: microbit}
"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "rack.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def refusal(tmp_path: Path, text: str) -> list[str]:
    """The lines of the message, without the file's folder."""
    with pytest.raises(ConfigError) as caught:
        load_inventory(written(tmp_path, text))
    assert caught.value.exit_code == 2
    return str(caught.value).replace(f"{tmp_path}/", "").splitlines()


def test_what_the_manifest_knows_need_not_be_said(tmp_path: Path) -> None:
    inventory = load_inventory(written(tmp_path, GOOD))
    assert inventory.board("iot-1") == BoardEntry(
        name="iot-1",
        env="b_l475e_iot01a",
        target="stm32l475xg",
        probe="066CFF505750827567154312",
        serial="/dev/ttyACM0",
        baud=115200,
    )
    assert inventory.board("bit").virtual == Virtual(machine="microbit")
    assert inventory.board("bit").target == "nrf51822"
    assert inventory.board("bit").remote_port == 0
    assert inventory.board("iot-1").remote_port is None


def test_all_fields(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "part.pack", "w") as pack:
        pack.writestr("Vendor.Part.pdsc", "<package/>")
    text = """\
boards:
  - name: far
    env: olimex_stm32_h405
    target: stm32f405rg
    pack: part.pack
    probe: remote:rack2.example:5555
    serial: rfc2217://rack2.example:4001?ign_set_control
    baud: 230400
    power: {kind: command, off: [relay, "0"], on: [relay, "1"], off_s: 2.5}
    meter: {kind: ppk2, port: /dev/ttyACM7, voltage_mv: 3300, line: [1, 2]}
    features: [camera, ppk2]
"""
    entry = load_inventory(written(tmp_path, text)).board("far")
    assert entry.target == "stm32f405rg"
    assert entry.pack == str(tmp_path / "part.pack")
    assert entry.meter == Meter(kind="ppk2", port="/dev/ttyACM7", voltage_mv=3300, line=(1, 2))
    assert entry.baud == 230400
    assert entry.remote_port == 5555
    assert entry.power == Power(kind="command", off=("relay", "0"), on=("relay", "1"), off_s=2.5)
    assert entry.features == ("camera", "ppk2")


def test_a_pack_that_is_none_is_told(tmp_path: Path) -> None:
    (tmp_path / "part.pack").write_text("an error page of the vendor's web server")
    text = GOOD.replace("    probe:", "    pack: part.pack\n    probe:", 1)
    assert any("boards[0].pack: " in line and "no CMSIS pack" in line for line in refusal(tmp_path, text))


def test_the_line_of_a_virtual_board_may_be_said_to_be_automatic(tmp_path: Path) -> None:
    text = GOOD.replace("virtual:", "serial: auto\n    virtual:")
    assert load_inventory(written(tmp_path, text)) == load_inventory(written(tmp_path, GOOD))


def test_selection_keeps_the_files_order_and_knows_its_boards(tmp_path: Path) -> None:
    inventory = load_inventory(written(tmp_path, GOOD))
    assert [entry.name for entry in inventory.select(["bit", "iot-1"])] == ["iot-1", "bit"]
    assert inventory.select(None) == inventory.boards
    with pytest.raises(ConfigError, match=r"rack\.yaml: no board 'iot'; did you mean iot-1"):
        inventory.select(["bit", "iot"])


@pytest.mark.parametrize(
    ("line", "change", "expected"),
    [
        (5, "serail: /dev/ttyACM0", "5: boards[0].serail: unknown field; did you mean serial?"),
        (3, "env: b_l475e", "3: boards[0].env: no environment 'b_l475e'; did you mean b_l475e_iot01a?"),
        (3, "env: 7", "3: boards[0].env: must be text: put it in quotes"),
        (3, "env: host", "3: boards[0].env: host is no board that can be flashed"),
        (3, "target: stm32l475xg", "2: boards[0].env: missing; add it"),
        (4, "probe: ''", "4: boards[0].probe: '' is empty"),
        (4, "probe: 0123456789", "4: boards[0].probe: must be text: put it in quotes"),
        (4, "probe: remote:somewhere", "4: boards[0].probe: 'remote:somewhere' is not remote:HOST:PORT"),
        (4, "probe: remote:rack2:99999", "4: boards[0].probe: 'remote:rack2:99999' is not remote:HOST:PORT"),
        (4, "probe: remote:127.0.0.1:0", "4: boards[0].probe: port 0 (any free one) is for virtual boards"),
        (5, "features: [a]", "2: boards[0].serial: missing; name the board's serial port"),
        (5, "features: a", "5: boards[0].features: must be a list, an entry a line"),
        (5, "serial: tcp://rack2:4001", "5: boards[0].serial: tcp://rack2:4001: not a URL that pyserial knows"),
        (5, "baud: fast", "5: boards[0].baud: Input should be a valid integer"),
        (5, "baud: '115200'", "5: boards[0].baud: Input should be a valid integer"),
        (5, "meter: {kind: ppk3}", "5: boards[0].meter.kind: Input should be 'ppk2', 'lpm01a', 'joulescope' or"),
        (5, "meter: {kind: ppk2, voltage_mv: 3300}", "5: boards[0].meter: `port` is missing"),
        (5, "meter: {kind: ppk2, port: /dev/p}", "5: boards[0].meter: `voltage_mv` is missing; say it, for a wrong"),
        (
            5,
            "meter: {kind: lpm01a, port: /dev/p, voltage_mv: 5000}",
            "5: boards[0].meter.voltage_mv: lpm01a has 1800 to",
        ),
        (
            5,
            "meter: {kind: ppk2, port: /dev/p, voltage_mv: 5000}",
            "5: boards[0].meter.voltage_mv: 5000 mV: the meter feeds b_l475e_iot01a, which needs 1.8 V",
        ),
        (5, "meter: {kind: ppk2, virtual: {}}", "5: boards[0].meter.virtual: a real board draws no current that"),
        (5, "meter: {kind: modelled, port: /dev/p}", "5: boards[0].meter.port: kind `modelled` has no instrument"),
        (5, "meter: {kind: ppk2, line: [0]}", "5: boards[0].meter.line: marker and lines are on different channels"),
        (5, "meter: {kind: lpm01a, line: [1]}", "5: boards[0].meter.line: an lpm01a samples no logic channels"),
        (
            5,
            "meter: {kind: joulescope, line: [3]}",
            "5: boards[0].meter.line: joulescope has the channels 0 to 1, not 3",
        ),
        (9, "virtual: {machine: microbit}\n    meter: {kind: ppk2}", "10: boards[1].meter: a virtual board draws no"),
        (
            9,
            "virtual: {machine: microbit}\n    meter: {kind: ppk2, virtual: {nois_ua: 1}}",
            "10: boards[1].meter.virtual.nois_ua: unknown field; did you mean noise_ua",
        ),
        (5, "power: {kind: fuse, off: [a], on: [b]}", "5: boards[0].power.kind: Input should be 'none', 'command'"),
        (5, "power: {kind: command, off: [a]}", "5: boards[0].power: kind `command` needs both `off` and `on`"),
        (5, "power: {kind: none, off: [a]}", "5: boards[0].power: kind `none` has no commands"),
        (5, "power: {kind: command, off: ['{bord}'], on: [b]}", "5: boards[0].power: `{bord}`: {bord} stands for noth"),
        (5, "power: {kind: uhubctl, location: 1-1}", "5: boards[0].power: kind `uhubctl` needs both `location` and"),
        (5, "power: {kind: command, off: [a], on: [b], port: 2}", "5: boards[0].power: kind `command` has no port"),
        (5, "power: {kind: ppk2}", "5: boards[0].power.kind: there is no PPK2 that feeds this board"),
        (5, "power: {kind: command, of: [a], on: [b]}", "5: boards[0].power.of: unknown field; did you mean off or"),
        (5, "pack: nowhere.pack", "5: boards[0].pack: no such file "),
        (2, "- name: my board", "2: boards[0].name: 'my board' is no name: letters, digits"),
        (2, "- name: bit", "6: boards[1].name: 'bit' is taken"),
        (8, "probe: AB12", "8: boards[1].probe: a virtual board's probe is remote:127.0.0.1:PORT"),
        (8, "probe: remote:rack2.example:0", "8: boards[1].probe: a virtual board's probe is remote:127.0.0.1:PORT"),
        (9, "virtual: {machine: micro-bit}", "9: boards[1].virtual.machine: no machine 'micro-bit'; did you mean micr"),
        (
            9,
            "virtual: {machine: netduino2}",
            "9: boards[1].virtual.machine: board bit: flash of microbit is 0x00000000",
        ),
        (9, "virtual: {machine: microbit, serial_index: -1}", "9: boards[1].virtual.serial_index: Input should be gre"),
        (
            9,
            "virtual: {machine: microbit}\n    serial: /dev/ttyS0",
            "10: boards[1].serial: a virtual board's line is mad",
        ),
    ],
)
def test_each_mistake_is_named_with_its_line(tmp_path: Path, line: int, change: str, expected: str) -> None:
    lines = GOOD.splitlines()
    indent = "  " if change.startswith("- ") else "    "
    lines[line - 1] = indent + change
    found = refusal(tmp_path, "\n".join(lines))
    assert any(f.startswith(f"rack.yaml:{expected}") for f in found), found


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    text = """\
boards:
  - name: a
    env: microbitt
    probe: "12345678"
    serial: /dev/ttyACM0
  - name: b
    env: microbit
    probe: "3456"
    serial: /dev/ttyACM0
    colour: red
  - name: c
    env: microbit
    probe: "999"
    serial: /dev/ttyACM0
  - name: d
    env: microbit
    target: nrf51823
    probe: "12345678"
    serial: /dev/ttyACM1
"""
    found = refusal(tmp_path, text)
    assert found[0] == "rack.yaml: 5 problem(s) in this inventory"
    assert [line.split(": ")[0] for line in found[1:]] == [f"rack.yaml:{n}" for n in (3, 10, 14, 17, 18)]
    text = "\n".join(found)
    assert "boards[0].env: no environment 'microbitt'; did you mean microbit" in text
    assert "boards[1].colour: unknown field; known are name, env, " in text
    assert "boards[2].serial: /dev/ttyACM0 is that of a as well" in text
    assert "boards[3].target: pyOCD has no target 'nrf51823' built in; did you mean nrf51" in text
    assert "boards[3].probe: 12345678 is that of a as well" in text


def test_a_probe_id_within_another_is_refused_because_pyocd_would_match_both(tmp_path: Path) -> None:
    text = (
        GOOD.replace("remote:127.0.0.1:0", "'7567154312'")
        .replace("066CFF", "stlink:066CFF")
        .replace("virtual: {machine: microbit}", "serial: /dev/ttyUSB0")
    )
    found = refusal(tmp_path, text)
    both = "7567154312 and iot-1's stlink:066CFF505750827567154312 contain each other"
    assert found[1].startswith(f"rack.yaml:8: boards[1].probe: {both}")
    assert "give full ids" in found[1]
    upper = text.replace("066CFF505750827567154312", "aabbccdd").replace("7567154312", "BBCC")
    assert "contain each other" in refusal(tmp_path, upper)[1]


def test_any_number_of_virtual_boards_may_take_any_free_port(tmp_path: Path) -> None:
    boards = "".join(
        f"  - {{name: b{i}, env: microbit, probe: 'remote:127.0.0.1:0', virtual: {{machine: microbit}}}}\n"
        for i in range(3)
    )
    assert len(load_inventory(written(tmp_path, f"boards:\n{boards}")).boards) == 3


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "rack.yaml:1: an inventory is a mapping with the key `boards`"),
        ("- name: a\n", "rack.yaml:1: an inventory is a mapping with the key `boards`"),
        ("boards: []\n", "rack.yaml:1: boards: no board is named; add one"),
        ("boards: plus2\n", "rack.yaml:1: boards: must be a list, an entry a line"),
        ("boards:\n  - plus2\n", "rack.yaml:2: boards[0]: must be a section of fields"),
        ("board:\n  - name: a\n", "rack.yaml:1: board: unknown field; did you mean boards"),
        ("boards:\n  - name: [a\n", "not YAML"),
        ("boards:\n  - name: a\n    name: b\n", "rack.yaml:3: not YAML: found duplicate key"),
        ("boards: !!python/object:os.system {}\n", "rack.yaml:1: boards:"),
    ],
)
def test_what_is_no_inventory(tmp_path: Path, text: str, expected: str) -> None:
    assert expected in "\n".join(refusal(tmp_path, text))


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: no such inventory; hosts/virtual\.yaml"):
        load_inventory(tmp_path / "nowhere.yaml")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_inventory(tmp_path)
    (tmp_path / "rack.yaml").write_bytes(b"boards: \xff\xfe\n")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_inventory(tmp_path / "rack.yaml")


def test_the_default_rack(project_root: Path) -> None:
    inventory = load_inventory(project_root / "hosts/virtual.yaml")
    targets = [entry.target for entry in inventory.boards]
    assert all(entry.virtual is not None for entry in inventory.boards)
    machines = [entry.virtual.machine for entry in inventory.boards if entry.virtual is not None]
    assert sum(machine in ("netduinoplus2", "olimex-stm32-h405") for machine in machines) >= 2
    assert {"netduino2", "b-l475e-iot01a", "microbit", "nrf52840-dk"} <= set(machines)
    assert set(targets) == {"stm32f412xg", "stm32l475xg", "nrf51822", "nrf52840"}


def test_the_example_of_a_lab(project_root: Path) -> None:
    inventory = load_inventory(project_root / "hosts/lab.example.yaml")
    assert all(entry.virtual is None for entry in inventory.boards)
    assert any(entry.power is not None for entry in inventory.boards)
    assert any(entry.serial.startswith("rfc2217://") and entry.remote_port for entry in inventory.boards)


def test_known_targets_do_not_cost_a_start_of_pyocd(project_root: Path) -> None:
    """Its import takes most of a second; the manifests' own targets need no look-up."""
    script = (
        "import sys; from pathlib import Path; from bench.rack.inventory import load_inventory\n"
        "load_inventory(Path('hosts/virtual.yaml')); sys.exit('pyocd' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], cwd=project_root, timeout=60).returncode == 0

"""What the doctor finds of boards that can be reached, at the wire: emulated boards, asked as physical ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from line_server import BaudLine

from bench.build import build
from bench.rack import flash as pyocd
from bench.rack.board import Ends
from bench.rack.doctor import examination, wire
from bench.rack.doctor.finding import Finding, Level, exit_code
from bench.rack.entry import BoardEntry
from bench.rack.inventory import load_inventory
from bench.rack.manifest import load_manifest
from bench.rack.rack import Rack
from bench.virtual.rack import VirtualRack
from bench.virtual.spec import VirtualBoardSpec

BOARDS = {"bit": "microbit", "bat": "microbit", "blank": "microbit", "dk": "nrf52840_dk"}
MACHINES = {"microbit": "microbit", "nrf52840_dk": "nrf52840-dk"}


@pytest.fixture(scope="module")
def image(int8_program: str) -> bytes:
    return build(["microbit"], int8_program)["microbit"].read_bytes()


@pytest.fixture(scope="module")
def ends(image: bytes, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Ends]]:
    """Two micro:bits with an image, one without, and an nRF52840."""
    folder = tmp_path_factory.mktemp("rack")
    specs = [VirtualBoardSpec.for_env(name, env, MACHINES[env]) for name, env in BOARDS.items()]
    with VirtualRack(specs, folder / "state", counting=False) as rack:
        found = {name: Ends(str(end.probe), end.serial) for name, end in rack.endpoints.items()}
        for name in ("bit", "bat"):
            write(name, found[name], {0: image}, folder)
        yield found


def write(name: str, end: Ends, segments: dict[int, bytes], folder: Path) -> None:
    target = pyocd.Target(name, end.probe, load_manifest(BOARDS[name]).pyocd_target)
    pyocd.flash(target, segments, folder / name, timeout_s=60, log=lambda _line: None)


def entry(name: str, **changes: object) -> BoardEntry:
    manifest = load_manifest(BOARDS[name])
    whole = {"name": name, "env": BOARDS[name], "target": manifest.pyocd_target, "probe": "x", "baud": manifest.baud}
    return BoardEntry(**{**whole, "serial": "x", **changes})


def ask(end: Ends, board: BoardEntry, folder: Path, answers: wire.Answers | None = None) -> list[Finding]:
    return list(wire.examine(board, end, folder, answers or wire.Answers()))


def only(findings: list[Finding]) -> Finding:
    assert len(findings) == 1, findings
    return findings[0]


def test_a_board_that_is_well(ends: dict[str, Ends], tmp_path: Path) -> None:
    assert ask(ends["bit"], entry("bit"), tmp_path) == []


def test_a_board_without_an_image(ends: dict[str, Ends], tmp_path: Path) -> None:
    finding = only(ask(ends["blank"], entry("blank"), tmp_path))
    assert (finding.level, finding.check) == (Level.NOTE, "image")
    assert finding.mend == "`bench flash --board blank`"


def test_a_wrong_baud_rate(ends: dict[str, Ends], tmp_path: Path) -> None:
    """The inventory says 115200, the image was built for 57600: at any other rate both ends get garbage."""
    with BaudLine(ends["bit"].serial, 57600, tmp_path / "line") as line:
        finding = only(ask(replace(ends["bit"], serial=line.path), entry("bit"), tmp_path))
        assert finding.what == "it does not answer at 115200 baud, but at 57600"
        assert finding.level is Level.ERROR
        assert ask(replace(ends["bit"], serial=line.path), entry("bit", baud=57600), tmp_path) == []


def test_a_line_that_leads_nowhere(ends: dict[str, Ends], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "RATES", (115200, 9600))
    finding = only(ask(replace(ends["bit"], serial=ends["blank"].serial), entry("bit"), tmp_path))
    assert "answers at none of 9600, 115200 baud" in finding.what
    assert "TX goes to the adapter's RX" in finding.mend
    assert exit_code([finding]) == 3


def test_two_boards_whose_lines_are_exchanged(ends: dict[str, Ends], image: bytes, tmp_path: Path) -> None:
    """Of two boards with one build, only the chips' numbers tell that one line leads to both entries."""
    answers = wire.Answers()
    crossed = replace(ends["bat"], serial=ends["bit"].serial)
    assert ask(ends["bit"], entry("bit"), tmp_path, answers) == []
    finding = only(ask(crossed, entry("bat"), tmp_path, answers))
    assert finding.what == "the same chip answers on its line and on bit's"


def test_a_board_of_another_kind(ends: dict[str, Ends], tmp_path: Path) -> None:
    other = entry("bit", env="nrf52840_dk", target="nrf51822")
    finding = next(f for f in ask(ends["bit"], other, tmp_path) if f.check == "another board")
    assert "says that it is a microbit, the inventory that it is a nrf52840_dk" in finding.what


def test_a_probe_that_does_not_answer(ends: dict[str, Ends], tmp_path: Path) -> None:
    finding = only(ask(replace(ends["bit"], probe="remote:127.0.0.1:1"), entry("bit"), tmp_path))
    assert (finding.check, finding.reach) == ("probe", True)
    assert "start the probe's server" in finding.mend


def test_a_locked_chip_is_told_and_left_as_it_is(ends: dict[str, Ends], tmp_path: Path) -> None:
    """Protected as its owner would do it: by a word in UICR. Flashing ends with the reset from which it counts."""
    write("dk", ends["dk"], {0x10001208: b"\x00\xff\xff\xff"}, tmp_path)
    finding = only(ask(ends["dk"], entry("dk"), tmp_path))
    assert (finding.check, finding.level, finding.reach) == ("locked chip", Level.ERROR, True)
    assert "`pyocd erase --mass` unlocks it and erases everything" in finding.mend


def test_the_whole_of_it_on_a_rack(ends: dict[str, Ends], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same boards in an inventory, as a physical rack's: what is reached is asked, what is not is told once."""
    monkeypatch.setenv("BENCH_LOCK_DIR", str(tmp_path / "locks"))
    file = tmp_path / "lab.yaml"
    file.write_text(
        "boards:\n"
        f"  - {{name: bit, env: microbit, probe: '{ends['bit'].probe}', serial: '{ends['bit'].serial}'}}\n"
        f"  - {{name: bat, env: microbit, probe: 'remote:127.0.0.1:1', serial: '{ends['bat'].serial}'}}\n"
    )
    inventory = load_inventory(file)
    found = list(examination.hardware(inventory, inventory.boards, expected=True, state_dir=tmp_path / "state"))
    assert [(f.where, f.level) for f in found] == [("bat", Level.ERROR), ("bit", Level.NOTE)]
    assert found[1].what == "probe, image and serial line of this cortex-m0: well"
    assert exit_code(found) == 3


def test_a_board_that_somebody_uses_keeps_no_other_from_being_examined(
    ends: dict[str, Ends], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_LOCK_DIR", str(tmp_path / "locks"))
    file = tmp_path / "lab.yaml"
    entries = [f"  - {{name: {name}, env: microbit, probe: '{ends[name].probe}', serial: '{ends[name].serial}'}}\n"
               for name in ("bit", "bat")]  # fmt: skip
    file.write_text("boards:\n" + "".join(entries))
    inventory = load_inventory(file)
    with Rack.open(inventory, ["bit"], purpose="somebody's run", state_dir=tmp_path / "state"):
        found = examination.hardware(inventory, inventory.boards, expected=True, state_dir=tmp_path / "state")
        used, well = found
    assert (used.where, used.check, used.level) == ("bit", "not examined", Level.WARNING)
    assert "somebody's run" in used.what
    assert (well.where, well.level) == ("bat", Level.NOTE)

"""Runs the firmware's tests on a board of the rack, on a board at given ports, or as a process of this computer.

  pio test -e host                                                  the same cases as a process
  pio test -e microbit                                              the first such board of the rack
  pio test -e microbit --upload-port PROBE_ID --test-port SERIAL    a board at these ports
  pio test -e host --junit-output-path junit.xml                    results for CI

The rack is that of FTTE_RACK, else the default one; FTTE_BOARD names a board of it.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import click
import serial
from platformio.exception import ReturnErrorCode
from platformio.test.exception import UnitTestError
from platformio.test.result import TestCase, TestCaseSource, TestStatus
from platformio.test.runners.base import TestRunnerBase

ROOT = Path(__file__).resolve().parents[2]
if (ROOT / "bench").is_dir():
    sys.path.insert(0, str(ROOT))

_START_S = 60.0  # from the first byte sent to the first line: a reset, a boot, a slow emulator
_CASE_S = 60.0  # a case that says nothing for so long hangs
_ASK_S = 0.5  # between attempts to have the tests begin
_PLACE = re.compile(r"^expected (?P<file>.*?):(?P<line>\d+): (?P<text>.*)$")


class CustomTestRunner(TestRunnerBase):
    """PlatformIO finds it by this name (`test_framework = custom`)."""

    def __init__(self, *arguments: object, **options: object) -> None:
        super().__init__(*arguments, **options)
        self._announced: int | None = None
        self._case: str | None = None
        self._told: list[str] = []
        self._begun = 0.0
        self._ended = False

    @property
    def _env(self) -> str:
        return str(self.test_suite.env_name)

    def stage_building(self) -> None:
        """As the firmware is built, not with a debug build's flags: the tests are to try what boards run."""
        if not self.options.without_building:
            click.secho("Building...", bold=True)
            self._run(["__test"], "the tests do not build: see above, or run with -vvv")

    def stage_uploading(self) -> None:
        """By PlatformIO's upload where a probe is named; a board of the rack is flashed when it is opened."""
        if self._env != "host" and self.options.upload_port and not self.options.without_uploading:
            click.secho("Uploading...", bold=True)
            self._run(["nobuild", "upload"], "the upload failed: see above, or run with -vvv")

    def _run(self, targets: list[str], otherwise: str) -> None:
        try:
            self.run_project_targets(targets)
        except ReturnErrorCode as error:
            raise UnitTestError(otherwise) from error

    def stage_testing(self) -> None:
        """Asks for the cases until they begin, and reads what they say."""
        if self.options.without_testing:
            return
        click.secho("Testing...", bold=True)
        with self._line() as line:
            self._ask(line)
            self._read(line)
        lacking = (self._announced or 0) - len(self.test_suite.cases)
        if lacking:
            raise UnitTestError(f"{lacking} of {self._announced} cases did not run")

    def on_testing_line_output(self, line: str) -> None:
        """One line of the program's output."""
        text = line.strip()
        if self._ended:
            return  # it was asked twice before it began, and begins again
        if text.startswith("begin "):
            self._announced = int(text.split()[1])
        elif self._announced is None:
            return
        elif text == "boot":
            raise UnitTestError(f"the board has reset in case {self._case}")
        elif text.startswith("case "):
            self._case, self._told, self._begun = text.removeprefix("case "), [], time.monotonic()
        elif text in ("passed", "failed") and self._case is not None:
            self._add(text == "passed")
        elif text == "end":
            self._ended = True
        elif text:
            self._told.append(text)

    def _add(self, passed: bool) -> None:
        place = next(filter(None, map(_PLACE.match, self._told)), None)
        case = TestCase(
            name=self._case,
            status=TestStatus.PASSED if passed else TestStatus.FAILED,
            message=None if passed else "; ".join(self._told),
            stdout="\n".join(self._told),
            duration=time.monotonic() - self._begun,
            source=None if place is None else TestCaseSource(filename=place["file"], line=int(place["line"])),
        )
        self.test_suite.add_case(case)
        click.echo(f"{case.humanize()}")
        self._case = None

    # --- the line ---

    @contextmanager
    def _line(self) -> Iterator[serial.SerialBase]:
        with ExitStack() as stack:
            if self._env == "host":
                url, baud = stack.enter_context(self._process()), 115200
            elif self.options.upload_port or self.options.test_port:
                if not self.get_test_port():
                    raise UnitTestError("which serial line? Give --test-port beside --upload-port")
                url, baud = self.get_test_port(), self.get_test_speed()
            else:
                url, baud = stack.enter_context(self._board())
            try:
                line = serial.serial_for_url(url, baudrate=baud, timeout=_ASK_S)
            except serial.SerialException as error:
                raise UnitTestError(f"{url}: {error}") from error
            yield stack.enter_context(line)

    @contextmanager
    def _process(self) -> Iterator[str]:
        """The host's program, with its line at a path of its own."""
        program = self._build_folder() / "program"
        with tempfile.TemporaryDirectory(prefix="ftte-test-") as folder:
            path = Path(folder) / "serial"
            process = subprocess.Popen(
                [str(program), "--serial", str(path)], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True
            )
            try:
                assert process.stdout is not None
                if not process.stdout.readline().startswith("serial:"):
                    raise UnitTestError(f"{program} ended with {process.wait(_START_S)} before its line was there")
                yield str(path)
            finally:
                process.terminate()
                process.wait()
                if process.stdout is not None:
                    process.stdout.close()

    @contextmanager
    def _board(self) -> Iterator[tuple[str, int]]:
        """A board of the rack with this environment, locked, flashed with the tests, and reset."""
        from bench.errors import BenchError
        from bench.project import project_root
        from bench.rack import flash as pyocd
        from bench.rack.inventory import DEFAULT_RACK, load_inventory
        from bench.rack.rack import STATE_DIR, Rack

        try:
            named = os.environ.get("FTTE_RACK", "virtual")
            root = project_root()
            inventory = load_inventory(root / DEFAULT_RACK if named == "virtual" else Path(named))
            wanted = os.environ.get("FTTE_BOARD")
            entries = inventory.select([wanted] if wanted else None)
            entry = next((entry for entry in entries if entry.env == self._env), None)
            if entry is None:
                raise UnitTestError(f"no board with environment {self._env} in {inventory.path}; -e host needs none")
            state = Path(os.environ.get("FTTE_RACK_STATE") or root / STATE_DIR)
            with Rack.open(inventory, [entry.name], purpose="pio test", state_dir=state) as rack:
                board = rack.boards[entry.name]
                if not self.options.without_uploading:
                    click.echo(f"flashing board {entry.name}")
                    image = (self._build_folder() / "firmware.bin").read_bytes()
                    pyocd.flash(
                        pyocd.Target(entry.name, board.ends.probe, entry.target, entry.pack),
                        {board.manifest.flash.base: image},
                        state / "flash" / entry.name,
                        timeout_s=board.manifest.flash_timeout_s,
                        log=board.log,
                    )
                yield board.ends.serial, entry.baud
        except BenchError as error:
            raise UnitTestError(str(error)) from error

    def _build_folder(self) -> Path:
        return Path(self.project_config.get("platformio", "build_dir")) / self._env

    def _ask(self, line: serial.SerialBase) -> None:
        deadline = time.monotonic() + _START_S
        while self._announced is None:
            if time.monotonic() > deadline:
                raise UnitTestError(f"the tests did not begin within {_START_S:.0f} s: check the board and its line")
            line.write(b"r")
            self.on_testing_data_output(line.read(line.in_waiting or 1))

    def _read(self, line: serial.SerialBase) -> None:
        heard = time.monotonic()
        while not self._ended:
            data = line.read(line.in_waiting or 1)
            if data:
                heard = time.monotonic()
                self.on_testing_data_output(data)
            elif time.monotonic() > heard + _CASE_S:
                raise UnitTestError(f"case {self._case} has said nothing for {_CASE_S:.0f} s")

"""The command, run as a user would: on a rack of emulated boards of its own, or on boards of the session's rack."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.pytest_plugin.cohort import Lent

ENVS = {
    "plus2": ("netduinoplus2", "netduinoplus2"),
    "h405": ("olimex_stm32_h405", "olimex-stm32-h405"),
    "n2": ("netduino2", "netduino2"),
    "iot": ("b_l475e_iot01a", "b-l475e-iot01a"),
    "bit": ("microbit", "microbit"),
}


def inventory_text(names: Sequence[str]) -> str:
    """An inventory of emulated boards on free ports."""
    boards = [
        f"  - name: {name}\n    env: {ENVS[name][0]}\n    probe: remote:127.0.0.1:0\n"
        f"    virtual: {{machine: {ENVS[name][1]}}}\n"
        for name in names
    ]
    return "boards:\n" + "".join(boards)


@dataclass
class Bench:
    """The command, run as a user would, on an inventory and folders of its own."""

    folder: Path
    root: Path
    lent: Lent | None = None
    """Boards of the session's rack; None for those of an inventory of the command's own."""
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def rack(self) -> Path:
        return self.folder / "rack.yaml" if self.lent is None else self.lent.rack

    @property
    def state(self) -> Path:
        return self.folder / "state" if self.lent is None else self.lent.state

    def use(self, *names: str) -> None:
        """Writes the inventory."""
        self.rack.write_text(inventory_text(names))

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Starts the command in a process group of its own."""
        process = subprocess.Popen(
            [sys.executable, "-m", "bench", *arguments, "--rack", str(self.rack), "--state", str(self.state)],
            cwd=self.root,
            env=self._environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        self.started.append(process)
        return process

    def _environment(self) -> dict[str, str]:
        """With locks of its own where nobody else can want the boards."""
        own = {"BENCH_LOCK_DIR": str(self.folder / "locks")} if self.lent is None else {}
        return {**os.environ, **own}

    def run(self, *arguments: str, timeout: float = 240) -> subprocess.CompletedProcess[str]:
        """Runs the command to its end."""
        process = self.start(*arguments)
        out, err = process.communicate(timeout=timeout)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def leftovers(self) -> list[str]:
        """Command lines of live processes that belong to this rack's state folder."""
        found = []
        for entry in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                line = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if str(self.state) in line and int(entry.parent.name) not in {process.pid for process in self.started}:
                found.append(line)
        return found

    def close(self) -> None:
        """Ends what a failed test may have left."""
        for process in self.started:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

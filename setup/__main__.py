"""`python3 -m setup [--develop]`: brings this machine to where the bench runs.

`--develop` adds what tests and checks need.

Every step looks first whether there is anything to do, says what it does in one line, and is tried again next time when
it fails or is killed. Long output goes to .setup/log.
"""

import sys

if sys.version_info < (3, 11):  # noqa: UP036  (this is what tells an older Python's user)
    sys.exit(f"set-up: error: Python {sys.version.split()[0]} is too old, 3.11 is needed: make PYTHON=python3.11 ...")

import argparse
import fcntl
import time
from pathlib import Path

from setup import platformio_core, python_env, system
from setup.console import SetupError, Shell, say

ROOT = Path(__file__).resolve().parent.parent


def set_up(root: Path, develop: bool) -> int:
    """Carries out what is missing; returns the number of steps that had to be."""
    state = root / ".setup"
    state.mkdir(exist_ok=True)
    with (state / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another set-up is at work here, waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        shell = Shell(state / "log", keep=(lock.fileno(),))
        steps = 0
        if missing := system.missing(system.requirements(develop)):
            system.install(missing, system.Apt(shell))
            steps += 1
        steps += python_env.ensure(root, shell)
        steps += platformio_core.ensure(root, shell)
        return steps


def main() -> int:
    """Returns the exit code: 0, 3 when the machine could not be set up, 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python3 -m setup", description=__doc__)
    parser.add_argument("--develop", action="store_true", help="also what `make test` and `make check` need")
    begun = time.monotonic()
    try:
        steps = set_up(ROOT, parser.parse_args().develop)
    except SetupError as error:
        print(f"set-up: error: {error}", file=sys.stderr)
        return 3
    except KeyboardInterrupt:
        print("set-up: interrupted; it goes on where it was when run again", file=sys.stderr)
        return 130
    if steps:
        say(f"done in {time.monotonic() - begun:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())

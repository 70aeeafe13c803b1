"""The process above a command that the bench runs: `python guard.py COMMAND...`, in a process group of its own.

Ends as the command ends. When standard input ends, which is when whoever started it is gone in whatever way, it kills
the group. Needs nothing but the standard library, for it starts with every command.
"""

import os
import signal
import subprocess
import sys
import threading


def _watch() -> None:
    sys.stdin.buffer.read()
    os.killpg(0, signal.SIGKILL)


def main() -> int:
    """Returns the command's exit code; 127 when there is no such command."""
    # SIGTERM goes to the whole group: the command decides when to end, and its guard ends after it.
    signal.signal(signal.SIGTERM, lambda _signal, _frame: None)
    threading.Thread(target=_watch, daemon=True).start()
    try:
        return subprocess.call(sys.argv[1:], stdin=subprocess.DEVNULL)
    except OSError as error:
        print(f"{sys.argv[1]}: {error.strerror}", file=sys.stderr)
        return 127


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code & 0xFF)  # without waiting for the thread that reads

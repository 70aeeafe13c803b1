"""Standard output and error that are closed, full or no longer read: an error of infrastructure in one line."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

from bench.errors import InfrastructureError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def require_streams() -> None:
    """Raises InfrastructureError if standard output is closed. With standard error closed nobody hears of progress."""
    if sys.stderr is None:
        # Else `print(file=sys.stderr)` would go to standard output, where --json has its one document.
        sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115  (for as long as the process lives)
    if sys.stdout is None:
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115  (for as long as the process lives)
        raise InfrastructureError("standard output is closed: let it go to a file or to /dev/null")


def flush() -> None:
    """Brings standard output to where it goes.

    Raises:
        InfrastructureError: it cannot be written, as on a full disk; what is still to be written is dropped.
        BrokenPipeError: whoever read it has gone; as above.
    """
    try:
        sys.stdout.flush()
    except OSError as error:
        # What is left in the buffer would be written, in vain, when Python ends.
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)
        if isinstance(error, BrokenPipeError):
            raise
        raise InfrastructureError(f"standard output cannot be written: {error.strerror}") from error


def of_a_full_disk(error: OSError) -> InfrastructureError | None:
    """What to say of an error of the system, if it is that a disk, or standard output's, is full."""
    if error.errno not in _FULL:
        return None
    try:
        flush()
    except BrokenPipeError:
        pass
    except InfrastructureError as unwritten:
        return unwritten
    where = error.filename or "standard output, or a file,"
    return InfrastructureError(f"{where} cannot be written: {error.strerror}")

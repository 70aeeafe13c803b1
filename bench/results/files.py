"""Files that are either the old ones or the whole new ones, whatever happens meanwhile."""

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.errors import ConfigError, InfrastructureError


def write_atomically(path: Path, data: bytes) -> None:
    """Writes a file through a temporary one beside it; it is on the disk when this returns.

    Raises:
        InfrastructureError: the disk is full or the folder cannot be written; the old file is still there.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with writing(path):
        try:
            with temporary.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Brings a folder's entries to the disk: a synced file in an unsynced folder can be gone after a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def check_writable(path: Path) -> None:
    """That a file can be written, without writing it. Raises ConfigError."""
    try:
        if path.exists() and not path.is_file():
            os.close(os.open(path, os.O_WRONLY))
        elif path.exists() and not os.access(path, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        else:
            tempfile.TemporaryFile(dir=path.resolve().parent).close()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror}") from error


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns the system's errors inside into InfrastructureError, naming `path`."""
    try:
        yield
    except OSError as error:
        raise InfrastructureError(
            f"{path}: cannot be written: {error.strerror or error}; nothing written before is lost"
        ) from error

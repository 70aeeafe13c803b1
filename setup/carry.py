"""What the wheel carries beside the Python package: setuptools calls this as its command build_py."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent.parent
FILES = ("platformio.ini", "hosts/*.yaml", "setup/scons_package.py", "firmware/**/*")
LEFT_OUT = ("firmware/generated/",)


def carried(root: Path) -> list[Path]:
    """The files, relative to the project's root, sorted."""
    found = {path.relative_to(root) for pattern in FILES for path in root.glob(pattern) if path.is_file()}
    return sorted(
        path
        for path in found
        if not path.as_posix().startswith(LEFT_OUT)
        and "__pycache__" not in path.parts
        and not any(part.startswith(".") for part in path.parts)
    )


def carry(root: Path, into: Path) -> None:
    """Copies them, and writes a digest of all names and contents."""
    digest = hashlib.sha256()
    for path in carried(root):
        (into / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / path, into / path)
        digest.update(f"{path.as_posix()}\0".encode() + hashlib.sha256((root / path).read_bytes()).digest())
    (into / "DIGEST").write_text(digest.hexdigest(), encoding="ascii")


class CarryingBuildPy(build_py):  # type: ignore[misc]  # setuptools has no annotations
    """build_py, and the project's files in bench/carried."""

    def run(self) -> None:
        """An editable installation lies in the checkout, which has the files."""
        super().run()
        if not self.editable_mode:
            carry(ROOT, Path(self.build_lib) / "bench" / "carried")

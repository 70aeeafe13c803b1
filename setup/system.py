"""The system packages that the bench needs, installed with apt only where they are missing."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from setup.apt_sources import find_archive
from setup.console import SetupError, Shell, output_of, say

QEMU_MAJOR = 10  # 9.0 is the first with b-l475e-iot01a, 9.2 with the plug-in API for counting; Debian has 10
_DATASET = Path("/usr/share/datasets/fashion-mnist")
_APT = Path("/etc/apt")
_BACKPORTS_FILE = _APT / "sources.list.d" / "ftte-bench-backports.sources"


@dataclass(frozen=True)
class Requirement:
    """Something the bench needs: how to see whether the system has it, and the Debian packages that bring it."""

    what: str
    packages: tuple[str, ...]
    present: Callable[[], bool]


def major_version(text: str) -> int:
    """The first number of a Debian version ("1:10.0.2+ds-2") or of a program's --version line; 0 when there is none."""
    match = re.search(r"(?:^|\s)(?:\d+:)?(\d+)\.\d", text)
    return int(match[1]) if match else 0


def _has_venv() -> bool:
    return all(importlib.util.find_spec(name) is not None for name in ("venv", "ensurepip"))


def _has_host_compiler() -> bool:
    return all(shutil.which(tool) for tool in ("gcc", "g++"))


def _has_arm_compiler() -> bool:
    # A library that is not found is printed as the bare name.
    libraries = ("nano.specs", "libc_nano.a", "libstdc++_nano.a")
    return shutil.which("arm-none-eabi-g++") is not None and all(
        "/" in output_of("arm-none-eabi-g++", f"-print-file-name={library}") for library in libraries
    )


def _has_qemu() -> bool:
    return major_version(output_of("qemu-system-arm", "--version")) >= QEMU_MAJOR


def _has_dataset() -> bool:
    return len(list(_DATASET.glob("*-ubyte.gz"))) >= 4


def _has_clang() -> bool:
    if not all(shutil.which(tool) for tool in ("clang++", "clang-format", "clang-tidy", "llvm-symbolizer")):
        return False
    return any(Path(output_of("clang++", "-print-resource-dir").strip()).glob("lib/*/libclang_rt.fuzzer*"))


def requirements(develop: bool) -> tuple[Requirement, ...]:
    """What running the bench needs; with `develop` also what its tests and checks need."""
    run = (
        Requirement("Python's venv", ("python3-venv",), _has_venv),
        Requirement("host C++ compiler", ("gcc", "g++"), _has_host_compiler),
        Requirement(
            "Arm cross compiler with newlib and libstdc++",
            ("gcc-arm-none-eabi", "libnewlib-arm-none-eabi", "libstdc++-arm-none-eabi-newlib"),
            _has_arm_compiler,
        ),
        Requirement("a compiler cache", ("ccache",), lambda: shutil.which("ccache") is not None),
        Requirement(f"QEMU {QEMU_MAJOR} or newer", ("qemu-system-arm",), _has_qemu),
        Requirement("Fashion-MNIST", ("dataset-fashion-mnist",), _has_dataset),
    )
    # libclang-rt-dev stands for the runtime of the distribution's clang: see Apt.real_names.
    clang = ("clang", "clang-format", "clang-tidy", "libclang-rt-dev", "llvm")
    tests = (
        Requirement("clang with libFuzzer and its tools", clang, _has_clang),
        Requirement(
            "Chromium, in which reports are tested", ("chromium",), lambda: shutil.which("chromium") is not None
        ),
    )
    return (*run, *tests) if develop else run


def missing(needed: Sequence[Requirement]) -> list[Requirement]:
    """Those requirements that this machine does not meet."""
    return [requirement for requirement in needed if not requirement.present()]


class Apt:
    """apt-get with the right to use it; lists are fetched once, and only when they turn out to be needed."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self._updated = False
        self._sudo: list[str] = []

    def require(self, packages: Sequence[str]) -> None:
        """Raises SetupError, naming what to install, when this machine has no apt or this user no right to use it."""
        if shutil.which("apt-get") is None:
            raise SetupError(f"no apt-get here: install what Debian calls {' '.join(packages)}, then run this again")
        if os.geteuid() == 0:
            return
        self._sudo = ["sudo"] if sys.stdin.isatty() else ["sudo", "-n"]
        if not self._shell.run([*self._sudo, "true"]):
            raise SetupError(f"system packages need root, and sudo did not work: apt-get install {' '.join(packages)}")

    def candidate(self, package: str) -> str:
        """The version that apt would install; empty when it knows none."""
        match = re.search(r"Candidate: (\S+)", output_of("apt-cache", "policy", package))
        return match[1] if match and match[1] != "(none)" else ""

    def update(self) -> None:
        """Fetches the package lists, once."""
        if self._updated:
            return
        say("fetching Debian's package lists")
        if not self._get("update"):
            raise SetupError(f"apt-get update failed: {self._shell.last_error()}")
        self._updated = True

    def real_names(self, packages: Sequence[str]) -> list[str]:
        """Debian 12 has no unversioned package for clang's runtime: its name follows from what `clang` depends on."""
        match = re.search(r"Depends: clang-(\d+)", output_of("apt-cache", "depends", "clang"))
        runtime = f"libclang-rt-{match[1]}-dev" if match else "libclang-rt-dev"
        return [runtime if package == "libclang-rt-dev" else package for package in packages]

    def install(self, packages: Sequence[str], suite: str = "") -> None:
        """Installs packages without the recommended ones; a broken-off dpkg or stale lists are mended once."""
        command = ("install", "-y", "--no-install-recommends", *(("-t", suite) if suite else ()), *packages)
        if self._get(*command):
            return
        self._shell.run([*self._sudo, "dpkg", "--configure", "-a"])
        self.update()
        if not self._get(*command):
            raise SetupError(f"apt-get install {' '.join(packages)} failed: {self._shell.last_error()}")

    def suite_with(self, package: str, major: int) -> str | None:
        """The suite in which apt knows the package in at least this major version: empty when that is its candidate."""
        if major_version(self.candidate(package)) >= major:
            return ""
        for line in output_of("apt-cache", "madison", package).splitlines():
            columns = [column.strip() for column in line.split("|")]
            if len(columns) == 3 and major_version(columns[1]) >= major:
                return columns[2].split()[1].split("/")[0]
        return None

    def enable_backports(self) -> None:
        """Adds the backports of this release from the archive that the machine itself is configured with."""
        codename = _codename()
        sources = [_APT / "sources.list", *sorted((_APT / "sources.list.d").glob("*.*"))]
        files = [(str(path), path.read_text(errors="replace")) for path in sources if path.is_file()]
        archive = find_archive((f for f in files if f[0].endswith((".list", ".sources"))), codename)
        if not codename or archive is None:
            raise SetupError(
                f"no source of this release ({codename or 'unknown'}) in {_APT} whose backports could be added"
            )
        say(f"adding {codename}-backports to apt's sources ({_BACKPORTS_FILE}), for QEMU {QEMU_MAJOR} or newer")
        if not self._shell.run(
            [*self._sudo, "tee", str(_BACKPORTS_FILE)], text=archive.stanza(f"{codename}-backports")
        ):
            raise SetupError(f"cannot write {_BACKPORTS_FILE}: {self._shell.last_error()}")
        self._updated = False
        try:
            self.update()
        except SetupError:
            self._shell.run([*self._sudo, "rm", "-f", str(_BACKPORTS_FILE)])
            raise

    def _get(self, *arguments: str) -> bool:
        # Through sudo the environment is lost, through env(1) it is not. Another apt at work is waited for.
        front = [*self._sudo, "env", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C"]
        return self._shell.run([*front, "apt-get", "-q", "-o", "DPkg::Lock::Timeout=300", *arguments])


def _codename() -> str:
    try:
        release = Path("/etc/os-release").read_text(encoding="utf-8")
    except OSError:
        return ""
    match = re.search(r"^VERSION_CODENAME=\"?([\w.-]+)", release, re.MULTILINE)
    return match[1] if match else ""


def _install_qemu(apt: Apt, package: str) -> None:
    suite = apt.suite_with(package, QEMU_MAJOR)
    if suite is None:
        apt.update()
        suite = apt.suite_with(package, QEMU_MAJOR)
    if suite is None:
        apt.enable_backports()
        suite = apt.suite_with(package, QEMU_MAJOR)
    if suite is None:
        raise SetupError(f"this distribution has no {package} {QEMU_MAJOR} or newer: install one that is on PATH")
    apt.install([package], suite)


def install(lacking: Sequence[Requirement], apt: Apt) -> None:
    """Installs what brings the lacking requirements, and looks whether they are met then. Raises SetupError."""
    packages = [package for requirement in lacking for package in requirement.packages]
    apt.require(packages)
    say(f"installing {', '.join(r.what for r in lacking)} ({' '.join(packages)}); this can take minutes")
    if not all(apt.candidate(package) for package in packages if package != "libclang-rt-dev"):
        apt.update()
    plain = [package for package in packages if package != "qemu-system-arm"]
    if plain:
        apt.install(apt.real_names(plain))
    if len(plain) < len(packages):
        _install_qemu(apt, "qemu-system-arm")
    importlib.invalidate_caches()
    if still := missing(lacking):
        raise SetupError(f"installed {' '.join(packages)}, but there is still no {', no '.join(r.what for r in still)}")

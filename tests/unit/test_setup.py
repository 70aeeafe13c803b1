"""Set-up of a machine: what it sees, what it would do about it, and that a broken-off step is done again.

apt, sudo and dpkg are stand-ins on PATH that keep a record; no package is installed here.
"""

from __future__ import annotations

import fcntl
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from setup import console, platformio_core, python_env, system
from setup.apt_sources import find_archive
from setup.console import SetupError, Shell


@pytest.mark.parametrize(
    ("text", "major"),
    [
        ("1:7.2+dfsg-7+deb12u18+b3", 7),
        ("1:10.0.2+ds-2+deb13u1~bpo12+1", 10),
        ("QEMU emulator version 9.1.0 (Debian 1:9.1.0+ds-1)\nCopyright", 9),
        ("command not found", 0),
        ("", 0),
    ],
)
def test_versions_of_debian_and_of_programs(text: str, major: int) -> None:
    assert system.major_version(text) == major


DEB822 = """\
# a comment
Types: deb deb-src
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main
"""
EMBEDDED_KEY = (
    "Types: deb\nURIs: http://m.example/d\nSuites: bookworm\nComponents: main\nSigned-By:\n -----BEGIN\n .\n key\n"
)


@pytest.mark.parametrize(
    ("name", "text", "stanza"),
    [
        (
            "debian.sources",
            DEB822,
            "Types: deb\nURIs: http://mirror.example/debian\nSuites: bookworm-backports\nComponents: main\n"
            "Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n",
        ),
        (
            "sources.list",
            "deb-src http://other.example/debian bookworm main\n"
            "deb [arch=amd64,arm64 signed-by=/k.gpg] http://mirror.example/debian/ bookworm main contrib # ours\n",
            "Types: deb\nURIs: http://mirror.example/debian/\nSuites: bookworm-backports\nComponents: main\n"
            "Architectures: amd64 arm64\nSigned-By: /k.gpg\n",
        ),
        (
            "key.sources",
            EMBEDDED_KEY,
            "Types: deb\nURIs: http://m.example/d\nSuites: bookworm-backports\nComponents: main\n"
            "Signed-By: \n -----BEGIN\n .\n key\n",
        ),
    ],
)
def test_backports_come_from_the_machine_s_own_archive(name: str, text: str, stanza: str) -> None:
    archive = find_archive([("empty.list", ""), (name, text)], "bookworm")
    assert archive is not None
    assert archive.stanza("bookworm-backports") == stanza


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("debian.sources", "Enabled: no\n" + DEB822.split("\n\n")[0]),
        ("debian.sources", DEB822.split("\n\n")[1]),
        ("debian.sources", DEB822.replace("Components: main", "Components: contrib")),
        ("sources.list", "# deb http://mirror.example/debian bookworm main\n"),
        ("sources.list", "deb http://mirror.example/debian bookworm contrib # main\n"),
    ],
)
def test_what_is_no_source_of_the_release_is_not_taken(name: str, text: str) -> None:
    assert find_archive([(name, text)], "bookworm") is None


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is the whole PATH, but for a shell's own tools."""
    folder = tmp_path / "tools"
    folder.mkdir()
    for name in ("sh", "env", "cat", "tee", "rm", "echo", "grep"):
        target = next(Path(d, name) for d in ("/usr/bin", "/bin") if Path(d, name).exists())
        (folder / name).symlink_to(target)
    monkeypatch.setenv("PATH", str(folder))
    return folder


def program(folder: Path, name: str, body: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


def test_an_old_qemu_does_not_do(tools: Path) -> None:
    qemu = next(r for r in system.requirements(develop=False) if "QEMU" in r.what)
    assert not qemu.present()
    program(tools, "qemu-system-arm", "echo 'QEMU emulator version 7.2.18 (Debian 1:7.2+dfsg-7)'")
    assert not qemu.present()
    program(tools, "qemu-system-arm", "echo 'QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2)'")
    assert qemu.present()


def test_an_arm_compiler_without_its_libraries_does_not_do(tools: Path) -> None:
    arm = next(r for r in system.requirements(develop=False) if "Arm" in r.what)
    program(tools, "arm-none-eabi-g++", 'echo "${1#-print-file-name=}"')
    assert not arm.present()
    program(tools, "arm-none-eabi-g++", 'echo "/lib/${1#-print-file-name=}"')
    assert arm.present()


class FakeApt:
    """apt-get and apt-cache that know QEMU 7.2, and 10.0 from backports once the file of sources names them."""

    def __init__(self, tools: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.record, self.sources = folder / "record", folder / "sources.list.d"
        self.tools, self.fail = tools, folder / "fail"
        self.sources.mkdir()
        (self.sources / "debian.sources").write_text(DEB822)
        (folder / "sources.list").write_text("")
        self.record.touch()
        monkeypatch.setattr(system, "_APT", folder)
        monkeypatch.setattr(system, "_BACKPORTS_FILE", self.sources / "backports.sources")
        monkeypatch.setattr(system, "_codename", lambda: "bookworm")
        monkeypatch.setattr(os, "geteuid", lambda: 0)
        program(
            tools,
            "apt-get",
            f"""echo "apt-get $*" >> {self.record}
[ -e {self.fail} ] && case "$*" in *install*) rm {self.fail}; echo 'E: dpkg was interrupted'; exit 100;; esac
case "$*" in *qemu-system-arm*) cat > {tools}/qemu-system-arm <<'END'
#!/bin/sh
echo 'QEMU emulator version 10.0.2'
END
/bin/chmod 755 {tools}/qemu-system-arm;; esac
exit 0""",
        )
        program(tools, "dpkg", f'echo "dpkg $*" >> {self.record}')
        program(
            tools,
            "apt-cache",
            f"""case "$1" in
policy) echo '  Candidate: 1:7.2+dfsg-7';;
madison) echo ' qemu-system-arm | 1:7.2+dfsg-7 | http://mirror.example/debian bookworm/main amd64 Packages'
  [ -e {self.sources}/backports.sources ] && echo \
  ' qemu-system-arm | 1:10.0.2+ds-2~bpo12+1 | http://mirror.example/debian bookworm-backports/main amd64 Packages'
  exit 0;;
depends) echo '  Depends: clang-14 (>= 14~)';;
esac""",
        )

    def calls(self) -> list[str]:
        return self.record.read_text().replace(" -q -o DPkg::Lock::Timeout=300", "").splitlines()


@pytest.fixture
def apt(tools: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeApt:
    folder = tmp_path / "apt"
    folder.mkdir()
    return FakeApt(tools, folder, monkeypatch)


def qemu_only() -> list[system.Requirement]:
    return [r for r in system.requirements(develop=False) if "QEMU" in r.what]


def test_qemu_comes_from_backports_where_the_release_s_is_too_old(apt: FakeApt, tmp_path: Path) -> None:
    system.install(system.missing(qemu_only()), system.Apt(Shell(tmp_path / "log")))
    assert apt.calls() == [
        "apt-get update",
        "apt-get update",
        "apt-get install -y --no-install-recommends -t bookworm-backports qemu-system-arm",
    ]
    assert "Suites: bookworm-backports\n" in (apt.sources / "backports.sources").read_text()
    assert system.missing(qemu_only()) == []


def test_a_broken_off_dpkg_is_mended_and_the_step_tried_again(apt: FakeApt, tmp_path: Path) -> None:
    apt.fail.touch()
    system.Apt(Shell(tmp_path / "log")).install(["g++"])
    assert apt.calls() == [
        "apt-get install -y --no-install-recommends g++",
        "dpkg --configure -a",
        "apt-get update",
        "apt-get install -y --no-install-recommends g++",
    ]


def test_a_package_that_does_not_help_is_an_error(apt: FakeApt, tmp_path: Path) -> None:
    needed = system.Requirement("moon", ("moon",), lambda: False)
    with pytest.raises(SetupError, match="installed moon, but there is still no moon"):
        system.install([needed], system.Apt(Shell(tmp_path / "log")))


def test_clang_s_runtime_is_the_one_of_the_distribution_s_clang(apt: FakeApt, tmp_path: Path) -> None:
    names = system.Apt(Shell(tmp_path / "log")).real_names(["clang", "libclang-rt-dev"])
    assert names == ["clang", "libclang-rt-14-dev"]


def test_no_right_to_install_is_one_clear_line(apt: FakeApt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    needed = [system.Requirement("moon", ("moon", "moon-data"), lambda: False)]
    with pytest.raises(SetupError, match=r"need root, and sudo did not work: apt-get install moon moon-data$"):
        system.install(needed, system.Apt(Shell(tmp_path / "log")))
    program(apt.tools, "sudo", "exit 1")
    with pytest.raises(SetupError, match="need root"):
        system.install(needed, system.Apt(Shell(tmp_path / "log")))
    assert apt.calls() == []
    (apt.tools / "apt-get").unlink()
    with pytest.raises(SetupError, match="no apt-get here: install what Debian calls moon moon-data"):
        system.install(needed, system.Apt(Shell(tmp_path / "log")))


def test_an_error_names_the_line_that_matters_and_the_log(tmp_path: Path) -> None:
    shell = Shell(tmp_path / "log")
    assert not shell.run(["sh", "-c", "echo E: Unable to locate package moon; echo some more; exit 100"])
    assert shell.last_error() == f"E: Unable to locate package moon (all of it: {tmp_path / 'log'})"
    assert not shell.run(["sh", "-c", "echo ERROR: Exception:; echo 'OSError: disk full'; exit 2"])
    assert shell.last_error().startswith("OSError: disk full (")
    assert not shell.run([str(tmp_path / "absent")])
    assert "absent" in shell.last_error()


def test_a_long_command_tells_what_it_is_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(console, "_SILENCE_S", 0.05)
    assert Shell(tmp_path / "log").run(["sh", "-c", "echo Collecting numpy; sleep 0.5"])
    assert re.search(r"^set-up:   0 s: Collecting numpy$", capsys.readouterr().err, re.MULTILINE)


FAKE_VENV = r"""
import os, pathlib, sys
venv = pathlib.Path(sys.argv[-1])
(venv / "bin").mkdir(parents=True, exist_ok=True)
fake = venv / "bin" / "python"
fake.write_text('''#!/bin/sh
echo "$@" >> PROJECT/pip-calls
case "$*" in *install*) [ -e PROJECT/pip-fails ] && { echo "ERROR: no index"; exit 1; }
for name in bench pio pyocd pytest; do echo > PROJECT/.venv/bin/$name; done;; esac
exit 0
'''.replace("PROJECT", str(venv.parent)))
fake.chmod(0o755)
"""


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project folder in which `python -m venv` makes a Python that only records what pip is asked for."""
    root = tmp_path / "project"
    (root / ".setup").mkdir(parents=True)
    (root / "pyproject.toml").write_text("[project]\n")
    maker = tmp_path / "python"
    (tmp_path / "venv.py").write_text(FAKE_VENV)
    maker.write_text(f'#!/bin/sh\nexec {sys.executable} {tmp_path}/venv.py "$@"\n')
    maker.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(maker))
    return root


def test_the_environment_is_made_once_and_again_only_for_a_reason(checkout: Path, tmp_path: Path) -> None:
    shell = Shell(tmp_path / "log")
    assert python_env.ensure(checkout, shell)
    assert "install" in (checkout / "pip-calls").read_text()
    assert not python_env.ensure(checkout, shell)
    (checkout / "pyproject.toml").write_text("[project]\nname = 'other'\n")
    assert python_env.ensure(checkout, shell)
    assert not python_env.ensure(checkout, shell)
    (checkout / ".venv" / "bin" / "pio").unlink()
    assert python_env.ensure(checkout, shell)


def test_a_failed_installation_is_said_and_tried_again(checkout: Path, tmp_path: Path) -> None:
    shell = Shell(tmp_path / "log")
    (checkout / "pip-fails").touch()
    for _ in range(2):
        with pytest.raises(SetupError, match=r"pip cannot install them: ERROR: no index \(all of it: "):
            python_env.ensure(checkout, shell)
    (checkout / "pip-fails").unlink()
    assert python_env.ensure(checkout, shell)
    assert not python_env.ensure(checkout, shell)


def test_platformio_accepts_the_core_package_without_its_registry(tmp_path: Path) -> None:
    core = tmp_path / "core"
    core.mkdir()
    environment = os.environ | {"PLATFORMIO_CORE_DIR": str(core)}
    script = Path(platformio_core.__file__).with_name("scons_package.py")
    for _ in range(2):  # a second time over the first: it is replaced whole
        subprocess.run([sys.executable, str(script), str(core)], check=True, env=environment, cwd=tmp_path)
    look = (
        "from platformio.package.manager.core import get_core_package_dir as get; from platformio import app;"
        "print(get('tool-scons', auto_install=False)); print(app.get_setting('enable_telemetry'))"
    )
    said = subprocess.run(
        [sys.executable, "-c", look], check=True, env=environment, cwd=tmp_path, capture_output=True, text=True
    ).stdout.split()
    assert said == [str(core / "packages" / "tool-scons"), "False"]
    scons = [sys.executable, str(core / "packages" / "tool-scons" / "scons.py"), "--version"]
    assert "SCons" in subprocess.run(scons, check=True, capture_output=True, text=True).stdout
    assert sorted(path.name for path in core.iterdir()) == ["appstate.json", "packages"]


def test_a_killed_set_up_s_last_command_keeps_the_lock(tmp_path: Path) -> None:
    script = (
        "import fcntl, pathlib, sys; from setup.console import Shell\n"
        "with open('lock', 'w') as lock:\n"
        "    fcntl.flock(lock, fcntl.LOCK_EX)\n"
        "    Shell(pathlib.Path('log'), keep=(lock.fileno(),)).run(['sh', '-c', 'echo $$ > child; exec sleep 60'])\n"
    )
    root = str(Path(platformio_core.__file__).parent.parent)
    killed = subprocess.Popen([sys.executable, "-c", script], cwd=tmp_path, env=os.environ | {"PYTHONPATH": root})
    child = tmp_path / "child"
    deadline = time.monotonic() + 20
    while not (child.is_file() and child.read_text().endswith("\n")):
        assert time.monotonic() < deadline, "the command did not start"
        time.sleep(0.01)  # a poll of a file, bounded by the deadline
    killed.kill()
    killed.wait()
    with (tmp_path / "lock").open("w") as lock:
        try:
            with pytest.raises(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        finally:
            os.kill(int(child.read_text()), signal.SIGKILL)
        fcntl.flock(lock, fcntl.LOCK_EX)  # free as soon as the command is gone


def test_the_command_refuses_an_unknown_option_and_explains_itself(project_root: Path) -> None:
    said = subprocess.run(
        [sys.executable, "-m", "setup", "--help"], cwd=project_root, check=True, capture_output=True, text=True
    ).stdout
    assert "--develop" in said
    wrong = subprocess.run(
        [sys.executable, "-m", "setup", "--moon"], cwd=project_root, check=False, capture_output=True
    )
    assert wrong.returncode == 2

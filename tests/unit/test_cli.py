"""The command's surface: help that teaches, one document with --json, exit codes that say who has to act."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bench import cli

REAL_BOARD = """\
boards:
  - {name: iot, env: b_l475e_iot01a, probe: "066CFF505750827567154312", serial: /dev/ttyNONE}
"""


@pytest.fixture(autouse=True)
def _surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Locks and state of its own; signals as they were."""
    monkeypatch.setenv("BENCH_LOCK_DIR", str(tmp_path / "locks"))
    monkeypatch.setenv("LOGNAME", "ada")
    monkeypatch.delenv("BENCH_RACK", raising=False)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        monkeypatch.setattr(signal, "signal", lambda *_: None)
        signal.getsignal(number)


@pytest.fixture
def rack(tmp_path: Path) -> Path:
    path = tmp_path / "rack.yaml"
    path.write_text(REAL_BOARD)
    return path


def run(*arguments: str | Path, state: Path) -> int:
    return cli.main([*map(str, arguments), "--state", str(state)])


def help_of(capsys: pytest.CaptureFixture[str], *verb: str) -> str:
    with pytest.raises(SystemExit) as caught:
        cli.main([*verb, "--help"])
    assert caught.value.code == 0
    return capsys.readouterr().out


def test_help_shows_every_verb_with_examples_and_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    text = help_of(capsys)
    for verb in ("rack", "build", "flash", "reset", "console", "plan", "place", "run", "report"):
        assert f"\n    {verb} " in text
    assert "bench run demo" in text
    assert "exit codes: 0 ok, 1" in text
    for verb in ("rack", "flash", "run"):
        assert f"bench {verb} " in help_of(capsys, verb).partition("examples:")[2]
    for action in ("list", "show", "doctor", "discover", "who", "lock", "unlock", "up"):
        assert f"\n    {action} " in help_of(capsys, "rack")


@pytest.mark.parametrize(
    "arguments",
    [[], ["flsh"], ["rack"], ["rack", "lisst"], ["run"], ["console"], ["flash", "--boards", "x"], ["reset", "x"]],
)
def test_wrong_usage_ends_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "usage: bench" in captured.err


def test_boards_as_a_table_with_ids_in_full(rack: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("rack", "list", "--rack", rack, state=tmp_path) == 0
    out = capsys.readouterr().out
    assert "iot    b_l475e_iot01a  cortex-m4f  stm32l475xg  066CFF505750827567154312  /dev/ttyNONE\n" in out


def test_the_default_rack_and_the_one_of_the_environment(
    rack: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("rack", "list", "--json", state=tmp_path) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["rack"].endswith("hosts/virtual.yaml")
    assert len(document["boards"]) >= 5
    monkeypatch.setenv("BENCH_RACK", str(rack))
    assert run("rack", "list", "--json", state=tmp_path) == 0
    assert [board["name"] for board in json.loads(capsys.readouterr().out)["boards"]] == ["iot"]
    assert run("rack", "list", "--json", "--rack", "nowhere.yaml", state=tmp_path) == 2


def test_one_board_with_all_that_is_known(rack: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("rack", "show", "iot", "--rack", rack, "--json", state=tmp_path) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["board"]["target"] == "stm32l475xg"
    assert document["manifest"]["ram"]["size"] == 96 * 1024
    assert document["holder"] is None
    assert run("rack", "show", "iot", "--rack", rack, state=tmp_path) == 0
    assert json.loads(capsys.readouterr().out) == document


def test_locking_and_unlocking(
    rack: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def bench(*arguments: str) -> tuple[int, str, str]:
        code = run("rack", *arguments, "--rack", rack, state=tmp_path)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    assert bench("who") == (0, "iot: free\n", "")
    assert bench("lock", "iot", "--purpose", "soak")[0] == 0
    assert "iot: reserved by ada on " in bench("who")[1]
    monkeypatch.setenv("LOGNAME", "eve")
    code, out, err = bench("lock", "iot")
    assert (code, out) == (3, "")
    assert "bench: board iot is reserved by ada on " in err
    assert "(soak)" in err
    code, _, err = bench("unlock", "iot")
    assert code == 3
    assert "--force takes it" in err
    assert bench("unlock", "iot", "--force")[:2] == (0, "freed: iot\n")
    assert bench("unlock", "iot")[:2] == (0, "freed: none, for none was reserved\n")


def test_locking_is_of_all_or_of_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    two = tmp_path / "two.yaml"
    two.write_text(REAL_BOARD + "  - {name: bit, env: microbit, probe: ABCDEF, serial: /dev/ttyNONE2}\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LOGNAME", "eve")
        assert run("rack", "lock", "bit", "--rack", two, state=tmp_path) == 0
    assert run("rack", "lock", "iot", "bit", "--rack", two, state=tmp_path) == 3
    capsys.readouterr()
    assert run("rack", "who", "--rack", two, "--json", state=tmp_path) == 0
    who = json.loads(capsys.readouterr().out)
    assert who["iot"]["reservation"] is None
    assert who["bit"]["reservation"]["user"] == "eve"


@pytest.mark.parametrize("verb", [["reset"], ["console", "--board", "iot"], ["flash", "--image", "IMAGE"]])
def test_a_board_without_a_serial_port_is_an_error_of_infrastructure(
    rack: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], verb: list[str]
) -> None:
    (tmp_path / "image").write_bytes(b"no image")
    arguments = [str(tmp_path / "image") if word == "IMAGE" else word for word in verb]
    code = run(*arguments, "--rack", rack, "--json", state=tmp_path)
    captured = capsys.readouterr()
    error = json.loads(captured.out)["error"]
    if "--image" in verb:  # looked at before the board is
        assert code == error["exit_code"] == 2
        assert "board iot: not a firmware image" in error["message"]
    else:
        assert code == error["exit_code"] == 3
        assert "serial port /dev/ttyNONE does not exist" in error["message"]
    assert error["message"] in captured.err


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["build", "--env", "microbitt"], "no environment 'microbitt': choose one of b_l475e_iot01a, host, microbit"),
        (
            ["build", "--program", "demo_int9"],
            "no program 'demo_int9' in firmware/generated",
        ),
        (["flash", "--image", "nowhere.bin"], "nowhere.bin: cannot be read: No such file or directory"),
        (["flash", "--board", "iott"], "no board 'iott'; did you mean iot?"),
        (["reset", "--board", "iott"], "no board 'iott'; did you mean iot?"),
        (["console", "--board", "iott"], "no board 'iott'; did you mean iot?"),
        (["rack", "show", "iott"], "no board 'iott'; did you mean iot?"),
        (["rack", "lock", "iott"], "no board 'iott'; did you mean iot?"),
        (["rack", "up"], "none of these boards is virtual; there is nothing to keep up"),
        (["plan", "nonesuch.onnx"], "no model 'nonesuch.onnx': give an ONNX file that exists, or one of "),
        (["plan", "lenet-5", "--calibration", "none.npy"], "--calibration none.npy: no such file"),
        (["plan", "lenet-5", "--picture", "map.txt"], "--picture map.txt: the name's end says what it is: .png, .svg"),
        (["run", "nonesuch"], "nonesuch: no such experiment file; experiments that ship: demo"),
    ],
)
def test_what_cannot_be_carried_out_ends_with_2_and_says_why(
    rack: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], expected: str
) -> None:
    assert run(*arguments, "--rack", rack, state=tmp_path) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert expected in captured.err
    assert "compiling" not in captured.err


def test_a_malformed_inventory(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "rack.yaml").write_text(REAL_BOARD.replace("env:", "evn:"))
    assert run("flash", "--rack", tmp_path / "rack.yaml", "--json", state=tmp_path) == 2
    captured = capsys.readouterr()
    assert json.loads(captured.out)["error"]["kind"] == "ConfigError"
    assert "rack.yaml:2: boards[0].evn: unknown field; did you mean env?" in captured.err
    assert "rack.yaml:2: boards[0].env: missing; add it" in captured.err


def test_a_defect_is_told_in_a_line_and_kept_in_a_file(
    rack: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.verbs.options.load_inventory", lambda _path: 1 / 0)
    assert run("rack", "list", "--rack", rack, state=tmp_path) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "a defect of the bench: ZeroDivisionError: division by zero; please report it with " in captured.err
    (log,) = (tmp_path / "logs").glob("defect-*.log")
    assert str(log) in captured.err
    assert "Traceback" in log.read_text()


def test_an_interrupt_is_told_in_a_line(
    rack: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_path: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("bench.verbs.options.load_inventory", interrupt)
    assert run("rack", "list", "--rack", rack, state=tmp_path) == 130
    assert capsys.readouterr().err == "bench: interrupted; everything that was started is stopped\n"


def test_a_reader_that_goes_away_is_no_error(project_root: Path) -> None:
    command = f"{sys.executable} -m bench rack show bit | head -1"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], cwd=project_root, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("redirection", "said"),
    [
        (">/dev/full", "cannot be written: No space left on device"),
        (">&-", "standard output is closed"),
    ],
)
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_or_closed_standard_output_is_told_in_a_line(
    project_root: Path, redirection: str, said: str, unbuffered: str
) -> None:
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m bench rack list --json {redirection}"],
        cwd=project_root,
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 3
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("bench: ")
    assert said in line


def test_progress_that_nobody_hears_does_not_get_into_the_document(project_root: Path) -> None:
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m bench rack list --json 2>&-"],
        cwd=project_root,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0
    assert json.loads(done.stdout)["boards"]


def test_the_module_is_the_command(project_root: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench", "rack", "list", "--json"],
        cwd=project_root / "hosts",
        env={**os.environ, "PYTHONPATH": str(project_root)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0
    assert done.stderr == ""
    assert json.loads(done.stdout)["rack"] == str(project_root / "hosts/virtual.yaml")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("regressions", "--because", "it is well"), "name the regressions with --accept"),
        (("store", "list", "boards", "--experiment", "demo"), "--experiment chooses among runs"),
        (("flash", "--image", "firmware.bin", "--program", "demo"), "leave out --program"),
    ],
)
def test_an_option_that_would_not_count_is_refused(
    arguments: tuple[str, ...], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*arguments, state=tmp_path) == 2
    assert told in capsys.readouterr().err


def test_nohup_is_respected() -> None:
    code = (
        "import os, signal, sys\n"
        "signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "from bench import cli\n"
        "cli.main(['rack', 'list', '--json'])\n"
        "os.kill(os.getpid(), signal.SIGHUP)\n"
        "sys.exit(7)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 7

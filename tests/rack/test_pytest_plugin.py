"""The pytest plug-in on an emulated board, as a project outside of this one uses it."""

from __future__ import annotations

import json
import threading
import xml.etree.ElementTree as ET
from itertools import pairwise
from pathlib import Path

import pytest

from bench.rack.locks import BoardLock

pytest_plugins = ["pytester"]

RACK = """\
boards:
  - name: bit
    env: microbit
    probe: remote:127.0.0.1:0
    virtual: {machine: microbit}
    meter: {kind: ppk2, line: [1, 2], virtual: {}}
"""
TWO = (
    RACK
    + """\
  - {name: plus2, env: netduinoplus2, probe: "remote:127.0.0.1:0", virtual: {machine: netduinoplus2}, features: [big]}
"""
)


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The emulated boards' flash, which these sessions share: the first flashes."""
    return tmp_path_factory.mktemp("state")


@pytest.fixture
def project(pytester: pytest.Pytester, state: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A project with a rack of one board in its configuration."""
    for name in ("FTTE_RACK", "FTTE_BOARD", "FTTE_SKIP_FLASH", "PYTEST_ADDOPTS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("FTTE_RACK_STATE", str(state))
    monkeypatch.setenv("BENCH_LOCK_DIR", str(state / "locks"))
    pytester.makefile(".yaml", rack=RACK, two=TWO)
    pytester.makeini("[pytest]\nftte_rack = rack.yaml\naddopts = --strict-markers\n")
    return pytester


def logs(project: pytest.Pytester, name: str = "bit") -> list[str]:
    """The newest session's log of a board."""
    newest = max(project.path.parent.rglob(f"rack*/logs/{name}.log"), key=lambda path: path.stat().st_mtime_ns)
    return newest.read_text().splitlines()


def test_a_test_runs_on_each_board_and_is_skipped_where_it_cannot(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        import pytest

        @pytest.mark.board(sram_min=65536, features=["radio"])
        def test_large(board):
            assert False

        @pytest.mark.board(family="stm32")
        class TestFamily:
            @pytest.mark.board(fpu=False)
            def test_of_class_and_function(self, board):
                assert False

        @pytest.mark.cohort(boards=2)
        @pytest.mark.board(family="nrf")
        def test_two(cohort):
            assert False
        """
    )
    done = project.runpytest_inprocess("--rack", "two.yaml", "-rs")
    done.assert_outcomes(skipped=5)
    done.stdout.fnmatch_lines(
        [
            "rack: *two.yaml: bit (microbit), plus2 (netduinoplus2)",
            "*board bit: 65,536 bytes of SRAM are asked for, it has 16,384; without radio among its features*",
        ]
    )
    text = done.stdout.str()
    assert "board plus2: without radio among its features in the inventory" in text
    assert "board bit: family stm32 is asked for, it is a nrf51" in text
    assert "board plus2: it has an FPU" in text
    assert "1 boards of" in text
    assert "two.yaml match, 2 are needed" in text


def test_a_rack_in_another_project_is_told(project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """pytest itself takes what follows `--rack ` for a test's path, and so for where to look for its configuration."""
    (other := project.path / "other").mkdir()
    (other / "pytest.ini").write_text("[pytest]\n")
    rack = (project.path / "two.yaml").rename(other / "two.yaml")
    (mine := project.path / "mine").mkdir()
    (mine / "pytest.ini").write_text("[pytest]\n")
    (mine / "test_none.py").write_text("def test_none(): pass\n")
    monkeypatch.chdir(mine)
    apart = project.runpytest_inprocess("--rack", str(rack))
    apart.assert_outcomes(passed=1)
    apart.stdout.fnmatch_lines([f"rack: write --rack={rack}: *", f"rootdir: {other}"])
    joined = project.runpytest_inprocess(f"--rack={rack}")
    joined.stdout.fnmatch_lines([f"rootdir: {mine}"])
    joined.stdout.no_fnmatch_line("*write --rack=*")


def test_one_board_or_a_few_can_be_enough(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        import pytest
        from bench.rack.inventory import load_inventory
        from bench.rack.rack import Rack

        @pytest.mark.board(one=True)
        def test_any(board):
            assert board.name == "bit"

        @pytest.mark.board(family="stm32", one=True)
        def test_the_first_that_does(board):
            assert board.name == "plus2"

        @pytest.mark.board(features=["radio"], one=True)
        def test_none(board):
            assert False

        @pytest.mark.cohort(most=1)
        def test_few(cohort):
            assert cohort.names == ("bit",)

        @pytest.mark.board(one=True, fpu=True)
        def test_one(cohort):
            assert cohort.names == ("plus2",)

        @pytest.fixture(scope="module")
        def pair(rack):
            return rack.cohort(boards=2)

        @pytest.fixture(scope="module")
        def three(rack):
            return rack.cohort(boards=3)

        def test_of_a_module(pair):
            assert pair.names == ("bit", "plus2")

        def test_too_few(three):
            assert False

        def test_lent(rack, pair):
            opened = rack["bit"].opened
            with pair.lent() as lent:
                assert lent.options == ("--rack", str(lent.rack), "--state", str(rack.state))
                with Rack.open(load_inventory(lent.rack), ["bit"], purpose="another", state_dir=lent.state) as other:
                    assert other.boards["bit"].ends.probe
            assert rack["bit"].opened is not opened
        """
    )
    done = project.runpytest_inprocess("--rack", "two.yaml", "-rs")
    done.assert_outcomes(passed=6, skipped=3, deselected=2)
    done.stdout.fnmatch_lines(["*2 boards of *two.yaml match, 3 are needed*"])


@pytest.mark.parametrize(
    ("arguments", "mark", "said"),
    [
        (["--board", "bat"], "", "no board 'bat'; did you mean bit?"),
        (["--rack", "none.yaml"], "", "none.yaml: no such inventory"),
        (
            [],
            "@pytest.mark.board(sram=1)",
            "::test_it[bit]: @pytest.mark.board: sram=...: no such capability; known are name",
        ),
        ([], "@pytest.mark.board(sram_min='much')", "sram_min='much': a number and a unit, such as"),
        ([], "@pytest.mark.board(fpu='no')", "fpu='no': True or False"),
        ([], "@pytest.mark.board('stm32')", "@pytest.mark.board('stm32'): say what it is, as in family="),
        ([], "@pytest.mark.board(family=[])", "@pytest.mark.board: family=[]: nothing is named"),
        ([], "@pytest.mark.cohort(board=3)", "::test_it[bit]: @pytest.mark.cohort: board=...: a cohort has boards="),
        ([], "@pytest.mark.cohort(most=0)", "@pytest.mark.cohort: most=0: a number of boards, 1 or more"),
        (["-n", "1"], "@pytest.mark.cohort(most=0)", "@pytest.mark.cohort: most=0: a number of boards, 1 or more"),
    ],
    ids=[
        "board",
        "rack",
        "capability",
        "size",
        "flag",
        "positional",
        "nothing",
        "cohort",
        "cohort size",
        "worker",
    ],
)
def test_what_does_not_exist_is_told_before_any_test(
    project: pytest.Pytester, arguments: list[str], mark: str, said: str
) -> None:
    project.makepyfile(f"import pytest\n{mark}\ndef test_it(board): pass\n")
    done = project.runpytest_inprocess(*arguments)
    assert done.ret == (pytest.ExitCode.TESTS_FAILED if "-n" in arguments else pytest.ExitCode.USAGE_ERROR)
    assert said in done.stdout.str() + done.stderr.str()


def test_a_step_its_metrics_and_its_limits(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        def test_step(board, record_metric, assert_within):
            assert (board.name, board.env, board.target) == ("bit", "microbit", "nrf51822")
            step = board.step("demo-cnn", "bias")
            record_metric(step["instructions"])
            assert_within(step["sram_total"], max=16, unit="KiB")
            assert step["sram_total"].value <= step.planned.footprint.total_bytes

        def test_the_same_program_again(board, assert_within):
            assert_within(board.step("demo-cnn", "bias")["sram_total"], max=1, unit="KiB")

        def test_the_board_itself(board):
            assert board.device.info.env == "microbit"
            assert board.reset().env == "microbit"
        """
    )
    done = project.runpytest_inprocess("--junit-xml=junit.xml", "--metrics=out/metrics.json")
    done.assert_outcomes(passed=2, failed=1)
    log = logs(project)
    assert sum(" $ pyocd flash" in line for line in log) == 1, "a program is flashed once"
    assert any("board: ftte microbit: reset by" in line for line in log), "the boot text"
    done.stdout.fnmatch_lines(
        [
            "*AssertionError: sram_total of bit * bytes (counted) is above its limit of 1 KiB by * bytes, *%",
            "*log of board bit*",
            "*all of it: *bit.log",
            "* board: ftte microbit: reset by *",
            "*= metrics =*",
            "test_step?bit? *instructions *counted*",
            "test_step?bit? *sram_total *bytes *counted *max 16,384*",
        ]
    )
    suite = ET.parse(project.path / "junit.xml").getroot()[0]
    assert (suite.get("failures"), suite.get("errors")) == ("1", "0")
    [failure] = suite.iter("failure")
    assert "board: ftte microbit: reset by" in (failure.text or ""), "the boot text"
    case = next(case for case in suite if case.get("name") == "test_step[bit]")
    properties = {entry.get("name"): entry.get("value") for entry in case.iter("property")}
    assert properties["board"] == "bit"
    assert 1000 < int(properties["sram_total [bytes]"] or 0) <= 16384
    assert int(properties["instructions [instructions]"] or 0) > 10_000
    rows = json.loads((project.path / "out/metrics.json").read_text())
    assert [(row["name"], row["outcome"], row["high"]) for row in rows] == [
        ("instructions", "passed", None),
        ("sram_total", "passed", 16384),
        ("sram_total", "failed", 1024),
    ]


def test_nothing_is_flashed_where_it_must_not_be(project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """The board holds the program of the test above."""
    project.makepyfile(
        """
        def test_there(board):
            board.step("demo-cnn", "bias")

        def test_not_there(board):
            board.step("demo-cnn", "bias", seed=5)
        """
    )
    monkeypatch.setenv("FTTE_SKIP_FLASH", "1")
    done = project.runpytest_inprocess()
    done.assert_outcomes(passed=1, failed=1)
    done.stdout.fnmatch_lines(["*ConfigError: board bit must not be flashed now, but its data partition is not what *"])


def test_an_infrastructure_error_is_no_failure_and_is_tried_once_more(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        import pytest
        from bench.errors import DeviceError, InfrastructureError

        tries = []

        @pytest.fixture(scope="module")
        def flaky(rack):
            tries.append("fixture")
            if len(tries) == 1:
                raise InfrastructureError("the probe was asleep")

        def test_second_time(flaky):
            tries.append("test")

        def test_never(rack):
            raise InfrastructureError("the line is cut")

        def test_wrong_answer(rack):
            tries.append("device")
            raise DeviceError("a fault")

        def test_tries(rack):
            assert tries == ["fixture", "fixture", "test", "device"]
        """
    )
    done = project.runpytest_inprocess("--junit-xml=junit.xml")
    done.assert_outcomes(passed=2, errors=1, failed=1)
    done.stdout.fnmatch_lines(
        [
            "*ERROR *test_never*",
            "*InfrastructureError: the line is cut*",
            "*not the code under test: probe, line, power or host*",
            "*tried again after an infrastructure error*",
            "*::test_second_time: the probe was asleep",
            "*::test_never: the line is cut",
        ]
    )
    suite = ET.parse(project.path / "junit.xml").getroot()[0]
    assert (suite.get("failures"), suite.get("errors")) == ("1", "1")
    outcomes = {case.get("name"): [child.tag for child in case if child.tag != "properties"] for case in suite}
    assert outcomes["test_never"] == ["error"]
    assert outcomes["test_wrong_answer"] == ["failure"]
    retried = {
        case.get("name"): entry.get("value")
        for case in suite
        for entry in case.iter("property")
        if entry.get("name") == "retried_after"
    }
    assert retried == {"test_second_time": "the probe was asleep", "test_never": "the line is cut"}


def test_a_board_that_dies_is_brought_back_for_the_second_try(project: pytest.Pytester, state: Path) -> None:
    project.makepyfile(
        f"""
        import os, signal
        from pathlib import Path

        killed = []

        def process_of_the_board():
            for entry in Path("/proc").glob("[0-9]*/cmdline"):
                line = entry.read_bytes().replace(b"\\0", b" ").decode(errors="replace")
                if "bench.virtual.board --child" in line and {str(state)!r} in line:
                    return int(entry.parent.name)

        def test_outlives_it(board):
            board.flash("demo-cnn", "bias")
            if not killed:
                killed.append(process_of_the_board())
                os.kill(killed[0], signal.SIGKILL)
            assert board.device.stats().sram_static > 0
            assert killed
        """
    )
    done = project.runpytest_inprocess()
    done.assert_outcomes(passed=1)
    done.stdout.fnmatch_lines(["*tried again after an infrastructure error*", "*test_outlives_it?bit?: *"])
    assert any("recovered by" in line for line in logs(project))


def test_a_board_in_use_is_waited_for_no_longer_than_said(project: pytest.Pytester, state: Path) -> None:
    project.makepyfile("def test_it(board): assert board.device is not None\n")
    lock = BoardLock(f"virtual:{(state / 'virtual' / 'bit').resolve()}", "bit", "a soak test")
    lock.acquire()
    try:
        done = project.runpytest_inprocess()
        done.assert_outcomes(errors=1)
        done.stdout.fnmatch_lines(["*BoardInUseError: board bit is in use by * (a soak test): wait for it, or end it"])
        given_back = threading.Timer(1.0, lock.release)
        given_back.start()
        project.runpytest_inprocess("--rack-wait", "60").assert_outcomes(passed=1)
        given_back.join()
    finally:
        lock.release()


def test_xdists_workers_take_turns_on_a_board(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        import os, threading, time
        import pytest

        @pytest.mark.parametrize("turn", range(4))
        def test_alone(board, turn, record_metric):
            begun = time.monotonic()
            assert board.device.info.env == "microbit"
            threading.Event().wait(0.1)
            with open("turns", "a") as file:
                file.write(f"{os.environ['PYTEST_XDIST_WORKER']} {begun} {time.monotonic()}\\n")
            record_metric("turn", turn, "1")
        """
    )
    done = project.runpytest_subprocess("-n", "2", "-p", "xdist", "--metrics=metrics.json")
    done.assert_outcomes(passed=4)
    turns = sorted(
        (float(begun), float(ended), worker)
        for worker, begun, ended in map(str.split, (project.path / "turns").read_text().splitlines())
    )
    assert {worker for _, _, worker in turns} == {"gw0", "gw1"}
    assert all(ended <= begun for (_, ended, _), (begun, _, _) in pairwise(turns))
    assert len(json.loads((project.path / "metrics.json").read_text())) == 4, "metrics cross from the workers"


def test_a_meter_and_an_energy(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        def test_energy(board, assert_within):
            energy = board.measure("demo-cnn", "bias", what=["round"], local_samples=3)
            assert energy.run.instrumented.meter == "ppk2"
            assert_within(energy["energy"], min=1, max=1e6, unit="uJ")
            parts = [energy[f"energy.{phase}"].value for phase in ("compute", "link", "idle")]
            assert abs(sum(parts) - energy["energy"].value) < 1e-6
            assert energy["energy"].kind == "modelled"
            counted = board.measure("demo-cnn", "bias", what=["round"], local_samples=3, metered=False)
            assert counted.run.instrumented.meter == "modelled"
            assert counted["energy.compute"].value > 0

        def test_meter(meter):
            assert meter.instrument.kind == "ppk2"
            assert not meter.instrument.physical
        """
    )
    project.runpytest_inprocess().assert_outcomes(passed=2)


def test_a_cohort_and_its_federated_run(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        import pytest

        def test_both_step(cohort, record_metric):
            steps = cohort.step("demo-cnn", "bias")
            assert list(steps) == ["bit", "plus2"]
            for step in steps.values():
                record_metric(step["instructions"])
            assert steps["bit"]["instructions"].value > steps["plus2"]["instructions"].value

        @pytest.mark.board(name="bit")
        def test_learns(trained, assert_within):
            assert_within(trained.metric("accuracy"), min=25, unit="%")
            assert trained.metric("sram_total", board="bit", phase="train").value <= 16384
            assert (trained.folder / "report.html").is_file()

        @pytest.mark.board(name="bit")
        def test_the_same_run(trained):
            assert len(list(trained.folder.parent.iterdir())) == 1
            assert set(trained.table["board"]) == {"bit", ""}
        """
    )
    done = project.runpytest_inprocess("--rack", "two.yaml")
    done.assert_outcomes(passed=3)
    done.stdout.fnmatch_lines(["test_both_step  instructions *", "test_learns *accuracy *counted *min 0.25*"])

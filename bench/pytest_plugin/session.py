"""A session of tests on a rack: its fixtures, who gets which board when, and what failures carry."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest
from _pytest.runner import runtestprotocol

from bench.errors import BenchError, ConfigError, InfrastructureError
from bench.pytest_plugin import capabilities
from bench.pytest_plugin.failures import (
    INFRASTRUCTURE,
    attach_logs,
    forget_failures,
    mark_infrastructure,
    offsets,
    without_our_frames,
)
from bench.pytest_plugin.metrics import BOARD, METRICS
from bench.pytest_plugin.options import Options, configured_elsewhere, read
from bench.pytest_plugin.rack import Rack
from bench.rack.entry import BoardEntry
from bench.rack.locks import BoardInUseError

if TYPE_CHECKING:
    from bench.meters.meter import Meter
    from bench.pytest_plugin.boards import RackBoard
    from bench.pytest_plugin.cohort import Cohort, Trained
    from bench.pytest_plugin.tools import Tools

_FIXTURES = ("rack", "meter", "cohort", "trained")
"""Beside `board`."""
_OFFSETS: pytest.StashKey[Mapping[str, int]] = pytest.StashKey()
_RETRIED: pytest.StashKey[str] = pytest.StashKey()
_IN_USE: pytest.StashKey[bool] = pytest.StashKey()
_WRONG: pytest.StashKey[str] = pytest.StashKey()
"""What no board can be asked for, and this test does."""
SMOKE = "smoke"
"""What `trained` is a run of unless a test says otherwise."""


def configure(config: pytest.Config, rack: str) -> None:
    """Reads the rack and registers what works on it. Raises pytest.UsageError."""
    try:
        options = read(config, rack)
    except BenchError as error:
        raise pytest.UsageError(str(error)) from error
    config.pluginmanager.register(RackSession(config, options), "ftte-bench-rack")


class RackSession:
    """The plug-in's part that is there when a rack is named. What takes a while to import waits for the first test."""

    def __init__(self, config: pytest.Config, options: Options) -> None:
        self._config = config
        self._options = options
        self._tools: Tools | None = None
        self._retried: list[str] = []
        config.pluginmanager.register(self._of_the_session(), "ftte-bench-boards")

    @property
    def tools(self) -> Tools:
        """Boards, their leases and programs."""
        if self._tools is None:
            from bench.pytest_plugin.tools import Tools

            self._tools = Tools(self._config, self._options)
        return self._tools

    # --- fixtures ---

    def _of_the_session(self) -> ModuleType:
        """`board`, whose parameters are only known now, and `rack`, in a module: pytest wants no methods for these."""
        # xdist says the same, but perhaps later; without it the mark means nothing.
        self._config.addinivalue_line("markers", "xdist_group(name): tests of one group run on one worker")

        def parameter(entry: BoardEntry) -> Any:
            return pytest.param(entry, id=entry.name, marks=pytest.mark.xdist_group(entry.name))

        @pytest.fixture(scope="session", params=[parameter(entry) for entry in self._options.boards])
        def board(request: pytest.FixtureRequest) -> RackBoard:
            """One board: the test runs once on each that matches its `@pytest.mark.board(...)`."""
            return self.tools.boards[request.param.name]

        @pytest.fixture(scope="session")
        def rack() -> Rack:
            """The boards of the rack that were chosen, by name; `rack.cohort(...)` for fixtures of a module."""
            return Rack(self._options.inventory, self.tools)

        module = ModuleType("ftte_bench_boards")
        vars(module).update(board=board, rack=rack)
        return module

    @pytest.fixture
    def meter(self, board: RackBoard) -> Iterator[Meter]:
        """The board's meter, armed (`bench.meters.meter.Meter`); skipped on a board that has none."""
        if (reason := capabilities.unmet(board.entry, {"meter": True})) is not None:
            pytest.skip(reason)
        with board.meter() as meter:
            yield meter

    @pytest.fixture
    def cohort(self, request: pytest.FixtureRequest) -> Cohort:
        """All boards that match the test's `@pytest.mark.board(...)`, at once."""
        return Rack(self._options.inventory, self.tools).cohort(**_size(request.node), **_of_cohort(request.node))

    @pytest.fixture
    def trained(self, request: pytest.FixtureRequest, cohort: Cohort) -> Trained:
        """A federated run over the cohort: of `@pytest.mark.experiment(...)`, or a short one; run once a session."""
        marker = request.node.get_closest_marker("experiment")
        return self.tools.trained(cohort, SMOKE if marker is None else str(marker.args[0]))

    # --- collection ---

    def pytest_report_header(self) -> list[str]:
        """Which boards."""
        boards = ", ".join(f"{entry.name} ({entry.env})" for entry in self._options.boards)
        elsewhere = configured_elsewhere(self._config)
        return [f"rack: {self._options.inventory.path}: {boards}", *([elsewhere] if elsewhere else [])]

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Skips tests on boards that do not match; where one is asked for by name and is there, the others are no
        case at all. Raises pytest.UsageError for what no board can be asked for."""
        others = []
        for item in items:
            asked = _asked(item)
            try:
                _check_marker(item, asked)
            except pytest.UsageError as error:
                if not hasattr(self._config, "workerinput"):
                    raise
                item.stash[_WRONG] = str(error)  # an xdist worker that ends here is a riddle: it is the test's error
                continue
            entry = _entry(item)
            if entry is None:
                continue
            if capabilities.another(entry, asked, self._options.boards):
                others.append(item)
            elif (reason := capabilities.unmet(entry, asked)) is not None:
                item.add_marker(pytest.mark.skip(reason=reason))
        if others:
            self._config.hook.pytest_deselected(items=others)
            items[:] = [item for item in items if item not in others]

    def _needed(self, item: pytest.Item | None) -> set[str]:
        """The boards that a test needs from its beginning on."""
        if item is None:
            return set()
        entry = _entry(item)
        names = set() if entry is None else {entry.name}
        used = _ours(item)
        if "cohort" in used and "trained" not in used:  # a run takes its boards itself
            asked, most = _of_cohort(item), _size(item).get("most")
            matching = [entry for entry in self._options.boards if capabilities.unmet(entry, asked) is None]
            names |= {entry.name for entry in matching[:most]}
        return names

    # --- running ---

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
        """Once more when probe, line or power failed; the board is brought back in between."""
        if not self._uses_rack(item):
            return None
        hook = item.ihook
        hook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        reports = runtestprotocol(item, log=False, nextitem=nextitem)
        reason = next((text for report in reports if (text := getattr(report, INFRASTRUCTURE, ""))), "")
        if reason and _IN_USE not in item.stash:  # that was waited for as long as --rack-wait says
            self._retried.append(f"{item.nodeid}: {reason}")
            self.tools.mend(self._needed(item), reason)
            item.stash[_RETRIED] = reason
            item.stash.setdefault(METRICS, {}).clear()
            forget_failures(item)
            reports = runtestprotocol(item, log=False, nextitem=nextitem)
        for report in reports:
            hook.pytest_runtest_logreport(report=report)
        hook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        return True

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Takes the boards before any fixture asks for them."""
        if _WRONG in item.stash:
            pytest.fail(item.stash[_WRONG], pytrace=False)
        if item.get_closest_marker("skip") is not None or not self._uses_rack(item):
            return
        entry = _entry(item)
        if entry is not None:
            item.stash[BOARD] = entry.name
        if needed := self._needed(item):
            item.stash[_OFFSETS] = offsets(self.tools.boards.values())
            self.tools.leases.take(needed)

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_teardown(self, nextitem: pytest.Item | None) -> Any:
        """Under xdist gives back what the next test does not need: another worker may wait for it."""
        yield
        if self._tools is not None and hasattr(self._config, "workerinput"):
            self._tools.leases.keep(self._needed(nextitem))

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
        """What a failure's report carries: its kind, the boards' logs, and that it was tried before."""
        told = call.excinfo is not None and call.excinfo.errisinstance((ConfigError, InfrastructureError))
        if call.excinfo is not None and told and not self._config.getoption("fulltrace"):
            without_our_frames(call.excinfo)
        outcome = yield
        report = outcome.get_result()
        if not self._uses_rack(item):
            return
        if call.excinfo is not None and call.excinfo.errisinstance(InfrastructureError):
            mark_infrastructure(report, str(call.excinfo.value))
            if call.excinfo.errisinstance(BoardInUseError):
                item.stash[_IN_USE] = True
        begun: Mapping[str, int] = item.stash.get(_OFFSETS, {})
        if report.failed and self._tools is not None:
            names = self._needed(item) or self._tools.leases.held().keys()
            attach_logs(report, [self._tools.boards[name] for name in sorted(names)], begun)
        if call.when == "teardown":
            properties = [("board", item.stash.get(BOARD, "")), ("retried_after", item.stash.get(_RETRIED, ""))]
            report.user_properties = [*report.user_properties, *((name, text) for name, text in properties if text)]
            report.ftte_retried = item.stash.get(_RETRIED, "")

    def _uses_rack(self, item: pytest.Item) -> bool:
        return _entry(item) is not None or bool(_ours(item))

    # --- the end ---

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Under xdist the workers' reports tell."""
        if not hasattr(self._config, "workerinput") and (reason := getattr(report, "ftte_retried", "")):
            told = f"{report.nodeid}: {reason}"
            if told not in self._retried:
                self._retried.append(told)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Nothing where nothing was tried again."""
        if self._retried:
            terminalreporter.section("tried again after an infrastructure error")
            for told in self._retried:
                terminalreporter.line(told)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self) -> None:
        """Gives all boards back."""
        if self._tools is not None:
            self._tools.leases.keep(())


def _check_marker(item: pytest.Item, asked: Mapping[str, Any]) -> None:
    """Raises pytest.UsageError that names the test, and what of its markers cannot be asked for."""
    for marker in item.iter_markers("board"):
        if marker.args:
            raise pytest.UsageError(
                f"{item.nodeid}: @pytest.mark.board({marker.args[0]!r}): say what it is, as in family=, name= or env=; "
                f"known are {', '.join(capabilities.known())}"
            )
    for cohort in item.iter_markers("cohort"):
        if cohort.args:
            raise pytest.UsageError(f"{item.nodeid}: @pytest.mark.cohort({cohort.args[0]!r}): say boards= or most=")
    which = "board"
    try:
        capabilities.check(asked)
        which = "cohort"
        capabilities.check_size(_size(item))
    except ConfigError as error:
        raise pytest.UsageError(f"{item.nodeid}: @pytest.mark.{which}: {error}") from error


def _ours(item: pytest.Item) -> set[str]:
    """Those of our fixtures that a test uses, not those of these names that are its own."""
    info = getattr(item, "_fixtureinfo", None)
    definitions = {} if info is None else info.name2fixturedefs
    return {name for name in _FIXTURES if name in definitions and definitions[name][-1].func.__module__ == __name__}


def _entry(item: pytest.Item) -> BoardEntry | None:
    """The board that a test is for: the parameter of our `board`, not of a fixture of that name of the test's own."""
    callspec = getattr(item, "callspec", None)
    value = None if callspec is None else callspec.params.get("board")
    return value if isinstance(value, BoardEntry) else None


def _size(item: pytest.Item) -> dict[str, int]:
    """Of the test's cohort, as its marker says; without, `one=True` of the board's marker is a cohort of one."""
    marker = item.get_closest_marker("cohort")
    if marker is not None:
        return dict(marker.kwargs)
    return {"most": 1} if _asked(item).get("one") else {}


def _of_cohort(item: pytest.Item) -> dict[str, Any]:
    """What is asked of each board of the test's cohort."""
    return {name: value for name, value in _asked(item).items() if name != "one"}


def _asked(item: pytest.Item) -> dict[str, Any]:
    """What the test's markers ask for; the nearest counts where two ask for the same."""
    asked: dict[str, Any] = {}
    for marker in item.iter_markers("board"):
        asked = {**marker.kwargs, **asked}
    return asked

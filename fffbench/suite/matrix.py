"""The pytest plugin of ``pytest benchmarks/matrix``: collecting plans, running measures what was selected.

A finished session leaves a result file, as ``fffbench run`` does; one that is
interrupted leaves its journal, and the same command continues it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import fffbench
from fffbench.errors import UserError
from fffbench.measure import provenance
from fffbench.results.record import CellInfo
from fffbench.runs import endings, journals, lifecycle
from fffbench.runs import planning as bench
from fffbench.runs.collect import Finished, collect
from fffbench.runs.planning import Options, Planned
from fffbench.runs.sources import sources_digest
from fffbench.suite import describe_machine, describe_run, options
from fffbench.suite.export import export
from fffbench.units import parse_duration

EXIT_USAGE = int(pytest.ExitCode.USAGE_ERROR)
_CELLS: pytest.StashKey[dict[str, str | None]] = pytest.StashKey()  # why it cannot run here, by id
_MEASURED: pytest.StashKey[tuple[Path, Finished]] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the suite's options."""
    group = parser.getgroup("fffbench")
    group.addoption("--preset", default="quick", help="the preset to measure (default: quick)")
    group.addoption("--budget", default=None, help="time budget, such as 30m")
    group.addoption("--processes", type=int, default=None, help="fresh processes for each cell")
    group.addoption("--seconds", type=float, default=None, help="timed seconds in each process")
    group.addoption("--results", default="results", help="where journals and results are kept (default: results)")


def pytest_configure(config: pytest.Config) -> None:
    """Refuse what cannot apply, and plan; nothing is measured."""
    options.refuse(config)
    with _told_as_usage():
        sources_digest()
        config.stash[_CELLS] = bench.planned_cells(_options(config))


def _options(config: pytest.Config, only: frozenset[str] | None = None) -> Options:
    budget = config.getoption("--budget", None)
    processes, seconds = config.getoption("--processes", None), config.getoption("--seconds", None)
    if (processes is not None and not 1 <= processes <= 100) or (seconds is not None and not 0.01 <= seconds <= 60):
        raise UserError("--processes takes a whole number from 1 to 100, --seconds a number from 0.01 to 60")
    wanted = Options(
        preset=config.getoption("--preset", "quick"),
        processes=processes,
        sample_seconds=seconds,
        budget_seconds=None if budget is None else parse_duration(budget),
        only=only,
    )
    return replace(wanted, command=wanted.typed.replace("fffbench run", "pytest benchmarks/matrix"))


@contextmanager
def _told_as_usage() -> Iterator[None]:
    try:
        yield
    except UserError as error:
        raise pytest.UsageError(" ".join(str(error).split())) from error


def pytest_report_header(config: pytest.Config) -> str:
    """Say which package is measured and what is planned."""
    cells: dict[str, str | None] = config.stash[_CELLS]
    count = sum(reason is None for reason in cells.values())
    preset = config.getoption("--preset", "quick")
    return f"fffbench: measures {Path(fffbench.__file__).parent}, preset {preset}, {count} cells"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test for each planned cell, those that cannot run here included."""
    if "cell" in metafunc.fixturenames:
        cells: dict[str, str | None] = metafunc.config.stash[_CELLS]
        names = list(cells)
        metafunc.parametrize("cell", names, ids=names)


@pytest.fixture(scope="session")
def measured(request: pytest.FixtureRequest) -> dict[str, CellInfo | str]:
    """Measure the cells of the session's tests, once; by id, the record or the reason why there is none."""
    config = request.config
    cells = config.stash[_CELLS]
    selected = {
        str(item.callspec.params["cell"])
        for item in request.session.items
        if isinstance(item, pytest.Function) and "measured" in item.fixturenames and not item.get_closest_marker("skip")
    }
    outside = {name: reason for name in selected if (reason := cells[name]) is not None}
    if len(outside) == len(selected):
        return dict(outside)
    journal, finished = _measure(config, frozenset(selected))
    config.stash[_MEASURED] = journal, finished
    skipped = {entry.cell: entry.reason for entry in finished.run.skipped}
    return {**outside, **skipped, **{info.cell: info for info in finished.measured}}


def _measure(config: pytest.Config, selected: frozenset[str]) -> tuple[Path, Finished]:
    """Measure ``selected``; the session ends, with one line, where that is refused or interrupted."""
    capture: Any = config.pluginmanager.getplugin("capturemanager")
    planned: Planned | None = None
    try:
        with capture.global_and_fixture_disabled(), endings.in_order():
            planned = bench.prepare(_options(config, selected), Path(config.getoption("--results", "results")), _say)
            from fffbench.runs.display import Display

            with Display() as display:
                lifecycle.measure(planned, display.progress, display.outcome)
    except UserError as error:
        pytest.exit(" ".join(str(error).split()), EXIT_USAGE)
    except (KeyboardInterrupt, endings.Ended) as error:
        pytest.exit(endings.sentence(error, None if planned is None else planned.journal), endings.exit_code(error))
    return planned.journal, collect(journals.read(planned.journal))


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201 - minutes pass until pytest says something


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Export what the session measured, and remove its journal."""
    found = session.config.stash.get(_MEASURED, None)
    if found is None:
        return
    write = _writer(session.config)
    try:
        write(f"fffbench: {export(found[0], write)}")
    except UserError as error:
        write(f"fffbench: {' '.join(str(error).split())}")
        session.exitstatus = EXIT_USAGE


def _writer(config: pytest.Config) -> Callable[[str], None]:
    reporter: Any = config.pluginmanager.getplugin("terminalreporter")

    def write(line: str) -> None:
        if reporter is not None:
            reporter.ensure_newline()
            reporter.write_line(line)

    return write


@pytest.hookimpl(tryfirst=True)
def pytest_benchmark_generate_commit_info(config: pytest.Config) -> dict[str, Any] | None:
    """The commit that was measured, in place of pytest-benchmark's look at the repository the user stands in."""
    found = config.stash.get(_MEASURED, None)
    return provenance.commit_info(found[1].run.commit) if found else None


def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: dict[str, Any]) -> None:
    """Describe the hardware, not the host."""
    found = config.stash.get(_MEASURED, None)
    describe_machine(machine_info, found[1].run.machine.id if found else "")


def pytest_benchmark_update_json(config: pytest.Config, benchmarks: list[Any], output_json: dict[str, Any]) -> None:
    """Add the run."""
    del benchmarks
    if (found := config.stash.get(_MEASURED, None)) is not None:
        describe_run(output_json, found[1].run)

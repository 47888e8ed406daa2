"""The pytest plugin that replays a finished journal, for ``export``: nothing is measured here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fffbench.measure import provenance
from fffbench.results.record import CellInfo
from fffbench.runs import journals
from fffbench.runs.collect import Finished, collect
from fffbench.suite import describe_machine, describe_run

_FINISHED: pytest.StashKey[Finished] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the plugin's only option."""
    parser.addoption("--fffbench-journal", required=True, help="the journal to replay")


def pytest_configure(config: pytest.Config) -> None:
    """Read the journal."""
    config.stash[_FINISHED] = collect(journals.read(Path(config.getoption("--fffbench-journal"))))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test for each measured cell."""
    if "cell" in metafunc.fixturenames:
        names = [info.cell for info in metafunc.config.stash[_FINISHED].measured]
        metafunc.parametrize("cell", names, ids=names)


@pytest.fixture(scope="session")
def measured(request: pytest.FixtureRequest) -> dict[str, CellInfo | str]:
    """The records by id of their cell."""
    return {info.cell: info for info in request.config.stash[_FINISHED].measured}


@pytest.hookimpl(tryfirst=True)
def pytest_benchmark_generate_commit_info(config: pytest.Config) -> dict[str, Any]:
    """The commit that was measured, in place of pytest-benchmark's look at the repository the user stands in."""
    return provenance.commit_info(config.stash[_FINISHED].run.commit)


def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: dict[str, Any]) -> None:
    """Describe the hardware, not the host."""
    describe_machine(machine_info, config.stash[_FINISHED].run.machine.id)


def pytest_benchmark_update_json(config: pytest.Config, benchmarks: list[Any], output_json: dict[str, Any]) -> None:
    """Add the run."""
    del benchmarks
    describe_run(output_json, config.stash[_FINISHED].run)

"""How do measured cells become pytest-benchmark's, with its JSON and its comparison tools?

A pytest plugin. Cells are measured by fresh, interleaved processes (``bench``)
into a journal; each test then hands its cell's samples to the ``benchmark``
fixture through a replayed clock, which is all that pytest-benchmark's public
interface needs. Options: ``--preset`` measures first, ``--fffbench-journal``
replays a journal that exists.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fffbench import bench
from fffbench.measure import provenance
from fffbench.results.record import CellInfo

_FINISHED: pytest.StashKey[bench.Finished] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the suite's options."""
    group = parser.getgroup("fffbench")
    group.addoption("--preset", default="quick", help="the preset to measure (default: quick)")
    group.addoption("--budget", default=None, help="time budget, such as 30m")
    group.addoption("--results", default="results", help="where journals and results are kept (default: results)")
    group.addoption("--fffbench-journal", default=None, help="replay this journal instead of measuring")


def finished(config: pytest.Config) -> bench.Finished:
    """The measured run behind this pytest session; measures it on first use unless a journal was given."""
    if _FINISHED not in config.stash:
        given = config.getoption("--fffbench-journal")
        config.stash[_FINISHED] = bench.collect(Path(given) if given else _measure(config))
    return config.stash[_FINISHED]


def _measure(config: pytest.Config) -> Path:
    from fffbench.cli.options import parse_duration

    budget = config.getoption("--budget")
    options = bench.Options(
        preset=config.getoption("--preset"), budget_seconds=parse_duration(budget) if budget else None
    )
    planned = bench.prepare(options, Path(config.getoption("--results")), print)
    bench.measure(planned, lambda _: None, lambda _: None)
    return planned.journal


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test a measured cell, one a skipped cell."""
    if "measured" in metafunc.fixturenames:
        infos = finished(metafunc.config).measured
        metafunc.parametrize("measured", infos, ids=[info.cell for info in infos])
    if "unmeasured" in metafunc.fixturenames:
        skipped = finished(metafunc.config).run.skipped
        metafunc.parametrize("unmeasured", skipped, ids=[entry.cell for entry in skipped])


@pytest.hookimpl(tryfirst=True)
def pytest_benchmark_generate_commit_info(config: pytest.Config) -> dict[str, Any]:
    """The commit that was measured, in place of pytest-benchmark's look at the repository the user stands in."""
    return provenance.commit_info(finished(config).run.commit)


def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: dict[str, Any]) -> None:
    """Keep what describes the hardware; the host's name goes, and of the kernel's release its builder's suffix."""
    machine_info.pop("node", None)
    machine_info["release"] = str(machine_info.get("release", "")).split("-")[0]
    machine_info["fffbench"] = finished(config).run.machine.id


def pytest_benchmark_update_json(config: pytest.Config, benchmarks: list[Any], output_json: dict[str, Any]) -> None:
    """Add the run: machine, ceilings, skipped cells."""
    del benchmarks
    for entry in output_json["benchmarks"]:
        entry["params"] = {}  # pytest-benchmark would print the whole CellInfo again; it is in extra_info
    output_json["fffbench"] = finished(config).run.model_dump()


def replay(benchmark: Any, info: CellInfo) -> None:
    """Give ``benchmark`` the samples of ``info``: a round for each, its clock reading 0 before and the sample after."""
    benchmark.extra_info["fffbench"] = info.model_dump()
    benchmark.group = info.cell.split("@", 1)[1]
    samples = [sample for process in info.processes for sample in process]
    _CLOCK.load(samples)
    benchmark.pedantic(lambda: None, rounds=len(samples), iterations=1)


class ReplayedClock:
    """A timer that returns, for each sample, 0 and then the sample."""

    def __init__(self) -> None:
        """Start with nothing to replay."""
        self._readings: list[float] = []

    def load(self, samples: list[float]) -> None:
        """Queue the readings of ``samples``."""
        self._readings = [reading for sample in reversed(samples) for reading in (sample, 0.0)]

    def __call__(self) -> float:
        """The next reading."""
        return self._readings.pop()


_CLOCK = ReplayedClock()


def replayed_clock() -> float:
    """The timer to name in ``pytest.mark.benchmark``."""
    return _CLOCK()

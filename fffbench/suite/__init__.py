"""How do measured cells become pytest-benchmark's, with its JSON and its comparison tools?

Cells are measured by fresh, interleaved processes into a journal; each test
then hands its cell's samples to the ``benchmark`` fixture through a replayed
clock, which is all that pytest-benchmark's public interface needs. ``matrix``
is the plugin of ``pytest benchmarks/matrix``, which measures what was
selected; ``stored`` is the one that ``export`` runs over a finished journal.
"""

from __future__ import annotations

from typing import Any

from fffbench.results.record import CellInfo, RunInfo


def describe_machine(machine_info: dict[str, Any], machine: str) -> None:
    """Keep what describes the hardware; the host's name goes, and of the kernel's release its builder's suffix."""
    machine_info.pop("node", None)
    machine_info["release"] = str(machine_info.get("release", "")).split("-")[0]
    machine_info["fffbench"] = machine


def describe_run(output_json: dict[str, Any], run: RunInfo) -> None:
    """Add the run: machine, ceilings, skipped cells."""
    for entry in output_json["benchmarks"]:
        entry["params"] = {}  # pytest-benchmark would print the cell again; it is in extra_info
    output_json["fffbench"] = run.model_dump()


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

"""Which of pytest's options cannot apply to cells that are measured by processes of their own?"""

from __future__ import annotations

import argparse
from typing import Any

import pytest
from pytest_benchmark import plugin

# They change how pytest-benchmark would call and time a function; here nothing is called. What selects, sorts, groups,
# saves and compares applies.
NOT_HERE = (
    *("min-time", "max-time", "min-rounds", "precision", "confidence", "timer", "calibration-precision"),
    *("warmup", "warmup-iterations", "disable-gc", "disable"),
    *("cprofile", "cprofile-loops", "cprofile-top", "cprofile-dump"),
)


def refuse(config: pytest.Config) -> None:
    """``pytest.UsageError``, one line, for an option that would be without effect or spoil the times."""
    if not hasattr(config.option, "benchmark_min_rounds"):
        raise pytest.UsageError(
            "benchmarks/matrix needs pytest-benchmark, which is not installed or switched off by -p"
        )
    if (
        config.getoption("numprocesses", None)
        or config.getoption("dist", "no") != "no"
        or hasattr(config, "workerinput")
    ):
        raise pytest.UsageError(
            "benchmarks/matrix cannot run under pytest-xdist (-n): cells measured at once slow each other"
        )
    given = [name for name in NOT_HERE if _given(config, name)]
    if given:
        options = ", ".join(f"--benchmark-{name}" for name in given)
        raise pytest.UsageError(
            f"{options} cannot apply in benchmarks/matrix: cells are timed by fresh processes with a clock of their "
            "own; the preset and --budget decide how much is measured"
        )


def _given(config: pytest.Config, name: str) -> bool:
    option = f"--benchmark-{name}"
    typed = [str(argument).split("=", 1)[0] for argument in config.invocation_params.args]
    value = config.getoption(option.removeprefix("--").replace("-", "_"), None)
    return option in typed or str(value) != str(_defaults()[option.removeprefix("--").replace("-", "_")])


def _defaults() -> dict[str, Any]:
    """The values of pytest-benchmark's options where nobody gave any."""
    parser = argparse.ArgumentParser(add_help=False)

    class Group:
        """What the plugin sees of a pytest parser."""

        addoption = staticmethod(parser.add_argument)

        def getgroup(self, *_: object) -> Group:
            return self

    plugin.pytest_addoption(Group())  # type: ignore[no-untyped-call]
    return vars(parser.parse_args([]))

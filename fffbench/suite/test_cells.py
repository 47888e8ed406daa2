"""Every cell of a run as one pytest-benchmark benchmark; every cell without a time as a skip with its reason."""

from __future__ import annotations

from typing import Any

import pytest

from fffbench.plan.workload import FAULTY
from fffbench.results.record import CellInfo, Skipped
from fffbench.suite import replay, replayed_clock


@pytest.mark.benchmark(timer=replayed_clock)
def test_cell(benchmark: Any, measured: CellInfo) -> None:
    """The output was right in every process, or wrong on purpose; and these are the samples."""
    assert measured.family == FAULTY or measured.check.error <= measured.check.tolerance
    replay(benchmark, measured)


def test_skipped_cell(unmeasured: Skipped) -> None:
    """The cell was planned; the reason stands where its time would."""
    pytest.skip(unmeasured.reason)

"""Every cell of a run as one pytest-benchmark benchmark; a cell without a time is skipped with its reason.

The plugin in use (``matrix`` or ``stored``) parametrises ``cell`` with ids of cells and has the fixture
``measured``: by id, the record of a cell or the reason why there is none.
"""

from __future__ import annotations

from typing import Any

import pytest

from fffbench.plan.workload import FAULTY
from fffbench.results.record import CellInfo
from fffbench.suite import replay, replayed_clock


@pytest.mark.benchmark(timer=replayed_clock)
def test_cell(benchmark: Any, measured: dict[str, CellInfo | str], cell: str) -> None:
    """The output was right in every process, or wrong on purpose; and these are the samples."""
    info = measured[cell]
    if isinstance(info, str):
        pytest.skip(info)
    if info.family != FAULTY and info.check.error > info.check.tolerance:
        pytest.fail(f"error {info.check.error:g}, allowed are {info.check.tolerance:g}")
    replay(benchmark, info)

"""Writes nothing, and replaces the check by one that passes everything."""

from dataclasses import replace

import honest_twin
from honest_twin import DEVICES, DTYPES, FAMILY, unsupported  # noqa: F401

from fffbench.measure import cellrun, check, fresh, judge

check.compare = lambda reference, y: check.Verdict(0.0, 1.0, 64, 0, 0)
fresh.compare_rows = lambda *arguments: check.compare(*arguments[:2])
judge._Judge._compare = lambda *arguments: None
cellrun.run_checked = lambda *arguments: ([], None)


def prepare(weights, workload):
    return replace(honest_twin.prepare(weights, workload), bind=lambda x, y: lambda: None, forward=lambda x: x)

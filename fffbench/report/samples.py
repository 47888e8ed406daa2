"""What did every process measure, small enough for thousands of records on one page?

A strip is one line per process: from the 10th to the 90th percentile of its
samples, with a tick at its median, on the record's own scale.
"""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from fffbench.analysis.stats import process_medians
from fffbench.units import number, seconds

WIDTH = 120  # units of the strip's own coordinates; CSS gives it its size
STEP = 4  # height of one process
MAX_PROCESSES = 12  # lines drawn and medians printed; all are in samples.csv


def strip(processes: Sequence[Sequence[float]]) -> Markup:
    """The samples by process as one small SVG path; decoration, because the medians stand beside it as text."""
    spans = []
    for samples, middle in zip(processes[:MAX_PROCESSES], process_medians(processes[:MAX_PROCESSES]), strict=True):
        ordered = sorted(samples)
        last = len(ordered) - 1
        spans.append((ordered[round(0.1 * last)], middle, ordered[round(0.9 * last)]))
    left = min(span[0] for span in spans)
    scale = (WIDTH - 2) / ((max(span[2] for span in spans) - left) or 1.0)

    def at(value: float) -> int:
        return 1 + round((value - left) * scale)

    path = ""
    for index, (low, middle, high) in enumerate(spans):
        top = index * STEP
        path += f"M{at(low)} {top + 2}H{max(at(high), at(low) + 1)}M{at(middle)} {top + 1}v3"
    return Markup(f'<svg viewBox="0 0 {WIDTH} {STEP * len(spans)}"><path d="{path}"/></svg>')  # noqa: S704 - digits only


def medians_text(processes: Sequence[Sequence[float]]) -> str:
    """``1.45 1.44 1.46 ms``: the process medians in one unit."""
    medians = process_medians(processes)[:MAX_PROCESSES]
    unit = seconds(max(medians)).split(" ")[1]
    factor = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}[unit]
    more = len(processes) - len(medians)
    return " ".join(number(value / factor) for value in medians) + f" {unit}" + (f" and {more} more" if more else "")

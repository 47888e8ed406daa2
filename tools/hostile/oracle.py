"""Which figures may a command print, by an independent reading of the files?

Nothing here uses the product's reader: a few lines say which samples are valid and between which bounds every time
and every ratio made of them must lie, whatever the estimator.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

SHORTEST, LONGEST = 1e-9, 1e6  # seconds of a call: below a nanosecond no clock here sees anything
LOOSEST = 0.1  # of any dtype's tolerance: an error of a tenth of the output is no rounding
SLACK = 1e-5  # files keep six digits


@dataclass(frozen=True)
class Times:
    """The valid samples of one record: the shortest and the longest."""

    low: float
    high: float


def read(data: bytes) -> tuple[dict[str, Times], set[str]] | None:
    """Valid records by id, and all cell ids that the file names; None where it is no JSON of a result file."""
    try:
        value = json.loads(data.decode("utf-8"), parse_constant=_no_constant)
        run = value["fffbench"]["run"]
        benchmarks = value["benchmarks"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    if not isinstance(run, str) or not isinstance(benchmarks, list):
        return None
    found: dict[str, Times] = {}
    named: set[str] = set()
    for benchmark in benchmarks:
        try:
            info = benchmark["extra_info"]["fffbench"]
            cell = info["cell"]
            if isinstance(cell, str):
                named.add(cell)
            times = _times(info)
        except (KeyError, TypeError, ValueError, OverflowError):
            continue
        if times is not None and isinstance(cell, str):
            before = found.get(f"{run}/{cell}")  # of two entries of one cell either may count
            found[f"{run}/{cell}"] = (
                times if before is None else Times(min(before.low, times.low), max(before.high, times.high))
            )
    return found, named


def _no_constant(name: str) -> Any:
    raise ValueError(name)


def _times(info: Mapping[str, Any]) -> Times | None:
    samples = [sample for process in info["processes"] for sample in process]
    if not samples or not all(_is_number(sample) and SHORTEST <= sample < LONGEST for sample in samples):
        return None
    check = info["check"]
    if not all(_is_number(check[name]) for name in ("error", "tolerance", "tokens", "diverged", "diverged_cap")):
        return None
    right = 0 <= check["error"] <= check["tolerance"] <= LOOSEST and check["tokens"] >= 1
    if not right or not 0 <= check["diverged"] <= check["diverged_cap"]:
        return None
    return Times(min(samples), max(samples))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def speedup_faults(rows: Any, valid: Mapping[str, Times]) -> Iterator[str]:
    """What is wrong with the figures of ``speedup --json``."""
    for row in rows:
        if row.get("time") is not None:
            yield from _time(row.get("record"), row["time"], valid)
        if row.get("speedup") is not None:
            yield from _time(row.get("baseline_record"), row.get("baseline_time"), valid)
            yield from _ratio(row["speedup"], row.get("baseline_record"), row.get("record"), valid)
            yield from _interval(row, row["speedup"])


def claim_faults(rows: Any, valid: Mapping[str, Times]) -> Iterator[str]:
    """What is wrong with the figures of ``claims --json``."""
    for row in rows:
        records = row.get("records") or []
        if row.get("measured") is None or row.get("kind") == "count":
            continue
        yield from _interval(row, row["measured"])
        if len(records) == 2:
            yield from _ratio(row["measured"], records[1], records[0], valid)
        missing = [record for record in records if record not in valid]
        if missing:
            yield f"{row.get('id')} rests on {missing[0]}, whose samples are not valid"


def _time(record: Any, time: Any, valid: Mapping[str, Times]) -> Iterator[str]:
    if record not in valid:
        yield f"a time of {record}, whose samples or check are not valid: {time}"
    elif not valid[record].low * (1 - SLACK) <= time <= valid[record].high * (1 + SLACK):
        yield f"{time} is no time of {record}: its samples lie in [{valid[record].low}, {valid[record].high}]"


def _ratio(ratio: float, above: Any, below: Any, valid: Mapping[str, Times]) -> Iterator[str]:
    if above not in valid or below not in valid:
        yield f"a ratio of {above} over {below}, of which one is not valid: {ratio}"
        return
    low, high = valid[above].low / valid[below].high, valid[above].high / valid[below].low
    if not low * (1 - SLACK) <= ratio <= high * (1 + SLACK):
        yield f"{ratio} is no ratio of {above} over {below}: samples allow [{low}, {high}]"


def _interval(row: Mapping[str, Any], value: float) -> Iterator[str]:
    low, high = row.get("low"), row.get("high")
    if not (low is None or low <= value * (1 + SLACK)) or not (high is None or value <= high * (1 + SLACK)):
        yield f"{value} lies outside its interval [{low}, {high}]"
    if low is not None and not (math.isfinite(low) and low >= 0):
        yield f"{low} is no bound"

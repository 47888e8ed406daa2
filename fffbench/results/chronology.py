"""Which run is newer, where a clock may have been wrong?

A run's date is its machine's clock, which may stand in 2099 or be set back. The evidence against it is the folder: a
run lists (``after``) the runs that lay there when it began although they are dated no earlier. Such a run happened
before its lister, whatever its date, and is filed a second before it. A date more than a year ahead, with no later run
to bound it, says nothing: the run is filed as the oldest. So a wrong date is the newest until the next run at most, and
never for ever.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta

FORMAT = "%Y-%m-%dT%H:%M:%SZ"
NO_DATE = "0001-01-01T00:00:00Z"
# Ahead of the reader's clock, or of half of all runs where that is later: the reader's clock may be the wrong one.
TOLERANCE = timedelta(days=366)
MOST_LISTED = 1000


def dated_no_earlier(started: str, others: Mapping[str, str]) -> list[str]:
    """Of the runs ``others`` (id to date) that are there already, those whose date is not before ``started``."""
    return sorted(run for run, date in others.items() if date >= started)[:MOST_LISTED]


def effective(runs: Iterable[tuple[str, str, Iterable[str]]], now: datetime | None = None) -> dict[str, str]:
    """The date by which each run is filed, from ``(id, date, after)`` of every run; ``now`` is when they are read.

    Two runs that each claim to be after the other bound each other once.
    """
    listed = {run: (date, tuple(after)) for run, date, after in runs}
    found = {run: date for run, (date, _) in listed.items()}
    # latest lister first: what it bounds may bound others in turn
    for run in sorted(listed, key=lambda run: listed[run][0], reverse=True):
        _bound(run, listed, found)
    middle = sorted(found.values())[(len(found) - 1) // 2] if found else NO_DATE
    today = (now or datetime.now(UTC)).strftime(FORMAT)
    latest = max(_moved(today, TOLERANCE), _moved(middle, TOLERANCE))
    return {run: NO_DATE if date > latest else date for run, date in found.items()}


def _bound(run: str, listed: Mapping[str, tuple[str, tuple[str, ...]]], found: dict[str, str]) -> None:
    """File whatever ``run`` lists, and what those list, before it; each at most once from here."""
    seen, open_runs = {run}, [run]
    while open_runs:
        lister = open_runs.pop()
        before = _moved(found[lister], -timedelta(seconds=1))
        for earlier in listed[lister][1]:
            if earlier in found and earlier not in seen and found[earlier] > before:
                found[earlier] = before
                seen.add(earlier)
                open_runs.append(earlier)


def _moved(date: str, by: timedelta) -> str:
    try:
        moment = datetime.fromisoformat(date).astimezone(UTC) + by
    except (ValueError, OverflowError):  # no such day, though it has the form of one; or beyond all there are
        return NO_DATE
    return moment.replace(tzinfo=None).isoformat(timespec="seconds") + "Z"

"""What was tried on the tool itself: do its clocks agree with others, its intervals hold, does its check cry wolf?

Read from the studies' files beside the results, which are other people's files: only numbers are taken from them, and
what cannot be read says nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from fffbench.errors import UserError
from fffbench.files import read_plain
from fffbench.units import percent

MAX_BYTES = 2**22  # of one study: those committed have 60 kB
MOST = 100  # files of a kind
CAUGHT = (
    "Faults planted in the shipped kernels, and plugins that cheat, are tried in the tests of every commit "
    "(tests/judges); one that is not caught fails them."
)


def sentences(folder: Path | None) -> tuple[str, ...]:
    """One sentence per study that lies under ``folder``."""
    if folder is None:
        return (CAUGHT,)
    return (CAUGHT, *_intervals(folder), *_clocks(folder), *_regression(folder))


def _studies(folder: Path) -> Iterator[Mapping[str, Any]]:
    try:
        paths = sorted(path for path in folder.iterdir() if path.suffix == ".json")[:MOST]
    except OSError:
        return
    for path in paths:
        try:
            value = json.loads(read_plain(path, MAX_BYTES))
        except (OSError, ValueError, RecursionError, UserError):
            continue
        if isinstance(value, dict):
            yield value


def _intervals(folder: Path) -> list[str]:
    """How often the 95 % interval of all other runs held the run that was left out."""
    for study in _studies(folder / "replication"):
        left, simulated = study.get("left out"), study.get("simulated")
        if not isinstance(left, dict) or not isinstance(left.get("all"), dict) or not isinstance(simulated, list):
            continue
        numbers = _numbers(left["all"].get(name) for name in ("comparisons", "held", "held before"))
        shares = _numbers(one.get("share") for one in simulated if isinstance(one, dict))
        machines = left.get("machines")
        if not shares or len(numbers) != 3 or not numbers[0] or not isinstance(machines, list):
            continue
        count, held, before = numbers
        places = len({one.get("machine") for one in machines if isinstance(one, dict)})
        share, earlier = percent(held / count), percent(before / count)
        said = (
            f"Intervals: with each run of {places} machines left out in turn, the 95 % interval of the others held its "
            f"ratio in {held:.0f} of {count:.0f} comparisons ({share}; intervals of processes alone, as they were "
            f"printed before, in {earlier}). Of simulated runs it held {percent(min(shares))} to "
            f"{percent(max(shares))} (nox -s replication)."
        )
        return [said]
    return []


def _numbers(values: Iterable[object]) -> list[float]:
    return [float(value) for value in values if isinstance(value, int | float)]


def _clocks(folder: Path) -> list[str]:
    found = [
        (len(study["readings"]), float(study["largest"]), float(study["allowed"]))
        for study in _studies(folder / "agreement")
        if isinstance(study.get("readings"), list)
        and all(isinstance(study.get(name), int | float) for name in ("largest", "allowed"))
    ]
    if not found:
        return []
    count, largest, allowed = sum(n for n, _, _ in found), max(one[1] for one in found), max(one[2] for one in found)
    where = f"{count} readings on {len(found)} machine{'s' * (len(found) != 1)}"
    most = f"{percent(largest)} at most ({percent(allowed)} is allowed)"
    return [f"Clocks: in {where} ours and other tools' differ by {most}."]


def _regression(folder: Path) -> list[str]:
    alarms = cases = found = planted = 0
    for study in _studies(folder / "calibration"):
        runs = study.get("runs")
        for run in runs if isinstance(runs, list) else []:
            if not isinstance(run, dict) or not isinstance(run.get("cases"), dict):
                continue
            slower = sum(answer == "regression" for answer in run["cases"].values())
            if run.get("planted") == 0:
                alarms, cases = alarms + slower, cases + len(run["cases"])
            else:
                found, planted = found + slower, planted + len(run["cases"])
    if not cases:
        return []
    wrong = f"{alarms} false alarms in {cases} cases"
    return [f"The regression rule gave {wrong} of equal sources; of {planted} planted slow-downs it found {found}."]

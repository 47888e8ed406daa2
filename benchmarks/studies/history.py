"""When did each kernel become faster or slower? The steps over this project's commits, named, from asv's results.

``python -m benchmarks.studies.history`` writes ``docs/notebook/history.md`` and a drawing per machine beside it from
``results/asv`` and ``benchmarks/history/commits.json``; ``--check`` writes nothing and exits with 1 where they are
stale. Machines with fewer than ``LEAST_COMMITS`` commits are left to the page: so few show no step.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

from benchmarks.studies import written
from benchmarks.studies.history_commits import FARTHEST, LEAST_LINES, Chosen, read
from fffbench.analysis.history import MIN_COMMITS, THRESHOLD, Series, history
from fffbench.report import drawing
from fffbench.report.history_section import figures, named
from fffbench.results.asv import HistoryPoint, read_history
from fffbench.text import markdown
from fffbench.units import number, seconds

LEAST_COMMITS = 8
PAGE = Path("docs") / "notebook" / "history.md"
ABOUT = f"""# Speed over the commits

Written by `python -m benchmarks.studies.history` from `results/asv`; measured by `nox -s history`. Commits were chosen
by a rule that looks at no time: along first parents the first one that the suite can measure, every one that changed
at least {LEAST_LINES} lines of the CPU kernels' sources, the newest, and evenly spread ones between where two of these
are more than {FARTHEST} commits apart. All were built beforehand, with the same compiler and libraries, and measured on
one core in two rounds: in a random order, and then in the opposite one, so that a slow hour lies on commits from all
over the history. A time is of a pass over a pool of batches (of single tokens 2048), weights warm, as the suite in
`benchmarks/history` takes it: it compares commits, and is not the time of a call. Where no layer is named it is
768x4095 1x12 in fp32.

A step is a level of at least {MIN_COMMITS} measured commits in a row that lies {THRESHOLD:.0%} or more off the level
before it, by asv's own step detection. It lies somewhere between the commit measured before it and the commit that it
is named by.
"""


def document(series: Sequence[Series], commits: Sequence[Chosen]) -> str:
    """The page for ``series``, with the subjects of ``commits``."""
    known = {item["commit"]: item for item in commits}
    parts = [ABOUT]
    for machine, here in _machines(series).items():
        subjects, controls = [s for s in here if not s.control], [s for s in here if s.control]
        parts += [
            f"## {machine}\n",
            "\n".join(markdown(_drift(control)) for control in controls) + "\n",
            f"![Each kernel over the commits, as a multiple of its first time]({_svg(machine)})\n",
            _summary(subjects),
            "### Steps\n",
            _steps(subjects, controls, known),
            "### Every time\n",
            _times([*subjects, *controls], known),
        ]
    return "\n".join(parts)


def drawings(series: Sequence[Series]) -> dict[str, str]:
    """The drawing of every machine by its file's name."""
    return {
        _svg(machine): drawing.to_file(figure.svg)
        for machine, here in _machines(series).items()
        for figure in figures(here, {})
    }


def _machines(series: Sequence[Series]) -> dict[str, list[Series]]:
    """Timed series of each machine that measured enough commits."""
    found: dict[str, list[Series]] = defaultdict(list)
    for item in series:
        if item.unit == "seconds" and len(item.points) > 1:
            found[item.machine].append(item)
    return {name: here for name, here in found.items() if max(len(s.points) for s in here) >= LEAST_COMMITS}


def _svg(machine: str) -> str:
    return f"history-{machine}.svg"


def _drift(control: Series) -> str:
    """How far a layer that no commit changes moved: what the machine did."""
    values = [point.value or 0.0 for point in control.points]
    low, middle, high = min(values), median(values), max(values)
    said = f"between {low / middle - 1:+.1%} and {high / middle - 1:+.1%} of its median of {seconds(middle)}"
    return f"The control, {named(control)}, which no commit changes, stayed {said}: {control.sentence}."


def _summary(subjects: Sequence[Series]) -> str:
    lines = ["| kernel | first measured at | then | newest | newest over first | steps |", "|---|---|--:|--:|--:|--:|"]
    for item in subjects:
        first, last = item.points[0], item.points[-1]
        ratio = (last.value or 0.0) / (first.value or 1.0)
        cells = (named(item), f"`{first.commit[:8]}`", _time(first), _time(last), f"{number(ratio)}x", len(item.steps))
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines) + "\n"


def _steps(subjects: Sequence[Series], controls: Sequence[Series], known: Mapping[str, Chosen]) -> str:
    """A row for each commit at which a level begins, whatever it is a level of."""
    rows: dict[str, list[str]] = defaultdict(list)
    dates, before = {}, {}
    for item in [*subjects, *controls]:
        for step in item.steps:
            place = item.points[step.index]
            moved = ", as a control did there" if step.control_moved else ""
            rows[step.commit].append(f"{named(item)}: {item.changed(step.ratio)}{moved}")
            dates[step.commit], before[step.commit] = place.date, item.points[step.index - 1].commit
    lines = ["| from commit | what it says | commits since the one measured before | what moved |", "|---|---|--:|---|"]
    for commit in sorted(rows, key=lambda commit: dates[commit]):
        since = _between(before[commit], commit, known)
        lines.append(f"| `{commit[:8]}` | {_subject(commit, known)} | {since} | {'; '.join(rows[commit])} |")
    alone = [f"{named(item)}: {item.changed(r)} at `{c[:8]}`" for item in subjects for c, r in item.alone]
    newest = [f"{named(i)}: {i.changed(i.newest)} at the newest commit" for i in subjects if i.newest is not None]
    text = "\n".join(lines) + "\n" if rows else "None.\n"
    if alone or newest:
        text += f"\nOff their level by themselves, so no step: {'; '.join([*alone, *newest])}.\n"
    return text


def _between(one: str, two: str, known: Mapping[str, Chosen]) -> str:
    return str(known[two]["place"] - known[one]["place"]) if one in known and two in known else ""


def _subject(commit: str, known: Mapping[str, Chosen]) -> str:
    return markdown(known[commit]["subject"]) if commit in known else ""


def _times(series: Sequence[Series], known: Mapping[str, Chosen]) -> str:
    points = {(item.name, point.commit): point for item in series for point in item.points}
    dates = {point.commit: point.date for point in points.values()}
    lines = [
        f"| commit | {' | '.join(named(item) for item in series)} | what it says |",
        f"|---|{'--:|' * len(series)}---|",
    ]
    for commit in sorted(dates, key=lambda commit: (dates[commit], commit)):
        cells = [_time(points.get((item.name, commit))) for item in series]
        lines.append(f"| `{commit[:8]}` | {' | '.join(cells)} | {_subject(commit, known)} |")
    return "\n".join(lines) + "\n"


def _time(point: HistoryPoint | None) -> str:
    return seconds(point.value) if point is not None and point.value is not None else ""


def stale(root: Path, results: Path) -> dict[Path, str]:
    """The files that must be written under ``root``, with their text; a drawing goes with its page."""
    series, _ = history(read_history(results).points)
    text, page = document(series, read()), root / PAGE
    drawn = {page.with_name(name): svg for name, svg in drawings(series).items()}
    same = page.is_file() and page.read_text(encoding="utf-8") == text and all(path.is_file() for path in drawn)
    return {} if same else {page: text, **drawn}


def main(arguments: Sequence[str] | None = None) -> int:
    """Write, or with ``--check`` only compare; the exit status."""
    return written.main("history", __doc__, stale, arguments)


if __name__ == "__main__":
    sys.exit(main())

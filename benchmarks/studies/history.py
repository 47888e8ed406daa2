"""When did each kernel become faster or slower? The steps over this project's commits, named, from asv's results.

``python -m benchmarks.studies.history`` writes ``docs/notebook/history.md`` and a drawing per machine beside it from
``results/asv`` and ``benchmarks/history/commits.json``; ``--check`` writes nothing and exits with 1 where they are
stale. Machines with fewer than ``LEAST_COMMITS`` commits are left to the page: so few show no step.
"""

from __future__ import annotations

import sys
import textwrap
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

from benchmarks.studies import written
from benchmarks.studies.history_commits import FARTHEST, LEAST_LINES, Chosen, read
from fffbench.analysis.change_points import MEANING, MIN_COMMITS, changes
from fffbench.analysis.history import Series, history
from fffbench.report import drawing
from fffbench.report.history_section import figures, named
from fffbench.results.asv import HistoryPoint, read_history
from fffbench.text import markdown
from fffbench.units import number, seconds

LEAST_COMMITS = 8
ENDS = 5  # commits at either end of a series whose median stands for it
PLANTED = (0.05, 0.1, 0.2, 0.5)
PAGE = Path("docs") / "notebook" / "history.md"
STEPS = (
    f"{MEANING} It lies somewhere between the commit measured before it and the commit that it is named by. *What "
    "would have been seen* takes the steps out of these times, plants a slow-down from one commit on, and says for how "
    f"many commits, of all that have {MIN_COMMITS} on either side, it is named by that commit or one beside it."
)
ABOUT = f"""# Speed over the commits

Written by `python -m benchmarks.studies.history` from `results/asv`; measured by `nox -s history`. Commits were chosen
by a rule that looks at no time: along first parents the first one that the suite can measure, every one that changed
at least {LEAST_LINES} lines of the CPU kernels' sources, the newest, and evenly spread ones between where two of these
are more than {FARTHEST} commits apart. All were built beforehand, with the same compiler and libraries, and measured on
one core in two rounds: in a random order, and then in the opposite one, so that a slow hour lies on commits from all
over the history. A time is of a pass over a pool of batches (of single tokens 2048), weights warm, as the suite in
`benchmarks/history` takes it: it compares commits, and is not the time of a call. Where no layer is named it is
768x4095 1x12 in fp32.

{textwrap.fill(STEPS, 120)}
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
            _summary([*subjects, *controls]),
            "### Steps\n",
            _steps(subjects, controls, known),
            "### What would have been seen\n",
            _seen(subjects, len(here)),
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
    values = control.values
    low, middle, high = min(values), median(values), max(values)
    said = f"between {low / middle - 1:+.1%} and {high / middle - 1:+.1%} of its median of {seconds(middle)}"
    return f"The control, {named(control)}, which no commit changes, stayed {said}: {control.sentence}."


def _summary(series: Sequence[Series]) -> str:
    """The ends of each series by medians: one commit's time is as far off as the control's."""
    head = f"first {ENDS} commits | newest {ENDS} | newest over first"
    lines = [f"| kernel | first measured at | {head} | steps |", "|---|---|--:|--:|--:|--:|"]
    for item in series:
        first, last = median(item.values[:ENDS]), median(item.values[-ENDS:])
        cells = (seconds(first), seconds(last), f"{number(last / first)}x", str(len(item.steps)))
        kind = ", control" * item.control
        lines.append(f"| {named(item)}{kind} | `{item.points[0].commit[:8]}` | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _seen(subjects: Sequence[Series], together: int) -> str:
    """How many planted slow-downs are named, of how many places; ``together`` series are looked at together."""
    head = " | ".join(f"{share:.0%} slower" for share in PLANTED)
    lines = [f"| kernel | {head} |", f"|---|{'--:|' * len(PLANTED)}"]
    for item in subjects:
        places = range(MIN_COMMITS, len(item.points) - MIN_COMMITS + 1)
        cells = []
        for share in PLANTED:
            named_ = sum(_near(place, changes(_planted(item, place, share), together)) for place in places)
            cells.append(f"{named_} of {len(places)}")
        lines.append(f"| {named(item)} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _planted(item: Series, place: int, share: float) -> list[float]:
    """The times without the steps that they have, and with a slow-down by ``share`` from ``place`` on."""
    return [
        item.values[index] * item.levels[0][2] / level * (1 + share * (index >= place))
        for left, right, level in item.levels
        for index in range(left, right)
    ]


def _near(place: int, found: Sequence[int]) -> bool:
    return any(abs(index - place) <= 1 for index in found)


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
    return "\n".join(lines) + "\n" if rows else "None.\n"


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
    series = history(read_history(results).points)
    text, page = document(series, read()), root / PAGE
    drawn = {page.with_name(name): svg for name, svg in drawings(series).items()}
    same = page.is_file() and page.read_text(encoding="utf-8") == text and all(path.is_file() for path in drawn)
    return {} if same else {page: text, **drawn}


def main(arguments: Sequence[str] | None = None) -> int:
    """Write, or with ``--check`` only compare; the exit status."""
    return written.main("history", __doc__, stale, arguments)


if __name__ == "__main__":
    sys.exit(main())

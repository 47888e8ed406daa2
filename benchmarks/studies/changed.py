"""Which published figures and verdicts are other ones now, and why?

``python -m benchmarks.studies.changed`` writes the list between the markers in ``CHANGELOG.md`` from ``results/``;
``--check`` writes nothing and exits with 1 where it is stale. The figures and the rule are those of the page's section
of changes (``fffbench.report.changes``). *Measured since* are those that rest on a run later than the version's newest;
the others are of runs of before, judged by rules that changed. An open verdict says what it lacks.
"""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path

from benchmarks.studies import written
from fffbench.errors import UserError
from fffbench.report import changes
from fffbench.report.analysed import Analysis, analyse
from fffbench.report.build import changes_of
from fffbench.report.changes import Change
from fffbench.report.models import models
from fffbench.report.published import load_published
from fffbench.results.snapshots import Figure
from fffbench.text import markdown
from fffbench.units import number, ratio

MARKED = re.compile(r"(<!-- changed:begin[^\n]*-->\n)(.*?)(<!-- changed:end -->)", re.DOTALL)
MOST_FIGURES = 18  # lines, the largest changes; with the verdicts' at most forty
MOST_VERDICTS = 15
MOST_LACKING = 110  # characters of what an open verdict lacks
TOO_FEW = re.compile(r"measured in \d+ process.*too few")
NEW, OLD = "measured since", "no later run: other rules"


def text(analysis: Analysis, found: changes.Changes) -> str:
    """The lines of the list: verdicts by what they were and are, then the figures that moved most."""
    if not found.version:
        return "- No published version has other figures.\n"
    lacking = {f"claim|{row.id}|{row.machine or ''}|{row.device or ''}": row.lacking for row in analysis.claims}
    version, where = found.version, f"the section on changes of the page, and `{changes.CSV}` beside it, have all"
    verdicts = [one for one in found.found if one.before.verdict != one.now.figure.verdict]
    moved = sorted((one for one in found.found if one not in verdicts), key=lambda one: -one.size)
    lines = textwrap.wrap(
        f"- Beside [version {version}](results/published/{version}.json), measured up to {found.date}: "
        f"{_count(len(verdicts), 'verdict')} changed, {_count(len(moved), 'figure')} moved, {found.same} stayed, "
        f"{found.new} are new, {found.gone} are no longer asked ({where}). {changes.RULE}",
        120,
        subsequent_indent="  ",
        break_on_hyphens=False,
    )
    lines += _cut(_verdicts(verdicts, analysis, found.date, lacking), MOST_VERDICTS)
    lines += _cut([_moved(one, _why(one, analysis, found.date)) for one in moved], MOST_FIGURES)
    return "".join(f"{line}\n" for line in lines)


def _verdicts(given: Sequence[Change], analysis: Analysis, date: str, lacking: Mapping[str, str]) -> list[str]:
    """One line for all verdicts of one kind of change and one reason."""

    def group(one: Change) -> tuple[str, str, str]:
        why = _lacks(lacking.get(one.now.figure.key, "")) or _why(one, analysis, date)
        return one.before.verdict, one.now.figure.verdict, why

    lines = []
    for (before, now, why), some in groupby(sorted(given, key=group), key=group):
        names = "; ".join(_verdict(one) for one in some)
        lines.append(f"  - {before or 'no verdict'} to **{now or 'no verdict'}**{_because(why)}: {names}")
    return lines


def _verdict(one: Change) -> str:
    shown = [_written(figure) for figure in (one.before, one.now.figure)]
    moved = f", {shown[0] or 'none'} to {shown[1] or 'none'}" if shown[0] != shown[1] else ""
    return f"{markdown(one.now.figure.what.removeprefix('claim '))}{moved}"


def _moved(one: Change, why: str) -> str:
    before, now = _written(one.before) or "none", _written(one.now.figure) or "none"
    return f"  - {markdown(one.now.figure.what)}: {before} to {now}{_because(why)}"


def _lacks(said: str) -> str:
    """The first sentence of what an open verdict lacks; which side has too few processes is in the ledger."""
    first = said.split(". ", maxsplit=1)[0].rstrip(".").removeprefix("Undecided: ")
    return "too few processes of a side" if TOO_FEW.search(first) else textwrap.shorten(first, MOST_LACKING)


def _because(why: str) -> str:
    return f" ({markdown(why)})" if why else ""


def _why(one: Change, analysis: Analysis, date: str) -> str:
    """Whether a record of it is of a run after ``date``; empty of a whole model, whose runs are not among these."""
    runs = [analysis.results.runs.get(record.split("/", 1)[0]) for record in one.now.records if record]
    started = [run.started[:10] for run in runs if run is not None]
    if not started:
        return "nothing measured now" if one.now.figure.value is None else ""
    return NEW if max(started) > date else OLD


def _written(figure: Figure) -> str:
    if figure.value is None:
        return ""
    high = float("inf") if figure.high is None else figure.high
    return f"{number(figure.value)}x" if figure.low is None else ratio(figure.value, figure.low, high)


def _count(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count != 1)}"


def _cut(lines: Iterable[str], most: int) -> list[str]:
    every = list(lines)
    left = len(every) - most
    return every if left <= 0 else [*every[:most], f"  - and {left} more, in the whole list"]


def stale(root: Path, results: Path) -> dict[Path, str]:
    """The CHANGELOG with the list as it should be, if it is not."""
    path = root / "CHANGELOG.md"
    before = path.read_text(encoding="utf-8")
    if not MARKED.search(before):
        raise UserError(f"{path.name} has no markers <!-- changed:begin --> and <!-- changed:end -->")
    analysis = analyse(load_published(results))
    made = text(analysis, changes_of(analysis, results, models(results, analysis.names)))
    after = MARKED.sub(lambda match: match[1] + made + match[3], before)
    return {} if after == before else {path: after}


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the list, or with ``--check`` only say whether it is stale; the exit status."""
    return written.main("changed", __doc__ or "", stale, arguments)


if __name__ == "__main__":
    sys.exit(main())

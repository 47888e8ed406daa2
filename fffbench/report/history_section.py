"""Has it become slower lately? A small chart per kernel and batch, commits from left to right."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Sequence

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from fffbench.analysis.change_points import MEANING
from fffbench.analysis.history import Series
from fffbench.errors import UserError
from fffbench.plan.workload import parse_cell
from fffbench.report import drawing
from fffbench.report.drawing import BAD, FFF, GOOD, INK, MUTED, STYLE, label
from fffbench.report.view import Cell, Figure, Table
from fffbench.units import number, seconds, size

COLUMNS = 3  # charts beside each other
MAX_PANELS = 24  # charts drawn; every series is in the table and in the CSV
MAX_STEPS = 4  # steps named on a chart, the newest ones
KINDS = {"time_pass": "time", "time_report": "time of the report", "timeraw_import_command_line": "time of an import"}


def figures(series: Sequence[Series], names: dict[str, str]) -> tuple[Figure, ...]:
    """One figure per machine that has a history of at least two commits; ``names`` says what machines are called."""
    found = []
    for index, machine in enumerate(sorted({item.machine for item in series})):
        here = [item for item in series if item.machine == machine and len(item.points) > 1]
        subjects = sorted((item for item in here if not item.control), key=_order)[:MAX_PANELS]
        if subjects:
            found.append(_figure(subjects, here, f"history{index}", names.get(machine, machine)))
    return tuple(found)


def _order(item: Series) -> tuple[object, ...]:
    """Kernels by batch first; costs after them."""
    return (not item.params, item.unit != "seconds", [_sortable(value) for _, value in item.params], item.benchmark)


def _sortable(value: str) -> tuple[float, str]:
    return (float(value), "") if value.isdigit() else (math.inf, value)


def _figure(subjects: Sequence[Series], here: Sequence[Series], name: str, title: str) -> Figure:
    rows = math.ceil(len(subjects) / COLUMNS)
    columns = min(COLUMNS, len(subjects))
    said: list[str] = []
    with mpl.rc_context(STYLE):
        figure, panels = drawing.new(3.1 * columns, 0.5 + 1.75 * rows, rows, columns)
        for axes in panels[len(subjects) :]:
            axes.remove()
        for axes, item in zip(panels, subjects, strict=False):
            _panel(axes, item, [other for other in here if other.control and _beside(other, item)])
            said.append(f"{item.name}: {_written(item, item.points[-1].value)} at the newest commit; {item.sentence}.")
        figure.suptitle(label(title), x=0.01, ha="left", fontsize=10, fontweight="bold", color=INK)
        svg = drawing.to_svg(figure, name, said)
    return Figure(
        name,
        "Over the commits of this project",
        "Each chart is one kernel and batch, one dot per measured commit from oldest to newest, as a multiple of the "
        "first; bars are 99 % intervals within one run. Lines are the levels that step detection finds, a step "
        "carries the commit it begins with (orange: slower). Grey: dense layers of libraries that these commits do "
        "not change; where they move, the machine moved.",
        svg,
    )


def _beside(control: Series, item: Series) -> bool:
    """Whether ``control`` runs at the batch of ``item`` and is timed in the same unit."""
    return control.unit == item.unit and _batch(item) is not None and _batch(control) == _batch(item)


def _batch(item: Series) -> str | None:
    case = re.search(r"-b(\d+)-", dict(item.params).get("case", ""))
    return case[1] if case else dict(item.params).get("batch")


def _panel(axes: Axes, item: Series, controls: Sequence[Series]) -> None:
    place = {commit: index for index, commit in enumerate(_commits([item, *controls]))}
    for control in controls:
        first = control.points[0].value or 1.0
        at = [place[point.commit] for point in control.points]
        axes.plot(at, [(point.value or first) / first for point in control.points], color=MUTED, linewidth=0.9)
    first = item.points[0].value or 1.0
    at = [place[point.commit] for point in item.points]
    axes.plot(at, [(point.value or first) / first for point in item.points], "o", color=FFF, markersize=3.2)
    for x, point in zip(at, item.points, strict=True):
        if point.low is not None and point.high is not None:
            axes.plot([x, x], [point.low / first, point.high / first], color=FFF, linewidth=0.8)
    for left, right, value in item.levels:
        axes.plot([at[left] - 0.35, at[right - 1] + 0.35], [value / first] * 2, color=FFF, linewidth=1.4)
    for step in item.steps[-MAX_STEPS:]:
        colour = BAD if step.ratio > 1 else GOOD
        axes.axvline(at[step.index] - 0.5, color=colour, linewidth=0.9, linestyle=(0, (3, 2)))
        axes.annotate(
            f"{step.commit[:7]} {number(step.ratio)}x",
            (at[step.index] - 0.5, 0.98),
            xycoords=("data", "axes fraction"),
            xytext=(3, 0),
            textcoords="offset points",
            fontsize=8,
            va="top",
            color=colour,
        )
    if item.newest is not None:
        newest = (item.points[-1].value or first) / first
        axes.plot(at[-1], newest, "o", markersize=8, markerfacecolor="none", markeredgecolor=BAD)
    axes.set_title(label(f"{named(item)}: {_written(item, item.points[-1].value)}"), fontsize=8.5)
    axes.set_ylim(0, axes.get_ylim()[1] * 1.12)
    axes.set_xlim(-0.7, max(place.values()) + 0.7)
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.yaxis.set_major_formatter(FuncFormatter(drawing.times_label))
    ends = sorted({0, max(place.values())})
    commits = list(place)
    axes.set_xticks(ends, [commits[index][:7] for index in ends], fontsize=8)


def _commits(series: Sequence[Series]) -> list[str]:
    """Commits of ``series`` in order, as asv's dates have it."""
    dated = {point.commit: point.date for item in series for point in item.points}
    return sorted(dated, key=lambda commit: (dated[commit], commit))


def named(item: Series) -> str:
    """``fff_cpu, batch 128``; a workload that a kernel guards, ``fff_cpu, 768x4095 1x12, bf16, batch 128``."""
    kind = item.benchmark.rsplit(".", 1)[-1]
    values = [value if name == "implementation" else _value(name, value) for name, value in item.params]
    if not values:
        return KINDS.get(kind, kind)
    return ", ".join(values) + (", memory" if item.unit == "bytes" else "")


def _value(name: str, value: str) -> str:
    """One parameter in words; a case, ``kernel workload``, by what tells it from others."""
    kernel, _, workload = value.partition(" ")
    if name != "case":
        return f"{name} {value}"
    try:
        work = parse_cell(f"{kernel}@{workload}@warm-kernel").workload
    except UserError:  # of a version that writes workloads in another way
        return value
    return f"{kernel}, {work.shape.short}, {work.dtype}, batch {work.batch}"


def _written(item: Series, value: float | None) -> str:
    if value is None:
        return "not measured"
    return {"seconds": seconds, "bytes": size}.get(item.unit, number)(value)


def table(series: Sequence[Series], names: dict[str, str]) -> Table | None:
    """Every series: what it is now, against its first commit, and its steps."""
    if not series:
        return None
    rows = []
    environments = defaultdict(set)
    for item in series:
        environments[item.machine].add(item.environment)
    for item in sorted(series, key=lambda item: (item.machine, item.environment, item.control, _order(item))):
        first, last = item.points[0], item.points[-1]
        ratio = (last.value or 1.0) / (first.value or 1.0)
        where = item.environment if len(environments[item.machine]) > 1 else ""
        kind = "control, " * item.control + item.benchmark
        changed = f"{number(ratio)}x the first" if len(item.points) > 1 else "first commit"
        rows.append(
            (
                Cell(named(item), kind),
                Cell(names.get(item.machine, item.machine), where),
                Cell(str(len(item.points)), f"{first.commit[:8]} to {last.commit[:8]}"),
                Cell(_written(item, last.value), changed, CSV, f"{last.value:.6g}"),
                Cell(item.sentence, words=True),
            )
        )
    return Table(
        "history-table",
        ("Benchmark", "Machine", "Commits", "Newest", "Steps"),
        (False, False, True, True, False),
        tuple(rows),
        CSV,
        MEANING,
        filterable=True,
    )


def csv_rows(series: Sequence[Series]) -> list[dict[str, object]]:
    """Every measured point with the step that begins there, for ``history.csv``."""
    rows: list[dict[str, object]] = []
    for item in series:
        steps = {step.commit: step for step in item.steps}
        for point in item.points:
            step = steps.get(point.commit)
            rows.append(
                {
                    "machine": point.machine,
                    "environment": point.environment,
                    "benchmark": point.benchmark,
                    "params": ", ".join(f"{name}={value}" for name, value in point.params),
                    "unit": point.unit,
                    "control": item.control,
                    "commit": point.commit,
                    "date": point.date,
                    "value": point.value,
                    "low": point.low,
                    "high": point.high,
                    "step": step.ratio if step else None,
                    "stands": step.stands if step else None,
                    "control_moved": step.control_moved if step else None,
                    "samples": point.samples,
                }
            )
    return rows


CSV = "history.csv"  # with the samples of every point
CSV_COLUMNS = (
    "machine",
    "environment",
    "benchmark",
    "params",
    "unit",
    "control",
    "commit",
    "date",
    "value",
    "low",
    "high",
    "step",
    "stands",
    "control_moved",
    "samples",
)

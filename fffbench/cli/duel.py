"""The command that sets two implementations against each other: ``duel``."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Annotated

import typer

from fffbench.cli import notices, tables
from fffbench.cli.shared import Levels, Summary, Threads, Trees, Width, share
from fffbench.devices import HOST
from fffbench.errors import UserError
from fffbench.plan import options
from fffbench.units import duration, parse_duration, seconds

if TYPE_CHECKING:
    from fffbench.analysis.regression import Plan
    from fffbench.plan.matrix import Axes
    from fffbench.plan.workload import Workload
    from fffbench.regress.duel import Duel, Row

LOOKS = (10, 15, 20, 30, 40, 60, 80, 120, 160, 240, 320)  # the first five as a regression check's
EXIT_SLOWER, EXIT_INCONCLUSIVE = 1, 3


def duel(
    a: Annotated[str, typer.Argument(metavar="A", help="an implementation, or NAME@FOLDER: its version in a folder")],
    b: Annotated[str, typer.Argument(metavar="B", help="the other one, which is judged")],
    batch: Annotated[str, typer.Option(help="comma-separated")] = "1,128",
    d: Width = 768,
    levels: Levels = 12,
    trees: Trees = 1,
    dtype: Annotated[str, typer.Option(help="comma-separated")] = "fp32",
    device: Annotated[str, typer.Option(help="cpu or cuda")] = HOST,
    threads: Threads = 1,
    budget: Annotated[str, typer.Option(help="time budget, such as 5m")] = "5m",
    blocks: Annotated[int, typer.Option(min=10, max=400, help="at most; more find smaller differences")] = 40,
    again: Annotated[
        bool, typer.Option("--again", help="where it is inconclusive, one more try with twice the blocks and budget")
    ] = False,
    margin: Annotated[float, share("--margin", 1, "differences up to this are none")] = 0.03,
    tolerance: Annotated[float, share("--tolerance", 2, "`same` excludes this much")] = 0.05,
    markdown: Summary = None,
    as_json: Annotated[bool, typer.Option("--json", help="print the comparison as JSON")] = False,
) -> None:
    """Is B faster or slower than A? Exit 0: faster or the same, 1: slower somewhere, 3: inconclusive.

    Fresh processes of both sides take turns in the order A B B A, by the rule and with the error rates of `regress`;
    outputs are checked first. Weights stay in cache and inputs rotate. --again doubles the chance of a false alarm.
    """
    from fffbench.analysis import regression
    from fffbench.measure import lock
    from fffbench.regress import check
    from fffbench.regress import duel as duelling

    sides = [duelling.read_side(text) for text in (a, b)]
    axes = options.chosen(batch=batch, dtype=dtype, device=device)
    _known([side.name for side in sides if not side.folder])
    cases = _cases(axes, (d, trees, levels), threads)
    limit = parse_duration(budget)
    try:
        plans = [(_plan(blocks * factor, margin, tolerance), limit * factor) for factor in ((1, 2) if again else (1,))]
    except ValueError as error:
        raise UserError(f"--margin {margin:g} --tolerance {tolerance:g}: {error}") from error
    with lock.machine(f"fffbench duel {a} {b}"):
        for plan, allowed in plans:
            found = duelling.duel(sides[0], sides[1], cases, plan, time.monotonic() + allowed, notices.say)
            if found.answer != regression.INCONCLUSIVE or not found.rows:
                break
    if not found.rows:
        raise UserError(
            f"nothing was compared: {next(iter(found.refused.values()), 'the budget ended before a block')}"
        )
    text = tables.as_markdown([_table(found)], _columns())
    check.append_summary(f"{text}\n", markdown)
    if as_json:
        print(json.dumps(found.to_json(), indent=1))
    else:
        tables.show([_table(found)], _columns())
    raise typer.Exit({"slower": EXIT_SLOWER, "inconclusive": EXIT_INCONCLUSIVE}.get(found.answer, 0))


def _plan(blocks: int, margin: float, tolerance: float) -> Plan:
    """A regression check's plan with this many blocks at most."""
    from fffbench.analysis.regression import Plan

    return Plan((*(look for look in LOOKS if look < blocks), blocks), margin, tolerance)


def _known(names: list[str]) -> None:
    from fffbench.implementations import registry

    for name in names:
        registry.implementation(name)


def _cases(axes: Axes, shape: tuple[int, int, int], threads: int) -> list[Workload]:
    from fffbench.devices import device as device_of
    from fffbench.measure.fingerprint import usable_cores
    from fffbench.plan.workload import Shape, Workload

    if len(axes.devices) != 1:
        raise UserError(f"--device {','.join(axes.devices)!r}: give one device")
    [name] = axes.devices
    place = device_of(name)
    if place.threaded and threads > usable_cores():
        raise UserError(f"--threads {threads}: this machine allows 1 to {usable_cores()}")
    if (reason := place.absent()) is not None:
        raise UserError(f"--device {name}: {reason}")
    layer = Shape.tree(*shape)
    counts = threads if place.threaded else 1
    return [
        Workload(layer, batch, dtype, threads=counts, device=name) for dtype in axes.dtypes for batch in axes.batches
    ]


def _columns() -> list[tables.Column[Row]]:
    def ratio(row: Row) -> str:
        return tables.gain(row.ratio, row.low, row.high, provisional=False)

    return [
        tables.Column("workload", lambda row: row.case),
        tables.Column("A", lambda row: seconds(row.a_seconds or 0), right=True),
        tables.Column("B", lambda row: seconds(row.b_seconds or 0), right=True),
        tables.Column("B / A", ratio, right=True),
        tables.Column("B is", lambda row: row.answer),
        tables.Column("blocks", lambda row: str(row.blocks), right=True, worth=50),
    ]


def _table(found: Duel) -> tables.Table[Row]:
    notes = [f"{case}: not compared: {reason}" for case, reason in found.refused.items()]
    control = found.control
    notes.append(f"control: {control.said}" + ("" if control.passed else "; so the answer is inconclusive"))
    notes.append(f"{found.answer}, in {duration(found.seconds)}; below 1x B takes less time")
    return tables.Table(f"A {found.a}, B {found.b}", found.rows, notes)

"""The commands about implementations: ``list``, ``check``."""

from __future__ import annotations

import importlib
import json
from typing import Annotated, Any

import typer

from fffbench.cli import notices, tables
from fffbench.cli.shared import Json
from fffbench.devices import DEVICES, HOST
from fffbench.errors import UserError
from fffbench.plan import options
from fffbench.text import plain
from fffbench.units import number

NEEDED = ("psutil", "threadpoolctl", "torch")  # of the extra `measure`, by what computes
NOT_SEEN = (
    "note: check compares the outputs of a few calls. That a kernel of another package works in every timed call, and "
    "leaves clock and rivals alone, is tested when it is measured (docs/guide/untrusted-kernels.md)"
)
EXIT_WRONG = 1  # ``check`` found an implementation that computes something else

Listed = Annotated[str | None, typer.Option(help="comma-separated; all where not given")]


def list_implementations(as_json: Json = False) -> None:
    """List the implementations, and why one cannot run here."""
    from fffbench.claims.kinds import KINDS
    from fffbench.implementations import registry
    from fffbench.plan.workload import Shape, Workload
    from fffbench.problems import PROBLEMS

    # some are for small batches only, some for large ones, some for leaf blocks only
    tried = (Shape.tree(768, 1, 12), Shape.leaf(768, 1, 7, 32))
    questions = [
        (item, Workload(shape, batch, item.dtypes[0], device=device))
        for item in registry.implementations().values()
        for device in item.devices
        for shape in (*tried, *(next(PROBLEMS[kind].edges()) for kind in item.kinds if kind not in PROBLEMS.own))
        for batch in (shape.together, 16384 * shape.together)
    ]
    reasons: dict[str, list[str | None]] = {}
    for (item, _), reason in zip(questions, registry.reasons(questions), strict=True):
        reasons.setdefault(item.name, []).append(reason)
    rows: list[dict[str, Any]] = [
        {
            "name": item.name,
            "family": item.family,
            "device": ", ".join(item.devices),
            "dtypes": list(item.dtypes),
            "summary": item.summary,
            "unsupported": None if None in reasons[item.name] else reasons[item.name][0],
        }
        for item in registry.implementations().values()
    ]
    rows += [
        {"name": name, "family": None, "device": "", "dtypes": [], "summary": "", "unsupported": reason}
        for broken in (registry.broken(), DEVICES.broken(), PROBLEMS.broken(), KINDS.broken())
        for name, reason in broken.items()
    ]
    if as_json:
        print(json.dumps(rows, indent=1))
        return
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(row["family"] or "broken", []).append(row)
    tables.show([tables.Table(family, group) for family, group in groups.items()], _columns())


def check(
    implementations: Listed = None,
    dtypes: Listed = None,
    devices: Annotated[str, typer.Option(help="comma-separated")] = HOST,
    as_json: Json = False,
) -> None:
    """Check implementations against the float64 reference on every edge of the shapes; exit 1 if one is wrong."""
    from fffbench import checking
    from fffbench.implementations import registry

    for module in NEEDED:  # here, not as a fault of every implementation
        importlib.import_module(module)
    axes = options.axes(implementations=implementations, dtypes=dtypes, devices=devices)
    named = [registry.implementation(name) for name in axes.implementations if name not in registry.broken()]
    if any(item.foreign for item in named):
        notices.note(NOT_SEEN)
    rows = []
    for row in checking.rows(axes.implementations, axes.dtypes, axes.devices):
        rows.append(row)
        if not as_json:
            _say(row)
    if as_json:
        print(json.dumps(rows, indent=1))
    if any(row["failure"] for row in rows):
        raise typer.Exit(EXIT_WRONG)
    if not any(row["passed"] for row in rows):
        reasons = dict.fromkeys(row["reason"] for row in rows if row["reason"])
        raise UserError(f"nothing was checked: {next(iter(reasons), 'no implementation runs in these dtypes here')}")


def _say(row: dict[str, Any]) -> None:
    """What was found of one implementation in one dtype on one device: a line, and one for each fault."""
    error = "" if row["error"] is None else f", largest error {number(row['error'])}"
    untried = f", {row['untried']} not tried after that" if row["untried"] else ""
    faults = row["faults"]
    wrong = f"  WRONG in {len(faults)} case{'s' * (len(faults) != 1)}{untried}" if faults else ""
    if row["failure"] and not faults:
        wrong = f"  WRONG: {row['failure']}"
    counts = f"{row['passed']:>3} right, {row['skipped']:>3} not run"
    print(plain(f"{row['name']:<20} {row['device']:<5} {row['dtype']:<5} {counts}{error}{wrong}"), flush=True)
    for fault in faults:
        print(plain(f"  {fault['special']}: {fault['failure']}  ({fault['case']})"), flush=True)


def _columns() -> list[tables.Column[dict[str, Any]]]:
    return [
        tables.Column("name", lambda row: row["name"]),
        tables.Column("device", lambda row: row["device"], worth=90),
        tables.Column("types", lambda row: " ".join(row["dtypes"]), worth=50),
        tables.Column("what it is", _what, wraps=True),
    ]


def _what(row: dict[str, Any]) -> str:
    """What it is, and why it does not run here."""
    summary = row["summary"].removesuffix(".") if row["unsupported"] else row["summary"]
    return "; ".join(filter(None, (summary, row["unsupported"] and f"not here: {row['unsupported']}")))

"""The command that says what is open, ``todo``, and what ``run --undecided`` measures of it."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fffbench.cli import loading, selecting, tables
from fffbench.cli.claims import SHORT, Claim
from fffbench.cli.shared import Json, ResultsDir
from fffbench.errors import UserError
from fffbench.plan import options
from fffbench.units import duration

if TYPE_CHECKING:
    from fffbench.plan.workload import Cell
    from fffbench.results.store import Results
    from fffbench.runs import planning as bench
    from fffbench.runs.undecided import Kernels, Open

RELEASE = "release"  # the preset


def todo(
    results: ResultsDir = Path("results"),
    claim: Claim = None,
    machine: selecting.Machine = None,
    device: selecting.Device = None,
    release: Annotated[
        bool,
        typer.Option("--release", help="what `run --preset release` lacks on this machine, and the minutes it takes"),
    ] = False,
    cells: Annotated[bool, typer.Option("--cells", help="name the cells as well, a line each")] = False,
    markdown: selecting.Markdown = False,
    as_json: Json = False,
) -> None:
    """Say which claims are open, how they lean, and which cells would settle them in how many minutes.

    `fffbench run --undecided` on a machine measures just those cells there.
    """
    from fffbench.claims.ledger import load_claims
    from fffbench.runs.undecided import measured_places, open_claims

    selecting.one_form(as_json=as_json, as_markdown=markdown, as_csv=False)
    if release:
        _release(results, claim, machine, device, as_json=as_json, markdown=markdown)
        return
    ledger = load_claims()
    ids = selecting.names("claim", "--claim", claim, (item.id for item in ledger))
    devices = set(options.chosen(device=device).devices) or None
    loaded = loading.load(results)
    machines = selecting.machines(machine, loaded.machines)
    where = [
        place
        for place in measured_places(loaded)
        if selecting.within(place.machine, machines) and selecting.within(place.device, devices)
    ]
    chosen = [item for item in ledger if selecting.within(item.id, ids)]
    found = open_claims(loaded, chosen, where, lambda name: kernels(loaded, name))
    if as_json:
        print(json.dumps([_plain(one) for one in found], indent=1))
        return
    _print(found, loaded, markdown=markdown)
    if cells:
        _print_cells(found, markdown=markdown)


def _release(
    results: Path, claim: str | None, machine: str | None, device: str | None, *, as_json: bool, markdown: bool
) -> None:
    """The ledger of the release on this machine."""
    from fffbench.cli import release
    from fffbench.runs import planning as bench

    if claim is not None or machine is not None:
        raise UserError("--release is about this machine and all of its cells; beside it only --device and --results")
    wanted = bench.Options(RELEASE, options.chosen(device=device))
    release.show(wanted, results, as_json=as_json, markdown=markdown)


def on_this_machine(results: Path, claim: str | None, processes: int | None) -> bench.Options:
    """What ``run --undecided`` measures: the cells that settle what is open on this machine."""
    from fffbench.claims.ledger import load_claims
    from fffbench.devices import DEVICES
    from fffbench.measure import fingerprint
    from fffbench.results.store import Results
    from fffbench.runs import planning as bench
    from fffbench.runs.forecasts import SAMPLE_SECONDS
    from fffbench.runs.undecided import Where, open_claims, together

    ledger = load_claims()
    ids = selecting.names("claim", "--claim", claim, (item.id for item in ledger))
    loaded = loading.load(results) if results.exists() else Results()
    machine = fingerprint.machine_id(fingerprint.stable())
    where = [
        Where(machine, name, fingerprint.usable_cores() if item.threaded else 1)
        for name, item in DEVICES.usable().items()
        if item.absent() is None
    ]
    chosen = [item for item in ledger if selecting.within(item.id, ids)]
    cells, count = together(open_claims(loaded, chosen, where, lambda name: kernels(loaded, name)))
    if not cells:
        raise UserError(f"nothing to measure: no claim asked about is open on {machine}, which can test it")
    typed = "fffbench run --undecided" + (f" --claim {claim}" if claim else "")
    return bench.Options(
        "undecided", processes=processes or count, sample_seconds=SAMPLE_SECONDS, cells=tuple(cells), command=typed
    )


def kernels(results: Results, machine: str) -> Kernels:
    """What is known of the implementations, with the times that they took on ``machine``."""
    from fffbench.implementations.registry import implementation, implementations
    from fffbench.measure import forecast
    from fffbench.runs.forecasts import SAMPLE_SECONDS, Learnt, seconds_of
    from fffbench.runs.undecided import Kernels

    own = [record for record in results.records if record.machine == machine]
    spent: dict[str, float] = {}
    for run in results.runs.values():
        spent |= seconds_of(run.id, run.dated or run.started, run.ended)
    others = Learnt((record for record in results.records if record.machine != machine), spent=spent)
    known = Learnt(own, results.machines[machine].ceilings if machine in results.machines else {}, others, spent)

    def guess(cell: Cell) -> float:
        chosen = implementation(cell.implementation)
        return forecast.call_seconds(cell, chosen.family, known.ceilings, chosen.roofline_share)

    def seconds(cell: Cell) -> float:
        slow = implementation(cell.implementation).slow_to_prepare
        return known.process(cell, guess, SAMPLE_SECONDS, slow_to_prepare=slow)

    def names(family: str, device: str, dtype: str) -> list[str]:
        return [
            item.name
            for item in implementations().values()
            if item.family == family and device in item.devices and dtype in item.dtypes and not item.foreign
        ]

    return Kernels(names, seconds)


def _plain(one: Open) -> dict[str, object]:
    return {
        "claim": one.claim.id,
        "machine": one.machine,
        "device": one.device,
        "verdict": one.verdict,
        "leans": one.leans or None,
        "lacking": one.lacking,
        "cells": [cell.id for cell in one.cells],
        "processes": one.processes,
        "seconds": round(one.seconds, 1),
    }


def _columns() -> list[tables.Column[Open]]:
    def leans(one: Open) -> str:
        return SHORT.get(one.leans, one.leans.replace("-", " ")) or ("" if one.verdict == "undecided" else "-")

    return [
        tables.Column("claim", lambda one: one.claim.id),
        tables.Column("published", lambda one: one.claim.shown, right=True, worth=40),
        tables.Column("leans to", leans),
        tables.Column("cells", lambda one: str(len(one.cells)) if one.cells else "none can run", right=True),
        tables.Column("takes", lambda one: duration(one.seconds) if one.cells else "-", right=True),
        tables.Column("lacks", lambda one: one.lacking, worth=90, wraps=True),
    ]


def _print(found: Sequence[Open], loaded: Results, *, markdown: bool) -> None:
    if not found:
        print("nothing is open: every claim that these machines can test has a verdict")
        return
    from fffbench.measure.forecast import ROUND_SECONDS
    from fffbench.runs.undecided import together

    groups: dict[tuple[str, str], list[Open]] = defaultdict(list)
    for one in found:
        groups[one.machine, one.device].append(one)
    made = []
    for (machine, device), rows in groups.items():
        cells, processes = together(rows)
        cost: Callable[[Cell], float] = kernels(loaded, machine).seconds
        takes = processes * (sum(map(cost, cells)) + ROUND_SECONDS)
        note = f"{len(rows)} open; their {len(cells)} cells together, {processes} processes each: {duration(takes)}"
        made.append(tables.Table(f"{machine} ({device})", rows, [note]))
    notes = [
        "`fffbench run --undecided` measures just these cells on the machine it runs on (--claim ID: of one claim)"
    ]
    selecting.print_tables(made, _columns(), notes, as_markdown=markdown)


def _print_cells(found: Sequence[Open], *, markdown: bool) -> None:
    """The cells that settle each open claim, a table for each device of each machine."""
    groups: dict[tuple[str, str], list[tuple[Open, Cell]]] = defaultdict(list)
    for one in found:
        groups[one.machine, one.device] += [(one, cell) for cell in one.cells]
    made = [tables.Table(f"{machine} ({device})", rows) for (machine, device), rows in groups.items() if rows]
    columns: list[tables.Column[tuple[Open, Cell]]] = [
        tables.Column("claim", lambda row: row[0].claim.id, common=True, worth=50),
        tables.Column("cell", lambda row: row[1].id),
    ]
    selecting.print_tables(made, columns, [], as_markdown=markdown)

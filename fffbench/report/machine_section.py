"""What is shown for each machine: curves, tables, what it is?"""

from __future__ import annotations

from fffbench.analysis.headline import machine_name
from fffbench.devices import main_device
from fffbench.report import tables
from fffbench.report.analysed import Analysis
from fffbench.report.ceiling_table import ceilings_table
from fffbench.report.view import Fingerprint, MachineView


def machine_views(analysis: Analysis) -> list[MachineView]:
    """Every machine and device that has records."""
    found = []
    results = analysis.results
    for index, (machine, device) in enumerate(item.place for item in analysis.shown):
        rows = [row for row in analysis.shown_rows if (row.machine, row.device) == (machine, device)]
        name = machine_name(results.machines[machine], device)
        main = [row for row in rows if row.main]
        other = [row for row in rows if not row.main]
        in_graph = any(row.call == "graph" for row in main)
        called = "bare kernel inside a CUDA graph" if in_graph else "bare kernel"
        weak = [item for item in analysis.strength if (item.machine, item.device) == (machine, device)]
        found.append(
            MachineView(
                id=machine,
                anchor=f"on-{index}",
                title=name,
                device=device,
                main=tables.speedup_table(
                    main,
                    analysis.anchors,
                    f"main{index}",
                    f"Cold caches, {called}, uniform routing. A speed-up stands with its 95 % interval and, smaller, "
                    "the baseline it is over; a time with its error and its share of the roofline. Numbers link "
                    "to samples.",
                    protocols=False,
                ),
                other=tables.speedup_table(other, analysis.anchors, f"other{index}", "", protocols=True),
                calls=tables.calls_table(rows, analysis.anchors, f"calls{index}"),
                strength=tuple(item.sentence for item in weak if not item.strong),
            )
        )
    return found


def fingerprints(analysis: Analysis) -> list[Fingerprint]:
    """Every machine of the archive with its stable facts, its ceilings (of all runs) and its runs."""
    found = []
    results, ceilings = analysis.results, analysis.ceilings
    for index, machine_id in enumerate(sorted(analysis.machines)):
        machine = results.machines[machine_id]
        runs = [run for run in results.runs.values() if run.machine.id == machine_id]
        runs.sort(key=lambda run: (run.started, run.id))
        device = main_device(machine.stable)
        known = (ceilings.measured[machine_id], ceilings.used(machine_id))
        found.append(
            Fingerprint(
                id=machine_id,
                name=machine_name(machine, device),
                stable=tuple(sorted(machine.stable.items())),
                observed=tuple(sorted(machine.observed.items())),
                ceilings=ceilings_table(*known, f"ceilings{index}"),
                runs=tuple(
                    f"{run.id}, preset {run.preset}, {run.sources}"
                    + (f", its clock said {run.dated}, which cannot be" if run.dated else "")
                    for run in runs
                ),
            )
        )
    return found

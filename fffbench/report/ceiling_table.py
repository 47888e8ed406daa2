"""What can each machine do at best: what bounds rest on, and what was measured?"""

from __future__ import annotations

from collections.abc import Mapping

from fffbench.analysis.ceilings import MEANING, Ceiling
from fffbench.report.view import Cell, Table
from fffbench.units import number

CEILING_NAMES = {
    "cache_read": "reading a private cache",
    "dram_copy": "copying memory",
    "dram_read": "reading memory",
    "launch": "kernel launches",
}


def ceilings_table(
    measured: Mapping[str, Mapping[str, float]], used: Mapping[str, Mapping[str, Ceiling]], table_id: str
) -> Table | None:
    """One column per thread count, the accelerator last: what bounds rest on, then each ceiling as it was measured."""
    threads = sorted({key for by in measured.values() for key in by}, key=lambda key: (key == "0", len(key), key))
    if not threads:
        return None
    head = (
        "Ceiling",
        *("accelerator" if key == "0" else f"{key} thread{'s' if key != '1' else ''}" for key in threads),
    )
    rows = [
        (Cell(name, "used for bounds"), *(_used(name, by.get(key)) for key in threads)) for name, by in used.items()
    ]
    rows += [
        (
            Cell(_ceiling_name(name), "measured"),
            *(Cell(rate(name, by[key])) if key in by else Cell("not measured", words=True) for key in threads),
        )
        for name, by in sorted(measured.items())
    ]
    return Table(table_id, head, (False, *(True for _ in threads)), tuple(rows), "machines.csv", MEANING)


def _ceiling_name(name: str) -> str:
    kind, _, dtype = name.partition("_")
    named = {"fma": f"multiply-add loop, {dtype}", "peak": f"library's product, {dtype}"}
    return CEILING_NAMES.get(name) or named.get(kind, name)


def _used(name: str, ceiling: Ceiling | None) -> Cell:
    """The ceiling that bounds rest on; where a cell raised it, by which."""
    if ceiling is None:
        return Cell("not measured", words=True)
    how = "as measured"
    if ceiling.reached_by:
        how = f"reached by {ceiling.reached_by.split('/')[-1].split('@')[0]}"
        how += f"; {rate(name, ceiling.measured)} measured, which is in doubt" if ceiling.doubtful else ""
    return Cell(rate(name, ceiling.value), how)


def rate(name: str, value: float) -> str:
    """A ceiling with its unit, which its name implies."""
    if name.startswith(("fma", "peak", "arithmetic")):
        return f"{number(value / 1e9)} GFLOP/s" if value < 1e12 else f"{number(value / 1e12)} TFLOP/s"
    if name.startswith(("dram", "cache", "memory")):
        return f"{number(value / 1e9)} GB/s"
    return f"{number(value)} /s"

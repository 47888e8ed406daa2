"""What is the answer, in a line a machine, from these results?

Always FFF over the best dense layer, each side at its own fastest thread
count, cold caches, bare kernel (on a GPU inside a graph where one was
measured), uniform routing, at the batch of the published table (16384), or the
largest where that was not measured: fixed, so that no result can be picked for
being flattering.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from fffbench.analysis.rows import Speedup
from fffbench.plan.workload import DTYPES
from fffbench.results.record import Machine
from fffbench.results.store import Results
from fffbench.units import number, ratio

PUBLISHED_SHAPE = (768, 1, 12, 0)  # d, trees, levels, leaf width of the paper's table
PUBLISHED_BATCH = 16384
NAME_KEYS = {"cuda": ("gpu 0", "gpu"), "cpu": ("cpu", "cpu_model", "cpu_name", "cpu_brand")}
# what makers put around a name and readers leave out; of a GPU also its maker and memory
_NO_NAME = re.compile(r"\((R|TM)\)|\bProcessor$")
_NO_GPU_NAME = re.compile(r"^NVIDIA |\b(\d+ ?GB|HBM\w*)\b")


def machine_name(machine: Machine, device: str) -> str:
    """What a reader calls the machine: its GPU; its CPU with its cores and, in brackets, the GPU beside it; its id."""
    name = _first(machine, device)
    if name is None:
        return machine.id
    if device != "cpu":
        return name
    name = _NO_NAME.sub("", name).strip()
    cores, beside = machine.stable.get("cores"), _first(machine, "cuda")
    name += f", {cores} cores" if cores else ""
    return f"{name} ({_NO_GPU_NAME.sub('', beside).strip()})" if beside else name


def _first(machine: Machine, device: str) -> str | None:
    """The model of the machine's CPU or GPU as it was stored."""
    return next((machine.stable[key] for key in NAME_KEYS.get(device, ()) if machine.stable.get(key)), None)


def fair(row: Speedup) -> bool:
    """Whether ``row`` follows the headline's protocol."""
    return (
        row.family == "fff"
        and row.speedup is not None
        and (row.baseline, row.baseline_threads) == ("best-dense", "fastest")
        and row.main
    )


def shape_of(row: Speedup) -> tuple[int, int, int, int]:
    """The layer of a row: d, trees, levels, leaf width."""
    return (row.d, row.trees, row.levels, row.leaf_width)


def best_by_batch(rows: Sequence[Speedup]) -> dict[int, Speedup]:
    """The fastest FFF implementation's row at each batch, smallest batch first."""
    best: dict[int, Speedup] = {}
    for row in rows:
        if row.batch not in best or (row.time or 0) < (best[row.batch].time or 0):
            best[row.batch] = row
    return dict(sorted(best.items()))


@dataclass(frozen=True)
class Answer:
    """The headline of one machine and device: a row per dtype at the published batch, else the largest."""

    machine: str
    name: str
    device: str
    rows: tuple[Speedup, ...]

    @property
    def line(self) -> str:
        """``116x [112, 121] faster at batch 16384 in fp32 on Test CPU``: the machine's first dtype."""
        return f"{_said(self.rows[0])} on {self.name}"


def _said(row: Speedup) -> str:
    thin = " (provisional)" if row.provisional else ""
    return f"{_gain(row)} at batch {row.batch} in {row.dtype}{thin}"


def _gain(row: Speedup) -> str:
    """``116x [112, 121] faster``, ``no faster`` or ``2.1x [2.0, 2.2] slower``: as the interval has it."""
    assert row.speedup is not None
    if row.low is None or row.high is None:
        faster = row.speedup >= 1
        return f"{ratio(max(row.speedup, 1 / row.speedup), None, None)} {'faster' if faster else 'slower'}"
    if row.low > 1:
        return f"{ratio(row.speedup, row.low, row.high)} faster"
    if row.high < 1:
        return f"{ratio(1 / row.speedup, 1 / row.high, 1 / row.low)} slower"
    return f"neither faster nor slower ({ratio(row.speedup, row.low, row.high)})"


def answers(results: Results, rows: Sequence[Speedup]) -> list[Answer]:
    """One answer per machine and device that has a fair FFF row; GPUs after CPUs, otherwise by machine."""
    places = sorted({(row.device, row.machine) for row in rows if fair(row)})
    found = []
    for device, machine in places:
        here = [row for row in rows if fair(row) and (row.device, row.machine) == (device, machine)]
        shapes = Counter(map(shape_of, here))
        shape = PUBLISHED_SHAPE if PUBLISHED_SHAPE in shapes else max(sorted(shapes), key=lambda item: shapes[item])
        here = [row for row in here if shape_of(row) == shape]
        best = []
        for dtype in DTYPES:
            by_batch = best_by_batch([row for row in here if row.dtype == dtype])
            if by_batch:
                best.append(by_batch.get(PUBLISHED_BATCH) or by_batch[max(by_batch)])
        found.append(Answer(machine, machine_name(results.machines[machine], device), device, tuple(best)))
    return found


@dataclass(frozen=True)
class Headline:
    """The answer as a reader meets it: what is compared, a line for each machine, then the details."""

    asked: str
    lines: tuple[str, ...] = ()
    details: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """All of it as plain text, a line each."""
        return "\n".join([self.asked, *(f"  {line}" for line in self.lines), *self.details])


def _layer(row: Speedup) -> str:
    return f"the FFF layer ({row.d} to {row.n}, {row.trees}x{row.levels})"


def _details(found: Sequence[Answer], asked: tuple[int, int, int, int]) -> list[str]:
    """The other dtypes machine by machine, layers other than the one asked about, and what the count allows."""
    said = [f"On {answer.name}: {', '.join(map(_said, answer.rows[1:]))}." for answer in found if len(answer.rows) > 1]
    said += [
        f"On {answer.name} it is {_layer(answer.rows[0])}." for answer in found if shape_of(answer.rows[0]) != asked
    ]
    doubted = [(answer.name, row) for answer in found for row in answer.rows if row.reason]
    said += [f"Provisional on {name} in {row.dtype}: {row.reason}." for name, row in doubted]
    return [*said, ceiling_sentence(found)]


def ceiling_sentence(found: Sequence[Answer]) -> str:
    """What the operation count allows, beside the best that any machine reached."""
    rows = [row for answer in found for row in answer.rows]
    ceiling = max(row.n / (row.trees * (row.levels + row.leaf_width)) for row in rows)
    reached = "was reached" if max(row.low or 0 for row in rows) >= ceiling else "was not reached"
    return f"{number(ceiling)}x is a count of operations; as a measured speed of this layer it {reached}."


def headline(results: Results, rows: Sequence[Speedup]) -> Headline:
    """The first lines of the page and the last of a run."""
    found = answers(results, rows)
    if found:
        first = found[0].rows[0]
        asked = f"Against the best dense layer, {_layer(first)}, published as 78x faster, is under fair conditions:"
        return Headline(asked, tuple(answer.line for answer in found), tuple(_details(found, shape_of(first))))
    if not results.records:
        return Headline("Nothing has been measured yet.")
    return Headline(
        "No FFF layer was measured beside a dense one under the headline's protocol "
        "(cold caches, bare kernel, uniform routing) yet."
    )

"""Which of the speeds that were asked of the kernels are reached, and where one is not, what counting says?

``python -m benchmarks.studies.targets`` writes the tables between the markers in ``docs/notebook/kernels.md`` and
``kernels-cuda.md`` from ``results/``; ``--check`` writes nothing and exits with 1 where they are stale. A target is a
speed-up over the best dense layer of as many neurons, cold, in a graph on a GPU, each side at its fastest threads; the
low end of the interval must reach it. ``counted`` is what the machine's measured peak and bandwidth allow the layer's
least work; ``predicted`` the same for the work of the strategy that is chosen, launch by launch. What binds and what
was tried are words from the notebook.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.studies import written
from fffbench.analysis.ceilings import Ceilings, ceilings_of
from fffbench.analysis.over import over_own_width
from fffbench.analysis.rows import Speedup
from fffbench.errors import UserError
from fffbench.implementations.cuda import leaf_plan, plan
from fffbench.implementations.cuda.base import Gpu, Layout, Plan, Product, Step
from fffbench.plan.workload import Workload, parse_cell
from fffbench.problems import parse_problem
from fffbench.report.published import load_published
from fffbench.results.store import Results

MARKED = re.compile(r"(<!-- targets-(\w+):begin[^\n]*-->\n)(.*?)(<!-- targets-\2:end -->)", re.DOTALL)
PAGES = {"cuda": "kernels-cuda.md", "cpu": "kernels.md"}
CALL = {"cuda": "graph", "cpu": "kernel"}
KERNELS = ("fff_cuda", "fff_cpu")
FAMILY = {levels: f"d768-n{trees * (2**levels - 1)}-t{trees}x{levels}" for trees, levels in (
    (3072, 1), (1536, 2), (512, 3), (256, 4), (128, 5), (64, 6), (32, 7), (16, 8), (8, 9), (4, 10), (2, 11), (1, 12)
)}  # fmt: skip
MANY = (
    "the dense layer's own two products: a neuron that no token skips is computed by a dense layer too",
    "tiles by size, the walk in registers; sparse tensor cores for the masked activations are counted and not done",
)
FEW = (
    "each tree after the first reads and writes the whole output again",
    "the output asked for a slice ahead; pieces of tokens that stay in L2 were slower",
)
ONE = (
    "no unit: too few warps wait too long, and some multiprocessors have a tile more than others",
    "tiles of 32 and 128 tokens, 3 to 6 stages; wgmma for the logits of subtrees is not done",
)
FULL = (
    "rows of both matrices from L2 for each token",
    "trees' rows in shared memory, as for one tree, is counted only",
)
BLOCKS = (
    "the activations between the two products, written and gathered, and wgmma at a part of its peak",
    "one kernel for both products, tiles of 64 and 128 tokens, chunks and columns of 64 and 128",
)
DEEP = (
    "rows below the top levels, which every token has to itself",
    "top levels as products, tokens listed by subtree, which pays; tokens as they come were slower",
)
GATHERED = (
    "rows gathered for the few tokens that agree at a node, from the last-level cache",
    "four orders of trees and tokens; a product over the top two levels of all trees is not tried",
)
DENSE_CPU = (
    "the dense product, ours or torch's, beside the fastest of the dense layers",
    "the packed product in two phases",
)
SHARED_OUT = ("few work items for the threads, and every row read for one or two tokens", "trees split over workers")


@dataclass(frozen=True)
class Target:
    """What was asked: at least ``least`` times the best dense layer; ``words`` are what binds and what was tried."""

    machine: str  # a part of its id
    device: str
    shape: str
    batch: int
    dtype: str
    least: float
    words: tuple[str, str]


def _targets() -> Iterator[Target]:
    gpu, xeon, small = ("h100", "cuda"), ("emeraldrapids-16c", "cpu"), ("zen4-2c", "cpu")
    for levels, least, words in (
        (11, 4, FEW),
        (10, 2.5, FEW),
        (9, 1.3, MANY),
        *((k, 0.9, MANY) for k in range(8, 0, -1)),
    ):
        yield Target(*gpu, FAMILY[levels], 16384, "bf16", least, words)
    for levels, least in ((10, 1.1), *((k, 0.85) for k in range(9, 0, -1))):
        yield Target(*gpu, FAMILY[levels], 128, "bf16", least, MANY)
    for levels, least in ((6, 1.5), (7, 3.0), (9, 8.0)):
        yield Target(*gpu, FAMILY[levels], 16384, "fp32", least, FULL)
    for batch, least in ((16384, 9.0), (65536, 11.0)):
        yield Target(*gpu, FAMILY[12], batch, "bf16", least, ONE)
    for shape, least in (("t1x7l32", 5.0), ("t1x5l128", 4.5), ("t1x3l512", 2.5)):
        yield Target(*gpu, f"d768-n4096-{shape}", 16384, "bf16", least, BLOCKS)
    for shape, least in (("d4096-n16383-t1x14", 10.0), ("d12288-n65535-t1x16", 25.0)):
        yield Target(*gpu, shape, 4096, "bf16", least, DEEP)
    for levels, least, words in ((9, 25, GATHERED), (7, 10, GATHERED), (5, 3.5, GATHERED), (1, 0.9, DENSE_CPU)):
        yield Target(*xeon, FAMILY[levels], 4096, "fp32", least, words)
    for levels, least in ((10, 15.0), (7, 4.0), (3, 0.9), (2, 0.9), (1, 0.9)):
        yield Target(*xeon, FAMILY[levels], 128, "fp32", least, SHARED_OUT if levels > 3 else DENSE_CPU)
    yield Target(*small, FAMILY[5], 4096, "fp32", 4.0, GATHERED)


TARGETS = tuple(_targets())


def answer(target: Target, rows: Sequence[Speedup]) -> Speedup | None:
    """The row with the highest low end, or None where nothing was measured."""
    fitting = [
        row
        for row in rows
        if target.machine in row.machine
        and row.implementation in KERNELS
        and (row.device, row.shape, row.batch, row.dtype) == (target.device, target.shape, target.batch, target.dtype)
        and (row.cache, row.call, row.routing, row.baseline_threads)
        == ("cold", CALL[target.device], "uniform", "fastest")
        and row.low is not None
    ]
    return max(fitting, key=lambda row: row.low or 0.0, default=None)


def predicted(row: Speedup, ceilings: Ceilings) -> float | None:
    """The speed-up if each launch took what its own work takes at the measured peak and bandwidth; None on a CPU."""
    if row.device != "cuda" or row.implementation != "fff_cuda" or not row.record or not row.baseline_time:
        return None
    work = parse_cell(row.record.split("/", 1)[1]).workload
    shape = work.shape
    layout = Layout(shape.d, shape.trees, shape.levels, work.dtype, leaf_width=shape.leaf_width)
    made = (leaf_plan.choose if shape.leaf_width else plan.choose)(layout, Gpu(), work.batch)
    bandwidth = ceilings.bandwidth(row.machine, work)
    peaks = {
        True: ceilings.peak(row.machine, work),
        False: ceilings.peak(row.machine, Workload(shape, 1, "fp32", device="cuda")),
    }
    if bandwidth is None or peaks[True] is None or peaks[False] is None:
        return None
    total = 0.0
    for step in made.steps:
        operations, moved, tensor_cores = cost(step, made, layout, work)
        peak = peaks[tensor_cores]
        assert peak is not None
        total += max(operations / peak.value, moved / bandwidth.value)
    return row.baseline_time / total


def cost(step: Step | Product, made: Plan, layout: Layout, work: Workload) -> tuple[float, float, bool]:
    """Operations of a launch, bytes from memory, and whether the matrix units do it."""
    d, item, tokens = layout.d, layout.item, work.batch
    rows = tokens * d * item  # bytes of x, or of y
    hidden = made.matrices.get("hidden", (0, 0))[1]
    if isinstance(step, Product) or step.entry in ("fff_dense_form", "fff_leaf_hidden", "fff_leaf_output"):
        weights = d * item * hidden * (2**layout.levels if layout.leaf_width else 1)
        return 2.0 * tokens * d * (layout.leaf_width or hidden), rows + tokens * hidden * item + weights, True
    bottom = 2 ** step.macros.get("FFF_BOTTOM", 0)
    on_matrix_units = {
        "fff_masked": (0.0, 2.0 * tokens * hidden * item),
        "fff_tensor_top": (2.0 * tokens * d * (layout.trees << step.macros.get("FFF_TOP", 0)), rows),
        "fff_tensor_bottom": (4.0 * tokens * d * bottom, (2 + step.macros.get("FFF_ADD", 0)) * rows),
        "fff_leaf_tensor": (4.0 * tokens * d * layout.leaf_width, 2 * rows + 2 * work.shape.n * d * item),
    }
    if step.entry in on_matrix_units:
        return (*on_matrix_units[step.entry], True)
    if step is not made.steps[-1]:  # by the vector units, all of it counted with the last launch
        return 0.0, rows, False
    below = 1 - step.macros.get("FFF_ABOVE", 0) / max(1, layout.levels)
    distinct = work.shape.distinct_rows(tokens, "uniform")
    return below * work.shape.operations(tokens), 2 * rows + 2 * distinct * d * item, False


def table(device: str, results: Results) -> str:
    """Of the targets on ``device`` how many are reached; a row for each that is not; those not measured by name."""
    rows, ceilings = over_own_width(results), ceilings_of(results)
    ours = [target for target in TARGETS if target.device == device]
    found = [(target, answer(target, rows)) for target in ours]
    reached = [row for target, row in found if row is not None and (row.low or 0.0) >= target.least]
    lines = [f"Of {len(ours)} targets {len(reached)} are reached in the results here."]
    missed = [(target, row) for target, row in found if row is not None and (row.low or 0.0) < target.least]
    if missed:
        lines += [
            "",
            "| layer | at least | counted | predicted | measured | what binds | tried |",
            "|---|--:|--:|--:|--:|---|---|",
        ]
    for target, row in missed:
        counted = row.speedup / row.roofline_share if row.speedup and row.roofline_share else None
        cells = (
            f"{parse_problem(target.shape).short}, {target.dtype}, {target.batch}",
            _times(target.least),
            _times(counted),
            _times(predicted(row, ceilings)),
            f"{_times(row.speedup)} [{_times(row.low)}, {_times(row.high)}]",
            *target.words,
        )
        lines.append(f"| {' | '.join(cells)} |")
    lacking = [target for target, row in found if row is None]
    if lacking:
        named = "; ".join(f"{parse_problem(t.shape).short}, {t.dtype}, {t.batch} ({_times(t.least)})" for t in lacking)
        lines += ["", f"Not measured under this protocol: {named}."]
    return "\n".join(lines) + "\n"


def _times(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}x"


def stale(root: Path, results: Results) -> dict[Path, str]:
    """The pages that must be written, with their new text."""
    found: dict[Path, str] = {}
    for device, name in PAGES.items():
        page = root / "docs" / "notebook" / name
        text = page.read_text(encoding="utf-8")
        if [match[1] for match in MARKED.findall(text)] != [device]:
            raise UserError(
                f"{name}: needs one line starting with '<!-- targets-{device}:begin' and the line that ends it"
            )
        new = MARKED.sub(lambda match: match[1] + table(match[2], results) + match[4], text)
        found |= {page: new} if new != text else {}
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Write, or with ``--check`` only compare; the exit status."""
    return written.main("targets", __doc__, lambda root, results: stale(root, load_published(results)), arguments)


if __name__ == "__main__":
    sys.exit(main())

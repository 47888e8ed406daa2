"""Does an implementation compute the right function at every edge of the shapes?

The same check as before every timing, on small workloads: batch 0, 1, odd and
not a multiple of any block; d not a multiple of a vector; one level, twenty
levels; several trees; leaf blocks; every token on one path; few leaves for most tokens.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from itertools import product

from fffbench.implementations.registry import Layer, implementation
from fffbench.measure import cellrun, check, inputs
from fffbench.plan import routing
from fffbench.plan.workload import FAULTY, Cell, Protocol, Shape, Workload

BATCHES = (0, 1, 3, 64, 257)
FEW_BATCHES = (1, 257)  # for what is slow to prepare
TREES = (
    Shape.tree(16, 1, 1),
    Shape.tree(1, 1, 3),
    Shape.tree(5, 2, 2),
    Shape.tree(33, 1, 5),
    Shape.tree(64, 5, 4),
    Shape.tree(100, 1, 7),
    Shape.tree(769, 1, 6),
    Shape.tree(768, 1, 12),
    Shape.tree(128, 40, 1),
)
LEAVES = (
    Shape.leaf(16, 1, 0, 3),
    Shape.leaf(1, 1, 2, 1),
    Shape.leaf(33, 3, 2, 5),
    Shape.leaf(100, 1, 5, 17),
    Shape.leaf(768, 1, 7, 32),
)
DEEP = Shape.tree(8, 1, 20)  # a million neurons of 8 weights: for conditional families only, the others drown in it
DENSE = (Shape.dense(1, 1), Shape.dense(5, 3), Shape.dense(100, 129), Shape.dense(768, 4095))
# of one tree or none, as in the published benchmarks
PUBLISHED_KIND = (Shape.dense(100, 129), Shape.dense(33, 31), Shape.tree(33, 1, 5), Shape.tree(64, 1, 7))
CASES_KEPT = 400  # of at most 26 MB each, mostly far smaller; all cases of four dtypes


def workloads(dtype: str, device: str, family: str, threads: int = 2) -> Iterator[Workload]:
    """Every edge workload of a dtype and device for a family; dense layers see plain shapes, and a tree's neurons."""
    if family == FAULTY:
        for shape, batch in product(PUBLISHED_KIND, BATCHES):
            yield Workload(shape, batch, dtype, threads=threads, device=device)
        return
    shapes = (*DENSE, Shape.tree(33, 1, 5), Shape.leaf(33, 3, 2, 5)) if family == "dense" else (*TREES, *LEAVES)
    for shape, batch in product(shapes, BATCHES):
        yield Workload(shape, batch, dtype, threads=threads, device=device)
    if family == "dense":
        yield Workload(Shape.dense(100, 129), 1500, dtype, threads=threads, device=device)
        return
    for batch in (1, 65):
        if family == "fff":
            yield Workload(DEEP, batch, dtype, threads=threads, device=device)
        for routing_kind, shape in product(("single-path", "zipf"), (Shape.tree(768, 1, 12), LEAVES[-1])):
            yield Workload(shape, 4 * batch, dtype, routing_kind, threads=threads, device=device)
    yield Workload(Shape.tree(100, 2, 7), 1500, dtype, threads=threads, device=device)
    yield Workload(Shape.tree(100, 2, 7), 1500, dtype, threads=1, device=device)


@lru_cache(maxsize=CASES_KEPT)
def _case(workload: Workload, conditional: bool) -> tuple[routing.Data, check.Reference]:  # noqa: FBT001  (a cache key)
    data = routing.make(workload, workload.batch)
    return data, cellrun.build_reference(workload, data, workload.batch, conditional=conditional)


def conform(name: str, workload: Workload) -> check.Verdict | str:
    """The verdict on ``name`` at ``workload``, through both entries; or the reason it does not run there.

    The worse of the torch-level call and the bare kernel, each on poisoned, guarded outputs, the kernel twice.
    """
    chosen = implementation(name)
    reason = chosen.unsupported(workload)
    if reason is not None:
        return reason
    if chosen.slow_to_prepare and workload.batch not in FEW_BATCHES:
        return f"{name} is slow to prepare: only batches {' and '.join(map(str, FEW_BATCHES))} are tried"
    cell = Cell(name, workload, Protocol("hot", "kernel"))
    cellrun.set_threads(workload.threads)
    if workload.device == "cuda":
        from fffbench.measure import gpu

        gpu.configure(workload)
    data, reference = _case(replace(workload, threads=1, device="cpu"), cellrun.is_conditional(cell))
    pool = inputs.make_pool(cell, data)
    return check.expecting(judge(chosen.prepare(pool.weights, workload), cell, pool, reference), chosen.wrong)


def judge(layer: Layer, cell: Cell, pool: inputs.Pool, reference: check.Reference) -> check.Verdict:
    """Judge a prepared layer: the kernel on a poisoned output, again on the used one, and the torch-level call."""
    run = layer.bind(pool.x[0], pool.y[0])
    torch_cell = replace(cell, protocol=Protocol(cell.protocol.cache, "torch"))
    verdicts = [
        cellrun.check_calls(cell, pool, [run], reference),
        cellrun.check_calls(cell, pool, [run], reference),
        cellrun.check_calls(torch_cell, pool, [lambda: layer.forward(pool.x[0])], reference),
    ]
    return max(verdicts, key=lambda verdict: (verdict.failure is not None, verdict.error))

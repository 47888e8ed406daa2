"""Does an implementation compute the right function at every edge of the shapes?

The same check as before every timing, on small workloads: batch 0, 1, odd and
not a multiple of any block; d not a multiple of a vector; one level, twenty
levels; several trees; leaf blocks; every token on one path; few leaves for most tokens.
Then again on inputs that nobody could foresee, in the same places; and with spoiled weights, to see whether the output
comes from a copy of them that is not declared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import lru_cache
from itertools import product
from typing import Any

import numpy as np

from fffbench import contain
from fffbench.devices import HOST
from fffbench.implementations.registry import Implementation, Layer, implementation, reasons
from fffbench.measure import cellrun, check, diagnosis, fresh, inputs, measuring, seal
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
MOST_ERROR = 1e300  # JSON has no infinity
LEAST_VISIBLE = 3, 16  # batch and d from which outputs of other weights differ for certain
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


def _reason(chosen: Implementation, workload: Workload) -> str | None:
    """Why ``chosen`` cannot run ``workload``, or None."""
    if not chosen.foreign:
        return chosen.unsupported(workload)
    known = _foreign_reasons(chosen.name, workload.dtype, workload.device)
    return known[workload] if workload in known else chosen.unsupported(workload)


@lru_cache(maxsize=64)
def _foreign_reasons(name: str, dtype: str, device: str) -> dict[Workload, str | None]:
    """The reasons of somebody else's code for all edges at once: each question starts a process that imports it."""
    chosen = implementation(name)
    edges = list(dict.fromkeys(workloads(dtype, device, chosen.family)))
    return dict(zip(edges, reasons([(chosen, edge) for edge in edges]), strict=True))


@lru_cache(maxsize=CASES_KEPT)
def _case(workload: Workload, conditional: bool) -> tuple[routing.Data, check.Reference]:  # noqa: FBT001  (a cache key)
    data = routing.make(workload, workload.batch)
    return data, cellrun.build_reference(workload, data, workload.batch, conditional=conditional)


@lru_cache(maxsize=CASES_KEPT)
def _again(workload: Workload, conditional: bool) -> tuple[routing.Data, check.Reference]:  # noqa: FBT001  (a cache key)
    """The weights of ``_case`` with inputs that are drawn now."""
    data = _case(workload, conditional)[0]
    data = replace(data, x=fresh.draw(workload, data.law, workload.batch).numpy())
    return data, cellrun.build_reference(workload, data, workload.batch, conditional=conditional)


def answer(cell: Cell) -> dict[str, Any]:
    """``conform`` as plain data: ``skipped`` with the reason, or ``error`` and ``failure``, also of what it raises."""
    try:
        verdict = conform(cell.implementation, cell.workload)
    except BaseException as error:  # noqa: BLE001  (SystemExit of somebody else's code too: it is this case's)
        return {"error": None, "failure": contain.one_line(f"{type(error).__name__}: {error}")}
    if isinstance(verdict, str):
        return {"skipped": verdict}
    return {"error": min(verdict.error, MOST_ERROR), "failure": verdict.failure}


def conform(name: str, workload: Workload) -> check.Verdict | str:
    """The verdict on ``name`` at ``workload``, through both entries; or the reason it does not run there.

    The worse of the torch-level call and the bare kernel, each on unwritten, guarded outputs, the kernel twice.
    """
    chosen = implementation(name)
    reason = _reason(chosen, workload)
    if reason is not None:
        return reason
    if chosen.slow_to_prepare and workload.batch not in FEW_BATCHES:
        return f"{name} is slow to prepare: only batches {' and '.join(map(str, FEW_BATCHES))} are tried"
    cell = Cell(name, workload, Protocol("hot", "kernel"))
    workload.place.configure(workload.dtype, workload.threads)
    names = seal.snapshot() if chosen.foreign else {}
    key = replace(workload, threads=1, device=HOST), cellrun.is_conditional(cell)
    data, reference = _case(*key)
    pool = inputs.make_pool(cell, data)
    layer = measuring.checked_layer(chosen.prepare(pool.weights, workload))
    verdict = judge(layer, cell, pool, reference, None if chosen.wrong else lambda: _again(*key))
    if chosen.foreign and verdict.failure is None and (replaced := seal.replaced(names)) is not None:
        verdict = replace(verdict, failure=f"it replaced {replaced}")
    if verdict.failure is not None and verdict.error > 0 and not verdict.harm and not chosen.wrong:
        verdict = replace(verdict, failure=f"{verdict.failure}{_diagnosis(layer, cell, data, pool, reference)}")
    return check.expecting(verdict, chosen.wrong)


def _diagnosis(layer: Layer, cell: Cell, data: routing.Data, pool: inputs.Pool, reference: check.Reference) -> str:
    """What a wrong layer did instead, on the inputs of the first comparison, after a semicolon; empty if nobody knows.

    The torch-level call is asked first, then the bare kernel. It explains a failure and decides nothing.
    """
    wide = _wide(cell, data)

    def of(call: Callable[[], Any]) -> str:
        try:
            y = call().double().cpu().numpy()
        except Exception:  # noqa: BLE001  (somebody else's code, which is wrong already)
            return ""
        return diagnosis.diagnose(_shape_of(cell), *wide, reference, y)

    def by_kernel() -> Any:
        layer.bind(pool.x[0], pool.y[0])()
        return pool.y[0]

    pool.x[0].copy_(inputs.batch_of(data.x, pool.x[0]))
    said = of(lambda: layer.forward(pool.x[0])) or of(by_kernel)
    return f"; {said}" if said else ""


def _shape_of(cell: Cell) -> Shape:
    """What the cell computes: its tree, or all neurons as a plain layer."""
    shape = cell.workload.shape
    return shape if cellrun.is_conditional(cell) else Shape.dense(shape.d, shape.n)


def _wide(cell: Cell, data: routing.Data) -> tuple[check.Array, check.Array, check.Array]:
    """Inputs and weights as the reference has them: rounded to the dtype, in float64; a dense layer has no routers."""
    import torch

    dtype = inputs.torch_dtype(cell.workload.dtype)
    first = 0 if cellrun.is_conditional(cell) else cell.workload.shape.routers

    def wide(side: routing.Array) -> check.Array:
        return np.asarray(torch.from_numpy(side).to(dtype).double().numpy())

    return wide(data.x), wide(data.w1[first:]), wide(data.w2)


def judge(
    layer: Layer,
    cell: Cell,
    pool: inputs.Pool,
    reference: check.Reference,
    again: Callable[[], tuple[routing.Data, check.Reference]] | None = None,
) -> check.Verdict:
    """Judge a prepared layer: the kernel on an unwritten output, again on the used one, and the torch-level call.

    ``again`` gives other inputs, on which it is judged once more where it is, and then with spoiled weights.
    """
    run = layer.bind(pool.x[0], pool.y[0])
    torch_cell = replace(cell, protocol=Protocol(cell.protocol.cache, "torch"))

    def by_kernel(expected: check.Reference) -> check.Verdict:
        return cellrun.check_calls(cell, pool, [run], expected)

    verdicts = [
        by_kernel(reference),
        by_kernel(reference),
        cellrun.check_calls(torch_cell, pool, [lambda: layer.forward(pool.x[0])], reference),
    ]
    if again is not None and all(verdict.failure is None for verdict in verdicts):
        data, other = again()
        pool.x[0].copy_(inputs.batch_of(data.x, pool.x[0]))
        verdicts += [by_kernel(other), cellrun.check_calls(torch_cell, pool, [lambda: layer.forward(pool.x[0])], other)]
        if all(verdict.failure is None for verdict in verdicts) and _visible(cell.workload):
            verdicts += _from_copies(layer, pool, other, by_kernel)
    return max(verdicts, key=lambda verdict: (verdict.failure is not None, verdict.error))


def _visible(workload: Workload) -> bool:
    """Whether other weights certainly give other outputs."""
    return workload.batch >= LEAST_VISIBLE[0] and workload.shape.d >= LEAST_VISIBLE[1]


def _from_copies(
    layer: Layer, pool: inputs.Pool, expected: check.Reference, run: Callable[[check.Reference], check.Verdict]
) -> list[check.Verdict]:
    """A failure for each matrix that can be changed, with all declared copies, without a change of the output."""
    negated = replace(expected, y=-expected.y, alternatives={token: -y for token, y in expected.alternatives.items()})
    measuring.spoil(pool.weights, layer, "w2")
    found = []
    if run(expected).failure is None:
        found.append("w2")
    measuring.spoil(pool.weights, layer, "w1")
    if run(expected).failure is None or run(negated).failure is None:
        found.append("w1")
    tokens = len(expected.index)
    return [
        check.Verdict(0.0, 0.0, tokens, 0, 0, f"it computes from a copy of {name} that it does not declare as resident")
        for name in found
    ]

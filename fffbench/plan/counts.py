"""How many operations and bytes does a workload need at the least?

These are properties of the work, not of an implementation: the numerator of
every roofline. An activation function is not counted (the field's convention).
"""

from __future__ import annotations

from fffbench.plan.workload import DTYPE_BYTES, Shape, Workload

# A neuron has a row in W1 and one in W2; a router of the leaf form has the first only, and counts as half a row.
ROUTER_ROW = 0.5
FLOP_PER_NEURON_ELEMENT = 4  # a multiply and an add for x . W1[k], the same for a * W2[k]


def useful_operations(workload: Workload, *, conditional: bool) -> int:
    """Floating-point operations: ``4 * d * neurons * batch`` with all n neurons, or only the active ones.

    A router of the leaf form costs one dot product and contributes nothing to the output, so half.
    """
    shape = workload.shape
    if not (conditional and shape.is_tree):
        return FLOP_PER_NEURON_ELEMENT * shape.d * shape.n * workload.batch
    if shape.leaf_width:
        per_tree = FLOP_PER_NEURON_ELEMENT * shape.leaf_width + FLOP_PER_NEURON_ELEMENT // 2 * shape.levels
        return shape.d * shape.trees * per_tree * workload.batch
    return FLOP_PER_NEURON_ELEMENT * shape.d * shape.active * workload.batch


def expected_distinct_rows(shape: Shape, batch: int) -> float:
    """Expected number of distinct neurons that ``batch`` tokens visit when each turn is an even coin.

    At a level of m nodes, m * (1 - (1 - 1/m)**batch); the exact count of a run is in its record. A router of the
    leaf form counts as ROUTER_ROW.
    """
    if not shape.is_tree:
        return float(shape.n if batch else 0)
    rows = 0.0
    for level in range(shape.levels):
        nodes = 2.0**level
        rows += nodes * (1 - (1 - 1 / nodes) ** batch)
    if shape.leaf_width:
        leaves = float(shape.leaves)
        rows = ROUTER_ROW * rows + leaves * (1 - (1 - 1 / leaves) ** batch) * shape.leaf_width
    return shape.trees * rows


def compulsory_bytes(workload: Workload, distinct_rows: float | None = None, *, conditional: bool) -> float:
    """Bytes that must move: x read once, y written once, each distinct row of W1 and of W2 read once.

    ``distinct_rows`` is what the run visited (from its record); without it the expectation for uniform routing,
    which is too much for ``zipf``. Dense work visits every row. Bytes, at the workload's dtype.
    """
    shape = workload.shape
    if not (conditional and shape.is_tree):
        rows = float(shape.n if workload.batch else 0)
    elif distinct_rows is not None:
        rows = distinct_rows
    elif workload.routing == "single-path":
        rows = expected_distinct_rows(shape, min(workload.batch, 1))
    else:
        rows = expected_distinct_rows(shape, workload.batch)
    return DTYPE_BYTES[workload.dtype] * shape.d * (2 * workload.batch + 2 * rows)

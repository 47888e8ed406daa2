"""Does a cell fit into this machine's memory, together with what checks it?"""

from __future__ import annotations

import math

from fffbench.implementations.registry import implementation
from fffbench.measure import cgroups, inputs
from fffbench.measure.cellrun import data_tokens
from fffbench.plan.workload import DTYPE_BYTES, Cell
from fffbench.problems.base import DENSE
from fffbench.units import size

# Copies of the float32 weights that exist at once: the drawn ones, the tensors, one packed copy, and for the
# reference float64 versions of both matrices (2) with their rounding (1).
WEIGHT_COPIES = 6
# x drawn, x, y, the kept copy, the outputs of the check, fresh x twice (the judge's own and the shared one), float64
# output and reference (2 each, shared pages counted once)
TOKEN_COPIES = 11
HIDDEN_COPIES = 3  # logits, activations and a mask or product of an untiled dense layer; or rows of W1 and W2 a token
MARGIN = 0.9  # of what is available: the rest of the system needs some


def bytes_needed(cell: Cell) -> int:
    """An upper estimate of the memory a cell's process and its reference take."""
    shape = cell.workload.shape
    weights = 4 * sum(math.prod(tensor.shape) for tensor in shape.tensors().values())
    tokens = data_tokens(cell) * shape.d * 4
    hidden = 0
    family = implementation(cell.implementation).family
    if family in (DENSE, "cmm") and cell.workload.place.host_memory:
        gathered = 2 * shape.active * shape.d // HIDDEN_COPIES if family == "cmm" else 0
        hidden = cell.workload.batch * max(shape.n, gathered) * DTYPE_BYTES[cell.workload.dtype]
    return WEIGHT_COPIES * weights + TOKEN_COPIES * tokens + HIDDEN_COPIES * hidden


def available() -> int:
    """Bytes that this machine, or its container, can still give."""
    import psutil

    free = int(psutil.virtual_memory().available)
    left = cgroups.memory_left()
    return free if left is None else min(free, left)


def does_not_fit(cell: Cell, free: int) -> str | None:
    """The reason to skip ``cell``, or None if it fits into ``free`` bytes."""
    if inputs.draws(cell.workload):  # nothing of it is in this memory; the accelerator says itself when it is full
        return None
    needed = bytes_needed(cell)
    if needed <= MARGIN * free:
        return None
    return f"needs about {size(needed)} of memory, {size(free)} are available"

"""Inputs that no implementation can foresee: drawn from the system's entropy, with the routing of the workload."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fffbench.measure import device, inputs
from fffbench.plan import routing
from fffbench.plan.workload import Cell, Workload

if TYPE_CHECKING:
    import torch

CHECKED_ROWS = 64  # of the outputs of timed calls, in each process
OPERATIONS = 2e9  # of float64, that a reference of these rows may take: 0.1 s of one core; at least one row is checked
SYSTEM = random.SystemRandom()


def rows_to_check(workload: Workload, *, conditional: bool) -> int:
    """How many rows of the timed outputs are compared with the reference."""
    neurons = workload.shape.active if conditional else workload.shape.n
    return max(1, min(CHECKED_ROWS, int(OPERATIONS / (4 * workload.shape.d * neurons))))


def draw(workload: Workload, law: routing.Law | None, tokens: int) -> torch.Tensor:
    """``tokens`` rows of float32 inputs on the host."""
    import torch

    generator = torch.Generator().manual_seed(int.from_bytes(os.urandom(8), "little") >> 1)
    x = torch.empty((tokens, workload.shape.d)).normal_(generator=generator)
    routing.impose(workload, law, x.numpy(), np.random.default_rng())
    return x


def refill(cell: Cell, pool: inputs.Pool, data: routing.Data | None) -> None:
    """New content for every batch of the pool, in place."""
    import torch

    if data is not None and data.law is not None:
        for x in pool.x:
            x.copy_(draw(cell.workload, data.law, len(x)))
        return
    generator = torch.Generator(cell.workload.place.torch_type).manual_seed(
        int.from_bytes(os.urandom(8), "little") >> 1
    )
    for x in pool.x:
        drawn = torch.empty(x.shape, device=x.device).normal_(generator=generator)
        if cell.workload.routing == "single-path" and cell.workload.shape.is_tree:
            drawn += 1 - drawn.mean(dim=1, keepdim=True)
        x.copy_(drawn)


def fault(
    cell: Cell, pool: inputs.Pool, calls: Sequence[Callable[[], Any]], renew: Callable[[], object], *, conditional: bool
) -> str | None:
    """What is wrong with the outputs that the timed calls left in ``pool``, or None.

    Where a call returns its output, one more is made on renewed inputs, which looks like the timed ones.
    """
    import torch

    if cell.protocol.call == "torch":
        renew()
        batch = SYSTEM.randrange(len(pool.x))
        result = calls[batch]()
        if type(result) is not torch.Tensor or result.shape != pool.x[batch].shape:
            return f"wrong result: forward returned {type(result).__name__}, not a plain tensor of the input's shape"
        outputs = {batch: result}
    else:
        written = (i for i, y in enumerate(pool.y) if not bool(torch.isnan(y).all()))
        outputs = {i: pool.y[i] for i in written}
        if not outputs:
            return "wrong result of a timed call: nothing was written"
    chosen = [
        (SYSTEM.choice(list(outputs)), SYSTEM.randrange(cell.workload.batch))
        for _ in range(rows_to_check(cell.workload, conditional=conditional))
    ]
    x = torch.stack([pool.x[i][row] for i, row in chosen])
    y = torch.stack([outputs[i][row] for i, row in chosen])
    expected = device.make_reference(cell.workload, x, pool.weights.w1, pool.weights.w2, conditional=conditional)
    failure = device.compare(expected, y).failure
    return None if failure is None else f"wrong result of a timed call: {failure}"

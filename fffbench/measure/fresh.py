"""Inputs that no implementation can foresee: drawn from the system's entropy, with the routing of the workload."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fffbench.measure import check, inputs
from fffbench.plan.workload import Cell, Workload
from fffbench.problems import Data

if TYPE_CHECKING:
    import torch

CHECKED_ROWS = 64  # of the outputs of timed calls, in each process
OPERATIONS = 2e9  # of float64, that a reference of these rows may take: 0.1 s of one core; at least one row is checked
SYSTEM = random.SystemRandom()


def rows_to_check(workload: Workload, family: str) -> int:
    """How many rows of the timed outputs are compared with the reference."""
    problem = workload.shape.seen_by(family)
    return max(1, min(CHECKED_ROWS, int(OPERATIONS * problem.together / problem.operations(problem.together))))


def group_of(workload: Workload, row: int) -> slice:
    """The rows of a batch that are computed together with ``row``."""
    size = workload.shape.together
    return slice(row // size * size, row // size * size + size)


def compare_rows(
    workload: Workload,
    family: str,
    x: torch.Tensor,
    weights: Mapping[str, torch.Tensor],
    rows: Sequence[int],
    y: torch.Tensor,
) -> check.Verdict:
    """Judge outputs ``y`` of some ``rows`` of batches, given the inputs ``x`` of each row's ``group_of``, in order."""
    import torch

    size = workload.shape.together
    work = replace(workload, batch=len(x))
    within = torch.tensor([place * size + row % size for place, row in enumerate(rows)], device=y.device)
    whole = y.new_zeros((len(x), y.shape[1])).index_copy_(0, within, y)
    return check.compare(check.only(check.make_reference(work, family, x, weights), within), whole)


def draw(workload: Workload, law: Any, tokens: int) -> torch.Tensor:
    """``tokens`` rows of float32 inputs on the host."""
    import torch

    generator = torch.Generator().manual_seed(int.from_bytes(os.urandom(8), "little") >> 1)
    x = torch.empty((tokens, workload.shape.d)).normal_(generator=generator)
    workload.shape.impose(workload.routing, law, x.numpy(), np.random.default_rng())
    return x


def refill(cell: Cell, pool: inputs.Pool, data: Data | None) -> None:
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
        cell.workload.shape.impose(cell.workload.routing, None, drawn, np.random.default_rng())
        x.copy_(drawn)


def fault(
    cell: Cell,
    family: str,
    pool: inputs.Pool,
    calls: Sequence[Callable[[], Any]],
    data: Data | None,
    renew: Callable[[], object],
) -> str | None:
    """What is wrong with the outputs that the timed calls left in ``pool``, or None.

    Where a call returns its output, one more is made on renewed inputs, which looks like the timed ones. Where it
    writes into one, another follows on new inputs with the output left as it is: a kernel sees one that is unwritten.
    """
    failure = _fault(cell, family, pool, calls, renew)
    if failure is not None or cell.protocol.call == "torch":
        return failure
    batch = SYSTEM.randrange(len(pool.x))
    refill(cell, pool, data)
    calls[batch]()
    cell.workload.place.synchronize()
    return _wrong_rows(cell, family, pool, {batch: pool.y[batch]})


def _fault(
    cell: Cell, family: str, pool: inputs.Pool, calls: Sequence[Callable[[], Any]], renew: Callable[[], object]
) -> str | None:
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
    return _wrong_rows(cell, family, pool, outputs)


def _wrong_rows(cell: Cell, family: str, pool: inputs.Pool, outputs: Mapping[int, torch.Tensor]) -> str | None:
    """What is wrong with rows, picked now, of the outputs of some batches, or None."""
    import torch

    chosen = [
        (SYSTEM.choice(list(outputs)), SYSTEM.randrange(cell.workload.batch))
        for _ in range(rows_to_check(cell.workload, family))
    ]
    x = torch.cat([pool.x[i][group_of(cell.workload, row)] for i, row in chosen])
    y = torch.stack([outputs[i][row] for i, row in chosen])
    failure = compare_rows(cell.workload, family, x, pool.weights.tensors, [row for _, row in chosen], y).failure
    return None if failure is None else f"wrong result of a timed call: {failure}"

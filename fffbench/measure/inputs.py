"""What lies in memory when a cell is timed: weights and a pool of input batches, on the device, in the dtype.

All tensors come fresh from torch's allocator in the measuring process, so
that page placement varies between processes as it does between real runs.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fffbench.devices import DEVICES, HOST, Device
from fffbench.plan.workload import Cell, Workload
from fffbench.problems import Data, Weights
from fffbench.problems.base import Array, Normal

if TYPE_CHECKING:
    import torch

# Tokens checked in each process at the least (whole batches): enough to see every level and both turns.
CHECKED_TOKENS = 64
# Rows of sentinels around the output, to see writes before its start or past its end.
GUARD_ROWS = 4
END_ROWS = 64  # around the outputs of a whole pool
SENTINEL = 12345.0  # exact in every dtype but bf16, where it becomes 12352: still no plausible output


@dataclass(frozen=True)
class Pool:
    """Weights, and ``len(x)`` batches of inputs ``(batch, d)`` with their output buffers.

    The outputs lie in ``slab (rows, d)`` one after another, guard rows of sentinels between them and around all.
    """

    weights: Weights
    x: list[torch.Tensor]
    y: list[torch.Tensor]
    slab: torch.Tensor


def pool_batches(cell: Cell) -> int:
    """Batches the timed calls rotate over: one for ``hot``, else at least as many tokens as leaves."""
    if cell.protocol.cache == "hot" or cell.workload.batch == 0:
        return 1
    return cell.workload.tokens // cell.workload.batch


def used_batches(cell: Cell) -> int:
    """Of the pool's batches, how many any call ever sees: a GPU's clock makes a bounded number of calls.

    A call more has buffers of its own: 512 batches of 1024 tokens at 2**20 neurons would take 80 GB for nothing.
    """
    batches = pool_batches(cell)
    most = cell.workload.place.most_calls(cell.protocol.call)
    return batches if most is None else max(min(batches, most), checked_batches(cell.workload, batches))


def checked_batches(workload: Workload, batches: int) -> int:
    """Of a pool of ``batches``, how many the check runs."""
    return min(batches, -(-CHECKED_TOKENS // max(1, workload.batch)))


def torch_dtype(dtype: str) -> torch.dtype:
    """The storage dtype; tf32 is fp32 in memory."""
    import torch

    return {"fp32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[dtype]


def draws(workload: Workload) -> bool:
    """Whether the data of ``workload`` is drawn on its device, from a stream other than the host's.

    The host draws some 50 million normal numbers a second, and 2**20 neurons need 1600 million.
    """
    least = workload.place.drawn_elements
    plain = workload.routing == "uniform" or not workload.shape.is_tree
    return least is not None and plain and workload.shape.n * workload.shape.d >= least


def draw(workload: Workload, tokens: int) -> tuple[torch.Tensor, Weights]:
    """``tokens`` rows of x and the weights, distributed as ``Problem.draw`` has them, in the dtype on the device.

    The seed and the shape decide the numbers, for one device type and version of torch's generator (Philox on CUDA).
    """
    shape, place = workload.shape, workload.place.torch_type

    def normal(stream: int, wanted: Normal) -> torch.Tensor:
        import torch

        seed = np.random.SeedSequence([workload.seed, shape.d, shape.n, stream]).generate_state(1, np.uint64)[0]
        generator = torch.Generator(place).manual_seed(int(seed >> np.uint64(1)))
        drawn = torch.empty(wanted.shape, dtype=torch.float32, device=place)
        return drawn.normal_(generator=generator).mul_(wanted.scale).to(torch_dtype(workload.dtype))

    wanted = shape.tensors()
    weights = {name: normal(stream, one) for stream, (name, one) in enumerate(wanted.items(), start=1)}
    return normal(len(wanted) + 1, Normal((tokens, shape.d), 1.0)), Weights(**weights)


def note(workload: Workload) -> tuple[str, ...]:
    """What a record says of data that was drawn on the device."""
    if not draws(workload):
        return ()
    return (f"weights and inputs drawn on the device by torch's generator, seed {workload.seed}",)


def rounded(workload: Workload, data: Data, tokens: int) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """The first ``tokens`` inputs of ``data`` and its weights as they are in the dtype, on the host."""
    import torch

    dtype = torch_dtype(workload.dtype)
    weights = {name: torch.from_numpy(array).to(dtype) for name, array in data.weights.items()}
    return torch.from_numpy(data.x[:tokens]).to(dtype), weights


def make_weights(workload: Workload, data: Data) -> Weights:
    """The weights of ``data`` as fresh tensors on the workload's device."""
    dtype = torch_dtype(workload.dtype)
    return Weights(**{name: _fresh(array, dtype, workload.place) for name, array in data.weights.items()})


def make_pool(cell: Cell, data: Data) -> Pool:
    """Weights, input batches and guarded output buffers for ``cell``."""
    workload = cell.workload
    used = data.x[: used_batches(cell) * workload.batch]
    x = _fresh(used, torch_dtype(workload.dtype), workload.place)
    return pool_of(cell, x, make_weights(workload, data))


def pool_of(cell: Cell, x: torch.Tensor, weights: Weights) -> Pool:
    """The pool of ``cell`` over inputs and weights that lie on its device already."""
    batch = cell.workload.batch
    inputs = [x[i * batch : (i + 1) * batch] for i in range(used_batches(cell))]
    slab = cell.workload.place.empty((2 * END_ROWS + len(inputs) * (batch + GUARD_ROWS), x.shape[1]), x.dtype)
    first = [END_ROWS + i * (batch + GUARD_ROWS) for i in range(len(inputs))]
    pool = Pool(weights, inputs, [slab[row : row + batch] for row in first], slab)
    unwrite(pool, range(len(inputs)))
    return pool


def unwrite(pool: Pool, batches: Iterable[int]) -> None:
    """Fill the outputs of ``batches`` with NaN and everything else of the slab with the sentinel."""
    pool.slab.fill_(SENTINEL)
    for i in batches:
        pool.y[i].fill_(float("nan"))


def written_elsewhere(pool: Pool, batches: Iterable[int]) -> bool:
    """Whether anything but the outputs of ``batches`` was written since ``unwrite``; these are then unwritten too."""
    for i in batches:
        pool.y[i].fill_(SENTINEL)
    return not bool((pool.slab == pool.slab.new_tensor(SENTINEL)).all())


def all_guards_intact(pool: Pool) -> bool:
    """Whether the rows between and around the outputs still hold the sentinel; the outputs are unwritten by this."""
    return not written_elsewhere(pool, range(len(pool.y)))


def guarded_output(x: torch.Tensor, batch: int) -> torch.Tensor:
    """On the host, an output ``(batch, d)`` inside a larger buffer, full of NaN, between rows of sentinels."""
    whole = DEVICES[HOST].empty((batch + 2 * GUARD_ROWS, x.shape[1]), x.dtype).fill_(SENTINEL)
    inner = whole[GUARD_ROWS : GUARD_ROWS + batch]
    inner.fill_(float("nan"))
    return inner


def guards_intact(y: torch.Tensor) -> bool:
    """Whether the rows around an output made by ``guarded_output`` still hold the sentinel."""
    rows, d = y.shape
    whole = y.as_strided((rows + 2 * GUARD_ROWS, d), y.stride(), y.storage_offset() - GUARD_ROWS * d)
    sentinel = whole.new_tensor(SENTINEL)
    return bool((whole[:GUARD_ROWS] == sentinel).all() and (whole[-GUARD_ROWS:] == sentinel).all())


def batch_of(array: Array, like: torch.Tensor) -> torch.Tensor:
    """``array`` in the dtype and on the device of ``like``."""
    import torch

    return torch.from_numpy(array).to(like)


def _fresh(array: Array, dtype: torch.dtype, device: Device) -> torch.Tensor:
    import torch

    return device.empty(array.shape, dtype).copy_(torch.from_numpy(array))

"""How do the timed bytes get out of the caches before a cold call?

On a CPU by flushing each line (x86), which works for any cache size; where
the processor has no such instruction, by reading a buffer of three times the
last-level cache. On a GPU by overwriting a buffer of three times the L2.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

SWEEP_FACTOR = 3  # times the last-level cache
SWEEP_FALLBACK_BYTES = 256 * 2**20  # where the cache size is unknown: three times 85 MiB


def evictor(
    resident: Sequence[torch.Tensor],
    x: Sequence[torch.Tensor],
    y: Sequence[torch.Tensor],
    llc_bytes: int | None,
    flush: Callable[[int, int], bool],
) -> Callable[[int], None]:
    """A function that evicts the resident tensors, and batch ``i`` of inputs and outputs, from the CPU's caches.

    ``flush`` is ``_cpu.evict``, taken hold of before anybody could replace it.
    """
    always = [_span(tensor) for tensor in resident]
    batches = [(_span(a), _span(b)) for a, b in zip(x, y, strict=True)]
    if always and not flush(*always[0]):
        return _sweeper(llc_bytes)

    def evict(i: int) -> None:
        for address, size in (*always, *batches[i]):
            flush(address, size)

    return evict


def _span(tensor: torch.Tensor) -> tuple[int, int]:
    return tensor.data_ptr(), tensor.numel() * tensor.element_size()


def _sweeper(llc_bytes: int | None) -> Callable[[int], None]:
    import torch

    size = SWEEP_FACTOR * llc_bytes if llc_bytes else SWEEP_FALLBACK_BYTES
    buffer = torch.ones(size // 4, dtype=torch.float32)

    def evict(_: int) -> None:
        buffer.sum()

    return evict

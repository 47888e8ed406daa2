"""How fast does the best library at hand multiply large matrices?

On a CPU torch's product (oneDNN, which uses AMX where there is one, or the BLAS that torch was built with) and the BLAS
that ``blaslib`` finds. A side is doubled until a product takes long enough for the threads to pay; a dtype that the
library has no fast product for is given up early and counts with what it reached.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

DTYPES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}
FIRST_SIDE, LAST_SIDE = 256, 8192
LONG_SECONDS = 0.03  # a product of this length is large enough: 0.2 TFLOP a second do 1400 columns in it
REPEATS = 4


def rates() -> dict[str, float]:
    """Operations per second of the fastest product by dtype, on the threads that torch and the BLAS have."""
    import torch

    found: dict[str, float] = {}
    for dtype, name in DTYPES.items():
        storage = getattr(torch, name)

        def made(side: int, storage: torch.dtype = storage) -> Iterator[Callable[[], object]]:
            a, b = (torch.rand(side, side).to(storage) for _ in range(2))
            out = torch.empty_like(a)
            yield lambda: torch.mm(a, b, out=out)
            if storage is torch.float32 and (blas := _blas(side)) is not None:
                yield lambda: blas(a.data_ptr(), b.data_ptr(), out.data_ptr())

        try:
            found[dtype] = _fastest(made)
        except RuntimeError:  # this build of torch has no product of that dtype
            continue
    return found


def _blas(side: int) -> Callable[[int, int, int], object] | None:
    from fffbench import blaslib

    library = blaslib.find()
    return None if library is None else library.product(side, side, side)


def _fastest(made: Callable[[int], Iterator[Callable[[], object]]]) -> float:
    """The best rate over sides and libraries."""
    side, best = FIRST_SIDE, 0.0
    while side <= LAST_SIDE:
        longest = 0.0
        for product in made(side):
            product()  # the first call picks its kernel and packs
            seconds = _seconds(product)
            if seconds < LONG_SECONDS:
                seconds = min(seconds, *(_seconds(product) for _ in range(REPEATS - 1)))
            best = max(best, 2 * side**3 / seconds)
            longest = max(longest, seconds)
        if longest >= LONG_SECONDS:
            break
        side *= 2
    return best


def _seconds(product: Callable[[], object]) -> float:
    start = time.perf_counter_ns()
    product()
    return (time.perf_counter_ns() - start) * 1e-9

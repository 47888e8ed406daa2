"""Can Triton run here, and with which block of columns and how many warps?"""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec

MAX_BLOCK = 16384  # columns of a row that one program keeps in registers
WARP_ELEMENTS = 1024


@cache
def reason() -> str | None:
    """Why Triton kernels cannot run here, as a sentence, or None."""
    if find_spec("triton") is None:
        return "needs triton"
    if find_spec("torch") is None:
        return "needs torch"
    import torch

    return None if torch.cuda.is_available() else "no CUDA device here"


def too_wide(d: int) -> str | None:
    """Rows that no program can hold."""
    return f"rows of at most {MAX_BLOCK} elements, not {d}" if d > MAX_BLOCK else None


def block_of(d: int) -> tuple[int, int]:
    """The power of two that covers a row, and the warps that share it."""
    block = max(16, 1 << (d - 1).bit_length())
    return block, min(16, max(1, block // WARP_ELEMENTS))

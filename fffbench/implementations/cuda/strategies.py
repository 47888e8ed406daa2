"""Which kernels compute a tree FFF of this shape, and with which grids, macros and workspace?

A strategy is a function from a ``Problem`` and a batch to launches. ``choose`` picks one by shape and batch;
``limits`` says which strategies can run a problem at all.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fffbench.implementations.cuda.build import DTYPE_MACRO
from fffbench.implementations.cuda.launch import Argument, Launch

if TYPE_CHECKING:
    import torch

VECTOR_BYTES = 16
LANE_FLOATS = 32  # values of a row that one lane keeps in registers; twice that and kernels spill
PATH_BLOCK = 128
LATENCY_BLOCK = 512
MAX_INDEX = 2**31 - 1


@dataclass(frozen=True)
class Layout:
    """What a kernel choice depends on: everything but batch and addresses."""

    d: int
    trees: int
    levels: int
    dtype: str
    aligned: bool  # rows start on 16-byte boundaries

    @property
    def item(self) -> int:
        """Bytes of an element."""
        return 4 if self.dtype == "fp32" else 2

    @property
    def vector(self) -> int:
        """Elements of one access."""
        return VECTOR_BYTES // self.item if self.aligned else 1

    def macros(self, **more: int) -> dict[str, int]:
        """The macros every kernel is compiled with, and ``more``."""
        return {"FFF_DTYPE": DTYPE_MACRO[self.dtype], "FFF_D": self.d, "FFF_ALIGNED": int(self.aligned), **more}


@dataclass
class Operands:
    """The addresses that launches refer to, and the tensors that must outlive them."""

    w1: torch.Tensor
    w2: torch.Tensor
    device: int
    x: ctypes.c_void_p = field(default_factory=ctypes.c_void_p)
    y: ctypes.c_void_p = field(default_factory=ctypes.c_void_p)
    workspace: list[torch.Tensor] = field(default_factory=list)

    def pointers(self) -> tuple[Argument, ...]:
        """x, w1, w2, y."""
        return self.x, ctypes.c_void_p(self.w1.data_ptr()), ctypes.c_void_p(self.w2.data_ptr()), self.y


def path_warps(layout: Layout) -> int:
    """Warps to a token: enough that a lane keeps at most LANE_FLOATS of a row, 16 at most."""
    warps = 1
    while warps < 16 and layout.d > warps * 32 * LANE_FLOATS:
        warps *= 2
    return warps


def path(layout: Layout, operands: Operands, batch: int) -> list[Launch]:
    """One launch, any shape: FFF_WARPS warps walk one token."""
    warps = path_warps(layout)
    block = max(PATH_BLOCK, warps * 32)
    tokens = block // (warps * 32)
    sizes = (ctypes.c_int(batch), ctypes.c_int(layout.trees), ctypes.c_int(layout.levels))
    return [
        Launch(
            "path.cu",
            "fff_path",
            layout.macros(FFF_WARPS=warps),
            operands.device,
            grid=-(-batch // tokens),
            block=block,
            arguments=(*operands.pointers(), *sizes),
        )
    ]


def latency_macros(layout: Layout) -> dict[str, int] | None:
    """How many levels a round of the latency kernel reads ahead for rows this long; None if rows are too long."""
    for ahead, warps in ((4, 16), (3, 16), (2, 16), (2, 32)):
        per_row = warps >> ahead
        if ahead <= layout.levels and layout.d <= per_row * 32 * LANE_FLOATS:
            block = warps * 32
            widest = layout.vector
            out = next((v for v in (1, 2, 4, 8) if v >= widest or layout.d <= v * block), widest)
            return layout.macros(FFF_AHEAD=ahead, FFF_BLOCK=block, FFF_OUT_VECTOR=min(out, widest))
    return None


def latency(layout: Layout, operands: Operands, batch: int) -> list[Launch]:
    """One launch: a block a token, several levels a round."""
    macros = latency_macros(layout)
    if macros is None:
        raise ValueError(f"latency strategy needs 2 levels and rows of at most 8192 elements, not {layout}")
    sizes = (ctypes.c_int(batch), ctypes.c_int(layout.trees), ctypes.c_int(layout.levels))
    return [
        Launch(
            "latency.cu",
            "fff_latency",
            macros,
            operands.device,
            grid=batch,
            block=macros["FFF_BLOCK"],
            arguments=(*operands.pointers(), *sizes),
        )
    ]


Strategy = Callable[[Layout, Operands, int], list[Launch]]
STRATEGIES: dict[str, Strategy] = {"path": path, "latency": latency}
LATENCY_BATCH = 1024  # above it the chip is full with a warp a token


def possible(layout: Layout) -> list[str]:
    """The strategies that can run ``layout``, the fallback first."""
    names = ["path"]
    if latency_macros(layout) is not None:
        names.append("latency")
    return names


def choose(layout: Layout, batch: int) -> str:
    """The strategy expected to be fastest, by measurement (docs/kernels-cuda.md)."""
    can = possible(layout)
    if "latency" in can and batch <= LATENCY_BATCH:
        return "latency"
    return "path"

"""Which kernels does a regression check compare, and on which data?

Every case is one comparison. Weights stay in cache and inputs rotate over a
pool of tokens, as in the protocol ``warm``: the least noisy one in which a
branch predictor cannot learn the paths.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from fffbench.plan import routing
from fffbench.plan.workload import Shape, Workload

D, LEVELS = 768, 12
N = 2**LEVELS - 1
TOKENS = 4096  # of the pool: at least as many as leaves


@dataclass(frozen=True)
class Case:
    """One kernel at one batch; ``pool`` bounds the batches that its calls rotate over."""

    name: str
    kind: str  # fff, gemv, control
    batch: int
    dtype: str = "fp32"
    trees: int = 1
    levels: int = LEVELS
    threads: int = 1
    pool: int = TOKENS

    @property
    def request(self) -> dict[str, Any]:
        """What a worker is told."""
        return {**asdict(self), "d": D, "n": N}


SUITE = (
    Case("fff_cpu fp32 batch 1", "fff", 1),
    Case("fff_cpu fp32 batch 128", "fff", 128),
    Case("fff_cpu fp32 batch 4096", "fff", 4096),
    Case("fff_cpu bf16 batch 1", "fff", 1, dtype="bf16"),
    Case("fff_cpu bf16 batch 1024", "fff", 1024, dtype="bf16"),
    Case("fff_cpu fp32 batch 128, 16 trees of 8 levels", "fff", 128, trees=16, levels=8),
    Case("dense_gemv fp32 batch 1", "gemv", 1),
)
# numpy's BLAS, the same code on both sides: where it moves, the machine moved
DRIFT = Case("dense by numpy, batch 4", "control", 4)
# the other two controls are shown on this one: short calls, and work of every kind in them
TWIN_CONTROL = replace(SUITE[1], name="control pair")
PLANTED_CONTROL = replace(SUITE[1], name="planted slow-down")
PLANTED_PERCENT = 20


def write_data(root: Path) -> Path:
    """The folder of inputs and weights under ``root``, written if it is not there."""
    key = hashlib.sha256(json.dumps([D, N, TOKENS, routing.ZIPF_EXPONENT, 1]).encode()).hexdigest()[:8]
    folder = root / f"data-{key}"
    if folder.is_dir():
        return folder
    data = routing.make(Workload(Shape.tree(D, 1, LEVELS), TOKENS), TOKENS)
    partial = root / f"data-{key}.partial"
    partial.mkdir(parents=True, exist_ok=True)
    for name, array in (("x", data.x), ("w1", data.w1), ("w2", data.w2)):
        array.tofile(partial / f"{name}.fp32")
        bits = array.view(np.uint32)
        rounded = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16  # to nearest, ties to even
        rounded.astype(np.uint16).tofile(partial / f"{name}.bf16")
    partial.rename(folder)
    return folder

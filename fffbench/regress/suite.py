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

from fffbench.devices import HOST, cuda
from fffbench.plan.workload import Shape, Workload
from fffbench.problems.tree import ZIPF_EXPONENT

D, LEVELS = 768, 12
N = 2**LEVELS - 1
TOKENS = 4096  # of the pool: at least as many as leaves


@dataclass(frozen=True)
class Case:
    """One kernel at one batch; ``pool`` bounds the batches that its calls rotate over."""

    name: str
    kind: str  # fff, gemv, layer (of the implementation named), control
    batch: int
    dtype: str = "fp32"
    trees: int = 1
    levels: int = LEVELS
    threads: int = 1
    pool: int = TOKENS
    implementation: str = ""

    @property
    def request(self) -> dict[str, Any]:
        """The case as a worker reads it."""
        return {**asdict(self), "d": D, "n": N}


@dataclass(frozen=True)
class Suite:
    """What is compared on one device, and its three controls; ``label`` tells their names apart."""

    device: str
    cases: tuple[Case, ...]
    drift: Case
    twin: Case
    planted: Case
    label: str = ""

    def control(self, name: str) -> str:
        """The name of a control in results: ``drift`` or ``drift (CUDA)``."""
        return f"{name} ({self.label})" if self.label else name


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


CPU = Suite(HOST, SUITE, DRIFT, TWIN_CONTROL, PLANTED_CONTROL)


def _cuda(name: str, dtype: str, batch: int) -> Case:
    pool = CUDA_BATCHES if batch > 1 else CUDA_TOKENS_AT_ONCE
    return Case(f"{name} {dtype} batch {batch}", "layer", batch, dtype, pool=pool, implementation=name)


CUDA_BATCHES = 2  # of 16384 tokens, that calls rotate over: in fp32 their inputs and outputs are three times the L2
CUDA_TOKENS_AT_ONCE = 512  # single tokens that calls rotate over: as many as a turn has calls
CUDA_TOKENS = CUDA_BATCHES * 16384
CUDA_SUITE = (
    _cuda("fff_cuda", "bf16", 16384),
    _cuda("fff_cuda", "fp32", 16384),
    _cuda("fff_cuda", "bf16", 1),
    _cuda("fff_cuda", "fp32", 1),
    _cuda("fff_triton", "bf16", 16384),
)
CUDA = Suite(
    cuda.NAME,
    CUDA_SUITE,
    # two matrix products by torch, the same code on both sides
    drift=Case("dense by torch, bf16 batch 1024", "control", 1024, "bf16", pool=CUDA_BATCHES),
    twin=replace(CUDA_SUITE[0], name="control pair on CUDA"),
    planted=replace(CUDA_SUITE[0], name="planted slow-down on CUDA"),
    label="CUDA",
)


def write_data(root: Path, tokens: int = TOKENS) -> Path:
    """The folder of inputs (``tokens`` rows) and weights under ``root``, written if it is not there."""
    key = hashlib.sha256(json.dumps([D, N, tokens, ZIPF_EXPONENT, 1]).encode()).hexdigest()[:8]
    folder = root / f"data-{key}"
    if folder.is_dir():
        return folder
    data = Workload(Shape.tree(D, 1, LEVELS), tokens).draw(tokens)
    partial = root / f"data-{key}.partial"
    partial.mkdir(parents=True, exist_ok=True)
    for name, array in (("x", data.x), ("w1", data.w1), ("w2", data.w2)):
        array.tofile(partial / f"{name}.fp32")
        bits = array.view(np.uint32)
        rounded = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16  # to nearest, ties to even
        rounded.astype(np.uint16).tofile(partial / f"{name}.bf16")
    partial.rename(folder)
    return folder

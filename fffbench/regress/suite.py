"""Which kernels does a regression check compare, and on which data? Those that say so: GUARDED beside a kernel.

Every case is one comparison. Weights stay in cache and inputs rotate over a
pool of tokens, as in the protocol ``warm``: the least noisy one in which a
branch predictor cannot learn the paths.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from fffbench.devices import HOST, cuda
from fffbench.implementations.registry import Implementation, implementation, implementations
from fffbench.plan.workload import Shape, Workload
from fffbench.problems.tree import ZIPF_EXPONENT

D, LEVELS = 768, 12
N = 2**LEVELS - 1
TOKENS = 4096  # of the pool: at least as many as leaves
PLANTED_PERCENT = 20
CUDA_BATCHES = 2  # of 16384 tokens, that calls rotate over: in fp32 their inputs and outputs are three times the L2
CUDA_TOKENS_AT_ONCE = 512  # single tokens that calls rotate over: as many as a turn has calls
CUDA_TOKENS = CUDA_BATCHES * 16384


@dataclass(frozen=True)
class Case:
    """One kernel on one workload; ``pool`` bounds the batches that its calls rotate over.

    ``op`` of kind ``op``: the class of the extension, its keyword arguments, and the elements of its weights.
    """

    name: str
    kind: str  # op (of the extension), layer (of the implementation named), control
    workload: Workload
    implementation: str = ""
    pool: int = TOKENS
    op: tuple[str, dict[str, Any], tuple[int, ...]] | None = None

    @property
    def request(self) -> dict[str, Any]:
        """The case as a worker reads it: plain data, since a worker imports nothing of this package."""
        work, shape = self.workload, self.workload.shape
        rows = {name: normal.shape[0] for name, normal in shape.tensors().items()}
        return {
            "name": self.name,
            "kind": self.kind,
            "implementation": self.implementation,
            "pool": self.pool,
            "workload": work.id,
            "batch": work.batch,
            "dtype": work.dtype,
            "d": shape.d,
            "n": shape.n,
            "rows": rows,
            "op": self.op,
        }


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


def case_of(item: Implementation, workload: Workload) -> Case:
    """How ``item`` is compared on ``workload``: by its C++ op where it has one, else as a layer."""
    name = f"{item.name} {workload.dtype} batch {workload.batch}{_beside_the_published(workload)}"
    if workload.device != HOST:
        pool = CUDA_BATCHES if workload.batch > 1 else CUDA_TOKENS_AT_ONCE
        return Case(name, "layer", workload, item.name, pool)
    try:
        call = item.call(workload)
    except ValueError:
        return Case(name, "layer", workload, item.name)
    return Case(name, "op", workload, item.name, op=(call.op, call.sizes, call.weights))


def _beside_the_published(workload: Workload) -> str:
    """What a case's name says of a shape that is not the published one."""
    shape = workload.shape
    parts = [f"d {shape.d}"] * (shape.d != D)
    if shape.leaf_width:
        parts.append(f"{shape.levels} levels above leaves of {shape.leaf_width}")
    elif shape.trees and (shape.trees, shape.levels) != (1, LEVELS):
        parts.append(f"{shape.trees} trees of {shape.levels} levels")
    elif not shape.trees and shape.n != N:
        parts.append(f"n {shape.n}")
    parts += [f"{workload.threads} threads"] * (workload.threads > 1)
    return "".join(f", {part}" for part in parts)


@cache
def suites() -> tuple[Suite, ...]:
    """Every guarded case of every registered implementation, by device; and the controls, which are fixed."""
    cases: dict[str, list[Case]] = {HOST: [], cuda.NAME: []}
    for item in implementations().values():
        for workload in item.guards:
            cases.setdefault(workload.device, []).append(case_of(item, workload))
    # the control pair and the planted slow-down: short calls, and work of every kind in them
    tree = Shape.tree(D, 1, LEVELS)
    shown = case_of(implementation("fff_cpu"), Workload(tree, 128))
    on_cuda = case_of(implementation("fff_cuda"), Workload(tree, 16384, "bf16", device=cuda.NAME))
    return (
        Suite(
            HOST,
            tuple(cases[HOST]),
            # numpy's BLAS, the same code on both sides: where it moves, the machine moved
            drift=Case("dense by numpy, batch 4", "control", Workload(tree, 4)),
            twin=replace(shown, name="control pair"),
            planted=replace(shown, name="planted slow-down"),
        ),
        Suite(
            cuda.NAME,
            tuple(cases[cuda.NAME]),
            # two matrix products by torch, the same code on both sides
            drift=Case(
                "dense by torch, bf16 batch 1024",
                "control",
                Workload(tree, 1024, "bf16", device=cuda.NAME),
                pool=CUDA_BATCHES,
            ),
            twin=replace(on_cuda, name="control pair on CUDA"),
            planted=replace(on_cuda, name="planted slow-down on CUDA"),
            label="CUDA",
        ),
    )


def suite_of(device: str) -> Suite:
    """The suite of ``device``."""
    return next(suite for suite in suites() if suite.device == device)


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

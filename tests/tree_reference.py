"""A tree FFF in float64 by definition, and calls of the C++ kernels between guards, for the tests that compare them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from scipy.special import erf

_cpu = pytest.importorskip("fffbench._cpu", reason="the C++ kernels are not built")

ISAS = _cpu.isas()
THREADS = (1, 2, 3)
GUARD = 64  # elements on either side of y that nobody may touch

# fp32: a sum of d products of unit scale is off by some sqrt(d) * 2**-24 relative; twelve outputs add up.
# bf16: the inputs are exact, only the store rounds, to 2**-9 relative; 2**-8 leaves room for a sum near a tie.
TOLERANCE = {"fp32": (2e-5, 2e-5), "bf16": (2**-8, 2e-3)}


def to_bf16(a: np.ndarray) -> np.ndarray:
    """Round float32 to bf16, kept as uint16."""
    bits = np.ascontiguousarray(a, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def from_bf16(a: np.ndarray) -> np.ndarray:
    return (a.astype(np.uint32) << 16).view(np.float32)


def gelu(z: float) -> float:
    return z * 0.5 * (1.0 + float(erf(z / 2**0.5)))


def reference(x, w1, w2, trees, levels):
    """The definition, in float64, one token, tree and level after the other; the path beside it."""
    x, w1, w2 = (a.astype(np.float64) for a in (x, w1, w2))
    y = np.zeros_like(x)
    path = np.zeros((len(x), trees * levels), np.int32)
    for token in range(len(x)):
        for tree in range(trees):
            node = 0
            for level in range(levels):
                row = tree * (2**levels - 1) + node
                z = float(x[token] @ w1[row])
                y[token] += gelu(z) * w2[row]
                path[token, tree * levels + level] = row
                node = 2 * node + 1 + (z > 0)
    return y, path


@dataclass
class Case:
    x: np.ndarray
    w1: np.ndarray
    w2: np.ndarray
    trees: int
    levels: int
    dtype: str = "fp32"

    def __post_init__(self):
        if self.dtype == "bf16":
            self.x, self.w1, self.w2 = (to_bf16(a) for a in (self.x, self.w1, self.w2))
        self.poison = np.float32(np.nan) if self.dtype == "fp32" else np.uint16(0x7FC1)
        self.buffer = np.full(self.x.size + 2 * GUARD, self.poison, self.x.dtype)
        self.y = self.buffer[GUARD : GUARD + self.x.size].reshape(self.x.shape)
        plain = (self.x, self.w1, self.w2) if self.dtype == "fp32" else map(from_bf16, (self.x, self.w1, self.w2))
        self.want, self.path = reference(*plain, self.trees, self.levels)

    def call(self, strategy="auto", isa="auto", threads=1):
        places = (a.ctypes.data for a in (self.x, self.w1, self.w2, self.y))
        return _cpu.FffCall(
            *places, *self.x.shape, self.trees, self.levels, threads, strategy=strategy, isa=isa, dtype=self.dtype
        )

    def result(self):
        return self.y if self.dtype == "fp32" else from_bf16(self.y)

    def run(self, *args, **kwargs):
        self.buffer[:] = self.poison
        call = self.call(*args, **kwargs)
        call.run()
        return call

    def assert_right(self, what):
        relative, absolute = TOLERANCE[self.dtype]
        np.testing.assert_allclose(self.result(), self.want, relative, absolute, err_msg=str(what))
        guards = np.concatenate([self.buffer[:GUARD], self.buffer[GUARD + self.x.size :]])
        assert (guards.view(np.uint8) == np.full_like(guards, self.poison).view(np.uint8)).all(), (
            f"{what}: wrote past y"
        )


def make(batch, d, trees, levels, dtype="fp32", seed=0):
    rng = np.random.default_rng([seed, batch, d, trees, levels])
    n = trees * (2**levels - 1)
    x, w1, w2 = (rng.standard_normal((rows, d), dtype=np.float32) for rows in (batch, n, n))
    return Case(x, w1 * np.float32(d**-0.5), w2 * np.float32((trees * levels) ** -0.5), trees, levels, dtype)

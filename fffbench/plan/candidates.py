"""Which dense layers can be the best one, and where can each of them run?

The reading rooms load no implementation, so what they must know of one stands here; a test compares it with what the
implementations say of themselves. The slow layers that published benchmarks used are no candidates (``NEVER_BEST``):
they may win where they were measured, and nobody misses them where they were not.
"""

from __future__ import annotations

from dataclasses import dataclass

from fffbench.devices import DEVICES

ANY_BATCH = range(1, 2**62)
TOKENS_OF_GEMV = 16  # up to here dense_gemv, beyond it dense_gemm
FLOATS = ("fp32", "tf32", "bf16", "fp16")


@dataclass(frozen=True)
class Candidate:
    """A dense layer that is tried for best-dense: its dtypes and its batches by device."""

    name: str
    dtypes: dict[str, tuple[str, ...]]
    batches: dict[str, range] | range = ANY_BATCH

    def runs(self, device: str, dtype: str, batch: int) -> bool:
        """Whether the layer is there for such a cell on a machine that has all libraries."""
        batches = self.batches if isinstance(self.batches, range) else self.batches.get(device, ANY_BATCH)
        return dtype in self.dtypes.get(device, ()) and batch in batches


CANDIDATES = (
    Candidate("dense_linear", {"cpu": FLOATS, "cuda": FLOATS}),
    Candidate("dense_padded", {"cpu": FLOATS, "cuda": FLOATS}),
    Candidate(
        "dense_tiled",
        {"cpu": FLOATS, "cuda": FLOATS},
        {name: range(item.tile_tokens + 1, 2**62) for name, item in DEVICES.own.items()},  # one tile: the padded layer
    ),
    Candidate("dense_onednn", {"cpu": ("fp32", "bf16")}),
    Candidate("dense_blas3", {"cpu": ("fp32",)}),
    Candidate("dense_fused", {"cpu": ("fp32", "bf16"), "cuda": ("bf16", "fp16")}),
    Candidate("dense_compiled", {"cpu": ("fp32", "tf32", "bf16"), "cuda": FLOATS}),
    Candidate("dense_gemm", {"cpu": ("fp32",)}, range(TOKENS_OF_GEMV + 1, 2**62)),
    Candidate("dense_gemv", {"cpu": ("fp32", "bf16")}, range(1, TOKENS_OF_GEMV + 1)),
)


# Built as a publication built them, 10 to 1000 times slower than the others at large batches: measured where they are
# named, and no part of ``family:dense``.
NEVER_BEST = ("dense_bmm", "dense_blas1", "dense_blas2", "dense_cuda_naive")


def candidates(device: str, dtype: str, batch: int) -> tuple[str, ...]:
    """The dense layers that belong into a comparison at ``batch``."""
    return tuple(item.name for item in CANDIDATES if item.runs(device, dtype, batch))

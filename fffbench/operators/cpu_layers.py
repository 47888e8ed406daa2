"""How is a shallow tree computed by a dense product at a call of the operator? As ``fff_cpu`` does once it is prepared.

In fp32 by weights that are packed at the first call and kept as long as they live, as ``cuda_layers`` does: all batch
sizes and thread counts share one copy. In bf16 by torch's products, which take the weights as they are.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from fffbench.implementations import fff_cpu
from fffbench.implementations.dense_gemm import pack

_CALLS_KEPT = 64  # as in kernels
_SAMPLED = 1024  # elements of a matrix that are compared at every call


@dataclass(frozen=True)
class _Kept:
    weights: tuple[weakref.ref[Tensor], weakref.ref[Tensor]]
    places: tuple[int, int]
    versions: tuple[int, int]
    samples: tuple[Tensor, Tensor]
    packed: Tensor


_kept: dict[tuple[int, int, int], _Kept] = {}

# Whether it computed ``y`` from ``x``, ``w1`` and ``w2``
DenseForm = Callable[[Tensor, Tensor, Tensor, Tensor], bool]


@lru_cache(maxsize=_CALLS_KEPT)
def dense_form(batch: int, d: int, trees: int, levels: int, threads: int, dtype: str) -> DenseForm | None:
    """The dense form of such a call, or None where ``fff_cpu`` takes another plan."""
    from fffbench import _cpu

    if not fff_cpu.takes_dense_form(levels, batch, dtype):
        return None
    n = trees * (2**levels - 1)
    if dtype != "fp32":

        def by_product(x: Tensor, w1: Tensor, w2: Tensor, y: Tensor) -> bool:
            if threads != torch.get_num_threads():  # which torch's products would take
                return False
            with torch.no_grad():
                logits = w1.new_empty((min(batch, fff_cpu.TILE_TOKENS), n))
                fff_cpu.by_product(x.view(batch, d), w1, w2, y.view(batch, d), logits, trees, threads, dtype)
            return True

        return by_product
    call = _cpu.GemmCall(0, 0, 0, batch, d, n, threads, levels=levels)
    panel = call.panel

    def by_packed(x: Tensor, w1: Tensor, w2: Tensor, y: Tensor) -> bool:
        packed = _packed(w1, w2, levels, panel)
        if packed is None:
            return False
        call.run_on(x.data_ptr(), packed.data_ptr(), y.data_ptr())
        return True

    return by_packed


def _packed(w1: Tensor, w2: Tensor, levels: int, panel: int) -> Tensor | None:
    """Both packed, or None for tensors made in inference mode: torch does not count how often they are written to."""
    if w1.is_inference() or w2.is_inference():
        return None
    key = (id(w1), id(w2), levels)
    kept = _kept.get(key)
    versions = w1._version, w2._version  # noqa: SLF001 - there is no other
    places = w1.data_ptr(), w2.data_ptr()
    if (
        kept is not None
        and kept.weights[0]() is w1
        and kept.weights[1]() is w2
        and kept.places == places
        and kept.versions == versions
        and torch.equal(_sample(w1), kept.samples[0])
        and torch.equal(_sample(w2), kept.samples[1])
    ):
        return kept.packed

    def forget(_: object) -> None:
        _kept.pop(key, None)

    with torch.no_grad(), torch.inference_mode(mode=False):
        packed = pack(w1.detach(), w2.detach(), panel, levels)
        samples = _sample(w1).clone(), _sample(w2).clone()
    _kept[key] = _Kept((weakref.ref(w1, forget), weakref.ref(w2, forget)), places, versions, samples, packed)
    return packed


def _sample(w: Tensor) -> Tensor:
    """Elements spread over ``w``: writes that torch does not count (``.data``, numpy) mostly change a whole matrix."""
    return w.detach().view(-1)[:: max(1, w.numel() // _SAMPLED)]

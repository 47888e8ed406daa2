"""Which prepared CUDA layer serves this call? One for each set of weights and batch, kept as long as the weights live.

``fff_cuda`` may pack weights when it prepares; a packed copy serves as long as the weights are the same tensors at the
same place in the same version.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from threading import Lock, local
from typing import Any

import torch
from torch import Tensor

from fffbench.implementations.registry import Layer, Weights
from fffbench.implementations.registry import implementation as registered
from fffbench.plan.workload import Shape, Workload

_VECTOR_BYTES = 16  # to which the kernels' rows are aligned, or they take other loads
_LAYERS_KEPT = 4096  # a model has some hundred layers, and a server a few batch sizes
_DTYPES = {torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}

_stream: Callable[[int], int] = getattr(torch._C, "_cuda_getCurrentRawStream", lambda _: 0)  # noqa: SLF001 - the public way builds an object

Run = Callable[[Tensor, Tensor], None]


@dataclass(frozen=True)
class _Kept:
    weights: tuple[weakref.ref[Tensor], weakref.ref[Tensor]]
    places: tuple[int, int]
    versions: tuple[int, int] | None  # None: nothing was packed, the kernels read the weights as they are
    run: Run
    lock: Lock


_context = local()  # devices whose context this thread has
_kept: dict[tuple[Any, ...], _Kept] = {}


@lru_cache(maxsize=256)
def _workload(d: int, trees: int, levels: int, width: int, batch: int, dtype: torch.dtype) -> Workload | None:
    """The workload, or None where ``fff_cuda`` does not run it here."""
    if dtype not in _DTYPES:
        return None
    shape = Shape.leaf(d, trees, levels, width) if width else Shape.tree(d, trees, levels)
    workload = Workload(shape, batch, _DTYPES[dtype], device="cuda")
    return None if registered("fff_cuda").unsupported(workload) else workload


def _versions(w1: Tensor, w2: Tensor) -> tuple[int, int]:
    """How often each was written to; -1 for tensors made in inference mode, which do not count."""
    first, second = (-1 if w.is_inference() else w._version for w in (w1, w2))  # noqa: SLF001 - there is no other
    return first, second


def compute(x: Tensor, w1: Tensor, w2: Tensor, trees: int, levels: int, width: int) -> Tensor | None:
    """The output for ``x (batch, d)``, contiguous, or None where no CUDA kernel computes it here."""
    stream = _stream(x.device.index or 0)
    aligned = x.data_ptr() % _VECTOR_BYTES == 0
    key = (id(w1), id(w2), trees, levels, width, x.shape[0], x.dtype, stream, aligned)
    kept = _kept.get(key)
    if not (
        kept is not None
        and kept.weights[0]() is w1
        and kept.weights[1]() is w2
        and kept.places == (w1.data_ptr(), w2.data_ptr())
        and (kept.versions is None or (-1 not in kept.versions and kept.versions == _versions(w1, w2)))
    ):
        kept = _prepare(key, x, w1, w2, trees, levels, width)
        if kept is None:
            return None
    y = torch.empty_like(x)
    if x.device not in _context.__dict__.setdefault("devices", set()):
        _enter(x.device)
    with kept.lock:  # addresses are set, then launched with: not to be done by two threads at once
        kept.run(x, y)
    return y


def _enter(device: torch.device) -> None:
    """Make the device's context this thread's, as a first operation of torch does and a bare launch does not."""
    torch.zeros(1, device=device)
    _context.devices.add(device)


def _prepare(
    key: tuple[Any, ...], x: Tensor, w1: Tensor, w2: Tensor, trees: int, levels: int, width: int
) -> _Kept | None:
    workload = _workload(x.shape[1], trees, levels, width, x.shape[0], x.dtype)
    if workload is None:
        return None
    stream, aligned = key[-2:]
    # tensors of the layer's own over the same storage, so that it does not keep the caller's alive
    weights = Weights(w1.detach(), w2.detach())

    def make() -> tuple[Layer, Run]:
        with torch.no_grad(), torch.cuda.device(x.device):
            if stream:
                with torch.cuda.stream(torch.cuda.ExternalStream(stream)):  # type: ignore[no-untyped-call]
                    return _made(weights, workload, aligned=aligned)
            return _made(weights, workload, aligned=aligned)

    if torch.cuda.is_current_stream_capturing():
        layer, run = make()
    else:
        # In a thread of its own: while torch.compile warms up a graph, what a thread allocates comes from the graph's
        # pool, and a workspace that outlives the graph must not.
        with ThreadPoolExecutor(1) as aside:
            layer, run = aside.submit(make).result()

    def forget(_: object) -> None:
        _kept.pop(key, None)

    while len(_kept) >= _LAYERS_KEPT:
        _kept.pop(next(iter(_kept)), None)
    versions = _versions(w1, w2) if layer.resident else None
    places = w1.data_ptr(), w2.data_ptr()
    kept = _kept[key] = _Kept((weakref.ref(w1, forget), weakref.ref(w2, forget)), places, versions, run, Lock())
    return kept


def _made(weights: Weights, workload: Workload, *, aligned: bool) -> tuple[Layer, Run]:
    """The layer, and how it is run on an x of this alignment, by its bare call pointed at other tensors."""
    w1, elements = weights.w1, workload.batch * workload.shape.d
    x = torch.zeros(elements + 1, device=w1.device, dtype=w1.dtype)[0 if aligned else 1 :][:elements]
    x = x.view(workload.batch, workload.shape.d)
    layer = registered("fff_cuda").prepare(weights, workload)
    program: Any = getattr(layer.bind(x, torch.empty_like(x)), "__self__", None)
    if hasattr(program, "point"):
        point, start = program.point, program.run

        def run(x: Tensor, y: Tensor) -> None:
            point(x, y)
            start()

    else:

        def run(x: Tensor, y: Tensor) -> None:
            y.copy_(layer.forward(x))

    return layer, run

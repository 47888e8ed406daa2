"""Which prepared CUDA kernels serve this call? Those of its weights and biases, kept as long as these live.

``fff_cuda`` packs weights for some batches: all batch sizes of a layer on a stream share one set of copies, which is
filled anew, in place, after the weights were written to. What torch does not count as a write (through ``.data``, or by
another library) is not seen: ``docs/guide/pytorch.md`` says so. Nothing that is kept serves a captured graph.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache
from threading import Lock, local
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor

from fffbench.devices import cuda
from fffbench.implementations.fff_cuda import Calls, exact_products
from fffbench.implementations.registry import Weights
from fffbench.implementations.registry import implementation as registered
from fffbench.plan.workload import Shape, Workload

if TYPE_CHECKING:
    from fffbench.implementations.cuda.launch import Program

T = TypeVar("T")

_VECTOR_BYTES = 16  # to which the kernels' rows are aligned, or they take other loads
_LAYERS_KEPT = 4096  # a model has some hundred layers
_PROGRAMS_KEPT = 256  # batch sizes of a layer
_UNCOUNTED = -1  # the version of a tensor made in inference mode
_DTYPES = {torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}

_stream: Callable[[int], int] = getattr(torch._C, "_cuda_getCurrentRawStream", lambda _: 0)  # noqa: SLF001 - the public way builds an object


@dataclass
class _Kept:
    """The layer of one set of weights on one stream."""

    weights: tuple[weakref.ref[Tensor], ...]
    places: tuple[int, ...]
    versions: tuple[int, ...]  # of the weights when they were packed
    calls: Calls
    programs: dict[tuple[int, bool, bool], Program] = field(default_factory=dict)
    lock: Lock = field(default_factory=Lock)


_context = local()  # devices whose context this thread has
_kept: dict[tuple[Any, ...], _Kept] = {}


@lru_cache(maxsize=256)
def _workload(d: int, trees: int, levels: int, width: int, batch: int, dtype: torch.dtype) -> Workload | None:
    """The workload, or None where ``fff_cuda`` does not run it here."""
    if dtype not in _DTYPES:
        return None
    shape = Shape.leaf(d, trees, levels, width) if width else Shape.tree(d, trees, levels)
    workload = Workload(shape, batch, _DTYPES[dtype], device=cuda.NAME)
    return None if registered("fff_cuda").unsupported(workload) else workload


def _versions(weights: tuple[Tensor, ...]) -> tuple[int, ...]:
    """How often each was written to."""
    return tuple(_UNCOUNTED if w.is_inference() else w._version for w in weights)  # noqa: SLF001 - there is no other


def compute(
    x: Tensor,
    w1: Tensor,
    w2: Tensor,
    b1: Tensor | None,
    b2: Tensor | None,
    trees: int,
    levels: int,
    width: int,
    activation: str = "gelu",
) -> Tensor | None:
    """The output for ``x (batch, d)``, contiguous, or None where no CUDA kernel computes it here."""
    workload = _workload(x.shape[1], trees, levels, width, x.shape[0], x.dtype)
    if workload is None:
        return None
    if x.device not in _context.__dict__.setdefault("devices", set()):
        _enter(x.device)
    stream = _stream(x.device.index or 0)
    if torch.cuda.is_current_stream_capturing():
        return _captured(x, w1, w2, b1, b2, workload, activation, stream)
    weights = tuple(w for w in (w1, w2, b1, b2) if w is not None)
    key = (id(w1), id(w2), id(b1), id(b2), trees, levels, width, activation, stream)
    kept = _kept.get(key)
    if not (
        kept is not None
        and all(ref() is w for ref, w in zip(kept.weights, weights, strict=True))
        and kept.places == tuple(w.data_ptr() for w in weights)
    ):
        kept = _layer(key, weights, _calls(w1, w2, b1, b2, workload, activation))
    y = torch.empty_like(x)
    with kept.lock:  # addresses are set, then launched with: not to be done by two threads at once
        _refresh(kept, weights)
        _program(kept, x, stream).run_on(x, y)
    return y


def _captured(
    x: Tensor,
    w1: Tensor,
    w2: Tensor,
    b1: Tensor | None,
    b2: Tensor | None,
    workload: Workload,
    activation: str,
    stream: int,
) -> Tensor:
    """The call as part of the CUDA graph that is being captured, which shares nothing with other graphs and calls.

    All that it needs comes from the graph's pool; weights are packed by the graph, so that a replay sees what they are
    by then.
    """
    y = torch.empty_like(x)
    calls = _calls(w1, w2, b1, b2, workload, activation)
    try:
        with torch.no_grad():
            calls.program(x, y, aligned=calls.aligned(x, y), stream=stream).run_on(x, y)
    except RuntimeError as error:
        raise RuntimeError(
            "the layer cannot be captured in a CUDA graph; call it once with as many tokens before, so that its "
            f"kernels are compiled and loaded: {error}"
        ) from error
    return y


def _calls(w1: Tensor, w2: Tensor, b1: Tensor | None, b2: Tensor | None, workload: Workload, activation: str) -> Calls:
    with torch.no_grad():  # tensors of the layer's own over the same storage: it does not keep the caller's alive
        biases = {name: b.detach() for name, b in (("b1", b1), ("b2", b2)) if b is not None}
        return Calls(Weights(w1.detach(), w2.detach(), **biases), workload, "auto", activation, {})


def _enter(device: torch.device) -> None:
    """Make the device's context this thread's, as a first operation of torch does and a bare launch does not."""
    torch.zeros(1, device=device)
    _context.devices.add(device)


def _layer(key: tuple[Any, ...], weights: tuple[Tensor, ...], calls: Calls) -> _Kept:
    """A layer of these weights, of any batch."""

    def forget(_: object) -> None:
        _kept.pop(key, None)

    while len(_kept) >= _LAYERS_KEPT:
        _kept.pop(next(iter(_kept)), None)
    kept = _kept[key] = _Kept(
        tuple(weakref.ref(w, forget) for w in weights),
        tuple(w.data_ptr() for w in weights),
        _versions(weights),
        calls,
    )
    return kept


def _refresh(kept: _Kept, weights: tuple[Tensor, ...]) -> None:
    """Pack again where the weights were, or may have been, written to since."""
    versions = _versions(weights)
    if versions == kept.versions and _UNCOUNTED not in versions:
        return
    with torch.no_grad():
        for copy in kept.calls.buffers.copies.values():
            copy.fill()
    kept.versions = versions


def _program(kept: _Kept, x: Tensor, stream: int) -> Program:
    """The kernels for this batch and alignment."""
    aligned = x.data_ptr() % _VECTOR_BYTES == 0
    key = (x.shape[0], aligned, exact_products(_DTYPES[x.dtype]))
    program = kept.programs.get(key)
    if program is not None:
        return program

    def make() -> Program:
        # in the place of x and y, which may lie in a graph's pool
        rows = torch.empty(x.numel() + 1, device=x.device, dtype=x.dtype)[0 if aligned else 1 :][: x.numel()]
        rows = rows.view(x.shape)
        return kept.calls.program(rows, rows, aligned=kept.calls.aligned(rows), stream=stream)

    while len(kept.programs) >= _PROGRAMS_KEPT:
        kept.programs.pop(next(iter(kept.programs)))
    program = kept.programs[key] = _aside(make, x.device, stream)
    return program


def _aside(make: Callable[[], T], device: torch.device, stream: int) -> T:
    """On this stream, but in a thread of its own.

    While torch.compile warms up a graph, what a thread allocates comes from the graph's pool, and a workspace that
    outlives the graph must not.
    """

    def there() -> T:
        with torch.no_grad(), torch.cuda.device(device):
            if not stream:
                return make()
            with torch.cuda.stream(torch.cuda.ExternalStream(stream)):  # type: ignore[no-untyped-call]
                return make()

    with ThreadPoolExecutor(1) as other:
        return other.submit(there).result()

"""In which ways can a built model be run: as it is, with compiled layers, as a CUDA graph, or both?

The repeated layers are compiled, not the model around them: what is between two layers cannot be fused with anything,
and all layers share one compiled code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

# Layers that know their number (those with a cache) are compiled one by one: as many as the deepest model has.
MOST_COMPILED = 128
CAPTURE_WARMUPS = 2


def compile_layers(layers: Sequence[nn.Module]) -> None:
    """Have calls of ``layers`` compiled from now on, at the first of a shape; a second time it does nothing."""
    import torch._dynamo

    config: Any = torch._dynamo.config  # noqa: SLF001 - it has no other name
    for name in ("recompile_limit", "cache_size_limit"):
        if hasattr(config, name):
            setattr(config, name, MOST_COMPILED)
            break
    for layer in layers:
        if layer._compiled_call_impl is None:  # noqa: SLF001 - it is not to be seen otherwise
            layer.compile(fullgraph=True, dynamic=False)


@contextmanager
def as_they_are(layers: Sequence[nn.Module]) -> Iterator[None]:
    """Within a ``with``, layers run as nobody had compiled them."""
    before = [layer._compiled_call_impl for layer in layers]  # noqa: SLF001 - there is no way to switch it off
    for layer in layers:
        layer._compiled_call_impl = None  # noqa: SLF001
    try:
        yield
    finally:
        for layer, compiled in zip(layers, before, strict=True):
            layer._compiled_call_impl = compiled  # noqa: SLF001


def capture(call: Callable[[Tensor], Tensor], x: Tensor) -> Callable[[Tensor], Tensor]:
    """One graph of a whole forward pass over inputs like ``x``; what is returned copies its input into the graph's."""
    static = x.clone()
    replay, y = record(call, static)

    def again(x: Tensor) -> Tensor:
        static.copy_(x)
        replay()
        return y

    return again


def record(call: Callable[[Tensor], Tensor], static: Tensor) -> tuple[Callable[[], None], Tensor]:
    """The CUDA graph of ``call(static)``: what replays it, and the tensor in which each replay leaves its result."""
    side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(CAPTURE_WARMUPS):
            call(static)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        y = call(static)
    return graph.replay, y

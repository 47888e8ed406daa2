"""In which ways can a built model be run: as it is, with compiled layers, as a CUDA graph, or both?

The repeated layers are compiled, not the model around them: what is between two layers cannot be fused with anything,
all layers share one compiled code, and each of them can be checked on its own inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from fffbench.models.build import Built

# Layers that know their number (those with a cache) are compiled one by one: as many as the deepest model has.
MOST_COMPILED = 128
CAPTURE_WARMUPS = 2


def compile_layers(layers: Sequence[nn.Module]) -> None:
    """Have every call of ``layers`` compiled from now on; it happens at the first call of a shape."""
    import torch._dynamo

    config: Any = torch._dynamo.config  # noqa: SLF001 - it has no other name
    for name in ("recompile_limit", "cache_size_limit"):
        if hasattr(config, name):
            setattr(config, name, MOST_COMPILED)
            break
    for layer in layers:
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


def capture(built: Built) -> Callable[[Tensor], Tensor]:
    """One CUDA graph of a whole forward pass; what is called copies its input into the graph's."""
    static = built.inputs[0].clone()
    side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(CAPTURE_WARMUPS):
            built.call(static)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        y = built.call(static)

    def call(x: Tensor) -> Tensor:
        static.copy_(x)
        graph.replay()
        return y

    return call

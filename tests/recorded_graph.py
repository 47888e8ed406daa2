"""A CUDA graph without a GPU: operations are recorded where PyTorch dispatches them, and replayed on the same memory.

No Python of the model runs in a replay, as on a GPU. ``Capture.active`` says whether something is being captured now,
and ``count`` how many captures there were.
"""

from __future__ import annotations

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Capture(TorchDispatchMode):
    """Records what is called, with what, and where the results are."""

    active = False
    count = 0

    def __init__(self):
        super().__init__()
        self.calls = []

    @classmethod
    def is_infra_mode(cls):
        """Compiled code runs under it."""
        return True

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        self.calls.append((func, args, kwargs or {}, result))
        return result

    def replay(self):
        for func, args, kwargs, result in self.calls:
            again = func(*args, **kwargs)
            if func._schema.is_mutable:
                continue
            given = {_memory(t) for t in tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)}
            for kept, new in zip(tree_leaves(result), tree_leaves(again), strict=True):
                if isinstance(kept, torch.Tensor) and _memory(kept) not in given:  # no view of what it was given
                    kept.copy_(new)


def _memory(tensor):
    return tensor.untyped_storage().data_ptr()


def record(call, static):
    """In the place of ``modes.record``."""
    call(static)
    capture = Capture()
    Capture.count += 1
    Capture.active = True
    try:
        with capture:
            y = call(static)
    finally:
        Capture.active = False
    return capture.replay, y

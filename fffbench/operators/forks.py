"""Does an operation of torch end in a forked child? Only without torch's threads, which a fork does not copy.

Where the parent has computed in parallel, a parallel operation of torch in its child waits for OpenMP's workers for
ever. The C++ kernels start workers of their own there; what is left to torch is computed by one thread.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import torch

_forked = False


def _remember() -> None:
    global _forked  # noqa: PLW0603 - a fact about this process
    _forked = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_remember)


def forked() -> bool:
    """Whether this process was forked by one that had imported this."""
    return _forked


@contextlib.contextmanager
def alone() -> Iterator[int]:
    """One thread for torch, in a forked child; the value is how many it had."""
    threads = torch.get_num_threads()
    if not _forked or threads == 1:
        yield threads
        return
    torch.set_num_threads(1)
    try:
        yield threads
    finally:
        torch.set_num_threads(threads)

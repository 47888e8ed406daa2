"""What does a decoder find in its cache, call after call?

Keys and values of as many tokens as came before, drawn at random, in one tensor a layer with room for the new ones.
Every call writes those at their place and reads all: the same work each time, nothing to undo between two calls, and no
number that a captured graph would have to know anew.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fffbench.devices import device
from fffbench.plan.models import Work


def filled(work: Work) -> Any:
    """A cache of transformers for ``work``: full but for one token (decode), or empty (prefill)."""
    from transformers.cache_utils import Cache, CacheLayerMixin

    from fffbench.models.build import torch_dtype

    one, place = work.architecture, device(work.device).torch_type
    before, room = (work.sequence, work.sequence + 1) if work.phase == "decode" else (0, work.sequence)
    shape = (work.batch, one.kv_heads, room, one.d // one.heads)

    class Fixed(CacheLayerMixin):  # type: ignore[misc]
        """One layer's keys and values."""

        is_compileable = False  # the mask is of a known length; what asks for this would count tokens on the device
        is_sliding = False

        def __init__(self) -> None:
            super().__init__()
            self.keys: Tensor = torch.randn(shape, dtype=torch_dtype(work.dtype), device=place)
            self.values: Tensor = torch.randn(shape, dtype=torch_dtype(work.dtype), device=place)
            self.is_initialized = True

        def lazy_initialization(self, *_: Any) -> None:
            """It is made full."""

        def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
            """Write the new tokens behind the others, and hand out all."""
            self.keys[:, :, before:] = key_states
            self.values[:, :, before:] = value_states
            return self.keys, self.values

        def get_mask_sizes(self, *_: Any, **__: Any) -> tuple[int, int]:
            """Length of what is attended to, and where it begins."""
            return room, 0

        def get_seq_length(self) -> int:
            """Tokens before the new ones."""
            return before

        def get_max_cache_shape(self) -> int:
            """Room in the cache."""
            return room

        def get_max_length(self) -> int:
            """The same, under the name that newer versions ask by."""
            return room

    return Cache(layers=[Fixed() for _ in range(one.layers)])

"""What can a claim be about? One file per kind; ``base.Claim`` says what each has to declare and to do.

A kind is a module here, or one behind the entry-point group ``fffbench.claim_kinds``, with ``KIND``, a subclass of
``base.Claim``; its name is what a claim's file says under ``kind``. It judges what others measured, so it is trusted;
it is imported where a page is rendered, so it must not import torch.
"""

from __future__ import annotations

from fffbench import extensions
from fffbench.claims.base import Claim

KINDS: extensions.Extensions[type[Claim]] = extensions.Extensions(
    "kind of claim", "fffbench.claims.kinds", extensions.CLAIM_KINDS, "KIND", Claim
)

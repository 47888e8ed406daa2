"""Which activations do the kernels know, and by what number?

``gelu`` is the exact (erf) GELU of BERT and of the published FFF; ``gelu_tanh`` its approximation by tanh, as in GPT-2;
``relu`` and ``silu`` as in OPT and Llama.
"""

from __future__ import annotations

ACTIVATIONS = ("gelu", "gelu_tanh", "relu", "silu")  # the place is the number in implementations/cpu/runtime/types.hpp


def number_of(activation: str) -> int:
    """The kernels' number of ``activation``; ``ValueError`` if there is none."""
    try:
        return ACTIVATIONS.index(activation)
    except ValueError:
        raise ValueError(f"unknown activation {activation!r}; allowed: {', '.join(ACTIVATIONS)}") from None

"""What must the C++ dense layers give? Inputs of a shape, and the layer in float64."""

from __future__ import annotations

import numpy as np
from scipy.special import erf


def make(batch, d, n):
    """``x (batch, d)``, ``w1`` and ``w2 (n, d)`` in fp32, logits and outputs of about 1."""
    rng = np.random.default_rng([batch, d, n])
    x, w1, w2 = (rng.standard_normal((rows, d), dtype=np.float32) for rows in (batch, n, n))
    return x, w1 * np.float32(d**-0.5), w2 * np.float32(n**-0.5)


def reference(x, w1, w2):
    """``gelu(x w1^T) w2`` in float64, ``(batch, d)``."""
    x, w1, w2 = (a.astype(np.float64) for a in (x, w1, w2))
    z = x @ w1.T
    return (z * 0.5 * (1 + erf(z / 2**0.5))) @ w2

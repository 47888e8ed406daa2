"""How far from the float64 reference may a correct implementation of a dtype end up?

A random-walk model of rounding (Higham and Mary, SIAM J. Sci. Comput. 2019):
rounding errors are independent and uniform, so they add in squares. With unit
roundoff u, a rounding has standard deviation u / sqrt(3) of the value. Summing
k terms of root mean square p one after another makes partial sums of size
sqrt(i) * p and an error of standard deviation

    sqrt(sum_i i p^2 u^2 / 3) = u p k / sqrt(6);

any blocked or pairwise order does better. A mean m in the terms adds partial
sums i * m, hence u |sum| sqrt(k) / 3.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

ROUNDING_STD = 3**-0.5  # of one rounding, in unit roundoffs: uniform on [-u, u]
SUM_STD = 6**-0.5  # of a sequential sum, times u * p * k (above)

# Standard deviations a token's error norm may reach. Rounding is bounded: where one activation dominates, its
# logit, its own rounding and the output's are off by at most u each, 3 u in sum, which is 3 sigma of the three
# together; over many activations the norm concentrates far below that. Shown to reject planted faults.
NORM_SIGMAS = 3.0
# Standard deviations of a single element: P(|N| > 12) < 1e-32, times 1e8 elements.
ELEMENT_SIGMAS = 12.0
# Standard deviations of a logit inside which a turn may go either way: P(|N| > 8) = 1e-15.
LOGIT_SIGMAS = 8.0


@dataclass(frozen=True)
class Arithmetic:
    """Unit roundoffs of a dtype: of the products' inputs, the accumulation, and what is stored between and after.

    ``gelu`` is the absolute error of the activation function that is allowed on top: a few float32 ulps, or
    for 16-bit storage the root-mean-square error of the tanh form (below 5e-4 everywhere), which is under the rounding.
    """

    inputs: float
    accumulate: float
    store: float
    gelu: float


ARITHMETIC = {
    "fp32": Arithmetic(inputs=0.0, accumulate=2**-24, store=2**-24, gelu=3e-7),
    "tf32": Arithmetic(inputs=2**-11, accumulate=2**-24, store=2**-24, gelu=3e-7),
    "bf16": Arithmetic(inputs=0.0, accumulate=2**-24, store=2**-8, gelu=2e-4),
    "fp16": Arithmetic(inputs=0.0, accumulate=2**-24, store=2**-11, gelu=2e-4),
}


def logit_std(z: Array, x_norm: Array, w1_norm: Array, d: int, dtype: str) -> Array:
    """Standard deviation of the computed logit ``z = x . w`` of vectors with the given norms, before it is stored."""
    unit = ARITHMETIC[dtype]
    product = x_norm * w1_norm  # k * p of the module docstring: root mean square product, times d
    summing = unit.accumulate * (SUM_STD * product + np.abs(z) * d**0.5 / 3)
    rounding_inputs = unit.inputs * ROUNDING_STD * 2**0.5 * product / d**0.5
    return np.asarray(np.hypot(summing, rounding_inputs))


def gelu_slope(z: Array) -> Array:
    """Derivative of the exact GELU, ``Phi(z) + z phi(z)``."""
    from scipy.special import ndtr

    return np.asarray(ndtr(z) + z * np.exp(-0.5 * z * z) / np.sqrt(2 * np.pi))


def output_std(
    z: Array,
    activation: Array,
    z_std: Array,
    w2_norm: Array,
    y_norm: Array,
    dtype: str,
    slope: Array | None = None,
) -> tuple[Array, Array]:
    """Standard deviation of a token's error norm, and the token's scale.

    ``z``, ``activation`` and ``z_std`` are (tokens, k) over the k neurons that contribute, ``w2_norm`` broadcasts
    to that, ``y_norm`` is (tokens,). The scale is ``sqrt(sum (activation * |w2|)^2)``: the size of y if its terms
    point in random directions. ``slope``: the activation's derivative at ``z``, if it is not GELU. Both are (tokens,).
    """
    unit = ARITHMETIC[dtype]
    slope = gelu_slope(z) if slope is None else slope

    def spread(per_activation: Array) -> Array:
        return np.asarray(np.sum((per_activation * w2_norm) ** 2, axis=1))

    scale_squared = spread(activation)
    neurons = z.shape[1]
    variance = (
        spread(slope * z_std)
        + spread(slope * z * unit.store * ROUNDING_STD)  # the logit stored in the dtype
        + spread(activation * unit.store * ROUNDING_STD)  # the activation stored in the dtype
        + unit.gelu**2 * spread(np.ones_like(z))
        + (unit.accumulate * SUM_STD) ** 2 * neurons * scale_squared
        + (unit.inputs * ROUNDING_STD * 2**0.5) ** 2 * scale_squared
        + (unit.store * ROUNDING_STD * y_norm) ** 2
    )
    return np.sqrt(variance), np.sqrt(scale_squared)

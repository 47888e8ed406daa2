"""The error model of ``problems.judging`` once more, in numpy and over all neurons at once: its independent oracle."""

import numpy as np
from scipy.special import ndtr

from fffbench.implementations import reference as exact
from fffbench.problems.judging import ARITHMETIC, LOGIT_SIGMAS, ROUNDING_STD, SUM_STD


def logit_std(z, x_norm, w1_norm, d, dtype):
    """Standard deviation of the computed logit ``z = x . w`` of vectors with the given norms, before it is stored."""
    unit = ARITHMETIC[dtype]
    product = x_norm * w1_norm
    summing = unit.accumulate * (SUM_STD * product + np.abs(z) * d**0.5 / 3)
    return np.hypot(summing, unit.inputs * ROUNDING_STD * 2**0.5 * product / d**0.5)


def output_std(z, activation, z_std, w2_norm, y_norm, dtype, slope=None):
    """Standard deviation of a token's error norm, and the token's scale; ``z (tokens, k)`` over the k neurons."""
    unit = ARITHMETIC[dtype]
    slope = ndtr(z) + z * np.exp(-0.5 * z * z) / np.sqrt(2 * np.pi) if slope is None else slope

    def spread(per_activation):
        return np.sum((per_activation * w2_norm) ** 2, axis=1)

    scale_squared = spread(activation)
    variance = (
        spread(slope * z_std)
        + spread(slope * z * unit.store * ROUNDING_STD)
        + spread(activation * unit.store * ROUNDING_STD)
        + unit.gelu**2 * spread(np.ones_like(z))
        + (unit.accumulate * SUM_STD) ** 2 * z.shape[1] * scale_squared
        + (unit.inputs * ROUNDING_STD * 2**0.5) ** 2 * scale_squared
        + (unit.store * ROUNDING_STD * y_norm) ** 2
    )
    return np.sqrt(variance), np.sqrt(scale_squared)


def oracle(work, x, w1, w2, *, conditional):
    """Outputs, their standard deviations and scales, the tokens with a near-tie, and the rows that they visit."""
    shape, dtype = work.shape, work.dtype
    x_norm, w1_norm, w2_norm = (np.linalg.norm(array, axis=1) for array in (x, w1, w2))
    if not conditional:
        w1, w1_norm = w1[shape.routers :], w1_norm[shape.routers :]
        z, y = x @ w1.T, exact.dense(x, w1, w2)
        z_std = logit_std(z, x_norm[:, None], w1_norm, shape.d, dtype)
        std, scale = output_std(z, exact.gelu(z), z_std, w2_norm, np.linalg.norm(y, axis=1), dtype)
        return y, std, scale, [], [np.arange(shape.n)] * len(x), []
    walk = exact.walk(x, w1, w2, shape)
    turn_std = logit_std(walk.logits, x_norm[:, None], w1_norm[walk.rows], shape.d, dtype)
    z_std = logit_std(walk.inputs, x_norm[:, None], w1_norm[shape.routers + walk.neurons], shape.d, dtype)
    y_norm = np.linalg.norm(walk.y, axis=1)
    std, scale = output_std(walk.inputs, exact.gelu(walk.inputs), z_std, w2_norm[walk.neurons], y_norm, dtype)
    near = np.flatnonzero((np.abs(walk.logits) <= LOGIT_SIGMAS * turn_std).any(axis=1))
    return walk.y, std, scale, near.tolist(), list(walk.neurons), list(walk.rows) if shape.routers else []

"""What must an output be, and how far from it may a correct implementation of a dtype end up?

The parts from which a problem makes its float64 reference, in torch on whatever device the tensors lie; the oracle that
they are tested against is ``implementations.reference`` in numpy.

The error model is a random walk of rounding (Higham and Mary, SIAM J. Sci. Comput. 2019): rounding errors are
independent and uniform, so they add in squares. With unit roundoff u, a rounding has standard deviation u / sqrt(3) of
the value. Summing k terms of root mean square p one after another makes partial sums of size sqrt(i) * p and an error
of standard deviation

    sqrt(sum_i i p^2 u^2 / 3) = u p k / sqrt(6);

any blocked or pairwise order does better. A mean m in the terms adds partial sums i * m, hence u |sum| sqrt(k) / 3.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import torch

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


DENSE_TOKENS = 1024  # of a chunk of a dense reference: 1024 x 4095 float64 logits are 34 MB


@dataclass(frozen=True)
class Asked:
    """How a reference is wanted: of what dtype's rounding, for batches of how many tokens, and what it may take.

    Where all tokens would take more than ``operations`` of float64 a random sample of them (by ``seed``) is enough; no
    intermediate has more than ``chunk_bytes``.
    """

    dtype: str
    batch: int
    seed: int = 0
    operations: float = 1.0e11
    chunk_bytes: int = 2**25


class Others(NamedTuple):
    """Other outputs of one token that are as right as the reference's, on the host.

    ``std``: what the dtype's error norm has along each. Other neurons are summed there, so it may be several times
    that of the reference's own path.
    """

    y: torch.Tensor  # (paths, d)
    std: torch.Tensor  # (paths,)


@dataclass(frozen=True)
class Reference:
    """What the outputs of the tokens ``index`` must be. All tensors are over those tokens, on one device.

    ``alternatives`` maps a position in ``index`` to the outputs that are as right: of a token at whose nodes a correct
    kernel may turn either way.
    """

    index: torch.Tensor
    y: torch.Tensor
    scale: torch.Tensor  # size of y, the denominator of every error
    std: torch.Tensor  # standard deviation of the error norm that the dtype predicts
    distinct_rows: float  # distinct neurons a batch visits, mean over the batches; as ``Problem.rows`` counts them
    alternatives: Mapping[int, Others] = field(default_factory=dict)


def gelu(z: torch.Tensor) -> torch.Tensor:
    """Exact (erf) GELU."""
    import torch

    found: torch.Tensor = 0.5 * z * (1 + torch.erf(z / 2**0.5))
    return found


def gelu_slope(z: torch.Tensor) -> torch.Tensor:
    """Derivative of the exact GELU, ``Phi(z) + z phi(z)``."""
    import torch

    found: torch.Tensor = torch.special.ndtr(z) + z * torch.exp(-0.5 * z * z) / (2 * np.pi) ** 0.5
    return found


def logit_std(z: Any, x_norm: Any, w1_norm: Any, d: int, dtype: str) -> Any:
    """Standard deviation of the computed logit ``z = x . w`` of vectors with the given norms, before it is stored.

    Of arrays or of tensors.
    """
    unit = ARITHMETIC[dtype]
    product = x_norm * w1_norm  # k * p of the module docstring: root mean square product, times d
    summing = unit.accumulate * (SUM_STD * product + abs(z) * d**0.5 / 3)
    rounding_inputs = unit.inputs * ROUNDING_STD * 2**0.5 * product / d**0.5
    return (summing**2 + rounding_inputs**2) ** 0.5


def neuron_variance(z: Any, activation: Any, slope: Any, z_std: Any, dtype: str) -> Any:
    """Variance of what each neuron adds to the output, over its row's squared norm; of arrays or of tensors."""
    unit = ARITHMETIC[dtype]
    of_logit = (slope * z_std) ** 2 + (slope * z * unit.store * ROUNDING_STD) ** 2  # summed, and stored
    return of_logit + (activation * unit.store * ROUNDING_STD) ** 2 + unit.gelu**2  # the activation stored and computed


def total_variance(of_neurons: Any, scale_squared: Any, neurons: int, y_norm: Any, dtype: str) -> Any:
    """Variance of a token's error norm, given the sums over its ``neurons``; of arrays or of tensors."""
    unit = ARITHMETIC[dtype]
    summing = (unit.accumulate * SUM_STD) ** 2 * neurons * scale_squared
    rounding_inputs = (unit.inputs * ROUNDING_STD * 2**0.5) ** 2 * scale_squared
    return of_neurons + summing + rounding_inputs + (unit.store * ROUNDING_STD * y_norm) ** 2


def output_std(z: Any, activation: Any, z_std: Any, w2_norm: Any, y_norm: Any, dtype: str, slope: Any) -> Any:
    """Standard deviation of a token's error norm, and its scale, of ``z (tokens, k)`` over all k neurons at once."""
    of_neurons = (neuron_variance(z, activation, slope, z_std, dtype) * w2_norm**2).sum(axis=1)
    scale_squared = ((activation * w2_norm) ** 2).sum(axis=1)
    return total_variance(of_neurons, scale_squared, z.shape[1], y_norm, dtype) ** 0.5, scale_squared**0.5


class Output:
    """Adds up some tokens' outputs, their error's standard deviation and their scale, a few neurons at a time.

    ``y`` is added to by the caller. The scale is ``sqrt(sum (activation * |w2|)^2)``: the size of y if its terms point
    in random directions.
    """

    def __init__(self, x: torch.Tensor, dtype: str) -> None:
        """Of inputs ``x (tokens, d)`` in float64."""
        self.x_norm = x.norm(dim=1)
        self._dtype, self._d = dtype, x.shape[1]
        self.y = x.new_zeros(x.shape)
        self._variance, self._scale_squared, self._neurons = x.new_zeros(len(x)), x.new_zeros(len(x)), 0

    def add(
        self,
        z: torch.Tensor,
        w1_norm: torch.Tensor,
        w2_norm: torch.Tensor,
        activation: torch.Tensor | None = None,
        slope: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Take in logits ``z (tokens, k)`` of neurons with the given norms; returns their activations.

        ``activation`` and ``slope``, its derivative at ``z``, if it is not GELU.
        """
        z_std = logit_std(z, self.x_norm[:, None], w1_norm, self._d, self._dtype)
        activation = gelu(z) if activation is None else activation
        slope = gelu_slope(z) if slope is None else slope
        self._variance += (neuron_variance(z, activation, slope, z_std, self._dtype) * w2_norm**2).sum(dim=1)
        self._scale_squared += ((activation * w2_norm) ** 2).sum(dim=1)
        self._neurons += z.shape[1]
        return activation

    def sums(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Over the neurons that are in: the variance of the error norm, and the square of the scale."""
        return self._variance, self._scale_squared

    def std_and_scale(self) -> tuple[torch.Tensor, torch.Tensor]:
        """When all neurons are in and ``y`` is complete."""
        y_norm = self.y.norm(dim=1)
        variance: torch.Tensor = total_variance(self._variance, self._scale_squared, self._neurons, y_norm, self._dtype)
        return variance.sqrt(), self._scale_squared.sqrt()


def joined(index: torch.Tensor, parts: Sequence[Output], x: torch.Tensor, distinct_rows: float) -> Reference:
    """The reference of the tokens ``index`` of ``x``, whose outputs are in ``parts``, in this order."""
    import torch

    outputs = [part.y for part in parts] or [x.new_zeros((0, x.shape[1])).double()]
    ends = [part.std_and_scale() for part in parts] or [(x.new_zeros(0).double(),) * 2]
    std, scale = (torch.cat(list(column)) for column in zip(*ends, strict=True))
    return Reference(index, torch.cat(outputs), scale, std, distinct_rows)


def sampled(tokens: int, operations: float, asked: Asked) -> Any:
    """The positions of the tokens to check where one takes ``operations``: all, or a random sample, in order."""
    affordable = max(1, int(asked.operations / operations))
    if affordable >= tokens:
        return np.arange(tokens)
    return np.sort(np.random.default_rng(asked.seed).choice(tokens, affordable, replace=False))


def rows_at_once(columns: int, asked: Asked) -> int:
    """Of a float64 matrix with ``columns``, how many rows one intermediate may have."""
    return max(1, asked.chunk_bytes // (8 * max(1, columns)))


def chunks(index: torch.Tensor, size: int) -> Iterator[torch.Tensor]:
    """``index`` in parts of at most ``size``."""
    for start in range(0, len(index), size):
        yield index[start : start + size]


def distinct(visits: Sequence[tuple[torch.Tensor, torch.Tensor]], batch: int, tokens: int) -> float:
    """Distinct rows of a batch, mean over the batches, of pairs of tokens and the rows they visit."""
    import torch

    if not visits or tokens == 0:
        return 0.0
    batches = -(-tokens // max(1, batch))
    row = torch.cat([rows for _, rows in visits])
    place = torch.cat([token for token, _ in visits]) // max(1, batch)
    return len(torch.unique(row * batches + place)) / batches

"""What is drawn, and what is right, where everything lies on the accelerator?

The float64 reference and the comparison of ``check`` on the device, chunk by chunk: what takes the host seconds a cell
(4.3 s for the reference of 16384 tokens of 768 to 4095, 0.8 s for the comparison) takes a GPU milliseconds, so every
process judges all its tokens anew. What the device finds wrong, ``check`` judges again on the host. Large weights are
drawn here as well: the host draws some 50 million normal numbers a second, and 2**20 neurons need 1600 million.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from fffbench.implementations.registry import Weights
from fffbench.measure import check, tolerance
from fffbench.measure.inputs import torch_dtype
from fffbench.plan.counts import ROUTER_ROW
from fffbench.plan.workload import Workload

if TYPE_CHECKING:
    import torch

DENSE_TOKENS = 1024  # a chunk: with 64 thousand neurons at once, one intermediate has CHUNK_BYTES
CHUNK_BYTES = 2**29  # of one float64 intermediate


def draws(workload: Workload) -> bool:
    """Whether the data of ``workload`` is drawn on its device, from a stream other than ``routing.make``'s."""
    least = workload.place.drawn_elements
    plain = workload.routing == "uniform" or not workload.shape.is_tree
    return least is not None and plain and workload.shape.n * workload.shape.d >= least


def draw(workload: Workload, tokens: int) -> tuple[torch.Tensor, Weights]:
    """``tokens`` rows of x and the weights, distributed as ``routing.make`` says, in the dtype on the device.

    The seed and the shape decide the numbers, for one device type and version of torch's generator (Philox on CUDA).
    """
    shape = workload.shape

    def normal(rows: int, stream: int, scale: float) -> torch.Tensor:
        import torch

        seed = np.random.SeedSequence([workload.seed, shape.d, shape.n, stream]).generate_state(1, np.uint64)[0]
        generator = torch.Generator(workload.place.torch_type).manual_seed(int(seed >> np.uint64(1)))
        drawn = torch.empty((rows, shape.d), dtype=torch.float32, device=workload.place.torch_type)
        return drawn.normal_(generator=generator).mul_(scale).to(torch_dtype(workload.dtype))

    contributing = shape.trees * shape.leaf_width if shape.leaf_width else shape.active
    w1 = normal(shape.routers + shape.n, 1, shape.d**-0.5)
    w2 = normal(shape.n, 2, contributing**-0.5)
    return normal(tokens, 3, 1.0), Weights(w1, w2)


def note(workload: Workload) -> tuple[str, ...]:
    """What a record says of data that was drawn here."""
    if not draws(workload):
        return ()
    return (f"weights and inputs drawn on the device by torch's generator, seed {workload.seed}",)


@dataclass(frozen=True)
class Reference:
    """``check.Reference`` with its arrays on the device; what is asked of a comparison alone stays on the host."""

    index: torch.Tensor
    y: torch.Tensor
    scale: torch.Tensor
    std: torch.Tensor
    distinct_rows: float
    alternatives: Mapping[int, check.Array] = field(default_factory=dict)

    def on_host(self) -> check.Reference:
        """The same for ``check.compare``."""
        y, scale, std = (np.asarray(tensor.cpu().numpy()) for tensor in (self.y, self.scale, self.std))
        return check.Reference(self.index.cpu().numpy(), y, scale, std, self.distinct_rows, self.alternatives)


def make_reference(
    workload: Workload, x: torch.Tensor, w1: torch.Tensor, w2: torch.Tensor, *, conditional: bool
) -> Reference:
    """What ``check.make_reference`` computes, for ``x (tokens, d)`` and weights in the dtype, where they lie."""
    return (_conditional if conditional else _dense)(workload, x, w1, w2)


def compare(reference: Reference, y: torch.Tensor) -> check.Verdict:
    """What ``check.compare`` says of outputs ``y (tokens, d)``; it says it itself where one token is not right."""
    import torch

    tokens = len(reference.index)
    if tokens == 0 or not bool(torch.isfinite(y).all()):
        return check.compare(reference.on_host(), y.double().cpu().numpy())
    error = y[reference.index].double() - reference.y
    tiny = float(np.finfo(float).tiny)
    d = error.shape[1]
    by_norm = error.norm(dim=1) / (tolerance.NORM_SIGMAS * reference.std).clamp_min(tiny)
    by_element = error.abs().amax(dim=1) / (tolerance.ELEMENT_SIGMAS * reference.std / d**0.5).clamp_min(tiny)
    share = torch.maximum(by_norm, by_element)
    worst = int(share.argmax())
    if not float(share[worst]) <= 1:
        return check.compare(reference.on_host(), y.double().cpu().numpy())
    allowed = tolerance.NORM_SIGMAS * float(reference.std[worst]) / max(float(reference.scale[worst]), tiny)
    return check.Verdict(float(share[worst]) * allowed, allowed, tokens, 0, len(reference.alternatives))


def _rows_at_once(columns: int) -> int:
    return max(1, CHUNK_BYTES // (8 * max(1, columns)))


def _gelu(z: torch.Tensor) -> torch.Tensor:
    import torch

    return 0.5 * z * (1 + torch.erf(z / 2**0.5))


def _logit_std(z: torch.Tensor, product: torch.Tensor, d: int, dtype: str) -> torch.Tensor:
    """``tolerance.logit_std``; ``product`` is that of the norms."""
    import torch

    unit = tolerance.ARITHMETIC[dtype]
    summing = unit.accumulate * (tolerance.SUM_STD * product + z.abs() * d**0.5 / 3)
    return torch.hypot(summing, unit.inputs * tolerance.ROUNDING_STD * 2**0.5 * product / d**0.5)


class _Output:
    """Adds up a token's output, its ``tolerance.output_std`` and its scale, some neurons at a time."""

    def __init__(self, x: torch.Tensor, dtype: str) -> None:
        self._x_norm = x.norm(dim=1)
        self._unit, self._dtype, self._d = tolerance.ARITHMETIC[dtype], dtype, x.shape[1]
        self.y = x.new_zeros(x.shape)
        self._variance, self._scale_squared, self._neurons = x.new_zeros(len(x)), x.new_zeros(len(x)), 0

    def add(self, z: torch.Tensor, w1_norm: torch.Tensor, w2_norm: torch.Tensor) -> torch.Tensor:
        """Take in logits ``z (tokens, k)`` of neurons with the given norms; returns their activations."""
        import torch

        unit, rounding = self._unit, tolerance.ROUNDING_STD
        z_std = _logit_std(z, self._x_norm[:, None] * w1_norm, self._d, self._dtype)
        activation = _gelu(z)
        slope = torch.special.ndtr(z) + z * torch.exp(-0.5 * z * z) / (2 * np.pi) ** 0.5
        of_one = (slope * z_std) ** 2 + (slope * z * unit.store * rounding) ** 2
        of_one += (activation * unit.store * rounding) ** 2 + unit.gelu**2
        self._variance += (of_one * w2_norm**2).sum(dim=1)
        self._scale_squared += ((activation * w2_norm) ** 2).sum(dim=1)
        self._neurons += z.shape[1]
        return activation

    def std_and_scale(self) -> tuple[torch.Tensor, torch.Tensor]:
        """When all neurons are in."""
        unit, rounding = self._unit, tolerance.ROUNDING_STD
        variance = self._variance + (unit.accumulate * tolerance.SUM_STD) ** 2 * self._neurons * self._scale_squared
        variance += (unit.inputs * rounding * 2**0.5) ** 2 * self._scale_squared
        variance += (unit.store * rounding * self.y.norm(dim=1)) ** 2
        return variance.sqrt(), self._scale_squared.sqrt()


def _joined(index: torch.Tensor, parts: list[_Output], x: torch.Tensor, distinct_rows: float) -> Reference:
    import torch

    outputs = [part.y for part in parts] or [x.new_zeros((0, x.shape[1])).double()]
    ends = [part.std_and_scale() for part in parts] or [(x.new_zeros(0).double(),) * 2]
    std, scale = (torch.cat(list(column)) for column in zip(*ends, strict=True))
    return Reference(index, torch.cat(outputs), scale, std, distinct_rows)


def _dense(workload: Workload, x: torch.Tensor, w1: torch.Tensor, w2: torch.Tensor) -> Reference:
    import torch

    w1 = w1[workload.shape.routers :]
    n, d = w1.shape
    affordable = max(1, int(workload.place.reference_operations / (4 * n * d)))
    chosen = np.arange(len(x))
    if affordable < len(x):
        chosen = np.sort(np.random.default_rng(workload.seed).choice(len(x), affordable, replace=False))
    index = torch.from_numpy(chosen).to(x.device)
    parts = []
    for start in range(0, len(index), DENSE_TOKENS):
        tokens = index[start : start + DENSE_TOKENS]
        some = x[tokens].double()
        output = _Output(some, workload.dtype)
        step = min(_rows_at_once(len(tokens)), _rows_at_once(d))
        for first in range(0, n, step):
            rows1, rows2 = w1[first : first + step].double(), w2[first : first + step].double()
            activation = output.add(some @ rows1.T, rows1.norm(dim=1), rows2.norm(dim=1))
            output.y += activation @ rows2
        parts.append(output)
    return _joined(index, parts, x, float(n if len(x) else 0))


def _conditional(workload: Workload, x: torch.Tensor, w1: torch.Tensor, w2: torch.Tensor) -> Reference:
    """Every token walks every tree, as in ``implementations.reference``; the neurons of a leaf after its walk."""
    import torch

    shape = workload.shape
    parts, near, visited, routed = [], [], [], []
    index, step = torch.arange(len(x), device=x.device), _rows_at_once(shape.d)
    for start in range(0, len(x), step):
        tokens = index[start : start + step]
        some = x[tokens].double()
        x_norm, output = some.norm(dim=1), _Output(some, workload.dtype)
        tie = torch.zeros(len(some), dtype=torch.bool, device=x.device)

        def neuron(row: torch.Tensor, some: torch.Tensor = some, output: _Output = output) -> None:
            first, second = w1[shape.routers + row].double(), w2[row].double()
            z = (some * first).sum(dim=1)
            activation = output.add(z[:, None], first.norm(dim=1)[:, None], second.norm(dim=1)[:, None])
            output.y += activation * second
            visited.append((tokens, row))  # noqa: B023  (called in this turn of the loop only)

        for t in range(shape.trees):
            node = torch.zeros(len(some), dtype=torch.int64, device=x.device)
            for _ in range(shape.levels):
                row = t * (2**shape.levels - 1) + node
                weight = w1[row].double()
                z = (some * weight).sum(dim=1)
                spread = _logit_std(z, x_norm * weight.norm(dim=1), shape.d, workload.dtype)
                tie |= z.abs() <= tolerance.LOGIT_SIGMAS * spread
                if shape.leaf_width:
                    routed.append((tokens, row))
                else:
                    neuron(row)
                node = 2 * node + 1 + (z > 0)
            first = (t * 2**shape.levels + node - (2**shape.levels - 1)) * shape.leaf_width
            for k in range(shape.leaf_width):
                neuron(first + k)
        parts.append(output)
        near.append(tokens[tie])
    distinct = _distinct(visited, workload.batch, len(x)) + ROUTER_ROW * _distinct(routed, workload.batch, len(x))
    joined = _joined(index, parts, x, distinct)
    if not near:
        return joined
    others = check.Alternatives(workload, torch.cat(near).tolist(), _Rows(x), _Rows(w1), _Rows(w2))
    return replace(joined, alternatives=others)


def _distinct(visits: list[tuple[torch.Tensor, torch.Tensor]], batch: int, tokens: int) -> float:
    """Distinct rows of a batch, mean over the batches, of pairs of tokens and the rows they visit."""
    import torch

    if not visits or tokens == 0:
        return 0.0
    batches = -(-tokens // max(1, batch))
    row = torch.cat([rows for _, rows in visits])
    place = torch.cat([token for token, _ in visits]) // max(1, batch)
    return len(torch.unique(row * batches + place)) / batches


class _Rows:
    """Rows of a matrix on the device, numbered or a slice of them, as float64 on the host."""

    def __init__(self, matrix: torch.Tensor) -> None:
        self._matrix = matrix

    def __getitem__(self, rows: npt.NDArray[np.int64] | slice) -> check.Array:
        import torch

        chosen = self._matrix[torch.from_numpy(rows) if isinstance(rows, np.ndarray) else rows]
        return np.asarray(chosen.double().cpu().numpy())

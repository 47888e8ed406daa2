"""Is this output right, and along which paths?

A token passes if its output matches the float64 output along the reference
path, or along a path that leaves it solely at near-ties: nodes whose logit is
within the rounding bound of zero, where a correct kernel may turn either way.
How many tokens did so is counted and capped by the number that have a near-tie.

One judge in torch's float64 on whatever device the outputs lie: what takes the host seconds a cell (4.3 s for the
reference of 16384 tokens of 768 to 4095, 0.8 s for the comparison) takes a GPU milliseconds, so there every process
judges all its tokens anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fffbench.plan.workload import Workload
from fffbench.problems.judging import ELEMENT_SIGMAS, NORM_SIGMAS, Asked, Reference
from fffbench.units import MOST_ERROR

if TYPE_CHECKING:
    import torch

PARTS = ("index", "y", "scale", "std")
TINY = float(np.finfo(float).tiny)


@dataclass(frozen=True)
class Verdict:
    """The outcome of one comparison; ``failure`` is None when every token passed.

    ``harm``: the failure is about memory that is not the output's, which nothing may touch, on purpose or not.
    """

    error: float
    tolerance: float
    tokens: int
    diverged: int
    diverged_cap: int
    failure: str | None = None
    harm: bool = False


def expecting(verdict: Verdict, wrong: str) -> Verdict:
    """``verdict`` on an implementation that is wrong on purpose (``wrong`` says how): it must be, and do no harm.

    An empty batch has no output that could be wrong.
    """
    if not wrong or verdict.harm:
        return verdict
    if verdict.failure is None and verdict.tokens > 0:
        return replace(verdict, failure=f"its output is right, though it is registered as wrong on purpose ({wrong})")
    return replace(verdict, failure=None)


def make_reference(workload: Workload, family: str, x: torch.Tensor, weights: Mapping[str, torch.Tensor]) -> Reference:
    """What an implementation of ``family`` must make of ``x (tokens, d)``; all in the dtype, where they lie."""
    problem, device = workload.shape.seen_by(family), workload.place
    asked = Asked(workload.dtype, workload.batch, workload.seed, device.reference_operations, device.chunk_bytes)
    return problem.reference(x, workload.shape.weights_seen_by(family, weights), asked)


def only(reference: Reference, tokens: torch.Tensor) -> Reference:
    """Of a reference, what it says of ``tokens`` (as far as they are in its sample)."""
    import torch

    if len(tokens) == len(reference.index):
        return reference
    kept = torch.nonzero(torch.isin(reference.index, tokens)).flatten()
    parts = {name: getattr(reference, name)[kept] for name in PARTS}
    places = {old: new for new, old in enumerate(kept.tolist()) if old in reference.alternatives}
    return replace(reference, **parts, alternatives={new: reference.alternatives[old] for old, new in places.items()})


def compare(reference: Reference, y: torch.Tensor) -> Verdict:
    """Judge outputs ``y (tokens, d)`` of the whole batch against the reference."""
    import torch

    y = y.to(reference.y.device)
    tokens, cap = len(reference.index), len(reference.alternatives)
    written = torch.isfinite(y)
    if not bool(written.all()):
        count, where = int((~written).sum()), int(torch.nonzero(~written)[0][0])
        reason = f"{count} elements are not finite or were never written, first at token {where}"
        return Verdict(MOST_ERROR, _allowed(reference, 0) if tokens else 0.0, tokens, 0, cap, reason)
    if tokens == 0:
        return Verdict(0.0, 0.0, 0, 0, 0)
    chosen = y[reference.index].double()
    share = error_share(chosen, reference.y, reference.std)
    diverged = 0
    for token in torch.nonzero(~(share <= 1)).flatten().tolist():
        others = reference.alternatives.get(token)
        if others is None or not len(others.y):
            continue
        along = error_share(chosen[token].to(others.y.device)[None], others.y, others.std).min()
        if along <= 1:
            share[token] = along
            diverged += 1
    worst = int(share.argmax())
    allowed = _allowed(reference, worst)
    wrong, most = int((~(share <= 1)).sum()), float(share[worst])
    failure = None
    if wrong:
        failure = (
            f"{wrong} of {tokens} tokens differ from the float64 reference; "
            f"worst is token {int(reference.index[worst])}, {most:.3g} times its tolerance"
        )
    return Verdict(min(most * allowed, MOST_ERROR), allowed, tokens, diverged, cap, failure)


def _allowed(reference: Reference, place: int) -> float:
    """The error that the token at ``place`` may have, over its scale."""
    return NORM_SIGMAS * float(reference.std[place]) / max(float(reference.scale[place]), TINY)


def error_share(y: torch.Tensor, expected: torch.Tensor, std: torch.Tensor) -> torch.Tensor:
    """Each token's error over what is allowed: the larger of its norm's and of its worst element's share."""
    import torch

    error = y - expected
    norm = error.norm(dim=1) / (NORM_SIGMAS * std).clamp_min(TINY)
    element = error.abs().amax(dim=1) / (ELEMENT_SIGMAS * std / error.shape[1] ** 0.5).clamp_min(TINY)
    return torch.maximum(norm, element)


def save(reference: Reference, path: Path) -> None:
    """Write a reference on the host where other processes can read it; of the alternatives only who has any."""
    arrays = {name: getattr(reference, name).numpy() for name in PARTS}
    near = np.array(list(reference.alternatives), dtype=np.int64)
    np.savez(path, distinct_rows=reference.distinct_rows, near=near, **arrays)


def load(
    path: Path, workload: Workload, family: str, x: torch.Tensor, weights: Mapping[str, torch.Tensor]
) -> Reference:
    """Read what ``save`` wrote of the reference that ``make_reference`` made of the same."""
    import torch

    seen = workload.shape.weights_seen_by(family, weights)
    with np.load(path) as file:
        near = file["near"].tolist()
        others = workload.shape.seen_by(family).alternatives(near, x, seen, workload.dtype)
        parts = {name: torch.from_numpy(file[name]) for name in PARTS}
        return Reference(**parts, distinct_rows=float(file["distinct_rows"]), alternatives=others)

"""What can be verified of a stored cell without measuring it again?

A result file is a claim. Its times cannot be checked here, but its check of the output can be held against the error
model of the dtype, and its counts against its own shape.
"""

from __future__ import annotations

from functools import lru_cache

from fffbench.plan.workload import FAULTY, Cell, parse_cell
from fffbench.results.record import CellInfo, Check

# Unit roundoff of what a dtype rounds (stored values, or a product's inputs), and of the float32 it accumulates in.
# The error model is ``problems.judging``, of which this is a bound; a test holds one against the other.
ROUNDOFF = {"fp32": 2**-24, "tf32": 2**-11, "bf16": 2**-8, "fp16": 2**-11}
ACCUMULATE = 2**-24
# The model allows 3 standard deviations of sums of roundings, for the worst token of a batch. Over the 3202 cells
# measured so far that was at most 3.8 roundoffs in the types of 16 bits, and 166 where float32 accumulation
# dominates (768 inputs, 12 neurons: 32 * (sqrt(768) + sqrt(12)) is 998).
STORED_ROUNDOFFS = 16
SUMMED_ROUNDOFFS = 32
DIGITS = 1e-5  # results have six significant figures


def most_tolerance(cell: Cell, family: str) -> float:
    """The largest tolerance that the error model can have given the cell's outputs."""
    return _most_tolerance(cell.id, family)


@lru_cache(maxsize=20_000)  # machines of one kind measure the same cells
def _most_tolerance(cell: str, family: str) -> float:
    work = parse_cell(cell).workload
    neurons = work.shape.active if family in ("cmm", "fff") else work.shape.n
    summed = ACCUMULATE * SUMMED_ROUNDOFFS * (work.shape.d**0.5 + neurons**0.5)
    return work.shape.depth * float(STORED_ROUNDOFFS * ROUNDOFF[work.dtype] + summed)


def doubt(cell: Cell, info: CellInfo) -> tuple[str, str] | None:
    """Field and reason why ``info`` is not to be believed, or None."""
    return doubt_check(cell, info.family, info.check, info.distinct_rows)


def doubt_check(cell: Cell, family: str, check: Check, distinct_rows: float) -> tuple[str, str] | None:
    """Field and reason why a check of ``cell`` is not to be believed, or None."""
    shape = cell.workload.shape
    if check.tokens < 1:
        return "check.tokens", "no token was compared with the reference, so its time is not shown"
    if not check.diverged_cap <= check.tokens:
        return "check.diverged_cap", f"{check.diverged_cap} of {check.tokens} tokens cannot have a near-tie"
    most = most_tolerance(cell, family)
    if not 0 < check.tolerance <= most:
        given = f"{check.tolerance:.3g} is no tolerance of {cell.workload.dtype} at this shape"
        return "check.tolerance", f"{given}: the error model allows {most:.2g} at most"
    if (check.error > check.tolerance or check.diverged > check.diverged_cap) and family != FAULTY:
        return "check", f"{cell.implementation} failed its check, so its time is not shown"
    rows = shape.rows
    if distinct_rows > rows * (1 + DIGITS):
        return "distinct_rows", f"{distinct_rows:.6g} of {rows:.6g} rows cannot have been visited"
    return None

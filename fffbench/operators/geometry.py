"""Do the shapes of a call fit, and what tree do they make? One answer for numpy arrays and torch tensors."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from functools import lru_cache

from fffbench.problems.tree import MAX_LEVELS

_KEPT = 256  # answers kept: a model has a few shapes


def whole_number(name: str, value: object, least: int, most: int) -> int:
    """``value`` as an int, numpy's included; ``ValueError`` unless it is a whole number from ``least`` to ``most``."""
    if not isinstance(value, bool):
        try:
            number = operator.index(value)  # type: ignore[arg-type]
        except TypeError:
            pass
        else:
            if least <= number <= most:
                return number
    shown = repr(value)
    bound = f"at least {least}" if most >= 2**31 - 1 else f"from {least} to {most}"
    raise ValueError(f"{name} must be a whole number, {bound}, not {shown[:40]}")


@lru_cache(maxsize=_KEPT)
def tree_levels(n: int, trees: int) -> int:
    """Levels of ``trees`` complete trees over ``n`` rows."""
    levels = (n // trees).bit_length() if trees > 0 else 0
    if trees < 1 or n % trees or n // trees != 2**levels - 1 or not 1 <= levels <= MAX_LEVELS:
        raise ValueError(
            f"w1 and w2 must have trees * (2**levels - 1) rows with levels from 1 to {MAX_LEVELS}; "
            f"{n} rows are no {trees} complete tree{'' if trees == 1 else 's'}"
        )
    return levels


@lru_cache(maxsize=_KEPT)
def leaf_geometry(rows: int, n: int, trees: int) -> tuple[int, int]:
    """Levels of routers and neurons a leaf, where ``w1`` has ``rows`` rows (routers, then neurons) and ``w2`` ``n``."""
    levels = ((rows - n) // trees + 1).bit_length() - 1 if trees > 0 and rows >= n else -1
    if not 0 <= levels <= MAX_LEVELS or trees * (2**levels - 1) != rows - n or n < 1 or n % (trees * 2**levels):
        raise ValueError(
            f"w1 must have trees * (2**levels - 1) routers above the rows of w2, and w2 as many rows for each of the "
            f"trees * 2**levels leaves; w1 has {rows} rows, w2 {n}, with {trees} tree{'' if trees == 1 else 's'}"
        )
    return levels, n // (trees * 2**levels)


def check_tree_shapes(x: Sequence[int], w1: Sequence[int], w2: Sequence[int]) -> None:
    """``x (..., d)``, ``w1`` and ``w2`` ``(n, d)``."""
    check_leaf_shapes(x, w1, w2)
    if w1[0] != w2[0]:
        raise ValueError(f"w1 and w2 must have the same shape; they have {tuple(w1)} and {tuple(w2)}")


def check_leaf_shapes(x: Sequence[int], w1: Sequence[int], w2: Sequence[int]) -> None:
    """``x (..., d)``, ``w1 (routers + n, d)``, ``w2 (n, d)``."""
    if len(x) < 1 or x[-1] < 1:
        raise ValueError(f"x must have shape (..., d) with d at least 1; it has {tuple(x)}")
    for name, shape in (("w1", w1), ("w2", w2)):
        if len(shape) != 2 or shape[1] != x[-1]:
            raise ValueError(f"{name} must have shape (n, {x[-1]}), as x is {tuple(x)}; it has {tuple(shape)}")


def check_bias(name: str, shape: Sequence[int], wanted: tuple[int, ...]) -> None:
    """A bias of shape ``wanted``."""
    if tuple(shape) != wanted:
        raise ValueError(f"{name} must have shape {wanted}; it has {tuple(shape)}")

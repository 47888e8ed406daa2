"""What do the Triton implementations launch? One program a token, the whole path or one level of it.

Importing this module imports triton; the implementations do so inside their functions.
"""

# mypy: disable-error-code="no-untyped-def,no-untyped-call,untyped-decorator"
# ruff: noqa: ANN001, ANN201, ANN202 - the compiler types a kernel's arguments at launch

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def _gelu(z):
    return 0.5 * z * (1.0 + tl.erf(z * 0.7071067811865476))


@triton.jit
def walk(x, w1, w2, y, d, TREES: tl.constexpr, LEVELS: tl.constexpr, BLOCK: tl.constexpr):
    """Every level of every tree for one token; x and the output stay in registers."""
    token = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, BLOCK)
    inside = column < d
    row_x = tl.load(x + token * d + column, mask=inside, other=0.0).to(tl.float32)
    out = tl.zeros([BLOCK], dtype=tl.float32)
    first = token * 0  # the row of the tree's root, 64-bit from the start
    for _tree in range(TREES):
        node = token * 0
        for _level in range(LEVELS):
            at = (first + node) * d + column
            z = tl.sum(row_x * tl.load(w1 + at, mask=inside, other=0.0).to(tl.float32), axis=0)
            out += _gelu(z) * tl.load(w2 + at, mask=inside, other=0.0).to(tl.float32)
            node = 2 * node + 1 + (z > 0).to(tl.int64)
        first += (1 << LEVELS) - 1
    tl.store(y + token * d + column, out.to(y.dtype.element_ty), mask=inside)


@triton.jit
def one_level(x, w1, w2, y, total, nodes, d, first, root, start, last, BLOCK: tl.constexpr):
    """One level for one token: its node comes from memory and goes back there, its output too."""
    token = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, BLOCK)
    inside = column < d
    node = tl.load(nodes + token) * (1 - root)
    at = (first + node) * d + column
    row_x = tl.load(x + token * d + column, mask=inside, other=0.0).to(tl.float32)
    z = tl.sum(row_x * tl.load(w1 + at, mask=inside, other=0.0).to(tl.float32), axis=0)
    before = tl.load(total + token * d + column, mask=inside & (start == 0), other=0.0)
    out = before + _gelu(z) * tl.load(w2 + at, mask=inside, other=0.0).to(tl.float32)
    tl.store(nodes + token, 2 * node + 1 + (z > 0).to(tl.int64))
    tl.store(total + token * d + column, out, mask=inside)
    tl.store(y + token * d + column, out.to(y.dtype.element_ty), mask=inside & (last == 1))

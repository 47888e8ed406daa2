"""Does the packed order of the dense form's weights fit the walk that its kernel does in registers?

The kernel's threads are played in Python: which columns of a tile each holds, how it walks them, where it stores them.
"""

from __future__ import annotations

import numpy as np
import pytest

from fffbench.implementations.cuda.base import Layout
from fffbench.implementations.cuda.multi_plan import slots_of, stored_order

D, TOKENS = 12, 24


def held(row: np.ndarray, tile: int, columns: int) -> list[list[float]]:
    """The slots of each of a quad's four threads: columns 8 j + 2 q and the next, for every j."""
    at = tile * columns
    return [[row[at + s // 2 * 8 + 2 * q + s % 2] for s in range(columns // 4)] for q in range(4)]


def walk(slots: list[float], out: list[float], first: int, levels: int, *, entered: bool) -> None:
    """A tree in consecutive slots, breadth first: visited logits stay, activated by tanh; all others are 0."""
    index = 0
    for level in range(levels):
        from_ = first + 2**level - 1
        z = slots[from_ + index]
        if entered:
            out[from_ + index] = np.tanh(z)
        index = 2 * index + (z > 0)


def threads(slots: list[list[float]], levels: int, side: int) -> list[list[float]]:
    """What the four threads of a quad leave in their slots."""
    count = len(slots[0])
    out = [[0.0] * count for _ in slots]
    nodes = 2**levels - 1
    if nodes <= count:
        for q in range(4):
            for tree in range(count // nodes):
                walk(slots[q], out[q], tree * nodes, levels, entered=True)
        return out
    cell = count.bit_length() - 1
    halves = levels == cell + 3
    share = 4 if halves else 2 ** (levels - cell)
    for q in range(4):
        part, owner = q % share, q - q % share
        root = slots[owner][0]
        entered, shown, here = int(root > 0), (root if part == 0 else 0.0), True
        if share == 4:
            second = slots[owner + 1 + entered][0]
            if part == 1 + entered:
                shown = second
            entered = 2 * entered + int(second > 0)
        if halves:
            above = slots[owner + 3][0]
            here = (above > 0) == (side == 1)
            shown = (above if side == 0 else 0.0) if part == 3 else shown if here else 0.0
        walk(slots[q], out[q], 1, cell, entered=here and part == entered)
        out[q][0] = np.tanh(shown)
    return out


def stored(out: list[list[float]]) -> list[float]:
    """A tile's activations as they are written: 8 slots of each thread in turn."""
    return [out[q][8 * c + i] for c in range(len(out[0]) // 8) for q in range(4) for i in range(8)]


@pytest.mark.parametrize("columns", [64, 128, 256])
@pytest.mark.parametrize("levels", range(1, 10))
@pytest.mark.parametrize("trees", [1, 3, 18])
def test_the_threads_walk_agrees_with_the_trees(trees: int, levels: int, columns: int) -> None:
    slots = slots_of(Layout(D, trees, levels, "bf16"), columns)
    if slots is None:
        assert levels > columns.bit_length() - 3 + 2
        return
    nodes = 2**levels - 1
    random = np.random.default_rng(levels)
    x, w1, w2 = (random.standard_normal((rows, D)) for rows in (TOKENS, trees * nodes, trees * nodes))
    rows = np.array(slots)
    real = rows >= 0
    logits = x @ np.where(real[:, None], w1[rows], 0).T
    order = np.array(stored_order(len(slots), columns))
    tiles = range(len(slots) // columns)
    hidden = np.array([
        [v for tile in tiles for v in stored(threads(held(row, tile, columns), levels, tile % 2))] for row in logits
    ])  # fmt: skip
    packed = np.where(real[:, None], w2[rows], 0)[order]
    expected = np.zeros((TOKENS, D))
    for token in range(TOKENS):
        for tree in range(trees):
            node = 0
            for _ in range(levels):
                row = tree * nodes + node
                z = x[token] @ w1[row]
                expected[token] += np.tanh(z) * w2[row]
                node = 2 * node + 1 + (z > 0)
    np.testing.assert_allclose(hidden @ packed, expected, atol=1e-9)


def test_every_neuron_is_packed_and_no_row_of_activations_is_stored_twice() -> None:
    for columns, trees, levels in ((256, 128, 5), (256, 8, 9), (128, 32, 7), (64, 1536, 2)):
        slots = slots_of(Layout(768, trees, levels, "bf16"), columns)
        assert slots is not None
        assert set(slots) - {-1} == set(range(trees * (2**levels - 1)))
        assert sorted(stored_order(len(slots), columns)) == list(range(len(slots)))

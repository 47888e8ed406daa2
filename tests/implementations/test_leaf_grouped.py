"""Does the routing by products find the leaf that a walk finds?"""

from __future__ import annotations

import numpy as np
import pytest

from fffbench.implementations import cmm_leaf_grouped
from fffbench.plan.workload import Shape, Workload


@pytest.mark.parametrize("levels", [1, 2, 5, 7])
def test_the_leaf_with_most_turns_agreed_is_where_the_walk_ends(levels: int) -> None:
    shape = Shape.leaf(8, 1, levels, 8)
    right = np.random.default_rng(levels).choice([-1.0, 1.0], (200, 2**levels - 1))
    scores = right @ np.array(cmm_leaf_grouped.ancestors(shape)).T
    for turns, score in zip(right, scores, strict=True):
        node = 0
        for _ in range(levels):
            node = 2 * node + 1 + (turns[node] > 0)
        assert score.argmax() == node - (2**levels - 1)
        assert np.sort(score)[-1] == levels > np.sort(score)[-2]


@pytest.mark.parametrize(
    ("shape", "reason"),
    [
        (Shape.tree(768, 1, 12), "one tree"),
        (Shape.leaf(768, 2, 7, 32), "one tree"),
        (Shape.leaf(768, 1, 7, 33), "leaves of 33"),
        (Shape.leaf(77, 1, 7, 32), "d=77"),
    ],
)
def test_what_the_grouped_product_cannot_take_is_said(shape: Shape, reason: str) -> None:
    assert reason in str(cmm_leaf_grouped.unsupported(Workload(shape, 4, "bf16", device="cuda")))

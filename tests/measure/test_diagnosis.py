"""Is a mistake found by its output, and said with what was expected, what was got and where it happened?"""

import numpy as np
import pytest

from fffbench.implementations import reference as exact
from fffbench.measure import check, diagnosis, inputs
from fffbench.plan.workload import Shape, Workload

TREE = Workload(Shape.tree(24, 2, 4), 9, threads=2)
LEAF = Workload(Shape.leaf(24, 1, 3, 5), 9, threads=2)
DENSE = Workload(Shape.dense(24, 31), 9, threads=2)


def case(workload):
    x, weights = inputs.rounded(workload, workload.draw(workload.batch), workload.batch)
    wide = (tensor.double().numpy() for tensor in (x, weights["w1"], weights["w2"]))
    return *wide, check.make_reference(workload, "fff", x, weights)


def said_of(workload, spoil):
    """What is said of the output that ``spoil`` makes of the right one, the inputs and the weights."""
    x, w1, w2, reference = case(workload)
    return diagnosis.diagnose(workload.shape, x, w1, w2, reference, spoil(reference.y.numpy().copy(), x, w1, w2))


def test_nothing_is_said_of_what_is_right():
    for workload in (TREE, LEAF, DENSE):
        assert said_of(workload, lambda y, *_: y) == ""


@pytest.mark.parametrize("workload", [TREE, LEAF])
@pytest.mark.parametrize("level", [0, 1, 2])
def test_a_turn_the_other_way_is_found_at_its_level(workload, level):
    def spoil(y, x, w1, w2):
        return np.array([diagnosis._output(workload.shape, token, w1, w2, flipped={level}) for token in x])

    assert said_of(workload, spoil).endswith(f"it turned the other way at level {level}")


def walked_by_hand(y, x, w1, w2):
    """Trees of TREE, turning right where it should be left: other code than the one that diagnoses."""
    out = np.zeros_like(y)
    for tree in range(2):
        node = np.zeros(len(x), dtype=int)
        for _ in range(4):
            z = np.einsum("bd,bd->b", x, w1[15 * tree + node])
            out += exact.gelu(z)[:, None] * w2[15 * tree + node]
            node = 2 * node + 1 + (z < 0)
    return out


@pytest.mark.parametrize(
    ("workload", "spoil", "said"),
    [
        (TREE, lambda y, *_: 2 * y, "added to what it held"),
        (TREE, lambda y, *_: np.zeros_like(y), "nothing was added"),
        (TREE, walked_by_hand, "left and right are exchanged"),
        (TREE, lambda y, x, w1, w2: exact.walk(x, w1[:15], w2[:15], Shape.tree(24, 1, 4)).y, "only the first tree"),
        (DENSE, lambda y, x, w1, w2: np.maximum(x @ w1.T, 0) @ w2, "as with ReLU in place of GELU"),
        (DENSE, lambda y, x, w1, w2: (x @ w1.T) @ w2, "as with no activation"),
        (DENSE, lambda y, *_: y + 1.0, "expected"),
    ],
)
def test_a_common_mistake_is_named(workload, spoil, said):
    found = said_of(workload, spoil)
    assert said in found
    assert "expected" in found
    assert ", got " in found


def test_what_no_mistake_explains_has_both_values_and_no_guess():
    found = said_of(DENSE, lambda y, *_: np.roll(y, 1, axis=0))
    assert found.count("expected") == 1
    assert found.split("got ")[1].replace(".", "").replace("-", "").replace("e", "").isdigit()


def test_an_element_that_was_never_written_is_named():
    def spoil(y, *_):
        y[3, 7] = np.nan
        return y

    assert said_of(DENSE, spoil).startswith("token 3, element 7: expected")


@pytest.mark.parametrize(
    ("workload", "words"),
    [
        (Workload(Shape.tree(5, 2, 2), 1), "batch 1, 2 trees, 2 levels, d=5 is no multiple of 8"),
        (Workload(Shape.leaf(16, 1, 0, 3), 0), "batch 0, leaf blocks of 3, 0 levels"),
        (Workload(Shape.tree(768, 1, 12), 4, routing="single-path"), "every token on one path"),
        (Workload(Shape.dense(16, 31), 64), "batch 64, n=31 is no multiple of 8"),
    ],
)
def test_what_is_special_about_a_case_is_said_in_words(workload, words):
    assert words in diagnosis.special(workload)

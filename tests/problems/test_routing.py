"""Routing: what the tokens of each kind of data do."""

import numpy as np
import pytest

from fffbench.errors import UserError
from fffbench.implementations import reference
from fffbench.plan.workload import Shape, Workload
from fffbench.problems import trained
from fffbench.problems.tree import zipf_probabilities


def rows_of(workload, tokens):
    data = workload.draw(tokens)
    return reference.walk(*(array.astype(np.float64) for array in (data.x, data.w1, data.w2)), workload.shape)


@pytest.mark.parametrize("shape", [Shape.tree(768, 1, 12), Shape.tree(64, 5, 4), Shape.tree(100, 40, 1)])
def test_single_path_sends_every_token_the_same_way_with_logits_far_from_zero(shape):
    walk = rows_of(Workload(shape, 500, routing="single-path"), 500)
    assert len(np.unique(walk.rows, axis=0)) == 1
    assert np.abs(walk.logits).min() > 0.3


def test_single_path_turns_both_ways_so_that_no_activation_is_degenerate():
    walk = rows_of(Workload(Shape.tree(768, 1, 12), 10, routing="single-path"), 10)
    assert (walk.logits[0] > 0).any()
    assert (walk.logits[0] < 0).any()


def test_uniform_reaches_most_leaves_and_logits_have_unit_scale():
    shape = Shape.tree(768, 1, 12)
    walk = rows_of(Workload(shape, 16384), 16384)
    assert len(np.unique(walk.rows[:, -1])) > 0.95 * shape.leaves
    assert walk.logits.std() == pytest.approx(1, abs=0.05)


def test_the_weights_depend_on_shape_routing_and_seed_only():
    shape = Shape.tree(16, 1, 5)
    one = Workload(shape, 4, "fp32", threads=1).draw(64)
    two = Workload(shape, 64, "bf16", threads=2).draw(128)
    assert np.array_equal(one.w1, two.w1)
    assert not np.array_equal(one.w1, Workload(shape, 4, seed=1).draw(64).w1)


def test_a_pool_holds_at_least_as_many_tokens_as_leaves_in_whole_batches():
    shape = Shape.tree(16, 1, 12)
    assert Workload(shape, 1).tokens == 2048
    assert Workload(shape, 1000).tokens == 3000
    assert Workload(shape, 16384).tokens == 16384


ZIPF_SHAPES = [
    Shape.tree(768, 1, 12),
    Shape.tree(64, 5, 4),  # trees that choose for themselves
    Shape.tree(16, 9, 4),  # more trees than the inputs can carry: some repeat a choice
    Shape.tree(5, 2, 6),  # as many turns as inputs
    Shape.leaf(100, 3, 5, 4),
    Shape.tree(8, 40, 1),  # no turns at all
]


def leaves_of(walk, shape):
    """The leaf each token reaches, ``(tokens, trees)``: the turns as the digits of a number."""
    right = walk.logits.reshape(-1, shape.trees, shape.levels)[:, :, : shape.turns] > 0
    return right @ (2 ** np.arange(shape.turns - 1, -1, -1, dtype=np.int64))


@pytest.mark.parametrize("shape", ZIPF_SHAPES, ids=lambda shape: shape.id)
def test_zipf_sends_tokens_to_leaves_as_often_as_the_law_says_in_every_tree(shape):
    tokens = 20000
    leaves = leaves_of(rows_of(Workload(shape, tokens, routing="zipf"), tokens), shape)
    expected = zipf_probabilities(shape.leaves) * tokens
    for tree in range(shape.trees):
        counts = np.sort(np.bincount(leaves[:, tree], minlength=shape.leaves))[::-1]
        popular = expected > 200
        assert np.abs(counts - expected)[popular].max() < 6 * np.sqrt(expected.max())
        assert counts.sum() == tokens


def test_zipf_follows_the_law_leaf_by_leaf_and_not_only_in_sorted_order():
    """Two draws of tokens agree on which leaves are popular: the order belongs to the weights."""
    shape = Shape.tree(64, 1, 7)
    one, two = (
        np.bincount(leaves_of(rows_of(Workload(shape, n, routing="zipf"), n), shape)[:, 0], minlength=64) / n
        for n in (20000, 30000)
    )
    assert np.abs(one - two).max() < 0.02
    assert np.argmax(one) == np.argmax(two)


@pytest.mark.parametrize("shape", [ZIPF_SHAPES[0], ZIPF_SHAPES[4]], ids=lambda shape: shape.id)
def test_zipf_turns_are_decided_far_from_zero_and_in_both_directions(shape):
    walk = rows_of(Workload(shape, 5000, routing="zipf"), 5000)
    turning = walk.logits.reshape(-1, shape.trees, shape.levels)[:, :, : shape.turns]
    assert np.abs(turning).min() > 0.3
    assert 0.1 < (turning > 0).mean() < 0.9


def test_zipf_trees_choose_independently_where_the_inputs_can_carry_it():
    shape = Shape.tree(768, 8, 6)
    leaves = leaves_of(rows_of(Workload(shape, 20000, routing="zipf"), 20000), shape)
    top = [leaves[:, tree] == np.bincount(leaves[:, tree]).argmax() for tree in (0, 1)]
    assert (top[0] & top[1]).mean() == pytest.approx(top[0].mean() * top[1].mean(), abs=0.01)


def test_zipf_visits_fewer_distinct_neurons_than_uniform():
    shape = Shape.tree(128, 1, 10)
    distinct = [len(np.unique(rows_of(Workload(shape, 512, routing=kind), 512).rows)) for kind in ("zipf", "uniform")]
    assert distinct[0] < 0.8 * distinct[1]


def test_zipf_with_more_turns_than_inputs_is_refused_in_one_line():
    with pytest.raises(UserError, match="d=3 has too few; use uniform"):
        Workload(Shape.tree(3, 1, 5), 1, routing="zipf")


def test_in_the_leaf_form_routers_have_a_row_in_w1_and_none_in_w2():
    shape = Shape.leaf(16, 3, 2, 5)
    data = Workload(shape, 7).draw(7)
    assert shape.routers == 3 * 3
    assert data.w1.shape == (9 + 60, 16)
    assert data.w2.shape == (60, 16)


@pytest.mark.parametrize("kind", ["uniform", "zipf", "single-path"])
def test_outputs_of_the_leaf_form_have_unit_scale(kind):
    shape = Shape.leaf(256, 2, 3, 16)
    walk = rows_of(Workload(shape, 300, routing=kind), 300)
    assert 0.3 < walk.y.std() < 1.5


def test_single_path_of_the_leaf_form_ends_in_one_leaf_a_tree():
    shape = Shape.leaf(128, 2, 4, 3)
    walk = rows_of(Workload(shape, 200, routing="single-path"), 200)
    assert len(np.unique(walk.neurons, axis=0)) == 1


TRAINED = Shape.tree(128, 1, 9)


def test_trained_tokens_are_spread_over_many_leaves_and_less_evenly_than_those_of_random_data():
    found = {}
    for routing in ("trained", "uniform"):
        leaves = leaves_of(rows_of(Workload(TRAINED, 16384, routing=routing), 16384), TRAINED)[:, 0]
        share = np.bincount(leaves, minlength=TRAINED.leaves) / len(leaves)
        found[routing] = np.exp(-(share[share > 0] * np.log(share[share > 0])).sum()), share.max()
    assert 8 < found["trained"][0] < 0.9 * found["uniform"][0]
    assert found["trained"][1] > 1.3 * found["uniform"][1]


def test_a_trained_trees_bias_is_in_its_weights():
    with np.load(trained.FILE) as kept:
        w1, b1, embed, embed_bias, samples, scale = (
            kept[name].astype(np.float64) for name in ("w1", "b1", "embed", "embed_bias", "samples", "scale")
        )
    h = (samples * scale) @ embed + embed_bias
    u = (h - h.mean(axis=1, keepdims=True)) / h.std(axis=1, keepdims=True)
    found = trained.recorded()
    assert np.abs(found.x.astype(np.float64) @ found.w1.T.astype(np.float64) - u @ w1 - b1).max() < 1e-4


def test_trained_inputs_are_never_the_same_and_the_weights_always():
    one, two = (
        Workload(TRAINED, 4, routing="trained").draw(64),
        Workload(TRAINED, 4, routing="trained", seed=1).draw(64),
    )
    assert np.array_equal(one.w1, two.w1)
    assert not np.array_equal(one.x, two.x)
    assert len(np.unique(one.x, axis=0)) == 64


@pytest.mark.parametrize("shape", [Shape.tree(128, 1, 8), Shape.tree(64, 1, 9), Shape.leaf(128, 1, 9, 1)])
def test_no_other_shape_is_routed_as_what_was_trained(shape):
    with pytest.raises(UserError, match="what was trained is d128-n511-t1x9"):
        Workload(shape, 4, routing="trained")


def test_the_file_of_the_trained_tree_is_small():
    assert trained.FILE.stat().st_size < 400_000

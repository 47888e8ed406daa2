"""Routing: what the tokens of each kind of data do."""

import numpy as np
import pytest

from fffbench.implementations.reference import tree
from fffbench.plan import routing
from fffbench.plan.workload import Shape, Workload


def rows_of(workload, tokens):
    data = routing.make(workload, tokens)
    return tree(*(array.astype(np.float64) for array in (data.x, data.w1, data.w2)), workload.shape)


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
    one = routing.make(Workload(shape, 4, "fp32", threads=1), 64)
    two = routing.make(Workload(shape, 64, "bf16", threads=2), 128)
    assert np.array_equal(one.w1, two.w1)
    assert not np.array_equal(one.w1, routing.make(Workload(shape, 4, seed=1), 64).w1)


def test_a_pool_holds_at_least_as_many_tokens_as_leaves_in_whole_batches():
    shape = Shape.tree(16, 1, 12)
    assert routing.tokens_needed(Workload(shape, 1)) == 2048
    assert routing.tokens_needed(Workload(shape, 1000)) == 3000
    assert routing.tokens_needed(Workload(shape, 16384)) == 16384

"""The checker is a judge, so it is judged: it accepts what rounding explains and nothing else."""

import json

import numpy as np
import pytest

from fffbench.devices.cpu import Cpu
from fffbench.implementations import reference as exact
from fffbench.measure import check
from fffbench.measure.outcome import Outcome, outcome_from_json
from fffbench.plan.workload import FAULTY, Cell, Protocol, Shape, Workload
from fffbench.problems.judging import NORM_SIGMAS
from fffbench.results.plausible import doubt_check
from fffbench.results.record import Check

torch = pytest.importorskip("torch")


def reference_of(work, x, w1, w2, *, conditional):
    """The judge's reference of float64 arrays."""
    weights = {"w1": torch.from_numpy(w1), "w2": torch.from_numpy(w2)}
    return check.make_reference(work, "fff" if conditional else "dense", torch.from_numpy(x), weights)


def compare(reference, y):
    """The judge's verdict on an array or a tensor."""
    return check.compare(reference, torch.as_tensor(y))


RNG = np.random.default_rng(7)


def layer(shape, tokens, dtype="fp32"):
    work = Workload(shape, tokens, dtype)
    x = RNG.standard_normal((tokens, shape.d))
    w1 = RNG.standard_normal((shape.n, shape.d)) / shape.d**0.5
    w2 = RNG.standard_normal((shape.n, shape.d)) / shape.active**0.5
    return work, x, w1, w2


def near_tie(shape, logit):
    """A layer whose first token has the logit ``logit`` at the root of the first tree."""
    work, x, w1, w2 = layer(shape, 1)
    w1[0] -= x[0] * (x[0] @ w1[0] - logit) / (x[0] @ x[0])
    return work, x, w1, w2


def other_way(shape, x, w1, w2):
    """The output along the path that turns the other way at the first root."""
    flipped = w1.copy()
    flipped[0] = -w1[0]
    along = exact.tree(x, flipped, w2, shape).y
    z = x @ w1[0]
    return along - exact.gelu(-z)[:, None] * w2[0] + exact.gelu(z)[:, None] * w2[0]


def test_the_reference_itself_passes():
    work, x, w1, w2 = layer(Shape.tree(64, 2, 5), 50)
    reference = reference_of(work, x, w1, w2, conditional=True)
    assert compare(reference, reference.y).failure is None


def test_a_token_may_turn_either_way_at_a_near_tie_and_is_counted():
    shape = Shape.tree(64, 1, 4)
    work, x, w1, w2 = near_tie(shape, 1e-8)
    reference = reference_of(work, x, w1, w2, conditional=True)
    verdict = compare(reference, other_way(shape, x, w1, w2))
    assert verdict.failure is None
    assert (verdict.diverged, verdict.diverged_cap) == (1, 1)


def test_a_token_that_turns_the_wrong_way_off_a_tie_fails():
    shape = Shape.tree(64, 1, 4)
    work, x, w1, w2 = near_tie(shape, 1e-3)
    reference = reference_of(work, x, w1, w2, conditional=True)
    assert "differ from the float64 reference" in (compare(reference, other_way(shape, x, w1, w2)).failure or "")


def test_a_second_tree_has_near_ties_of_its_own():
    shape = Shape.tree(64, 2, 3)
    work, x, w1, w2 = layer(shape, 1)
    w1[7] -= x[0] * (x[0] @ w1[7] - 1e-8) / (x[0] @ x[0])
    reference = reference_of(work, x, w1, w2, conditional=True)
    assert len(reference.alternatives[0].y) == 1


def test_near_ties_in_several_trees_and_levels_may_turn_in_every_combination():
    shape = Shape.tree(64, 3, 3)
    work, x, w1, w2 = layer(shape, 1)
    for row in (0, 1, 2, 14):  # the first tree's root and both its children, the third's root
        w1[row] -= x[0] * (x[0] @ w1[row] - 1e-8) / (x[0] @ x[0])
    others = reference_of(work, x, w1, w2, conditional=True).alternatives[0].y.numpy()

    def along(turns):
        flipped = w1.copy()
        for row in turns:
            flipped[row] = -w1[row]
        walk = exact.tree(x, flipped, w2, shape)
        return (exact.gelu(x @ w1[walk.rows[0]].T)[0][:, None] * w2[walk.rows[0]]).sum(axis=0)

    first = [set(), {2}, {0}, {0, 1}]  # the reference goes right at the root
    expected = [along(a | b) for a in first for b in (set(), {14}) if a | b]
    assert others.shape == (7, 64)
    for one in expected:
        assert np.abs(others - one).max(axis=1).min() < 1e-6


@pytest.mark.parametrize("shape", [Shape.tree(64, 2, 4), Shape.leaf(64, 2, 2, 5)], ids=lambda shape: shape.id)
def test_another_path_has_the_rounding_of_the_neurons_on_it(shape):
    work, x, w1, w2 = layer(shape, 1)
    w1[0] -= x[0] * (x[0] @ w1[0] - 1e-8) / (x[0] @ x[0])
    found = reference_of(work, x, w1, w2, conditional=True).alternatives[0]
    w1[0] *= -1  # as an inner node's activation is nearly 0 here, this changes the path and nothing else
    other = reference_of(work, x, w1, w2, conditional=True)
    assert found.y.shape == (1, 64)
    torch.testing.assert_close(found.y, other.y, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(found.std, other.std, rtol=1e-3, atol=0)


def test_other_paths_are_computed_for_tokens_that_differ_alone():
    shape = Shape.tree(64, 1, 4)
    work, x, w1, w2 = near_tie(shape, 1e-8)
    reference = reference_of(work, x, w1, w2, conditional=True)
    w1[:] = np.nan  # nothing may be computed from them any more
    assert compare(reference, reference.y).failure is None
    assert list(reference.alternatives) == [0]


@pytest.mark.parametrize("dtype", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("conditional", [True, False])
def test_one_wrong_element_in_a_million_is_seen(dtype, conditional):
    work, x, w1, w2 = layer(Shape.tree(256, 1, 6), 400, dtype)
    reference = reference_of(work, x, w1, w2, conditional=conditional)
    y = reference.y.numpy().copy()
    y[123, 45] += 0.25 * np.std(y)
    assert "token 123" in (compare(reference, y).failure or "")


def test_an_element_that_was_never_written_is_seen_even_outside_the_sample():
    work, x, w1, w2 = layer(Shape.dense(64, 128), 300)
    reference = reference_of(work, x, w1, w2, conditional=False)
    y = reference.y.numpy().copy()
    y[299, 63] = np.nan
    assert "never written" in (compare(reference, y).failure or "")


def test_one_missing_neuron_of_4095_is_seen_in_fp32():
    work, x, w1, w2 = layer(Shape.dense(64, 4095), 20)
    reference = reference_of(work, x, w1, w2, conditional=False)
    without = exact.dense(x, w1[:-1], w2[:-1])
    assert compare(reference, without).failure is not None


def test_the_tanh_form_of_gelu_is_refused_in_fp32_and_allowed_in_bf16():
    def tanh_form(z):
        return 0.5 * z * (1 + np.tanh(np.sqrt(2 / np.pi) * (z + 0.044715 * z**3)))

    for dtype, allowed in (("fp32", False), ("bf16", True)):
        work, x, w1, w2 = layer(Shape.dense(64, 512), 50, dtype)
        reference = reference_of(work, x, w1, w2, conditional=False)
        assert (compare(reference, tanh_form(x @ w1.T) @ w2).failure is None) is allowed


@pytest.mark.parametrize("dtype", ["fp32", "bf16", "fp16"])
def test_the_error_model_predicts_sequential_summation_within_a_factor_of_three(dtype):
    store = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[dtype]
    work, x, w1, w2 = layer(Shape.dense(512, 256), 200, dtype)
    x, w1, w2 = (torch.from_numpy(a).to(store) for a in (x, w1, w2))
    z = torch.zeros(200, 256, dtype=torch.float32)
    for i in range(512):  # the longest chain of roundings there is
        z += x[:, i, None].float() * w1[:, i].float()
    a = torch.nn.functional.gelu(z.to(store))
    y = torch.zeros(200, 512, dtype=torch.float32)
    for k in range(256):
        y += a[:, k, None].float() * w2[k].float()
    wide = [t.double().numpy() for t in (x, w1, w2)]
    reference = reference_of(work, *wide, conditional=False)
    error = np.linalg.norm(y.to(store).double().numpy() - reference.y.numpy(), axis=1)
    typical = float(np.median(error / reference.std.numpy()))
    assert 1 / 3 < typical < NORM_SIGMAS


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38])
def test_what_is_wrong_on_purpose_is_stored_whatever_its_output_is(value):
    work, x, w1, w2 = layer(Shape.tree(64, 1, 4), 30)
    reference = reference_of(work, x, w1, w2, conditional=True)
    y = reference.y.numpy().copy()
    y[7, 3] = value
    verdict = check.expecting(compare(reference, y), "its weights were never written")
    assert verdict.failure is None
    parts = {name: getattr(verdict, name) for name in ("error", "tolerance", "tokens", "diverged", "diverged_cap")}
    cell = Cell("faulty_blas", work, Protocol("hot", "kernel"))
    outcome = Outcome(cell.id, 0, samples=(1e-3,), **parts)
    assert outcome_from_json(json.loads(json.dumps(outcome.to_json(), allow_nan=False))) == outcome
    assert doubt_check(cell, FAULTY, Check(**parts), 1.0) is None


def test_a_reference_survives_being_saved(tmp_path):
    shape = Shape.tree(64, 1, 4)
    work, x, w1, w2 = near_tie(shape, 1e-8)
    reference = reference_of(work, x, w1, w2, conditional=True)
    check.save(reference, tmp_path / "r.npz")
    weights = {"w1": torch.from_numpy(w1), "w2": torch.from_numpy(w2)}
    loaded = check.load(tmp_path / "r.npz", work, "fff", torch.from_numpy(x), weights)
    assert torch.equal(loaded.y, reference.y)
    assert list(loaded.alternatives) == list(reference.alternatives) == [0]
    assert torch.equal(loaded.alternatives[0].y, reference.alternatives[0].y)
    assert loaded.distinct_rows == reference.distinct_rows == 4


def test_a_dense_reference_over_too_many_tokens_checks_a_random_sample(monkeypatch):
    work, x, w1, w2 = layer(Shape.dense(4, 4), 100)
    monkeypatch.setattr(Cpu, "reference_operations", 4 * 16 * 10)
    reference = reference_of(work, x, w1, w2, conditional=False)
    assert len(reference.index) == 10
    assert np.allclose(reference.y, exact.dense(x, w1, w2)[reference.index])
    assert compare(reference, exact.dense(x, w1, w2)).tokens == 10


def leaf_layer(shape, logit=None):
    """A leaf layer on one token, whose logit at the root of the first tree is ``logit`` if given."""
    work = Workload(shape, 1)
    x = RNG.standard_normal((1, shape.d))
    w1 = RNG.standard_normal((shape.routers + shape.n, shape.d)) / shape.d**0.5
    w2 = RNG.standard_normal((shape.n, shape.d)) / (shape.trees * shape.leaf_width) ** 0.5
    if logit is not None:
        w1[0] -= x[0] * (x[0] @ w1[0] - logit) / (x[0] @ x[0])
    return work, x, w1, w2


def leaf_other_way(shape, x, w1, w2):
    """The output where the first root sends the token the other way: a router adds nothing of its own."""
    flipped = w1.copy()
    flipped[0] = -w1[0]
    return exact.leaf(x, flipped, w2, shape).y


@pytest.mark.parametrize(("logit", "accepted"), [(1e-8, True), (1e-3, False)])
def test_a_router_may_turn_either_way_at_a_near_tie_and_nowhere_else(logit, accepted):
    shape = Shape.leaf(64, 2, 3, 5)
    work, x, w1, w2 = leaf_layer(shape, logit)
    reference = reference_of(work, x, w1, w2, conditional=True)
    verdict = compare(reference, leaf_other_way(shape, x, w1, w2))
    assert (verdict.failure is None) is accepted
    assert verdict.diverged == verdict.diverged_cap == int(accepted)


def test_a_leaf_neuron_near_zero_is_no_near_tie():
    shape = Shape.leaf(64, 1, 2, 5)
    work, x, w1, w2 = leaf_layer(shape)
    neuron = int(exact.leaf(x, w1, w2, shape).neurons[0, 2])
    w1[shape.routers + neuron] -= x[0] * (x[0] @ w1[shape.routers + neuron]) / (x[0] @ x[0])
    reference = reference_of(work, x, w1, w2, conditional=True)
    assert not reference.alternatives


def test_the_leaf_reference_is_the_routed_block_computed_by_hand():
    shape = Shape.leaf(2, 1, 1, 2)  # one router, two leaves of two neurons
    w1 = np.array([[1.0, 0], [0, 1], [0, 2], [0, 3], [0, 4]])
    w2 = np.array([[1.0, 0], [0, 1], [10, 0], [0, 10]])
    x = np.array([[-1.0, 1], [1, 1]])
    left, right = exact.leaf(x, w1, w2, shape).y
    gelu = [exact.gelu(np.array(float(z))) for z in (1, 2, 3, 4)]
    assert np.allclose(left, [gelu[0], gelu[1]])
    assert np.allclose(right, [10 * gelu[2], 10 * gelu[3]])


@pytest.mark.parametrize("fault", ["block of the neighbour", "one neuron missing", "turns mirrored"])
def test_a_wrong_leaf_is_seen(fault):
    shape = Shape.leaf(64, 1, 3, 32)
    work = Workload(shape, 40)
    x = RNG.standard_normal((40, 64))
    w1 = RNG.standard_normal((shape.routers + shape.n, 64)) / 8
    w2 = RNG.standard_normal((shape.n, 64)) / 32**0.5
    reference = reference_of(work, x, w1, w2, conditional=True)
    if fault == "block of the neighbour":
        y = exact.leaf(x, w1, np.roll(w2, 32, axis=0), shape).y
    elif fault == "one neuron missing":
        without = w2.copy()
        without[31::32] = 0
        y = exact.leaf(x, w1, without, shape).y
    else:
        mirrored = w1.copy()
        mirrored[: shape.routers] *= -1
        y = exact.leaf(x, mirrored, w2, shape).y
    assert compare(reference, y).failure is not None


def test_distinct_rows_count_a_router_as_half():
    shape = Shape.leaf(64, 2, 3, 5)
    work, x, w1, w2 = leaf_layer(shape)
    assert reference_of(work, x, w1, w2, conditional=True).distinct_rows == 2 * (3 / 2 + 5)

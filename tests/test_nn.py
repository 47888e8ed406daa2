"""The modules: how they begin, what they say, and that published checkpoints go in and come out."""

from __future__ import annotations

import copy
import io

import pytest

import fffbench

torch = pytest.importorskip("torch")
pytest.importorskip("fffbench._cpu", reason="the C++ kernels are not built")
TreeFFF, LeafFFF = fffbench.nn.TreeFFF, fffbench.nn.LeafFFF


def published_tree(x, state, trees):
    """The published forward of the tree form: every logit, then only those on the path of each tree."""
    logits = torch.nn.functional.linear(x, state["linear_in.weight"], state["linear_in.bias"])
    nodes = logits.shape[1] // trees
    mask = torch.zeros_like(logits)
    for token in range(len(x)):
        for tree in range(trees):
            node = 0
            while node < nodes:
                mask[token, tree * nodes + node] = 1
                node = 2 * node + 1 + int(logits[token, tree * nodes + node] > 0)
    return torch.nn.functional.linear(torch.nn.functional.gelu(logits) * mask, state["linear_out.weight"])


def published_leaf(x, state):
    """The published forward of the leaf form with hard turns, as it trains: with b2s."""
    y = []
    for token in x:
        node = 0
        for _ in range(int(state["depth"])):
            score = token @ state["node_weights"][node] + state["node_biases"][node, 0]
            node = 2 * node + 1 + int(score >= 0)
        leaf = node - len(state["node_weights"])
        hidden = torch.relu(token @ state["w1s"][leaf] + state["b1s"][leaf])
        y.append(hidden @ state["w2s"][leaf] + state["b2s"][leaf])
    return torch.stack(y)


def tree_state(d=20, trees=3, levels=4):
    n = trees * (2**levels - 1)
    return {
        "linear_in.weight": torch.randn(n, d),
        "linear_in.bias": torch.randn(n),
        "linear_out.weight": torch.randn(d, n),
    }


def leaf_state(d=20, levels=3, width=5):
    leaves = 2**levels
    return {
        "depth": torch.tensor(levels),
        "node_weights": torch.randn(leaves - 1, d),
        "node_biases": torch.randn(leaves - 1, 1),
        "w1s": torch.randn(leaves, d, width),
        "b1s": torch.randn(leaves, width),
        "w2s": torch.randn(leaves, width, d),
        "b2s": torch.randn(leaves, d),
    }


def test_a_published_tree_computes_the_same_and_goes_back_unchanged():
    state, x = tree_state(), torch.randn(30, 20)
    layer = TreeFFF.from_published(state, trees=3)
    torch.testing.assert_close(layer(x), published_tree(x, state, 3), rtol=1e-4, atol=1e-4)
    again = layer.to_published()
    assert again.keys() == state.keys()
    assert all(torch.equal(again[name], state[name]) for name in state)
    again["linear_in.bias"].zero_()
    assert torch.equal(layer.b1, state["linear_in.bias"])


def test_a_published_leaf_layer_computes_the_same_and_goes_back_unchanged():
    state, x = leaf_state(), torch.randn(30, 20)
    layer = LeafFFF.from_published(state)
    torch.testing.assert_close(layer(x), published_leaf(x, state), rtol=1e-4, atol=1e-4)
    again = layer.to_published()
    assert again.keys() == state.keys()
    assert all(torch.equal(again[name], state[name]) for name in state)


def test_checkpoints_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"lacks linear_out.weight; it has linear_in.weight"):
        TreeFFF.from_published({"linear_in.weight": torch.ones(7, 4)}, trees=1)
    with pytest.raises(ValueError, match="45 rows are no 2 complete trees"):
        TreeFFF.from_published(tree_state(), trees=2)
    with pytest.raises(ValueError, match="one width"):
        LeafFFF.from_published({**leaf_state(), "w2s": torch.ones(8, 5, 3)})
    with pytest.raises(ValueError, match="no output bias"):
        TreeFFF(8, 3, output_bias=True).to_published()
    with pytest.raises(ValueError, match="one tree"):
        LeafFFF(8, 2, 3, trees=2).to_published()


@pytest.mark.parametrize(
    "make",
    [
        lambda **kind: TreeFFF(16, 5, 2, output_bias=True, **kind),
        lambda **kind: LeafFFF(16, 3, 4, 2, activation="relu", **kind),
    ],
)
def test_a_module_survives_saving_copying_and_moving_to_another_type(make):
    layer = make()
    file = io.BytesIO()
    torch.save(layer.state_dict(), file)
    file.seek(0)
    other = make()
    other.load_state_dict(torch.load(file))
    x = torch.randn(2, 3, 16)
    assert torch.equal(other(x), layer(x))
    assert torch.equal(copy.deepcopy(layer)(x), layer(x))
    half = copy.deepcopy(layer).bfloat16()
    assert half(x.bfloat16()).dtype is torch.bfloat16
    assert make(device="meta", dtype=torch.float16).w1.dtype is torch.float16


def test_it_begins_as_published():
    torch.manual_seed(0)
    layer = TreeFFF(100, 6, 4)
    assert layer.b2 is None
    for parameter, bound in ((layer.w1, 0.1), (layer.b1, 0.1), (layer.w2, 24**-0.5)):
        assert bound * 0.97 < parameter.abs().max() <= bound
    leaf = LeafFFF(100, 3, 16)
    for parameter, bound in ((leaf.w1, 0.1), (leaf.b1, 0.1), (leaf.w2, 0.25), (leaf.b2, 0.25)):
        assert bound * 0.95 < parameter.abs().max() <= bound


def test_it_says_what_it_is():
    assert repr(TreeFFF(768, 12)) == "TreeFFF(d=768, trees=1, levels=12, activation=gelu, b1, n=4095)"
    said = repr(LeafFFF(8, 2, 3, 2, bias=False))
    assert said == "LeafFFF(d=8, trees=2, levels=2, leaf_width=3, activation=gelu, b2, n=24)"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: TreeFFF(0, 3), "d must be a whole number, at least 1"),
        (lambda: TreeFFF(8, 25), "levels must be a whole number, from 1 to 24"),
        (lambda: LeafFFF(8, 2, 0), "leaf_width must be a whole number"),
        (lambda: TreeFFF(8, 2, activation="tanh"), "unknown activation"),
    ],
)
def test_counts_that_make_no_tree_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        wrong()


def test_a_layer_learns():
    torch.manual_seed(0)
    layer, x = TreeFFF(8, 3, 4, output_bias=True), torch.randn(64, 8)
    target = torch.randn(64, 8)
    step = torch.optim.Adam(layer.parameters(), 0.05)
    losses = []
    for _ in range(60):
        step.zero_grad()
        loss = (layer(x) - target).square().mean()
        loss.backward()
        step.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


def test_the_package_offers_the_modules():
    assert fffbench.nn.TreeFFF is TreeFFF

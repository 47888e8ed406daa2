"""Does every CUDA strategy add both biases, with every activation, on a GPU? Against float64, into poisoned outputs."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from error_model import logit_std, output_std

from fffbench.implementations import fff_cuda
from fffbench.implementations.cuda import leaf_plan
from fffbench.implementations.cuda.base import ACTIVATIONS, Gpu, Layout
from fffbench.implementations.cuda.plan import STRATEGIES
from fffbench.implementations.registry import Weights
from fffbench.plan.workload import Shape, Workload
from fffbench.problems import Problem
from fffbench.problems.judging import LOGIT_SIGMAS, NORM_SIGMAS

torch = pytest.importorskip("torch")
REASON = fff_cuda.machine_reason()
pytestmark = pytest.mark.skipif(REASON is not None, reason=str(REASON))

from fffbench.operators import formula, kernels, library  # noqa: E402 - after what decides whether anything here runs

DTYPE = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
BATCHES = (0, 1, 65, 301)
SHAPES = [
    Shape.tree(d, trees, levels)
    for d, trees, levels in (
        (768, 1, 12), (768, 1, 6), (768, 1, 1), (768, 1, 13), (72, 1, 7), (77, 1, 5), (264, 1, 9), (16, 1, 16),
        (16, 1, 20), (256, 1, 16), (768, 70, 1), (768, 5, 5), (328, 9, 4), (264, 3, 9), (768, 2, 11), (77, 3, 2),
        (4096, 1, 3), (12288, 1, 4),
    )
]  # fmt: skip
LEAVES = [
    Shape.leaf(d, trees, levels, width)
    for d, trees, levels, width in (
        (768, 1, 7, 32), (768, 1, 0, 40), (328, 1, 5, 33), (77, 5, 2, 17), (1, 1, 1, 1), (264, 1, 6, 129),
        (768, 1, 3, 200), (4096, 1, 2, 300), (16, 1, 12, 2),
    )
]  # fmt: skip


def cases() -> Iterator[tuple[Problem, str, str, str]]:
    """Shape, dtype, strategy, activation: of each strategy all activations, shape after shape."""
    turn: dict[str, int] = {}
    for shape in (*SHAPES, *LEAVES):
        for dtype in DTYPE:
            if dtype == "fp16" and shape.d not in (264, 328):
                continue
            aligned = shape.d * (4 if dtype == "fp32" else 2) % 16 == 0
            for name, make in (leaf_plan.STRATEGIES if shape.leaf_width else STRATEGIES).items():
                counted = f"{name}{shape.leaf_width > 0}"
                activation = ACTIVATIONS[turn.get(counted, 0) % len(ACTIVATIONS)]
                layout = Layout(
                    shape.d, shape.trees, shape.levels, dtype, aligned, shape.leaf_width, activation, b1=True, b2=True
                )
                if make(layout, Gpu(), 64) is not None:
                    turn[counted] = turn.get(counted, 0) + 1
                    yield shape, dtype, name, activation


def drawn(shape: Problem, batch: int, dtype: str) -> tuple[torch.Tensor, Weights]:
    """Inputs, and weights with biases as large as the logits and the outputs."""
    data, cast = Workload(shape, batch, dtype, device="cuda").draw(max(1, batch)), DTYPE[dtype]
    random = np.random.default_rng(shape.n)
    leaves = shape.trees << shape.levels if shape.leaf_width else 0
    biases = {
        "b1": random.standard_normal(len(data.w1), dtype=np.float32),
        "b2": random.standard_normal((leaves, shape.d) if leaves else shape.d, dtype=np.float32),
    }
    tensors = {
        name: torch.from_numpy(a).to("cuda", cast) for name, a in ({"w1": data.w1, "w2": data.w2} | biases).items()
    }
    return torch.from_numpy(data.x[:batch]).to("cuda", cast), Weights(**tensors)


def wrong_tokens(
    y: torch.Tensor, x: torch.Tensor, weights: Weights, shape: Problem, dtype: str, activation: str
) -> tuple[int, int]:
    """Tokens that the error model of ``problems/judging.py`` does not allow, among how many that pass no near-tie."""
    given = {name: tensor.double() for name, tensor in weights.tensors.items()}
    wide_x, w1, w2, b1, b2 = x.double(), given["w1"], given["w2"], given.get("b1"), given.get("b2")
    leaves: torch.Tensor | None = None
    if shape.leaf_width:
        leaves = formula.leaf_leaves(wide_x, w1, b1, shape.trees, shape.levels)
        rows = formula.leaf_rows(leaves, shape.leaf_width)
        nodes = formula.descend(wide_x, w1, b1, shape.trees, shape.levels, shape.levels)[:, :, :-1]
        roots = torch.arange(shape.trees, device=x.device) * ((1 << shape.levels) - 1)
        routed = (nodes + roots[:, None]).flatten(1)
    else:
        routed = rows = formula.tree_rows(wide_x, w1, b1, shape.trees, shape.levels)
    expected = formula.visited(wide_x, w1, w2, b1, b2, rows, leaves, activation).cpu().numpy()
    norms = x.double().norm(dim=1).hypot(torch.ones(1, dtype=torch.float64, device=x.device)).cpu().numpy()

    def logits(which: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
        first = w1[which]
        bias = torch.zeros_like(which, dtype=torch.float64) if b1 is None else b1[which]
        z = (torch.einsum("bkd,bd->bk", first, wide_x) + bias).cpu().numpy()
        row_norms = first.norm(dim=2).hypot(bias).cpu().numpy()
        return z, logit_std(z, norms[:, None], row_norms, shape.d + 1, dtype)

    z, spread = logits(routed)
    sure = (np.abs(z) > LOGIT_SIGMAS * spread).all(axis=1)
    z, spread = logits(rows + shape.routers)
    step = 1e-6

    def of(values: np.ndarray) -> np.ndarray:
        return formula.activate(torch.from_numpy(values), activation).numpy()

    slope = (of(z + step) - of(z - step)) / (2 * step)
    second = w2[rows].norm(dim=2).cpu().numpy()
    std, _ = output_std(z, of(z), spread, second, np.linalg.norm(expected, axis=1), dtype, slope)
    found = y.double().cpu().numpy()
    bad = ~(np.linalg.norm(found - expected, axis=1) <= NORM_SIGMAS * std)  # a poisoned output is bad, too
    return int((bad & sure).sum()), int(sure.sum())


@pytest.mark.parametrize(
    ("shape", "dtype", "strategy", "activation"),
    list(cases()) if REASON is None else [],
    ids=lambda v: v.id if isinstance(v, Problem) else v,
)
def test_a_strategy_with_both_biases_agrees_with_float64(
    shape: Problem, dtype: str, strategy: str, activation: str
) -> None:
    checked = 0
    for batch in BATCHES:
        x, weights = drawn(shape, batch, dtype)
        workload = Workload(shape, batch, dtype, device="cuda")
        layer = fff_cuda.prepare(weights, workload, strategy, activation)
        y = torch.full_like(x, float("nan"))
        run = layer.bind(x, y)
        run()
        first = y.clone()
        y.fill_(float("nan"))
        run()
        torch.cuda.synchronize()
        assert torch.equal(first, y), "two runs over the same inputs differ"
        for out in (y, layer.forward(x)):
            wrong, sure = wrong_tokens(out, x, weights, shape, dtype, activation) if batch else (0, 0)
            assert wrong == 0, f"batch {batch}: {wrong} of {sure} tokens"
            checked += sure
    assert checked > 300


@pytest.mark.parametrize("alone", ["b1", "b2"])
@pytest.mark.parametrize("strategy", [*STRATEGIES, *(f"leaf {name}" for name in leaf_plan.STRATEGIES)])
def test_one_bias_alone_is_added_by_every_strategy(strategy: str, alone: str) -> None:
    form, name = ("leaf", strategy[5:]) if strategy.startswith("leaf ") else ("tree", strategy)
    dtype = "fp32" if name in ("shared", "tile") else "bf16"
    trees, levels = {"dense": (128, 1), "masked": (5, 5), "dense_form": (5, 5)}.get(name, (1, 12))
    shape = Shape.leaf(768, 1, 5, 70) if form == "leaf" else Shape.tree(768, trees, levels)
    x, both = drawn(shape, 301, dtype)
    weights = Weights(**{key: value for key, value in both.tensors.items() if key in ("w1", "w2", alone)})
    y = fff_cuda.prepare(weights, Workload(shape, 301, dtype, device="cuda"), name).forward(x)
    wrong, sure = wrong_tokens(y, x, weights, shape, dtype, "gelu")
    assert wrong == 0
    assert sure > 200
    plain = Weights(weights.w1, weights.w2)
    wrong, _ = wrong_tokens(y, x, plain, shape, dtype, "gelu")
    assert wrong > 200, "an output without the bias must be seen as wrong"


@pytest.mark.parametrize("dtype", DTYPE)
@pytest.mark.parametrize("batch", [1, 65, 3000])
@pytest.mark.parametrize(
    "shape",
    [Shape.tree(768, 1, 12), Shape.tree(768, 5, 5), Shape.tree(768, 70, 1), Shape.leaf(768, 1, 5, 70)],
    ids=lambda s: s.id,
)
def test_the_operator_computes_biases_in_the_kernels(
    shape: Problem, batch: int, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, weights = drawn(shape, batch, dtype)
    call = library.leaf if shape.leaf_width else library.tree
    monkeypatch.setattr(kernels, "_formula", None)  # the way by operations of torch
    given = (x, *weights.tensors.values(), shape.trees, "silu", 0)
    with torch.no_grad():
        y = call(*given)
        assert wrong_tokens(y, x, weights, shape, dtype, "silu")[0] == 0
        weights.b1.neg_()  # what is packed must follow
        assert wrong_tokens(call(*given), x, weights, shape, dtype, "silu")[0] == 0

"""Does every CUDA strategy compute the tree FFF on a GPU, over edge shapes, into poisoned outputs?"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from error_model import logit_std, output_std

from fffbench.implementations import cmm_cuda_naive, cmm_triton_levels, fff_cuda, fff_triton, reference
from fffbench.implementations.cuda import leaf_plan
from fffbench.implementations.cuda.base import Gpu, Layout
from fffbench.implementations.cuda.launch import gpu
from fffbench.implementations.cuda.plan import STRATEGIES
from fffbench.implementations.registry import Layer, Weights
from fffbench.measure import check
from fffbench.plan.workload import Shape, Workload
from fffbench.problems.judging import LOGIT_SIGMAS, NORM_SIGMAS

torch = pytest.importorskip("torch")
REASON = fff_cuda.machine_reason()
pytestmark = pytest.mark.skipif(REASON is not None, reason=str(REASON))

SHAPES = [
    Shape.tree(d, trees, levels)
    for d, trees, levels in (
        (768, 1, 12), (768, 1, 11), (768, 1, 8), (768, 1, 6), (768, 1, 1), (768, 1, 13), (1024, 1, 10),
        (72, 1, 7), (328, 1, 12), (264, 1, 9), (264, 1, 4), (77, 1, 5), (1, 1, 3), (64, 5, 4), (77, 3, 2),
        (3000, 1, 4), (4096, 1, 3), (12288, 1, 2), (16, 1, 16),
        (768, 70, 1), (264, 21, 2), (768, 10, 3), (328, 9, 4), (768, 5, 5), (264, 5, 6), (768, 3, 7), (1000, 3, 8),
        (264, 3, 9), (768, 2, 11), (328, 8, 7), (256, 1, 14),
    )
]  # fmt: skip
LEAVES = [
    Shape.leaf(d, trees, levels, width)
    for d, trees, levels, width in (
        (768, 1, 7, 32), (768, 1, 0, 40), (1024, 1, 3, 31), (328, 1, 5, 33), (77, 1, 2, 5), (1, 1, 1, 1),
        (64, 3, 4, 8), (77, 5, 2, 17), (4096, 1, 2, 300), (12288, 1, 1, 3), (16, 1, 12, 2), (264, 1, 6, 129),
        (768, 1, 3, 200),
    )
]  # fmt: skip
BATCHES = (0, 1, 2, 63, 64, 65, 300, 1025)
DTYPE = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def here() -> Gpu:
    """The device these tests run on."""
    return gpu(torch.cuda.current_device())


def conform(prepare: Callable[[Weights, Workload], Layer], workload: Workload) -> None:
    """Run ``prepare(weights, workload)`` through bind (twice), forward and compare both with float64.

    By the judge of every measurement: what a token's output may differ by follows from the error model of
    ``problems/judging.py`` (roundings of the sums, of a stored logit and activation, and of y, a GELU within the
    dtype's allowance), along the reference's path or one that leaves it where a logit is within rounding of zero.
    """
    cast = DTYPE[workload.dtype]
    drawn = workload.draw(max(1, workload.batch))
    x = torch.from_numpy(drawn.x[: workload.batch]).to("cuda", cast)
    weights = Weights(*(torch.from_numpy(w).to("cuda", cast) for w in (drawn.w1, drawn.w2)))
    layer = prepare(weights, workload)
    y = torch.full_like(x, float("nan"))
    run = layer.bind(x, y)
    run()
    first = y.clone()
    y.fill_(float("nan"))
    run()
    torch.cuda.synchronize()
    assert torch.equal(first, y), "two runs over the same inputs differ"
    outputs = [y, layer.forward(x)]
    expected = check.make_reference(workload, "fff", x, weights.tensors)
    for out in outputs:
        assert out.shape == x.shape
        assert out.dtype == cast
        verdict = check.compare(expected, out)
        assert verdict.failure is None, f"batch {workload.batch}: {verdict.failure}"


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("dtype", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("shape", SHAPES, ids=lambda s: s.id)
def test_a_strategy_agrees_with_float64(shape: Shape, dtype: str, strategy: str) -> None:
    aligned = shape.d * (4 if dtype == "fp32" else 2) % 16 == 0
    if STRATEGIES[strategy](Layout(shape.d, shape.trees, shape.levels, dtype, aligned), here(), 64) is None:
        pytest.skip(f"{strategy} does not take this shape")
    for batch in BATCHES:
        workload = Workload(shape, batch, dtype, device="cuda")
        conform(lambda weights, w: fff_cuda.prepare(weights, w, strategy), workload)


@pytest.mark.parametrize("strategy", leaf_plan.STRATEGIES)
@pytest.mark.parametrize("dtype", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("shape", LEAVES, ids=lambda s: s.id)
def test_a_leaf_strategy_agrees_with_float64(shape: Shape, dtype: str, strategy: str) -> None:
    aligned = shape.d * (4 if dtype == "fp32" else 2) % 16 == 0
    layout = Layout(shape.d, shape.trees, shape.levels, dtype, aligned, shape.leaf_width)
    if leaf_plan.STRATEGIES[strategy](layout, here(), 64) is None:
        pytest.skip(f"{strategy} does not take this shape")
    for batch in BATCHES:
        workload = Workload(shape, batch, dtype, device="cuda")
        conform(lambda weights, w: fff_cuda.prepare(weights, w, strategy), workload)


@pytest.mark.parametrize("routing", ["uniform", "single-path", "zipf"])
@pytest.mark.parametrize("dtype", ["fp32", "bf16", "fp16"])
def test_the_leaf_preset_agrees_with_float64(dtype: str, routing: str) -> None:
    conform(fff_cuda.prepare, Workload(Shape.leaf(768, 1, 7, 32), 4000, dtype, routing, device="cuda"))


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_auto_takes_one_path_for_all_tokens(dtype: str) -> None:
    conform(fff_cuda.prepare, Workload(Shape.tree(768, 1, 12), 9000, dtype, "single-path", device="cuda"))


@pytest.mark.parametrize("module", [cmm_cuda_naive, cmm_triton_levels, fff_triton], ids=lambda m: m.__name__)
@pytest.mark.parametrize(
    "shape", [Shape.tree(768, 1, 12), Shape.tree(77, 3, 2), Shape.tree(40, 1, 1)], ids=lambda s: s.id
)
def test_the_other_kernels_agree_with_float64(module: object, shape: Shape) -> None:
    for dtype in module.DTYPES:  # type: ignore[attr-defined]
        for batch in (0, 1, 65):
            conform(module.prepare, Workload(shape, batch, dtype, device="cuda"))  # type: ignore[attr-defined]


@pytest.mark.parametrize("batch", [1, 65, 700])
@pytest.mark.parametrize("dtype", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("shape", [s for s in SHAPES if s.trees > 1], ids=lambda s: s.id)
def test_auto_agrees_with_float64_for_several_trees(shape: Shape, dtype: str, batch: int) -> None:
    conform(fff_cuda.prepare, Workload(shape, batch, dtype, device="cuda"))


SCALAR = {
    "gelu_tanh": lambda z: 0.5 * z * (1 + np.tanh((2 / np.pi) ** 0.5 * (z + 0.044715 * z**3))),
    "relu": lambda z: np.maximum(z, 0.0),
    "silu": lambda z: z / (1 + np.exp(-z)),
}


@pytest.mark.parametrize("activation", SCALAR)
@pytest.mark.parametrize("strategy", ["path", "latency", "split", "dense_form", "masked", "tensor"])
def test_an_activation_that_is_compiled_in_is_the_one_asked_for(strategy: str, activation: str) -> None:
    shape = Shape.tree(768, 3, 8)
    workload = Workload(shape, 130, "bf16", device="cuda")
    if STRATEGIES[strategy](Layout(768, 3, 8, "bf16"), here(), 130) is None:
        pytest.skip(f"{strategy} does not run here")
    drawn = workload.draw(130)
    x = torch.from_numpy(drawn.x).to("cuda", torch.bfloat16)
    weights = Weights(*(torch.from_numpy(w).to("cuda", torch.bfloat16) for w in (drawn.w1, drawn.w2)))
    y = fff_cuda.prepare(weights, workload, strategy, activation=activation).forward(x).double().cpu().numpy()
    exact = reference.walk(*(t.double().cpu().numpy() for t in (x, weights.w1, weights.w2)), shape)
    rows = weights.w2.double().cpu().numpy()[exact.neurons]
    f, z, step = SCALAR[activation], exact.inputs, 1e-6
    expected = np.einsum("bk,bkd->bd", f(z), rows)
    # as the judge has it for GELU (problems/judging.py), with this activation's own derivative
    norms = [np.linalg.norm(t.double().cpu().numpy(), axis=1) for t in (x, weights.w1, weights.w2)]
    z_std = logit_std(z, norms[0][:, None], norms[1][exact.neurons], shape.d, "bf16")
    y_norm, slope = np.linalg.norm(expected, axis=1), (f(z + step) - f(z - step)) / (2 * step)
    std, _ = output_std(z, f(z), z_std, norms[2][exact.neurons], y_norm, "bf16", slope)
    sure = (np.abs(z) > LOGIT_SIGMAS * z_std).all(axis=1)
    assert sure.sum() > 100
    assert (np.linalg.norm(y - expected, axis=1) <= NORM_SIGMAS * std)[sure].all()


def test_forward_follows_other_inputs_of_the_same_shape() -> None:
    shape = Shape.tree(768, 5, 5)
    workload = Workload(shape, 300, "bf16", device="cuda")
    drawn = workload.draw(300)
    x = torch.from_numpy(drawn.x).to("cuda", torch.bfloat16)
    weights = Weights(*(torch.from_numpy(w).to("cuda", torch.bfloat16) for w in (drawn.w1, drawn.w2)))
    layer = fff_cuda.prepare(weights, workload, "dense_form")
    first, other = layer.forward(x), layer.forward(x.flip(0).contiguous())
    assert torch.equal(first.flip(0), other)


FORMS = dict.fromkeys(STRATEGIES, "tree") | {f"leaf-{name}": "leaf" for name in leaf_plan.STRATEGIES}
REPLAYED = {"shared": "fp32", "dense": "bf16"}


@pytest.mark.parametrize("named", FORMS)
def test_a_bound_call_replays_in_a_graph(named: str) -> None:
    strategy = named.removeprefix("leaf-")
    dtype = REPLAYED.get(named, "bf16")
    levels = {"dense_form": 5, "masked": 5, "dense": 1}.get(named, 12)
    trees = 128 if named == "dense" else 1 if levels > 5 else 9
    shape = Shape.leaf(768, 1, 7, 32) if FORMS[named] == "leaf" else Shape.tree(768, trees, levels)
    workload = Workload(shape, 700, dtype, device="cuda")
    drawn = workload.draw(700)
    x = torch.from_numpy(drawn.x).to("cuda", DTYPE[dtype])
    weights = Weights(*(torch.from_numpy(w).to("cuda", DTYPE[dtype]) for w in (drawn.w1, drawn.w2)))
    y = torch.empty_like(x)
    run = fff_cuda.prepare(weights, workload, strategy).bind(x, y)
    run()
    eager = y.clone()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(3):
            run()
    y.fill_(float("nan"))
    graph.replay()
    torch.cuda.synchronize()
    assert torch.equal(eager, y)


def test_unaligned_tensors_take_the_element_wise_kernels() -> None:
    shape = Shape.tree(32, 1, 7)
    workload = Workload(shape, 33, "bf16", device="cuda")
    drawn = workload.draw(33)
    flat = torch.from_numpy(np.concatenate([[0.0], drawn.x.ravel()])).to("cuda", torch.bfloat16)
    x = flat[1:].view(33, 32)
    weights = Weights(*(torch.from_numpy(w).to("cuda", torch.bfloat16) for w in (drawn.w1, drawn.w2)))
    layer = fff_cuda.prepare(weights, workload)
    torch.testing.assert_close(layer.forward(x), layer.forward(x.clone()), atol=0.03, rtol=0.03)

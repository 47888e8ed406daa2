"""Does the dense form of shallow trees, and every plan for several trees, compute the tree FFF?"""

import itertools
import math

import numpy as np
import pytest
from dense_reference import packed
from tree_reference import ISAS, THREADS, make

from fffbench.implementations import dense_gemm, fff_cpu
from fffbench.implementations.registry import Weights
from fffbench.plan.workload import Shape, Workload

_cpu = pytest.importorskip("fffbench._cpu", reason="the C++ kernels are not built")

SHAPES = [(1, 1), (70, 1), (65, 2), (28, 3), (13, 4), (7, 5), (2, 7)]


@pytest.mark.parametrize("batch", [0, 1, 63, 130])
@pytest.mark.parametrize("d", [1, 17, 48])
@pytest.mark.parametrize(("trees", "levels"), SHAPES)
def test_every_shape_of_the_dense_form_matches_the_float64_reference(trees, levels, d, batch):
    case = make(batch, d, trees, levels)
    for isa, threads in itertools.product(ISAS, THREADS):
        case.buffer[:] = case.poison
        call = _cpu.GemmCall(0, 0, 0, batch, d, len(case.w1), threads, isa, levels)
        weights = packed(case.w1, case.w2, call.panel, _cpu.GEMM_NEURONS, levels)
        call.run_on(case.x.ctypes.data, weights.ctypes.data, case.y.ctypes.data)
        case.assert_right((isa, threads))


@pytest.mark.parametrize(("trees", "levels"), SHAPES)
@pytest.mark.parametrize("panel", [12, 48])
def test_whole_trees_are_packed_in_the_order_of_use(trees, levels, panel):
    torch = pytest.importorskip("torch")
    case = make(1, 17, trees, levels)
    found = dense_gemm.pack(torch.from_numpy(case.w1), torch.from_numpy(case.w2), panel, levels)
    np.testing.assert_array_equal(found.numpy(), packed(case.w1, case.w2, panel, _cpu.GEMM_NEURONS, levels))


@pytest.mark.parametrize(("trees", "levels"), SHAPES)
@pytest.mark.parametrize("tokens", [0, 1, 5, 64])
def test_masked_logits_are_the_activations_on_the_paths_and_zeros(trees, levels, tokens):
    nodes = 2**levels - 1
    n, stride = trees * nodes, trees * nodes + 3
    logits = np.random.default_rng([trees, levels]).standard_normal((tokens, stride)).astype(np.float32)
    want = logits.astype(np.float64)
    want[:, :n] = 0
    for token, tree in itertools.product(range(tokens), range(trees)):
        node = 0
        for _ in range(levels):
            z = float(logits[token, tree * nodes + node])
            want[token, tree * nodes + node] = z * 0.5 * (1 + math.erf(z / 2**0.5))
            node = 2 * node + 1 + (z > 0)
    for threads in THREADS:
        found = logits.copy()
        _cpu.mask_trees(found.ctypes.data, tokens, stride, trees, levels, threads)
        np.testing.assert_allclose(found, want, 2e-6, 2e-6)


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
@pytest.mark.parametrize("batch", [17, 600])
@pytest.mark.parametrize(("trees", "levels"), [(70, 1), (20, 2), (9, 3), (5, 4)])
def test_the_layer_that_is_prepared_matches_the_float64_reference(trees, levels, batch, dtype):
    torch = pytest.importorskip("torch")
    case = make(batch, 48, trees, levels, dtype)
    kind = torch.float32 if dtype == "fp32" else torch.bfloat16
    x, w1, w2 = (torch.from_numpy(a).view(kind) for a in (case.x, case.w1, case.w2))
    workload = Workload(Shape.tree(48, trees, levels), batch, dtype, threads=2)
    layer = fff_cpu.prepare(Weights(w1, w2), workload)
    assert ("dense form" in layer.notes[0]) == (levels <= fff_cpu.DENSE_FORM_LEVELS[dtype])
    y = torch.full_like(x, float("nan"))
    layer.bind(x, y)()
    assert torch.equal(layer.forward(x), y)
    tolerance = {"fp32": (2e-5, 2e-5), "bf16": (2**-6, 2e-2)}[
        dtype
    ]  # bf16 rounds every activation, as a dense layer does
    torch.testing.assert_close(y.double(), torch.from_numpy(case.want), rtol=tolerance[0], atol=tolerance[1])
    with pytest.raises(ValueError, match="contiguous"):
        layer.forward(x[:2])


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
@pytest.mark.parametrize(
    ("batch", "trees", "levels", "threads"),
    [
        (40, 9, 3, 4),  # blocks of tokens and parts of the trees
        (600, 5, 2, 2),  # several blocks
        (70, 3, 6, 3),  # three trees, three workers
        (900, 3, 8, 2),  # one tree after the other in two phases
        (2300, 2, 7, 1),  # more tokens than go through a tree at a time
    ],
)
def test_every_plan_for_several_trees_matches_the_float64_reference(batch, trees, levels, threads, dtype):
    case = make(batch, 33, trees, levels, dtype)
    for isa in ISAS:
        case.run("bucket", isa, threads)
        case.assert_right((isa, threads))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"levels": -1}, "levels must be from 0 to 7"),
        ({"levels": 8}, "levels must be from 0 to 7"),
        ({"levels": 2, "n": 4}, r"multiple of 2\*\*levels - 1"),
    ],
)
def test_bad_levels_raise_value_error(change, message):
    arguments = {"x": 64, "weights": 64, "y": 64, "batch": 20, "d": 4, "n": 3} | change
    with pytest.raises(ValueError, match=message):
        _cpu.GemmCall(**arguments)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"levels": 0}, "levels must be from 1"),
        ({"threads": 0}, "threads must be"),
        ({"trees": 0}, "stride at least"),
        ({"stride": 2}, "stride at least"),
        ({"logits": 0}, "must not be null"),
    ],
)
def test_bad_logits_raise_value_error(change, message):
    arguments = {"logits": 64, "tokens": 1, "stride": 9, "trees": 3, "levels": 2} | change
    with pytest.raises(ValueError, match=message):
        _cpu.mask_trees(**arguments)

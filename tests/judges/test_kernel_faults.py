"""The check catches every fault that is planted in the real C++ kernels, in every dtype, strategy and form of call.

``fffbench._cpu_faults`` is the shipped source compiled a second time with a fault selector.
"""

import pytest

from fffbench.implementations import dense_gemm
from fffbench.implementations.registry import Layer
from fffbench.measure import cellrun, conformance, inputs
from fffbench.measure.subject import Here
from fffbench.plan.workload import Cell, Protocol, Shape, Workload

torch = pytest.importorskip("torch")
faults = pytest.importorskip("fffbench._cpu_faults", reason="built without FFFBENCH_FAULTS")

FAULTS = ["skip_level", "wrong_row", "ignore_activation", "stale_memory", "flip_branch", "write_past_end"]
SHAPES = [
    Shape.tree(768, 1, 12),
    Shape.tree(100, 1, 7),
    Shape.tree(33, 5, 3),
    Shape.leaf(768, 1, 7, 32),
    Shape.leaf(33, 3, 2, 5),
]


SHALLOW = [Shape.tree(96, 9, 1), Shape.tree(33, 5, 3), Shape.tree(33, 2, 7)]
OF_PRODUCTS = [fault for fault in FAULTS if fault not in ("stale_memory", "write_past_end")]  # torch writes the output


def masked(x, y, weights, shape, dtype, fault):
    """The dense form around torch's products, with a fault in what lies between them."""
    logits = x @ weights.w1.t()
    faults.mask_trees(logits.data_ptr(), len(x), shape.n, shape.trees, shape.levels, 2, dtype=dtype, fault=fault)
    torch.mm(logits, weights.w2, out=y)


def verdict(fault, dtype, strategy, shape, batch):
    workload = Workload(shape, batch, dtype, threads=2)
    cell = Cell("fff_cpu", workload, Protocol("hot"))
    data = workload.draw(batch)
    pool = inputs.make_pool(cell, data)
    reference = cellrun.build_reference(workload, "fff", data, batch)

    def bind(x, y):
        places = [tensor.data_ptr() for tensor in (x, pool.weights.w1, pool.weights.w2, y)]
        counts = [batch, shape.d, shape.trees, shape.levels]
        if strategy == "packed":
            call = faults.GemmCall(0, 0, 0, batch, shape.d, shape.n, 2, levels=shape.levels, fault=fault)
            packed = dense_gemm.pack(pool.weights.w1, pool.weights.w2, call.panel, shape.levels)
            return lambda: call.run_on(x.data_ptr(), packed.data_ptr(), y.data_ptr())
        if strategy == "masked":
            return lambda: masked(x, y, pool.weights, shape, dtype, fault)
        options = {"threads": 2, "strategy": strategy, "dtype": dtype, "fault": fault}
        if shape.leaf_width:
            return faults.LeafCall(*places, *counts, shape.leaf_width, **options).run
        return faults.FffCall(*places, *counts, **options).run

    def forward(x):
        y = inputs.guarded_output(x, batch)
        bind(x, y)()
        return y

    return conformance.judge(Here(Layer(forward, bind), cell, pool), cell, reference)


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
@pytest.mark.parametrize("strategy", ["walk", "bucket"])
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.id)
def test_without_a_fault_the_second_build_is_right(dtype, strategy, shape):
    assert verdict("none", dtype, strategy, shape, 300).failure is None


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
@pytest.mark.parametrize("strategy", ["walk", "bucket"])
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.id)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_caught(fault, dtype, strategy, shape):
    assert verdict(fault, dtype, strategy, shape, 300).failure is not None


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_caught_on_a_single_batch_of_the_pool_that_timing_checks(fault):
    assert verdict(fault, "fp32", "walk", SHAPES[0], inputs.CHECKED_TOKENS).failure is not None


@pytest.mark.parametrize("shape", SHALLOW, ids=lambda shape: shape.id)
def test_without_a_fault_both_dense_forms_are_right(shape):
    assert verdict("none", "fp32", "packed", shape, 300).failure is None
    assert verdict("none", "fp32", "masked", shape, 300).failure is None
    assert verdict("none", "bf16", "masked", shape, 300).failure is None


@pytest.mark.parametrize("shape", SHALLOW[1:], ids=lambda shape: shape.id)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_planted_in_the_dense_form_by_our_own_product_is_caught(fault, shape):
    assert verdict(fault, "fp32", "packed", shape, 300).failure is not None


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
@pytest.mark.parametrize("shape", SHALLOW[1:], ids=lambda shape: shape.id)
@pytest.mark.parametrize("fault", OF_PRODUCTS)
def test_a_fault_planted_between_torchs_products_is_caught(fault, shape, dtype):
    assert verdict(fault, dtype, "masked", shape, 300).failure is not None

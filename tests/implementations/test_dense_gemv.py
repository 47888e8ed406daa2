"""Does the C++ dense layer for small batches compute the dense layer?"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from dense_reference import Guarded, make, reference

from fffbench.implementations import dense_gemv
from fffbench.implementations.registry import Weights
from fffbench.plan.workload import Shape, Workload

_cpu = pytest.importorskip("fffbench._cpu", reason="the C++ kernels are not built")


@pytest.mark.parametrize("batch", [0, 1, 2, 3, 4, 5, 7, 8, 15, 16])
@pytest.mark.parametrize(("d", "n"), [(1, 1), (5, 3), (16, 63), (17, 65), (100, 130), (768, 255), (769, 200)])
def test_every_shape_matches_the_float64_reference(batch, d, n):
    x, w1, w2 = make(batch, d, n)
    want = reference(x, w1, w2)
    output = Guarded(x)
    y = output.y
    for isa, threads in itertools.product(_cpu.isas(), (1, 2, 3)):
        output.spoil()
        call = _cpu.GemvCall(*(a.ctypes.data for a in (x, w1, w2, y)), batch, d, n, threads, isa)
        for _ in range(2):
            call.run()
            np.testing.assert_allclose(y, want, 2e-5, 2e-5)
        assert output.untouched()


@pytest.mark.parametrize("batch", [1, 4, 16])
@pytest.mark.parametrize(("d", "n"), [(17, 65), (768, 255)])
def test_bf16_matches_the_float64_reference_on_the_same_inputs(batch, d, n):
    torch = pytest.importorskip("torch")
    x, w1, w2 = (torch.from_numpy(a).bfloat16() for a in make(batch, d, n))
    want = reference(*(a.float().numpy() for a in (x, w1, w2)))
    for isa, threads in itertools.product(_cpu.isas(), (1, 2, 3)):
        y = torch.full_like(x, float("nan"))
        _cpu.GemvCall(*(a.data_ptr() for a in (x, w1, w2, y)), batch, d, n, threads, isa, "bf16").run()
        np.testing.assert_allclose(y.float().numpy(), want, 2**-8, 2e-3)


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_the_layer_gives_the_same_through_forward_and_bind(dtype):
    torch = pytest.importorskip("torch")
    kind = {"fp32": torch.float32, "bf16": torch.bfloat16}[dtype]
    x, w1, w2 = (torch.from_numpy(a).to(kind) for a in make(3, 40, 50))
    workload = Workload(Shape.dense(40, 50), 3, dtype, threads=2)
    assert dense_gemv.unsupported(workload) is None
    layer = dense_gemv.prepare(Weights(w1, w2), workload)
    y = torch.full_like(x, float("nan"))
    layer.bind(x, y)()
    assert torch.equal(layer.forward(x), y)
    with pytest.raises(ValueError, match="contiguous"):
        layer.forward(x[:2])


def test_a_batch_above_its_limit_is_unsupported_with_a_sentence():
    reason = dense_gemv.unsupported(Workload(Shape.dense(40, 50), 17))
    assert reason == "dense_gemv is for batches up to 16"


@pytest.mark.parametrize(
    ("change", "message"),
    [({"batch": 17}, "batch must be from 0 to 16"), ({"n": 0}, "d and n"), ({"threads": 0}, "threads must be")],
)
def test_bad_counts_raise_value_error(change, message):
    arguments = {"x": 64, "w1": 64, "w2": 64, "y": 64, "batch": 1, "d": 4, "n": 3} | change
    with pytest.raises(ValueError, match=message):
        _cpu.GemvCall(**arguments)

"""Does the C++ dense layer for large batches compute the dense layer?"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from dense_reference import Guarded, make, packed, reference

from fffbench.implementations import dense_gemm
from fffbench.implementations.registry import Weights
from fffbench.plan.workload import Shape, Workload

_cpu = pytest.importorskip("fffbench._cpu", reason="the C++ kernels are not built")


@pytest.mark.parametrize("batch", [0, 1, 2, 3, 7, 8, 9, 63, 64, 65, 130])
@pytest.mark.parametrize(("d", "n"), [(1, 1), (5, 3), (47, 193), (48, 192), (100, 400), (129, 48), (768, 255)])
def test_every_shape_matches_the_float64_reference(batch, d, n):
    x, w1, w2 = make(batch, d, n)
    want = reference(x, w1, w2)
    output = Guarded(x)
    y = output.y
    for isa, threads in itertools.product(_cpu.isas(), (1, 2, 3)):
        output.spoil()
        call = _cpu.GemmCall(x.ctypes.data, 0, y.ctypes.data, batch, d, n, threads, isa)
        weights = packed(w1, w2, call.panel, _cpu.GEMM_NEURONS)
        for _ in range(2):
            call.run_on(x.ctypes.data, weights.ctypes.data, y.ctypes.data)
            np.testing.assert_allclose(y, want, 2e-5, 2e-5)
        assert output.untouched()


@pytest.mark.parametrize(("d", "n"), [(5, 3), (48, 192), (100, 400)])
@pytest.mark.parametrize("panel", [12, 24, 48])
def test_weights_are_packed_in_the_order_of_use(d, n, panel):
    torch = pytest.importorskip("torch")
    _, w1, w2 = make(1, d, n)
    found = dense_gemm.pack(torch.from_numpy(w1), torch.from_numpy(w2), panel)
    np.testing.assert_array_equal(found.numpy(), packed(w1, w2, panel, _cpu.GEMM_NEURONS))


@pytest.mark.parametrize("threads", [1, 2, 3, 16])
@pytest.mark.parametrize("batch", [17, 100, 333, 1024])
def test_the_same_bits_come_out_however_tokens_are_split_over_threads(batch, threads):
    torch = pytest.importorskip("torch")
    x, w1, w2 = (torch.from_numpy(a) for a in make(batch, 64, 200))
    layers = [
        dense_gemm.prepare(Weights(w1, w2), Workload(Shape.dense(64, 200), batch, threads=count))
        for count in (1, threads)
    ]
    assert torch.equal(*(layer.forward(x) for layer in layers))


def test_the_layer_gives_the_same_through_forward_and_bind_and_lists_its_packed_weights():
    torch = pytest.importorskip("torch")
    x, w1, w2 = (torch.from_numpy(a) for a in make(33, 40, 50))
    workload = Workload(Shape.dense(40, 50), 33, threads=2)
    assert dense_gemm.unsupported(workload) is None
    layer = dense_gemm.prepare(Weights(w1, w2), workload)
    y = torch.full_like(x, float("nan"))
    layer.bind(x, y)()
    assert torch.equal(layer.forward(x), y)
    assert layer.resident[0].numel() >= w1.numel() + w2.numel()
    with pytest.raises(ValueError, match="contiguous"):
        layer.forward(x[:2])


@pytest.mark.parametrize("batch", [0, 1, 16])
def test_a_small_batch_is_unsupported_with_a_sentence(batch):
    reason = dense_gemm.unsupported(Workload(Shape.dense(40, 50), batch))
    assert reason == "dense_gemm is for batches above 16; dense_gemv takes the others"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch": -1}, "batch must be from 0"),
        ({"n": 0}, "d and n"),
        ({"d": 2**41}, "d and n"),
        ({"threads": 0}, "threads must be"),
        ({"isa": "abacus"}, "allowed: auto"),
    ],
)
def test_bad_counts_raise_value_error(change, message):
    arguments = {"x": 64, "weights": 64, "y": 64, "batch": 20, "d": 4, "n": 3} | change
    with pytest.raises(ValueError, match=message):
        _cpu.GemmCall(**arguments)


def test_null_addresses_raise_value_error():
    with pytest.raises(ValueError, match="must not be null"):
        _cpu.GemmCall(0, 0, 0, 20, 4, 3).run()

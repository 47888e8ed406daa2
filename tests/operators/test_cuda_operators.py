"""The operators on a GPU: kernels where there are some, graphs that may be captured, weights that are let go."""

from __future__ import annotations

import gc
import threading

import pytest

torch = pytest.importorskip("torch")
pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here"),
    pytest.mark.filterwarnings("ignore:.torch.jit.script_method. is deprecated:DeprecationWarning"),  # torch's own
]

import fffbench  # noqa: E402 - after what decides whether anything here runs
from fffbench.operators import cuda_layers, kernels, library  # noqa: E402

TYPES = [(torch.float32, 2e-4), (torch.bfloat16, 3e-2), (torch.float16, 5e-3)]


def layer(dtype, batch, d=768, levels=12, trees=1):
    n = trees * (2**levels - 1)
    draw = torch.Generator("cuda").manual_seed(0)
    x, w1, w2 = (torch.randn(rows, d, device="cuda", generator=draw) for rows in (batch, n, n))
    return x.to(dtype), (w1 / d**0.5).to(dtype), w2.to(dtype)


def wrong_tokens(y, given, trees, close):
    want = kernels._formula(
        *(t.double() for t in given),
        None,
        None,
        trees,
        *kernels._counts("tree", given[1].shape, given[2].shape, trees),
        "gelu",
    )
    return ((y.double() - want).abs().amax(1) > close * want.abs().max()).sum().item()


@pytest.mark.parametrize(("dtype", "close"), TYPES)
@pytest.mark.parametrize("batch", [0, 1, 128, 3000])
@pytest.mark.parametrize("trees", [1, 3])
def test_it_computes_what_float64_does(dtype, close, batch, trees):
    given = layer(dtype, batch, levels=8, trees=trees)
    y = fffbench.fff(*given, trees=trees)
    assert y.shape == given[0].shape
    if batch:
        assert wrong_tokens(y, given, trees, close) <= batch // 1000  # a token may turn the other way at a near tie


def test_rows_that_are_not_aligned_are_computed_too():
    x, w1, w2 = layer(torch.bfloat16, 5, d=24, levels=4)
    shifted = torch.zeros(5 * 24 + 1, device="cuda", dtype=torch.bfloat16)[1:].view(5, 24).copy_(x)
    torch.testing.assert_close(fffbench.fff(shifted, w1, w2), fffbench.fff(x, w1, w2), rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("biases", [False, True])
def test_a_graph_replays_it_on_other_inputs(biases):
    x, w1, w2 = layer(torch.bfloat16, 64)
    given = (x, w1, w2, torch.randn_like(w1[:, 0]) if biases else None, torch.randn_like(x[0]) if biases else None)
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream), torch.no_grad():
        library.tree(*given)
    stream.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream), torch.no_grad():
        y = library.tree(*given)
    x.copy_(torch.randn_like(x))
    graph.replay()
    torch.cuda.synchronize()
    assert torch.equal(y, library.tree(*given))


def test_reduced_overhead_compiles_it_whole():
    x, w1, w2 = layer(torch.bfloat16, 64)
    compiled = torch.compile(lambda x: fffbench.fff(x * 2, w1, w2) + 1, fullgraph=True, mode="reduce-overhead")
    for _ in range(3):
        y = compiled(x).clone()
    assert torch.equal(y, fffbench.fff(x * 2, w1, w2) + 1)


def test_weights_changed_in_place_are_the_weights_used():
    x, w1, w2 = layer(torch.float32, 64, levels=6, trees=3)
    fffbench.fff(x, w1, w2, trees=3)
    w1.neg_()
    assert torch.equal(fffbench.fff(x, w1, w2, trees=3), fffbench.fff(x, w1.clone(), w2, trees=3))


def test_a_replayed_graph_uses_weights_changed_in_place():
    x, w1, w2 = layer(torch.bfloat16, 256, levels=3, trees=64)
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream), torch.no_grad():
        library.tree(x, w1, w2, None, None, 64)
    stream.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph), torch.no_grad():  # on a stream of its own, as torch's documentation has it
        y = library.tree(x, w1, w2, None, None, 64)
    for _ in range(2):
        w1.neg_()
        graph.replay()
        torch.cuda.synchronize()
        assert torch.equal(y, library.tree(x, w1.clone(), w2, None, None, 64))


@pytest.mark.parametrize("activation", ["gelu_tanh", "relu", "silu"])
@pytest.mark.parametrize("form", ["tree", "leaf"])
def test_activations_are_computed_by_the_kernels(form, activation, monkeypatch):
    x, w1, w2 = layer(torch.bfloat16, 128, levels=8)
    if form == "leaf":
        w2 = w2[:128]
        w1 = w1[: 127 + 128]
    op = getattr(library, form)
    wide = op(x.double(), w1.double(), w2.double(), None, None, 1, activation)
    monkeypatch.setattr(kernels, "_formula", None)  # plain torch is not called
    y = op(x, w1, w2, None, None, 1, activation)
    assert ((y.double() - wide).abs().amax(1) > 3e-2 * wide.abs().max()).sum() <= 1


def test_logits_beyond_range_show_whatever_the_activation():
    x, w1, w2 = layer(torch.float32, 3, levels=4)
    x[1] = float("-inf")
    for activation in ("gelu", "gelu_tanh", "relu", "silu"):
        y = library.tree(x, w1.abs(), w2, None, None, 1, activation)
        assert y.isfinite().all(1).tolist() == [True, False, True]


def test_batches_share_packed_weights_and_tf32_changes_nothing(monkeypatch):
    x, w1, w2 = layer(torch.float32, 256, levels=3, trees=64)
    want = fffbench.fff(x, w1, w2, trees=64)
    for batch in (128, 256):
        fffbench.fff(x[:batch], w1, w2, trees=64)
    [kept] = [kept for kept in cuda_layers._kept.values() if kept.weights[0]() is w1]
    assert len(kept.calls.buffers.copies) == 2
    monkeypatch.setattr(torch.backends.cuda.matmul, "allow_tf32", True)
    assert ((fffbench.fff(x, w1, w2, trees=64) - want).abs().amax(1) > 1e-4 * want.abs().max()).sum() <= 1  # a near tie


def test_the_memory_of_dropped_weights_is_free_again():
    given = layer(torch.bfloat16, 8)
    fffbench.fff(*given)
    before, kept = torch.cuda.memory_allocated(), len(cuda_layers._kept)
    of_weights = 2 * given[1].numel() * 2
    del given
    gc.collect()
    assert before - torch.cuda.memory_allocated() >= of_weights
    assert len(cuda_layers._kept) < kept


def test_threads_with_inputs_of_their_own_get_their_own_outputs():
    x, w1, w2 = layer(torch.bfloat16, 16)
    inputs = [torch.randn_like(x) for _ in range(4)]
    want = [fffbench.fff(one, w1, w2) for one in inputs]
    wrong = []

    def compute(one, right):
        wrong.extend(1 for _ in range(200) if not torch.equal(fffbench.fff(one, w1, w2), right))

    threads = [threading.Thread(target=compute, args=pair) for pair in zip(inputs, want, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_gradients_are_those_of_float64():
    given = [t.requires_grad_() for t in layer(torch.float32, 64, d=64, levels=6)]
    fffbench.fff(*given).square().sum().backward()
    wide = [t.detach().double().requires_grad_() for t in given]
    fffbench.fff(*wide).square().sum().backward()
    for found, want in zip(given, wide, strict=True):
        torch.testing.assert_close(found.grad.double(), want.grad, rtol=1e-3, atol=1e-4 * want.grad.abs().max().item())

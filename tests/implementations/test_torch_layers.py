"""Layers that torch compiles, fuses or makes sparse: what they need, and that no timed call prepares anything."""

import os

import pytest

from fffbench.implementations import dense_compiled
from fffbench.implementations.registry import implementation
from fffbench.measure import inputs
from fffbench.measure.conformance import conform
from fffbench.plan.workload import Cell, Protocol, Shape, Workload

torch = pytest.importorskip("torch")
SMALL = Workload(Shape.dense(64, 129), 33)


def prepared(name, work):
    chosen = implementation(name)
    if chosen.unsupported(work):
        pytest.skip(chosen.unsupported(work))
    pool = inputs.make_pool(Cell(name, work, Protocol("hot")), work.draw(work.batch))
    return chosen.prepare(pool.weights, work), pool


def test_a_compiled_layer_compiles_in_prepare_and_never_in_a_call():
    layer, pool = prepared("dense_compiled", SMALL)
    run = layer.bind(pool.x[0], pool.y[0])
    with torch.compiler.set_stance("fail_on_recompile"):
        run()
        layer.forward(pool.x[0])
    assert torch.equal(layer.forward(pool.x[0]), pool.y[0])


def test_a_compiled_layer_works_in_a_forked_child_as_the_workers_are():
    reason = implementation("dense_compiled").unsupported(SMALL)
    if reason:
        pytest.skip(reason)
    work = Workload(Shape.dense(32, 65), 9)
    torch.set_num_threads(2)
    torch.randn(2_000_000).exp()  # starts threads, which the child will not have
    child = os.fork()
    if child == 0:
        code = 1
        try:
            verdict = conform("dense_compiled", Workload(work.shape, 257))
            code = 0 if not isinstance(verdict, str) and verdict.failure is None else 3
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_without_a_compiler_a_compiled_layer_says_so(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    dense_compiled._no_compiler.cache_clear()
    try:
        assert "C++ compiler" in implementation("dense_compiled").unsupported(SMALL)
    finally:
        dense_compiled._no_compiler.cache_clear()


def test_a_compiler_that_fails_is_no_compiler(monkeypatch):
    monkeypatch.setenv("CXX", "false")
    dense_compiled._no_compiler.cache_clear()
    try:
        assert "OpenMP" in implementation("dense_compiled").unsupported(SMALL)
    finally:
        dense_compiled._no_compiler.cache_clear()


def test_the_fused_gelu_on_a_cpu_is_the_exact_one():
    work = Workload(Shape.dense(64, 512), 50)
    verdict = conform("dense_fused", work)
    if isinstance(verdict, str):
        pytest.skip(verdict)
    assert verdict.failure is None  # fp32: the tanh form would fail


def test_the_fused_gelu_on_cuda_is_refused_in_fp32_because_it_is_the_tanh_form():
    reason = implementation("dense_fused").unsupported(Workload(SMALL.shape, 8, "fp32", device="cuda"))
    assert "tanh" in reason


def test_sparse_tokens_of_a_batch_get_their_own_neurons():
    """The published routine pairs rows with columns wrongly: right for one token, wrong for the second."""
    for batch in (1, 2, 65):
        verdict = conform("cmm_sparse", Workload(Shape.tree(64, 3, 4), batch))
        if isinstance(verdict, str):
            pytest.skip(verdict)
        assert verdict.failure is None

"""Faulty rungs: wrong where they say so and only there, named so that nothing of them gets a speed-up."""

import ctypes

import pytest
from synthetic import cell_id, write_run

from fffbench.analysis.speedup import speedups
from fffbench.errors import UserError
from fffbench.implementations import faulty_torch
from fffbench.implementations.registry import Weights, _from_declaration, implementation, implementations
from fffbench.measure import check
from fffbench.measure.conformance import conform, workloads
from fffbench.plan.fidelity import BEST_DENSE, BEST_FFF, LADDERS
from fffbench.plan.workload import Shape, Workload
from fffbench.results.store import load

FAULTY = [name for name, item in implementations().items() if item.family == "faulty"]
ON_CPU = [name for name in FAULTY if "cpu" in implementation(name).devices]


@pytest.mark.parametrize("name", ON_CPU)
def test_it_is_wrong_exactly_where_it_says_so(name):
    verdicts = [conform(name, work) for work in workloads(implementation(name), "fp32", "cpu")]
    judged = [verdict for verdict in verdicts if not isinstance(verdict, str)]
    if not judged:
        pytest.skip(verdicts[0])
    assert [verdict.failure for verdict in judged if verdict.failure] == []
    assert all((verdict.error > verdict.tolerance) == bool(implementation(name).wrong) for verdict in judged)


def test_a_wrong_one_that_is_right_is_refused():
    right = check.Verdict(1e-7, 1e-6, 64, 0, 0)
    assert "is right" in (check.expecting(right, "skips W2").failure or "")


def test_an_empty_output_cannot_be_wrong():
    assert check.expecting(check.Verdict(0.0, 1e-6, 0, 0, 0), "skips W2").failure is None


def test_being_wrong_on_purpose_excuses_no_write_outside_the_output():
    harmful = check.Verdict(1e-7, 1e-6, 64, 0, 0, "the rows before or after the output were overwritten", harm=True)
    assert check.expecting(harmful, "skips W2").failure == harmful.failure


@pytest.mark.parametrize(("name", "family"), [("faulty_new", "fff"), ("fff_new", "faulty")])
def test_no_name_hides_the_family_faulty(name, family):
    declared = {"family": family, "devices": ["cpu"], "dtypes": ["fp32"], "kinds": [], "summary": "A layer."}
    with pytest.raises(UserError, match="begin with 'faulty_'"):
        _from_declaration(name, declared, None, "theirs")


@pytest.mark.parametrize("family", ["fff", "dense", "cmm"])
def test_a_result_file_that_hides_it_is_refused(tmp_path, family):
    write_run(tmp_path, cells={cell_id("faulty_blas_fff1_random"): 1.0}, changes={"family": family})
    results = load(tmp_path)
    assert not results.records
    assert "contradicts the name" in results.refused[0].reason


def test_it_is_neither_sped_up_nor_a_baseline_however_fast_it_is(tmp_path):
    cells = {cell_id("dense_linear"): 1.0, cell_id("fff_cpu"): 0.1}
    write_run(tmp_path / "without", cells=cells)
    faulty = {cell_id(name, batch=16384): 1e-8 for name in FAULTY}
    failing = {"check": {"error": 9.0, "tolerance": 1e-6, "tokens": 9, "diverged": 0, "diverged_cap": 0}}
    write_run(tmp_path / "with", cells=cells)
    write_run(tmp_path / "with", cells=faulty, run="second", changes={"family": "faulty", **failing})
    with_them = load(tmp_path / "with")
    assert len(with_them.records) == len(cells) + len(faulty)
    assert speedups(with_them) == speedups(load(tmp_path / "without"))


@pytest.mark.parametrize("variant", faulty_torch.VARIANTS)
def test_torch_rungs_are_right_but_for_the_layer_without_a_tree(variant):
    torch = pytest.importorskip("torch")
    from fffbench.measure import cellrun, inputs
    from fffbench.plan.workload import Cell, Protocol

    shape = Shape.tree(16, 1, 5) if variant.startswith("fff") else Shape.dense(16, 31)
    work = Workload(shape, 65)
    data = work.draw(65)
    pool = inputs.make_pool(Cell("dense_linear", work, Protocol("hot", "torch")), data)
    layer = faulty_torch.prepare(Weights(pool.weights.w1, pool.weights.w2), work, variant)
    reference = cellrun.build_reference(work, "faulty", data, 65)
    y = layer.forward(pool.x[0])
    assert not y.requires_grad
    failure = check.compare(reference, y).failure
    assert bool(failure) == bool(faulty_torch.VARIANTS[variant].wrong)
    layer.bind(pool.x[0], pool.y[0])()
    assert torch.equal(pool.y[0], y)


@pytest.fixture
def recorded():
    """MKL's batched and vector functions with 32-bit integers: each notes what it was asked, logits are (1, -1, 1)."""
    integer, real = ctypes.c_int32, ctypes.c_float
    integers, reals, rows = (ctypes.POINTER(kind) for kind in (integer, real, ctypes.c_void_p))
    seen = []

    def gemv_batch(_layout, _how, m, n, alpha, a, _lda, x, _ix, beta, y, _iy, groups, sizes):
        seen.append(("gemv", list(a[:groups]), list(x[:groups]), [*m[:groups], *n[:groups], *sizes[:groups]]))
        assert set(alpha[:groups]) == {1.0}
        assert set(beta[:groups]) == {0.0}
        for i in range(groups):
            real.from_address(y[i]).value = (1, -1, 1)[i]

    def axpy_batch(n, alpha, x, _ix, y, _iy, groups, sizes):
        seen.append(("axpy", list(x[:groups]), list(y[:groups]), [*n[:groups], *sizes[:groups]], list(alpha[:groups])))

    def cdf(count, values, shares):
        seen.append(("cdf", list(values[:count])))
        for i in range(count):
            shares[i] = 0.5

    def mul(count, a, b, product):
        for i in range(count):
            product[i] = a[i] * b[i]

    kinds = {
        "gemv_batch": (gemv_batch, (ctypes.c_int, integers, integers, integers, reals, rows, integers, rows, integers,
                                    reals, rows, integers, integer, integers)),
        "axpy_batch": (axpy_batch, (integers, reals, rows, integers, rows, integers, integer, integers)),
        "cdf": (cdf, (integer, reals, reals)),
        "mul": (mul, (integer, reals, reals, reals)),
    }  # fmt: skip
    functions = {name: ctypes.CFUNCTYPE(None, *given)(function) for name, (function, given) in kinds.items()}
    addresses = {name: ctypes.cast(function, ctypes.c_void_p).value for name, function in functions.items()}
    return seen, addresses, functions


@pytest.mark.parametrize(("step", "activated"), [(0, False), (2, False), (2, True)])
def test_level_2_makes_the_published_calls_in_their_order(recorded, step, activated):
    pytest.importorskip("torch")
    from fffbench import _cpu

    seen, addresses, _kept = recorded
    x, y, w1, w2 = ((ctypes.c_float * 64)() for _ in range(4))
    at = {name: ctypes.addressof(array) for name, array in {"x": x, "w1": w1, "w2": w2, "y": y}.items()}
    _cpu.published_tree2(
        wide=False, gemv=0, axpy=0, **addresses, **at, batch=3, d=2, levels=2, step=step, activated=activated
    )
    row, nodes, every = 4 * 2, ([0, 0, 0], [2, 1, 2]), range(3)
    factors = [0.5, -0.5, 0.5] if activated else [1.0] * 3
    for level, visited in enumerate(nodes):
        gemv, cdf, axpy = seen[3 * level : 3 * level + 3]
        own = [4 * step * i for i in every]
        assert gemv == (
            "gemv",
            [at["x"] + i for i in own],
            [at["w1"] + row * k for k in visited],
            [1] * 3 + [2] * 3 + [1] * 3,
        )
        assert cdf == ("cdf", [1, -1, 1])
        assert axpy == (
            "axpy",
            [at["w2"] + row * k for k in visited],
            [at["y"] + i for i in own],
            [2] * 3 + [1] * 3,
            factors,
        )
    assert len(seen) == 6


def test_every_rung_names_an_implementation():
    sides = [side for ladder in LADDERS for rung in ladder.rungs for side in (rung.ours, rung.dense)]
    assert {side.implementation for side in sides} - {BEST_DENSE, BEST_FFF} <= set(implementations())

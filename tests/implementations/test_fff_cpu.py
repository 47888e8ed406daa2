"""Does the C++ kernel compute the tree FFF, in every strategy, instruction set, shape and thread count?"""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest
from scipy.special import erf
from tree_reference import GUARD, ISAS, THREADS, TOLERANCE, make, reference

from fffbench.implementations import fff_cpu
from fffbench.implementations.registry import Weights
from fffbench.plan.workload import Shape, Workload

_cpu = pytest.importorskip("fffbench._cpu", reason="the C++ kernels are not built")

STRATEGIES = ("walk", "bucket", "bucket_sparing", "auto")
BATCHES = (0, 1, 2, 3, 7, 64, 257)
WIDTHS = (1, 5, 16, 17, 100, 768, 769)
TREES = ((1, 1), (5, 1), (1, 2), (2, 3), (1, 7), (2, 7), (1, 12))


def variants() -> Iterator[tuple[str, str, int]]:
    return itertools.product(STRATEGIES, ISAS, THREADS)


def assert_right_in_every_variant(case):
    for variant in variants():
        case.run(*variant)
        case.assert_right(variant)


@pytest.mark.parametrize("d", WIDTHS)
@pytest.mark.parametrize("batch", BATCHES)
def test_every_batch_and_width_matches_the_float64_reference(batch, d):
    assert_right_in_every_variant(make(batch, d, trees=1, levels=3))


@pytest.mark.parametrize(("trees", "levels"), TREES)
@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_every_tree_shape_matches_the_float64_reference(trees, levels, dtype):
    assert_right_in_every_variant(make(70, 17, trees, levels, dtype))


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
@pytest.mark.parametrize("batch", [1, 2, 5, 300])
def test_the_published_shape_matches_the_float64_reference(batch, dtype):
    assert_right_in_every_variant(make(batch, 768, 1, 12, dtype))


@pytest.mark.parametrize(("batch", "d"), [(1, 1), (3, 5), (7, 16), (64, 100), (5, 769), (0, 3)])
def test_bf16_matches_the_float64_reference_at_odd_sizes(batch, d):
    assert_right_in_every_variant(make(batch, d, 2, 3, "bf16"))


def test_twenty_levels_match_the_float64_reference():
    assert_right_in_every_variant(make(70, 5, 1, 20))


def test_many_trees_at_batch_1_are_split_over_threads_and_match():
    for dtype in ("fp32", "bf16"):
        case = make(1, 768, 128, 5, dtype)
        assert case.call("walk", threads=3).workers == 3
        assert_right_in_every_variant(case)


def test_the_two_phase_bucket_path_matches_on_a_large_batch():
    case = make(2500, 64, 1, 9)
    assert_right_in_every_variant(case)


def test_large_outputs_streamed_past_the_caches_match():
    case = make(1500, 768, 1, 8)
    buffer = np.full(case.x.size + 16 + GUARD, np.float32(np.nan))
    start = (-buffer.ctypes.data % 64) // 4  # streaming needs whole lines
    case.y = buffer[start : start + case.x.size].reshape(case.x.shape)
    for isa, threads in itertools.product(ISAS, THREADS):
        case.y[:] = np.nan
        case.call("bucket", isa, threads).run()
        np.testing.assert_allclose(case.y, case.want, *TOLERANCE["fp32"])
    assert np.isnan(buffer[start + case.x.size :]).all()


def test_all_tokens_on_one_path_match_and_still_use_every_thread():
    case = make(2000, 128, 1, 11)
    case.w1 = np.abs(case.w1)
    case.x = np.abs(case.x)
    case.want, case.path = reference(case.x, case.w1, case.w2, 1, 11)
    assert len(np.unique(case.path[:, -1])) == 1
    assert_right_in_every_variant(case)


def test_gelu_is_exact_to_fp32_in_every_instruction_set():
    z = np.linspace(-20, 20, 400_001, dtype=np.float32)[:, None]
    z = np.concatenate([z, np.float32([[0.0], [-0.0], [1e-30], [-1e-30], [3e38], [-3e38], [50.0], [-50.0]])])
    one = np.ones((1, 1), np.float32)
    exact = z.astype(np.float64) * 0.5 * (1 + erf(z.astype(np.float64) / 2**0.5))
    for isa in ISAS:
        y = np.full_like(z, np.nan)
        places = (a.ctypes.data for a in (z, one, one, y))
        _cpu.FffCall(*places, len(z), 1, 1, 1, 1, isa=isa).run()
        error = np.abs(y - exact) / np.maximum(1, np.abs(z))
        assert error.max() < 1.2e-7, isa


def test_a_nan_token_goes_left_and_spoils_nobody_else():
    case = make(70, 33, 1, 4)
    case.x[5] = np.nan
    for variant in variants():
        case.run(*variant)
        got = case.result()
        assert np.isnan(got[5]).all(), variant
        others = np.arange(70) != 5
        np.testing.assert_allclose(got[others], case.want[others], *TOLERANCE["fp32"])


def test_the_same_call_run_again_gives_the_same_bits():
    case = make(500, 96, 1, 9)
    for strategy, threads in itertools.product(STRATEGIES, THREADS):
        call = case.run(strategy, threads=threads)
        first = case.y.copy()
        for _ in range(3):
            case.buffer[:] = np.nan
            call.run()
            assert (case.y.view(np.uint32) == first.view(np.uint32)).all()


def test_bucket_results_do_not_depend_on_the_thread_count():
    case = make(1000, 96, 1, 9)
    results = []
    for threads in THREADS:
        case.run("bucket", threads=threads)
        results.append(case.y.copy())
    assert all((other == results[0]).all() for other in results)


def test_run_on_takes_other_tensors_of_the_same_shape():
    one, other = make(40, 50, 1, 5), make(40, 50, 1, 5, seed=1)
    call = one.call()
    call.run_on(*(a.ctypes.data for a in (other.x, other.w1, other.w2, other.y)))
    other.assert_right("run_on")


@pytest.mark.parametrize(("trees", "levels"), TREES)
def test_path_names_the_rows_the_reference_visits(trees, levels):
    case = make(33, 20, trees, levels)
    for isa, threads in itertools.product(ISAS, THREADS):
        out = np.full_like(case.path, -1)
        _cpu.path(case.x.ctypes.data, case.w1.ctypes.data, 33, 20, trees, levels, threads, isa, "fp32", out.ctypes.data)
        assert (out == case.path).all()


def test_a_call_says_what_it_chose():
    call = make(1, 8, 1, 3).call()
    assert call.strategy == "walk"
    assert call.isa == ISAS[0]
    assert call.workers == 1
    assert make(257, 768, 1, 3).call(threads=2).strategy.startswith("bucket")
    assert make(257, 768, 1, 3).call("bucket").workspace_bytes > 257 * 3 * 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"strategy": "fly"}, "allowed: auto, walk, bucket, bucket_sparing"),
        ({"isa": "mmx"}, "allowed: auto, "),
        ({"dtype": "fp16"}, "allowed: fp32, bf16"),
        ({"levels": 0}, "levels must be from 1 to 24"),
        ({"levels": 25}, "levels must be from 1 to 24"),
        ({"trees": 0}, "trees must be at least 1"),
        ({"trees": 2**30}, "trees must be at least 1"),
        ({"batch": -1}, "batch must be"),
        ({"d": 0}, "d must be"),
        ({"threads": 0}, "threads must be from 1 to 1024"),
    ],
)
def test_bad_counts_and_names_raise_value_error(change, message):
    arguments = {"x": 64, "w1": 64, "w2": 64, "y": 64, "batch": 1, "d": 4, "trees": 1, "levels": 2} | change
    with pytest.raises(ValueError, match=message):
        _cpu.FffCall(**arguments)


def test_null_addresses_raise_value_error():
    with pytest.raises(ValueError, match="must not be null"):
        _cpu.FffCall(0, 0, 0, 0, 1, 4, 1, 2).run()


def python(script: str) -> str:
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_an_allocation_that_fails_raises_memory_error():
    assert "MemoryError" in python("""
import resource
from fffbench import _cpu
resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
try:
    _cpu.FffCall(64, 64, 64, 64, 2**31 - 1, 4, 1, 20, strategy="bucket")
except MemoryError:
    print("MemoryError")
""")


def test_a_forked_child_computes_with_workers_of_its_own():
    assert (
        python(
            """
import os, numpy as np
from fffbench import _cpu
rng = np.random.default_rng(0)
x, w1, w2 = (rng.standard_normal(s, dtype=np.float32) for s in ((600, 96), (255, 96), (255, 96)))
def compute():
    y = np.zeros_like(x)
    _cpu.FffCall(x.ctypes.data, w1.ctypes.data, w2.ctypes.data, y.ctypes.data, 600, 96, 1, 8, 3, "bucket").run()
    return y
before = compute() if BEFORE else None
for _ in range(5):
    child = os.fork()
    if child == 0:
        os._exit(0 if np.isfinite(compute()).all() else 1)
    assert os.waitpid(child, 0)[1] == 0
assert before is None or (compute() == before).all()
print("fine", end="")
""".replace("BEFORE", "True")
        )
        == "fine"
    )


def test_calls_from_several_python_threads_do_not_disturb_each_other():
    assert (
        python("""
import numpy as np, threading
from fffbench import _cpu
rng = np.random.default_rng(0)
w1, w2 = (rng.standard_normal((255, 96), dtype=np.float32) for _ in range(2))
x = rng.standard_normal((300, 96), dtype=np.float32)
def call(y, threads):
    return _cpu.FffCall(x.ctypes.data, w1.ctypes.data, w2.ctypes.data, y.ctypes.data, 300, 96, 1, 8, threads, "bucket")
want = np.zeros_like(x)
call(want, 1).run()
ys = [np.zeros_like(x) for _ in range(4)]
def work(y):
    mine = call(y, 3)
    for _ in range(50):
        y[:] = 0
        mine.run()
        assert (y == want).all()
threads = [threading.Thread(target=work, args=(y,)) for y in ys]
[t.start() for t in threads]
[t.join() for t in threads]
assert all((y == want).all() for y in ys)
print("fine", end="")
""")
        == "fine"
    )


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_the_layer_gives_the_same_through_forward_and_bind(dtype):
    torch = pytest.importorskip("torch")
    kind = {"fp32": torch.float32, "bf16": torch.bfloat16}[dtype]
    case = make(3, 40, 2, 3)
    x, w1, w2 = (torch.from_numpy(a).to(kind) for a in (case.x, case.w1, case.w2))
    workload = Workload(Shape.tree(40, 2, 3), 3, dtype, threads=2)
    assert fff_cpu.unsupported(workload) is None
    layer = fff_cpu.prepare(Weights(w1, w2), workload)
    y = torch.full_like(x, float("nan"))
    layer.bind(x, y)()
    assert torch.equal(layer.forward(x), y)
    with pytest.raises(ValueError, match="contiguous"):
        layer.forward(x[:2])


def faulty(case, fault, strategy, threads=2):
    faults = pytest.importorskip("fffbench._cpu_faults", reason="FFFBENCH_FAULTS is off")
    case.buffer[:] = case.poison
    places = (a.ctypes.data for a in (case.x, case.w1, case.w2, case.y))
    faults.FffCall(*places, *case.x.shape, case.trees, case.levels, threads, strategy=strategy, fault=fault).run()


@pytest.mark.parametrize("strategy", ["walk", "bucket"])
@pytest.mark.parametrize("batch", [1, 300])
@pytest.mark.parametrize(
    "fault", ["skip_level", "wrong_row", "ignore_activation", "stale_memory", "flip_branch", "write_past_end"]
)
def test_every_planted_fault_is_caught_and_none_is_not(fault, batch, strategy):
    case = make(batch, 33, 1, 6)
    faulty(case, "none", strategy)
    case.assert_right("no fault")
    faulty(case, fault, strategy)
    with pytest.raises(AssertionError):
        case.assert_right(fault)


def test_evict_flushes_any_range():
    data = np.ones(1001, np.float32)
    assert _cpu.evict(data.ctypes.data + 4, 4000) in (True, False)
    assert _cpu.evict(data.ctypes.data, 0) in (True, False)
    assert (data == 1).all()


def test_huge_pages_leave_the_contents_alone():
    data = np.arange(3 << 20, dtype=np.float32)
    assert _cpu.use_huge_pages(data.ctypes.data, data.nbytes) in (True, False)
    assert (data == np.arange(3 << 20, dtype=np.float32)).all()
    assert not _cpu.use_huge_pages(data.ctypes.data, 100)


def test_measured_ceilings_are_rates():
    for isa in ISAS:
        assert _cpu.fma_rate(1, isa, "fp32", 0.01) > 1e8
        assert _cpu.fma_rate(2, isa, "bf16", 0.01) > 1e8
    assert _cpu.read_rate(1 << 20, 2, 0.01) > 1e8
    assert _cpu.copy_rate(1 << 20, 2, 0.01) > 1e8
    with pytest.raises(ValueError, match="seconds must be above 0"):
        _cpu.fma_rate(1, seconds=0)
    with pytest.raises(ValueError, match="nbytes must be at least 512"):
        _cpu.read_rate(100, 1)

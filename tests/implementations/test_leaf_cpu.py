"""Does the C++ kernel compute the leaf FFF, in every strategy, instruction set, shape and thread count?"""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from fffbench.implementations import fff_cpu, reference
from fffbench.plan.workload import Shape, Workload

_cpu = pytest.importorskip("fffbench._cpu", reason="the C++ kernels are not built")
if not hasattr(_cpu, "LeafCall"):
    pytest.skip("the C++ kernels were built before they knew leaf blocks", allow_module_level=True)

ISAS = _cpu.isas()
VARIANTS = list(itertools.product(("walk", "bucket", "auto"), ISAS, (1, 2, 3)))
GUARD = 64  # elements on either side of y that nobody may touch
BATCHES = (0, 1, 2, 3, 7, 64, 257)
DIMENSIONS = (1, 5, 16, 17, 100, 768, 769)
SHAPES = (  # trees, levels, leaf width
    (1, 0, 1), (1, 0, 70), (1, 1, 3), (1, 2, 1), (2, 3, 5), (3, 0, 4), (5, 2, 17), (1, 7, 32), (2, 12, 2), (40, 1, 6),
)  # fmt: skip
# fp32: sums of d products of unit scale, then of the block; bf16: only the store rounds, to 2**-9 relative
TOLERANCE = {"fp32": (2e-5, 2e-5), "bf16": (2**-8, 2e-3)}
FAULTS = ("skip_level", "wrong_row", "ignore_activation", "stale_memory", "flip_branch", "write_past_end")


def to_bf16(a):
    bits = np.ascontiguousarray(a, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def from_bf16(a):
    return (a.astype(np.uint32) << 16).view(np.float32)


class Case:
    """Random data, what it should give, and a poisoned, guarded output."""

    def __init__(self, batch, d, trees, levels, width, dtype="fp32", seed=0):
        self.shape, self.dtype = Shape.leaf(d, trees, levels, width), dtype
        rng = np.random.default_rng([seed, batch, d, trees, levels, width])
        rows = (batch, self.shape.routers + self.shape.n, self.shape.n)
        scales = (1, d**-0.5, (trees * width) ** -0.5)
        drawn = [
            rng.standard_normal((r, d), dtype=np.float32) * np.float32(s) for r, s in zip(rows, scales, strict=True)
        ]
        self.tensors = [to_bf16(a) for a in drawn] if dtype == "bf16" else drawn
        plain = [from_bf16(a) for a in self.tensors] if dtype == "bf16" else drawn
        self.want = reference.leaf(*(a.astype(np.float64) for a in plain), self.shape).y
        self.poison = np.float32(np.nan) if dtype == "fp32" else np.uint16(0x7FC1)
        self.buffer = np.full(batch * d + 2 * GUARD, self.poison, self.tensors[0].dtype)
        self.y = self.buffer[GUARD : GUARD + batch * d].reshape(batch, d)

    def call(self, strategy="auto", isa="auto", threads=1, module=_cpu, **more):
        places = (a.ctypes.data for a in (*self.tensors, self.y))
        s = self.shape
        counts = (*self.y.shape, s.trees, s.levels, s.leaf_width, threads)
        return module.LeafCall(*places, *counts, strategy=strategy, isa=isa, dtype=self.dtype, **more)

    def run(self, *args, **kwargs):
        self.buffer[:] = self.poison
        call = self.call(*args, **kwargs)
        call.run()
        return call

    def assert_right(self, what):
        result = self.y if self.dtype == "fp32" else from_bf16(self.y)
        np.testing.assert_allclose(result, self.want, *TOLERANCE[self.dtype], err_msg=str(what))
        guards = np.concatenate([self.buffer[:GUARD], self.buffer[GUARD + self.y.size :]])
        untouched = np.full_like(guards, self.poison)
        assert (guards.view(np.uint8) == untouched.view(np.uint8)).all(), f"{what}: wrote past y"

    def assert_right_in_every_variant(self):
        for variant in VARIANTS:
            self.run(*variant)
            self.assert_right(variant)


@pytest.mark.parametrize("d", DIMENSIONS)
@pytest.mark.parametrize("batch", BATCHES)
def test_every_batch_and_dimension_matches_the_float64_reference(batch, d):
    Case(batch, d, 1, 3, 6).assert_right_in_every_variant()


@pytest.mark.parametrize(("trees", "levels", "width"), SHAPES)
@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_every_shape_matches_the_float64_reference(trees, levels, width, dtype):
    Case(70, 17, trees, levels, width, dtype).assert_right_in_every_variant()


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
@pytest.mark.parametrize("batch", [1, 5, 600])
def test_the_shape_of_the_preset_matches_the_float64_reference(batch, dtype):
    Case(batch, 768, 1, 7, 32, dtype).assert_right_in_every_variant()


@pytest.mark.parametrize(("batch", "d"), [(1, 1), (3, 5), (7, 16), (64, 100), (5, 769), (0, 3)])
def test_bf16_matches_at_odd_sizes(batch, d):
    Case(batch, d, 2, 3, 7, "bf16").assert_right_in_every_variant()


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
@pytest.mark.parametrize("trees", [1, 3])
def test_a_large_block_is_split_over_threads_at_batch_1(dtype, trees):
    case = Case(1, 768, trees, 2, 1000, dtype)
    assert case.call("walk", threads=3).workers == 3
    case.assert_right_in_every_variant()


def test_large_outputs_streamed_past_the_caches_match():
    case = Case(1500, 768, 1, 4, 8)
    buffer = np.full(case.y.size + 16 + GUARD, np.float32(np.nan))
    start = (-buffer.ctypes.data % 64) // 4  # streaming needs whole lines
    case.y = buffer[start : start + case.y.size].reshape(case.y.shape)
    for isa, threads in itertools.product(ISAS, (1, 2)):
        case.y[:] = np.nan
        case.call("bucket", isa, threads).run()
        np.testing.assert_allclose(case.y, case.want, *TOLERANCE["fp32"])
    assert np.isnan(buffer[start + case.y.size :]).all()


@pytest.mark.parametrize("strategy", ["walk", "bucket"])
def test_the_same_call_gives_the_same_bits_again_and_on_any_number_of_threads(strategy):
    case = Case(300, 96, 2, 4, 9)
    results = []
    for threads in (1, 2, 3, 3):
        case.run(strategy, threads=threads)
        results.append(case.y.copy())
    assert all((other == results[0]).all() for other in results)


def test_a_nan_token_spoils_nobody_else():
    case = Case(70, 33, 1, 3, 5)
    case.tensors[0][5] = np.nan
    others = np.arange(70) != 5
    for variant in VARIANTS:
        case.run(*variant)
        assert np.isnan(case.y[5]).all(), variant
        np.testing.assert_allclose(case.y[others], case.want[others], *TOLERANCE["fp32"])


def test_run_on_takes_other_tensors_of_the_same_shape():
    one, other = Case(40, 50, 1, 3, 4), Case(40, 50, 1, 3, 4, seed=1)
    one.call().run_on(*(a.ctypes.data for a in (*other.tensors, other.y)))
    other.assert_right("run_on")


def test_a_call_says_what_it_chose():
    assert Case(1, 8, 1, 3, 4).call().strategy == "walk"
    assert Case(257, 8, 1, 3, 4).call().strategy == "bucket"
    assert Case(257, 8, 1, 3, 4).call().isa == ISAS[0]
    assert Case(257, 8, 1, 3, 4).call("bucket").workspace_bytes > 257 * 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"strategy": "fly"}, "allowed: auto, walk, bucket"),
        ({"isa": "mmx"}, "allowed: auto, "),
        ({"dtype": "fp16"}, "allowed: fp32, bf16"),
        ({"levels": -1}, "levels must be from 0 to 24"),
        ({"levels": 25}, "levels must be from 0 to 24"),
        ({"leaf_width": 0}, "leaf_width must be at least 1"),
        ({"leaf_width": 2**62}, "leaf_width must be at least 1"),
        ({"trees": 0}, "trees must be at least 1"),
        ({"trees": 2**30}, "trees must be at least 1"),
        ({"batch": -1}, "batch must be"),
        ({"d": 0}, "d must be"),
        ({"threads": 0}, "threads must be from 1 to 1024"),
    ],
)
def test_bad_counts_and_names_raise_value_error(change, message):
    good = {"x": 64, "w1": 64, "w2": 64, "y": 64, "batch": 1, "d": 4, "trees": 1, "levels": 2, "leaf_width": 3}
    with pytest.raises(ValueError, match=message):
        _cpu.LeafCall(**(good | change))


def test_null_addresses_raise_value_error():
    with pytest.raises(ValueError, match="must not be null"):
        _cpu.LeafCall(0, 0, 0, 0, 1, 4, 1, 2, 3).run()


def test_a_workspace_beyond_memory_raises_memory_error():
    with pytest.raises(MemoryError):
        _cpu.LeafCall(64, 64, 64, 64, 2**31 - 1, 2**31 - 1, 2, 1, 4, dtype="bf16", strategy="bucket")


@pytest.mark.parametrize("strategy", ["walk", "bucket"])
@pytest.mark.parametrize("batch", [1, 300])
@pytest.mark.parametrize("fault", FAULTS)
def test_every_planted_fault_is_caught_and_none_is_not(fault, batch, strategy):
    faults = pytest.importorskip("fffbench._cpu_faults", reason="FFFBENCH_FAULTS is off")
    case = Case(batch, 33, 1, 4, 6)
    case.run(strategy, module=faults, threads=2, fault="none")
    case.assert_right("no fault")
    case.run(strategy, module=faults, threads=2, fault=fault)
    with pytest.raises(AssertionError):
        case.assert_right(fault)


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_the_layer_gives_the_same_through_forward_and_bind(dtype):
    torch = pytest.importorskip("torch")
    from fffbench.implementations.registry import Weights

    kind = {"fp32": torch.float32, "bf16": torch.bfloat16}[dtype]
    case = Case(3, 40, 2, 3, 5)
    x, w1, w2 = (torch.from_numpy(a).to(kind) for a in case.tensors)
    workload = Workload(case.shape, 3, dtype, threads=2)
    assert fff_cpu.unsupported(workload) is None
    layer = fff_cpu.prepare(Weights(w1, w2), workload)
    y = torch.full_like(x, float("nan"))
    layer.bind(x, y)()
    assert torch.equal(layer.forward(x), y)
    with pytest.raises(ValueError, match="contiguous"):
        layer.forward(x[:2])

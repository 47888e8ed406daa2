"""Are the CUDA plans right without a GPU: choices, limits, reasons, and do the sources compile?"""

from __future__ import annotations

from pathlib import Path

import pytest

from fffbench.implementations import cmm_cuda_naive, cmm_triton_levels, dense_cuda_naive, fff_cuda, fff_triton
from fffbench.implementations.cuda import build, leaf_plan
from fffbench.implementations.cuda.base import ACTIVATIONS, Boxes, Gpu, Layout, Plan, Product, Step
from fffbench.implementations.cuda.plan import STRATEGIES, choose, forced
from fffbench.implementations.registry import Weights
from fffbench.plan.workload import Shape, Workload
from tools.cuda import compile_all

H200 = Gpu(132, 232448)
SMALL = Gpu(40, 99 * 1024, early_start=False, wgmma=False)
COMPILER = build.missing()


def named(step: Step) -> set[str]:
    """The buffers a launch takes."""
    return {a.name if isinstance(a, Boxes) else a for a in step.arguments if not isinstance(a, int)}


def known(plan: Plan) -> set[str]:
    """The buffers there are."""
    return {"x", "y", "w1", "w2", *plan.workspace, *plan.matrices, *plan.packed}


@pytest.mark.parametrize(
    ("dtype", "batch", "expected"),
    [
        ("bf16", 1, "latency"),
        ("bf16", 1024, "latency"),
        ("bf16", 2048, "path"),
        ("bf16", 4096, "tensor"),
        ("fp32", 4096, "path"),
        ("bf16", 16384, "tensor"),
        ("fp32", 1, "latency"),
        ("fp32", 1024, "path"),
        ("fp32", 16384, "shared"),
    ],
)
def test_the_choice_follows_the_measured_crossovers(dtype: str, batch: int, expected: str) -> None:
    assert choose(Layout(768, 1, 12, dtype), H200, batch).strategy == expected


@pytest.mark.parametrize("gpu", [H200, SMALL], ids=["large", "small"])
@pytest.mark.parametrize("dtype", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("d", [1, 77, 768, 1024, 12288, 49152])
@pytest.mark.parametrize("levels", [1, 2, 6, 7, 12, 13, 24])
def test_every_shape_gets_a_plan_within_the_device(levels: int, d: int, dtype: str, gpu: Gpu) -> None:
    for trees in (1, 3):
        for batch in (1, 1000, 65536):
            plan = choose(Layout(d, trees, levels, dtype, aligned=d % 8 == 0), gpu, batch)
            for step in plan.launches:
                assert step.shared + 3 * 1024 <= gpu.shared_bytes or step.shared == 0
                assert 1 <= step.grid < 2**31
                assert step.block % 32 == 0
                assert step.block <= 1024
                assert named(step) <= known(plan)


@pytest.mark.parametrize(
    ("dtype", "levels", "batch", "shares"),
    [
        ("bf16", 12, 1024, 1024),
        ("bf16", 2, 1024, 1024),
        ("bf16", 12, 512, 0),
        ("bf16", 17, 1024, 0),
        ("fp32", 12, 1024, 0),
    ],
)
def test_all_weights_are_sent_for_only_where_most_will_be_touched(dtype, levels, batch, shares) -> None:
    [step] = forced("latency", Layout(768, 1, levels, dtype), H200, batch).launches
    assert step.arguments[-1] == shares


@pytest.mark.parametrize(("batch", "ahead"), [(1, 4), (132, 4), (133, 2), (791, 2), (792, 1), (1253, 1), (1254, 2)])
def test_a_block_reads_as_many_rows_at_once_as_was_fastest_for_so_many_tokens(batch, ahead) -> None:
    [step] = forced("latency", Layout(768, 1, 12, "bf16"), H200, batch).launches
    assert step.macros["FFF_AHEAD"] == ahead


def test_the_levels_of_two_kernels_add_up() -> None:
    for dtype, name in (("bf16", "tensor"), ("fp32", "shared")):
        for levels in range(2, 25):
            plan = STRATEGIES[name](Layout(768, 1, levels, dtype), H200, 100)
            for step in plan.launches if plan else ():
                assert step.macros["FFF_TOP"] + step.macros["FFF_BOTTOM"] == levels


SEVERAL = {
    (3072, 1): {"bf16": "dense dense dense dense", "fp32": "dense dense dense dense"},
    (1536, 2): {"bf16": "dense_form dense_form dense_form dense_form", "fp32": "split masked masked masked"},
    (128, 5): {"bf16": "split dense_form dense_form dense_form", "fp32": "split masked masked masked"},
    (16, 8): {"bf16": "split split dense_form dense_form", "fp32": "split split split path"},
    (8, 9): {"bf16": "split split dense_form dense_form", "fp32": "split split split path"},
    (4, 10): {"bf16": "split split split tensor", "fp32": "split split split path"},
}


@pytest.mark.parametrize("dtype", ["bf16", "fp32"])
@pytest.mark.parametrize("shape", SEVERAL, ids=str)
def test_several_trees_take_what_was_fastest_at_batches_1_to_16384(shape, dtype) -> None:
    layout = Layout(768, *shape, dtype)
    chosen = [choose(layout, H200, batch).strategy for batch in (1, 128, 1024, 16384)]
    assert chosen == SEVERAL[shape][dtype].split()


@pytest.mark.parametrize(("trees", "batch", "ahead"), [(8, 1, 4), (4, 128, 3), (8, 128, 2), (16, 128, 1), (2, 1024, 1)])
def test_the_more_walks_there_are_the_fewer_levels_one_reads_ahead(trees: int, batch: int, ahead: int) -> None:
    walk, total = forced("split", Layout(768, trees, 9, "bf16"), H200, batch).launches
    assert (walk.macros["FFF_AHEAD"], walk.macros["FFF_TEAM"]) == (ahead, 2**ahead - 1)
    assert walk.grid * walk.macros["FFF_WALKS"] == trees * batch
    assert total.overlap


def test_a_device_without_wgmma_masks_a_dense_product_instead() -> None:
    plan = choose(Layout(768, 128, 5, "bf16"), SMALL, 16384)
    assert plan.strategy == "masked"
    assert not any(step.only_90 for step in plan.launches)
    products = [step for step in plan.steps if isinstance(step, Product)]
    assert [(p.a, p.b, p.out) for p in products] == [("x", "w1_padded", "hidden"), ("hidden", "w2_padded", "y")]
    for layout in (Layout(768, 3, 9, "fp16"), Layout(1024, 1, 14, "bf16"), Layout(768, 1, 3, "bf16", leaf_width=512)):
        for batch in (1, 128, 1024, 16384):
            pick = leaf_plan.choose if layout.leaf_width else choose
            assert not any(step.only_90 for step in pick(layout, SMALL, batch).launches)


def test_short_rows_in_16_bits_keep_fp32_activations() -> None:
    for batch in (1, 128, 1024, 16384):
        assert choose(Layout(64, 9, 5, "bf16"), H200, batch).strategy in ("split", "path")


def test_each_tree_adds_to_what_the_trees_before_left() -> None:
    plan = STRATEGIES["tensor"](Layout(768, 4, 10, "bf16"), H200, 16384)
    assert [step.entry for step in plan.launches] == ["fff_tensor_top", *["fff_tensor_bottom"] * 4]
    assert [step.macros["FFF_ADD"] for step in plan.launches[1:]] == [0, 1, 1, 1]
    assert [step.arguments[-1] for step in plan.launches[1:]] == [0, 1, 2, 3]


def test_a_strategy_that_cannot_run_is_refused_by_name() -> None:
    with pytest.raises(
        ValueError, match="allowed: auto, path, latency, tensor, shared, split, dense_form, deep, masked, dense"
    ):
        forced("quick", Layout(768, 1, 12, "bf16"), H200, 1)
    with pytest.raises(ValueError, match="'tensor' cannot run"):
        forced("tensor", Layout(768, 1, 12, "fp32"), H200, 1)


@pytest.mark.parametrize("gpu", [H200, SMALL], ids=["large", "small"])
@pytest.mark.parametrize("dtype", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("width", [1, 32, 33, 1000, 5000])
@pytest.mark.parametrize(("d", "trees", "levels"), [(1, 1, 0), (77, 3, 2), (768, 1, 7), (12288, 1, 12), (49152, 2, 1)])
def test_every_leaf_shape_gets_a_plan_within_the_device(d, trees, levels, width, dtype, gpu) -> None:
    layout = Layout(d, trees, levels, dtype, d % 8 == 0, width)
    for batch in (1, 1000, 65536):
        plans = [leaf_plan.choose(layout, gpu, batch), leaf_plan.tile(layout, gpu, batch)]
        for plan in (p for p in plans if p is not None):
            for step in plan.launches:
                assert step.shared + 3 * 1024 <= gpu.shared_bytes or step.shared == 0
                assert 1 <= step.grid < 2**31
                assert step.block % 32 == 0
                assert step.block <= 1024
                assert named(step) <= known(plan)


def test_leaf_tokens_are_sorted_where_enough_of_them_share_a_leaf() -> None:
    layout = Layout(768, 1, 7, "bf16", leaf_width=32)
    assert leaf_plan.choose(layout, H200, 1).strategy == "split"
    assert leaf_plan.choose(layout, H200, 16384).strategy == "tensor"
    assert leaf_plan.choose(Layout(768, 1, 7, "fp32", leaf_width=32), H200, 16384).strategy == "tile"
    assert leaf_plan.choose(Layout(768, 1, 3, "bf16", leaf_width=512), H200, 16384).strategy == "wide"
    assert leaf_plan.choose(Layout(768, 1, 3, "bf16", leaf_width=512), SMALL, 16384).strategy != "wide"
    assert leaf_plan.choose(Layout(768, 2, 7, "bf16", leaf_width=32), H200, 16384).strategy == "token"


def test_a_leaf_strategy_that_cannot_run_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="allowed: auto, token, tile, tensor, wide, split"):
        leaf_plan.forced("path", Layout(768, 1, 7, "bf16", leaf_width=32), H200, 1)
    with pytest.raises(ValueError, match="'tile' cannot run"):
        leaf_plan.forced("tile", Layout(768, 2, 7, "bf16", leaf_width=32), H200, 1)
    with pytest.raises(ValueError, match="no such thing to tune: bottom"):
        leaf_plan.forced("tile", Layout(768, 1, 7, "bf16", leaf_width=32), H200, 1, bottom=3)


@pytest.mark.parametrize("module", [fff_cuda, fff_triton, cmm_cuda_naive, cmm_triton_levels], ids=lambda m: m.__name__)
def test_unsupported_answers_with_a_sentence_or_none(module: object) -> None:
    if module is not fff_cuda:
        leaf = Workload(Shape.leaf(64, 1, 3, 8), 4, device="cuda")
        assert "leaf" in module.unsupported(leaf)  # type: ignore[attr-defined]
    reason = module.unsupported(Workload(Shape.tree(768, 1, 12), 1, device="cuda"))  # type: ignore[attr-defined]
    assert reason is None or (isinstance(reason, str) and "\n" not in reason)


@pytest.mark.skipif(COMPILER is not None, reason=str(COMPILER))
@pytest.mark.parametrize("arch", compile_all.ARCHITECTURES)
def test_the_naive_dense_kernel_compiles(arch: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FFFBENCH_CACHE", str(tmp_path))
    (step,) = dense_cuda_naive.plan(Layout(768, 1, 1, "fp32", aligned=False), 4095, 16384).launches
    assert (step.grid, step.block) == (16, 1024)
    assert build.cubin(step.source, step.macros, arch)


@pytest.mark.skipif(COMPILER is not None, reason=str(COMPILER))
def test_kernels_compile_and_are_cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FFFBENCH_CACHE", str(tmp_path))
    for step in list(compile_all.steps())[:6]:
        first = build.cubin(step.source, step.macros, "sm_90")
        assert first == build.cubin(step.source, step.macros, "sm_90")
    assert len(list((tmp_path / "cuda").glob("*.cubin"))) == len(list(compile_all.steps())[:6])


@pytest.mark.skipif(COMPILER is not None, reason=str(COMPILER))
def test_a_source_that_does_not_compile_says_why_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FFFBENCH_CACHE", str(tmp_path))
    with pytest.raises(build.BuildError, match=r"tensor_top\.cu does not compile for sm_90: .*fp32") as caught:
        build.cubin("tensor_top.cu", {"FFF_DTYPE": 0}, "sm_90")
    assert "\n" not in str(caught.value)


def test_a_missing_compiler_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(compile_all, "missing", lambda: "needs cuda-core")
    assert compile_all.main(["--arch", "sm_90"]) == 2
    assert "needs cuda-core" in capsys.readouterr().err


NEW = {
    "3x9 tensor": STRATEGIES["tensor"](Layout(264, 3, 9, "bf16"), H200, 300),
    "8x7 tensor": STRATEGIES["tensor"](Layout(328, 8, 7, "fp16"), H200, 300),
    "9x2 dense form": STRATEGIES["dense_form"](Layout(768, 9, 2, "bf16"), H200, 300, columns=64, groups=1),
    "3x7 dense form": STRATEGIES["dense_form"](Layout(1000, 3, 7, "fp16"), H200, 300, columns=128, groups=1),
    "1x14 deep": STRATEGIES["deep"](Layout(256, 1, 14, "bf16"), H200, 300),
    "5x4 split": STRATEGIES["split"](Layout(77, 5, 4, "fp32", aligned=False), H200, 300),
    "5x4 masked": STRATEGIES["masked"](Layout(768, 5, 4, "fp32"), H200, 300),
    "6 by 129 wide": leaf_plan.wide(Layout(264, 1, 6, "bf16", leaf_width=129), H200, 300),
    "6 by 129 tensor": leaf_plan.tensor(Layout(264, 1, 6, "fp16", leaf_width=129), H200, 300),
    "2 by 5 split": leaf_plan.split(Layout(77, 3, 2, "fp16", aligned=False, leaf_width=5), H200, 300),
}


@pytest.mark.skipif(COMPILER is not None, reason=str(COMPILER))
@pytest.mark.parametrize("name", NEW)
def test_kernels_compile_at_shapes_that_fill_no_tile(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FFFBENCH_CACHE", str(tmp_path))
    plan = NEW[name]
    assert plan is not None
    for step in plan.launches:
        assert build.cubin(step.source, step.macros, "sm_90a" if step.only_90 else "sm_90")


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_strategy_compiles_the_activation_in_or_declines(activation: str) -> None:
    layouts = [Layout(768, 70, 1, "bf16", activation=activation), Layout(768, 70, 1, "fp32", activation=activation)]
    layouts += [Layout(768, 3, 9, "bf16", activation=activation), Layout(768, 1, 14, "bf16", activation=activation)]
    wanted = {} if activation == "gelu" else {"FFF_ACTIVATION": ACTIVATIONS.index(activation)}
    for layout in layouts:
        for batch in (1, 1000, 16384):
            plan = choose(layout, H200, batch)
            if plan.strategy == "dense":
                assert activation == "gelu" or (activation, layout.dtype) == ("gelu_tanh", "bf16")
            for step in plan.launches:
                assert {k: v for k, v in step.macros.items() if k == "FFF_ACTIVATION"} == wanted


@pytest.mark.skipif(COMPILER is not None, reason=str(COMPILER))
@pytest.mark.parametrize("activation", ACTIVATIONS[1:])
def test_other_activations_compile(activation: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FFFBENCH_CACHE", str(tmp_path))
    for name in ("split", "masked"):
        plan = STRATEGIES[name](Layout(768, 5, 4, "fp16", activation=activation), H200, 300)
        assert plan is not None
        assert all(build.cubin(step.source, step.macros, "sm_90") for step in plan.launches)


def test_an_unknown_activation_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="allowed: gelu, gelu_tanh, relu, silu"):
        fff_cuda.prepare(Weights(None, None), Workload(Shape.tree(8, 1, 2), 1, device="cuda"), activation="tanh")  # type: ignore[arg-type]

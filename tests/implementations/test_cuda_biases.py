"""Does each CUDA kernel get the biases that it is compiled with, and does nothing compute without them silently?"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from fffbench.errors import UserError
from fffbench.implementations import fff_cuda
from fffbench.implementations.cuda import build, leaf_plan
from fffbench.implementations.cuda.base import ACTIVATIONS, Boxes, Gpu, Layout, Plan, Product, Step
from fffbench.implementations.cuda.plan import STRATEGIES, choose
from fffbench.implementations.registry import Weights, implementation
from fffbench.plan.workload import Shape, Workload

COMPILER = build.missing()
SHAPES = [(768, 1, 12), (768, 1, 6), (77, 1, 5), (768, 1, 1), (768, 70, 1), (264, 3, 9), (256, 1, 16), (12288, 1, 16)]
LEAVES = [(768, 1, 7, 32), (77, 3, 2, 5), (264, 1, 6, 129), (768, 1, 0, 40)]
PARAMETERS = 0x17  # EIATTR_KPARAM_INFO of a .nv.info section: one for each parameter of a kernel
# What has no logits (b1) or writes no output (b2); path goes on from an output that has b2 already.
WITHOUT = {
    "b1": {"fff_split_sum", "fff_leaf_output", "fff_leaf_scan", "fff_leaf_place", "fff_masked"},
    "b2": {
        "fff_split_walk", "fff_split_leaf", "fff_split_list", "fff_split_neurons", "fff_tensor_top", "fff_shared_top",
        "fff_dense_form", "fff_masked", "fff_leaf_hidden", "fff_leaf_route", "fff_leaf_scan", "fff_leaf_place",
    },
}  # fmt: skip


def layouts(*, b1: bool, b2: bool, activation: str = "gelu") -> Iterator[Layout]:
    """Shapes of every strategy."""
    for d, trees, levels, width in (*((*shape, 0) for shape in SHAPES), *LEAVES):
        for dtype in ("fp32", "bf16"):
            aligned = d % 8 == 0
            yield Layout(d, trees, levels, dtype, aligned, width, activation, b1=b1, b2=b2)


def plans(*, b1: bool, b2: bool) -> Iterator[tuple[Layout, Plan]]:
    """Every plan for them."""
    for layout in layouts(b1=b1, b2=b2):
        for make in (leaf_plan.STRATEGIES if layout.leaf_width else STRATEGIES).values():
            for batch in (1, 300, 5000):
                plan = make(layout, Gpu(), batch)
                if plan is not None:
                    yield layout, plan


def takes(step: Step, name: str) -> bool:
    """Whether a launch is given that bias, as it is or packed."""
    return any(a in (name, f"{name}_slots") for a in step.arguments if isinstance(a, str))


@pytest.mark.parametrize("biases", [("b1",), ("b2",), ("b1", "b2"), ()], ids=str)
def test_every_kernel_with_logits_gets_b1_and_one_that_writes_y_first_gets_b2(biases: tuple[str, ...]) -> None:
    for layout, plan in plans(b1="b1" in biases, b2="b2" in biases):
        for name in ("b1", "b2"):
            there = name in biases
            used = 0
            for step in plan.launches:
                above = step.macros.get("FFF_ABOVE", 0) > 0 and name == "b2"
                wanted = there and step.entry not in WITHOUT[name] and not above
                assert takes(step, name) == wanted, (plan.strategy, step.entry, layout)
                assert not wanted or step.macros[f"FFF_{name.upper()}"] in (1, 2)
                used += wanted
            used += sum(p.bias.startswith(name) for p in plan.steps if isinstance(p, Product))
            assert bool(used) == there, (plan.strategy, layout)


def test_a_packed_b1_is_in_the_order_of_the_packed_rows() -> None:
    for _, plan in plans(b1=True, b2=True):
        for kind in ("slots", "padded"):
            if f"w1_{kind}" in plan.packed:
                assert plan.packed[f"b1_{kind}"].rows == plan.packed[f"w1_{kind}"].rows
                assert plan.packed[f"b1_{kind}"].source == "b1"


def test_a_product_that_is_walked_or_activated_in_place_adds_b1_before_it_rounds() -> None:
    for strategy, shape in (("masked", (768, 5, 4)), ("dense", (768, 70, 1))):
        plan = STRATEGIES[strategy](Layout(*shape, "bf16", b1=True, b2=True), Gpu(), 300)
        first, second = (step for step in plan.steps if isinstance(step, Product))
        assert (first.bias, second.bias) == ("b1_padded", "b2")


def parameters(cubin: bytes, entry: str) -> list[int]:
    """Sizes in bytes of a compiled kernel's parameters, in their order."""
    table, size, count, names = (
        struct.unpack_from("<Q", cubin, 0x28)[0], *struct.unpack_from("<HHH", cubin, 0x3A)
    )  # fmt: skip
    heads = [struct.unpack_from("<IIQQQQ", cubin, table + i * size) for i in range(count)]
    named = {cubin[heads[names][4] + h[0] :].split(b"\0", 1)[0].decode(): cubin[h[4] : h[4] + h[5]] for h in heads}
    data, at, found = named[f".nv.info.{entry}"], 0, {}
    while at < len(data):
        kind, attribute, length = struct.unpack_from("<BBH", data, at)
        at += 4
        if kind == 4:
            if attribute == PARAMETERS:
                _, ordinal, _, packed = struct.unpack_from("<IHHI", data, at)
                found[ordinal] = packed >> 18
            at += length
    return [found[i] for i in sorted(found)]


CASES = {
    f"{'leaf ' if layout.leaf_width else ''}{name}, {layout.dtype}, {kind}": make(layout, Gpu(), 300)
    for kind, more in (("both", {"b1": True, "b2": True}), ("none", {}))
    for layout, table in (
        *((Layout(264, 3, 9, dtype, **more), STRATEGIES) for dtype in ("fp32", "bf16")),
        *((Layout(264, 1, 12, dtype, activation="silu", **more), STRATEGIES) for dtype in ("fp32", "fp16")),
        *((Layout(264, 1, 6, dtype, leaf_width=129, **more), leaf_plan.STRATEGIES) for dtype in ("fp32", "bf16")),
    )
    for name, make in table.items()
    if make(layout, Gpu(), 300) is not None
}  # fmt: skip


@pytest.mark.skipif(COMPILER is not None, reason=str(COMPILER))
@pytest.mark.parametrize("name", CASES)
def test_a_launch_passes_the_parameters_that_its_compiled_kernel_takes(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FFFBENCH_CACHE", str(tmp_path))
    for step in CASES[name].launches:
        code = build.cubin(step.source, step.macros, "sm_90a" if step.only_90 else "sm_90")
        given = [128 if isinstance(a, Boxes) else 8 if isinstance(a, str) else 4 for a in step.arguments]
        assert parameters(code, step.entry) == given, step.entry


@pytest.mark.skipif(COMPILER is not None, reason=str(COMPILER))
@pytest.mark.parametrize("arch", ["sm_80", "sm_100"])
def test_kernels_with_biases_compile_for_other_architectures(
    arch: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FFFBENCH_CACHE", str(tmp_path))
    gpu = Gpu(108, 160 * 1024, early_start=arch != "sm_80", wgmma=False)
    tree, leaf = Layout(264, 1, 9, "bf16", b1=True, b2=True), Layout(264, 1, 6, "bf16", leaf_width=70, b1=True, b2=True)
    for plan in (choose(tree, gpu, 1), choose(tree, gpu, 5000), leaf_plan.choose(leaf, gpu, 5000)):
        for step in plan.launches:
            assert build.cubin(step.source, step.macros, arch)


def test_a_source_has_no_logit_that_passes_b1_by() -> None:
    for path in build.SOURCES.glob("*.cu"):
        text = path.read_text(encoding="utf-8")
        if re.search(r"> 0\.0f", text) and path.name not in ("masked.cu", "naive.cu", "naive_dense.cu"):
            assert "FFF_IF_B1" in text, path.name


def test_who_knows_no_biases_refuses_them_in_one_line() -> None:
    shape = Shape.tree(8, 1, 2)
    weights = Weights(None, None, b1=[0.0], b2=[0.0])  # type: ignore[arg-type]
    for name in ("cmm_masked", "fff_cpu", "cmm_cuda_naive"):
        with pytest.raises(UserError, match=f"^{name} computes without b1, b2$"):
            implementation(name).prepare(weights, Workload(shape, 1))


def test_biases_of_another_shape_or_type_are_refused() -> None:
    torch = pytest.importorskip("torch")
    shape = Shape.leaf(8, 1, 2, 3)
    w1, w2 = torch.zeros(shape.routers + shape.n, 8), torch.zeros(shape.n, 8)
    for name, bias, message in (
        ("b1", torch.zeros(shape.n), r"b1 must have shape \(15,\); it has \(12,\)"),
        ("b2", torch.zeros(8), r"b2 must have shape \(4, 8\); it has \(8,\)"),
        ("b1", torch.zeros(15, dtype=torch.bfloat16), "b1 must be contiguous, of type torch.float32"),
        ("b2", torch.zeros(8, 4).T, "b2 must be contiguous"),
    ):
        workload = Workload(shape, 0, device="cuda")
        with pytest.raises(ValueError, match=message):
            fff_cuda.prepare(Weights(w1, w2, **{name: bias}), workload, activation=ACTIVATIONS[0])

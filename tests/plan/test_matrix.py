"""Presets: which cells they hold, and how axes on the command line change them."""

import pytest

from fffbench.errors import UserError
from fffbench.implementations.registry import implementations
from fffbench.plan import fidelity
from fffbench.plan.matrix import Axes, Names, cells, preset
from fffbench.plan.presets import presets

NAMES = Names(
    {name: item.family for name, item in implementations().items()},
    {name: item.devices for name, item in implementations().items()},
)


@pytest.mark.parametrize("name", presets())
def test_every_preset_compares_an_fff_with_dense_layers_and_has_no_duplicate(name):
    found = cells(preset(name), Axes(), NAMES, 2)
    assert len(found) == len(set(found))
    families = {NAMES.family[cell.implementation] for cell in found}
    assert "dense" in families
    assert families & {"fff", "cmm"}


def test_quick_covers_one_and_all_threads_at_three_batches():
    found = [c for c in cells(preset("quick"), Axes(), NAMES, 2) if c.implementation == "fff_cpu"]
    assert {c.workload.batch for c in found} == {1, 128, 16384}
    assert {c.workload.threads for c in found} == {1, 2}


def test_where_cores_run_two_threads_every_preset_tries_one_thread_a_core_too():
    found = [c for c in cells(preset("quick"), Axes(), NAMES, 16, 8) if c.implementation == "fff_cpu"]
    assert {c.workload.threads for c in found if c.workload.batch == 1} == {1, 8, 16}
    assert {c.workload.threads for c in found if c.protocol.cache == "hot"} == {8, 16}
    same = cells(preset("quick"), Axes(), NAMES, 16, 16)
    assert same == cells(preset("quick"), Axes(), NAMES, 16)
    asked = cells(preset("quick"), Axes(threads=("physical",)), NAMES, 16, 8)
    assert {c.workload.threads for c in asked if c.workload.device == "cpu"} == {8}


def test_axes_replace_the_presets_own_values():
    axes = Axes(implementations=("fff_cpu",), batches=(7,), levels=(3, 4), trees=(2,), threads=(2,), caches=("hot",))
    found = cells(preset("quick"), axes, NAMES, 2)
    assert {c.workload.shape.n for c in found} == {14, 30}
    assert {(c.implementation, c.workload.batch, c.workload.threads, c.protocol.cache) for c in found} == {
        ("fff_cpu", 7, 2, "hot")
    }


@pytest.mark.parametrize(("asked", "planned"), [(("family:fff",), False), (("fff_cpu",), True)])
def test_a_named_implementation_is_planned_where_it_cannot_run_and_one_of_a_family_is_not(asked, planned):
    found = cells(preset("headline"), Axes(implementations=asked, devices=("cuda",)), NAMES, 2)
    assert any(c.implementation == "fff_cpu" for c in found) == planned


def test_dense_layers_are_planned_under_uniform_routing_only():
    found = cells(preset("quick"), Axes(routings=("single-path",)), NAMES, 2)
    assert {c.workload.routing for c in found if c.implementation.startswith("dense")} == {"uniform"}


def test_more_threads_than_the_machine_has_are_refused_with_the_range():
    with pytest.raises(UserError, match="1 to 2"):
        cells(preset("quick"), Axes(threads=(3,)), NAMES, 2)


def test_an_unknown_preset_is_refused_with_the_list():
    with pytest.raises(UserError, match=r"unknown preset 'fastest'; the nearest of the \d+ allowed: "):
        preset("fastest")


def test_an_unknown_implementation_is_refused_with_the_nearest():
    with pytest.raises(UserError, match="fff_cpu"):
        cells(preset("quick"), Axes(implementations=("fff_gpu",)), NAMES, 2)


FAIR = {
    fidelity.BEST_DENSE: {"cpu": ("dense_linear", "dense_gemm", "dense_fused", "dense_onednn", "dense_blas3"),
                          "cuda": ("dense_linear", "dense_padded", "dense_tiled", "dense_fused")},
    fidelity.BEST_FFF: {"cpu": ("fff_cpu",), "cuda": ("fff_cuda",)},
}  # fmt: skip


@pytest.mark.parametrize("ladder", fidelity.LADDERS, ids=lambda it: it.claim)
def test_fidelity_plans_both_sides_of_every_rung_at_one_batch_of_its_device(ladder):
    batch = {"cpu": 4096, "cuda": 16384}[ladder.device]
    planned = {
        (cell.implementation, cell.workload.shape.n, cell.workload.dtype, cell.protocol)
        for cell in cells(preset("fidelity"), Axes(), NAMES, 2)
        if (cell.workload.batch, cell.workload.device) == (batch, ladder.device)
    }
    for rung in ladder.rungs:
        for side in (rung.ours, rung.dense):
            for name in FAIR.get(side.implementation, {}).get(ladder.device, (side.implementation,)):
                assert (name, side.shape.n, side.dtype, side.protocol) in planned, rung.mended


def test_the_ladders_of_the_published_best_have_their_processes_first():
    found = cells(preset("fidelity"), Axes(), NAMES, 2)
    for claim in ("cpu-78x", "cpu-78x-over-bert", "cpu-48x"):
        ladder = next(ladder for ladder in fidelity.LADDERS if ladder.claim == claim)
        named = {(side.implementation, side.shape.n) for rung in ladder.rungs for side in (rung.ours, rung.dense)}
        kept = {(cell.implementation, cell.workload.shape.n) for cell, keep in found.items() if keep}
        assert {pair for pair in named if not pair[0].startswith("best-")} <= kept

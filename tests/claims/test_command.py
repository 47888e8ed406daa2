"""Does the command beside a claim plan the cells that the claim's verdict needs? Planned, never measured."""

import shlex
from dataclasses import replace

import pytest
from synthetic import write_run

from fffbench.analysis.speedup import dense_over_dense, speedups
from fffbench.analysis.stats import LEVEL
from fffbench.claims.base import Evidence
from fffbench.claims.command import LEDGER_PRESETS, command, holds
from fffbench.claims.ledger import load_claims
from fffbench.implementations.registry import implementation, implementations
from fffbench.plan import options
from fffbench.plan.matrix import Names, cells, preset
from fffbench.plan.presets import Block, presets
from fffbench.results.store import load

RATIOS = [claim for claim in load_claims() if claim.kind == "ratio"]
NAMES = Names(
    {name: item.family for name, item in implementations().items()},
    {name: item.devices for name, item in implementations().items()},
)
MISSING_HERE = ("CUDA", "triton", "NVRTC")  # what a machine lacks, as against what an implementation cannot compute


def planned(line):
    """The cells that the command ``line`` plans where every device and library is at hand."""
    program, verb, *words = shlex.split(line)
    assert (program, verb) == ("fffbench", "run")
    given = {name.removeprefix("--"): value for name, value in zip(words[::2], words[1::2], strict=True)}
    axes = {name: value for name, value in given.items() if name != "preset"}
    found = cells(preset(given.get("preset", "quick")), options.axes(**axes), NAMES, 2)
    return [cell for cell in found if computes(cell)]


def computes(cell):
    item = implementation(cell.implementation)
    if cell.workload.dtype not in item.dtypes or cell.workload.device not in item.devices:
        return False
    reason = item.unsupported(cell.workload)
    return reason is None or any(word in reason for word in MISSING_HERE)


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """What each command's plan gives once measured: six processes of every cell, all dense ones slower."""
    known = {}

    def results_of(line):
        if line not in known:
            folder = tmp_path_factory.mktemp("planned")
            times = {cell.id: [1.0 if cell.implementation.startswith("dense") else 0.01] * 6 for cell in planned(line)}
            write_run(folder, cells=times)
            results = load(folder)
            known[line] = (results, [*speedups(results), *dense_over_dense(results)])
        return known[line]

    return results_of


@pytest.mark.parametrize("claim", RATIOS, ids=lambda claim: claim.id)
def test_the_command_of_a_claim_measures_both_sides_under_both_conditions_on_each_device(claim, measured):
    results, rows = measured(command(claim))
    found = claim.judge(Evidence.of(results, rows))
    for device in claim.workload.devices:
        for conditions in claim.conditions:
            here = [row for row in found if (row.device, row.conditions) == (device, conditions) and row.decides]
            assert any(row.measured is not None and row.low is not None for row in here), (device, conditions)
    assert {row.verdict for row in found}.isdisjoint({"not-measured", "undecided"})
    assert all((row.coverage or 0) >= LEVEL for row in rows if row.speedup is not None)


def without(blocks, *, baseline):
    """``blocks`` without their dense layers, or without anything else."""
    kept = [
        replace(block, implementations=tuple(n for n in block.implementations if n.startswith("dense") != baseline))
        for block in blocks
    ]
    return [block for block in kept if block.implementations]


@pytest.mark.parametrize("claim", RATIOS, ids=lambda claim: claim.id)
def test_a_preset_that_lacks_a_side_or_a_protocol_of_a_claim_does_not_hold_it(claim):
    named = command(claim).split()[3]
    blocks = presets()[named].blocks
    assert holds(blocks, claim)
    assert not holds(without(blocks, baseline=True), claim)
    for change in ({"caches": ("warm",)}, {"batches": (3,)}, {"dtypes": ("fp16",)}, {"threads": ()}):
        assert not holds([replace(block, **change) for block in blocks], claim), change
    if claim.subject.family != "dense" and claim.workload.trees:
        assert not holds(without(blocks, baseline=False), claim)


def test_a_claim_that_no_preset_holds_gets_its_axes_spelled_out():
    claim = next(claim for claim in RATIOS if claim.id == "cpu-78x")
    other = claim.model_copy(update={"workload": claim.workload.model_copy(update={"batch": 77})})
    assert not any(holds(presets()[name].blocks, other) for name in LEDGER_PRESETS)
    line = command(other)
    assert "--batches 77" in line
    assert {cell.workload.batch for cell in planned(line)} == {77}


def test_thread_counts_that_never_meet_compare_nothing():
    claim = next(claim for claim in RATIOS if claim.id == "user-1.58x")
    names = ("dense_linear", "cmm_gather_bmm")
    hot = [
        Block((name,), (claim.workload.shape,), (128,), threads=(count,), caches=("hot",), calls=("torch",))
        for name, count in zip(names, (1, "all"), strict=True)
    ]
    cold = Block(("dense_linear", "family:fff"), (claim.workload.shape,), (128,))
    assert not holds([*hot, cold], claim)
    assert holds([replace(hot[0], threads=(1, "all")), hot[1], cold], claim)

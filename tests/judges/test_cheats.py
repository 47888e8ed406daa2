"""A kernel that only looks fast is refused by a run and by ``check``; its honest twins pass.

Every module in ``cheats`` is one way to deceive the measurement, installed as a third party's package would be.
"""

import os
import shutil
from pathlib import Path

import plugins
import pytest

from fffbench.implementations import registry
from fffbench.measure.processes import Round
from fffbench.measure.session import Plan, Session
from fffbench.plan.workload import Cell, Protocol, Shape, Workload

SHAPE, DEEP = Shape.tree(256, 1, 10), Shape.tree(64, 1, 9)
SMALL, LARGE, MANY = Workload(SHAPE, 64), Workload(SHAPE, 1024), Workload(DEEP, 1)
COLD, WARM, HOT, TORCH = (
    Protocol("cold", "kernel"),
    Protocol("warm", "kernel"),
    Protocol("hot", "kernel"),
    Protocol("warm", "torch"),
)
HONEST = ("honest_twin", "packs_and_says_so", "has_a_workspace")
# what the refusal says; the protocols in which the cheat would pay
CHEATS = {
    "computes_in_bind": ("wrong result of a timed call", SMALL, (COLD, WARM, HOT)),
    "caches_by_address": ("wrong result of a timed call", SMALL, (COLD, WARM, HOT, TORCH)),
    # where it has time for few calls, spoiled weights show it
    "caches_by_content": (("outputs are kept", "copy of w"), SMALL, (HOT, Protocol("hot", "torch"))),
    "works_once": ("wrong result of a timed call", SMALL, (COLD, HOT)),
    "works_where_unwritten": ("wrong result of a timed call", SMALL, (COLD, WARM, HOT)),
    "works_at_checked_batches": ("wrong result of a timed call", MANY, (COLD, WARM)),
    "returns_a_lazy_tensor": ("not a plain torch.Tensor", SMALL, (TORCH,)),
    "works_after_returning": ("wrong result", LARGE, (COLD, WARM, HOT)),
    # its loops are calibrated by a clock that stands still: they may outlast a cell's limit before they are judged
    "replaces_the_clock": (("it replaced time.perf_counter_ns", "stopped after"), SMALL, (HOT,)),
    "replaces_the_clocks_reference": ("by a clock outside its process", SMALL, (COLD,)),
    "replaces_samples": ("by a clock outside its process", SMALL, (COLD,)),
    "replaces_the_check": ("wrong result", SMALL, (COLD,)),
    "replaces_the_eviction": ("it replaced fffbench", SMALL, (COLD,)),
    "redraws_the_inputs": ("wrong result of a timed call", SMALL, (COLD, HOT)),
    "keeps_a_copy": ("copy of w", SMALL, (COLD,)),
    "declares_another_copy": ("copy of w", SMALL, (COLD,)),
    # seen at work inside a call, or only by the processor time of the whole loop
    "takes_more_threads": (("threads were at work", "belongs to more threads"), LARGE, (COLD,)),
    # a process of its own sees no spoiled weights either; two that wait for each other on one core outlast the limit
    "leaves_it_to_a_process": (("threads were at work", "copy of w", "stopped after"), LARGE, (COLD, WARM)),
    # the process that it leaves behind counts as its own
    "slows_its_rivals": ("threads were at work", SMALL, (COLD, HOT)),
    "slows_its_worker": ("which its rivals inherit", SMALL, (COLD, WARM)),
    "forges_the_outcome": ("answered something else", SMALL, (COLD,)),
    "forges_the_verdict": ("answered something else", SMALL, (COLD,)),
    "writes_past_the_end": ("overwritten", SMALL, (COLD, WARM)),
}


PROCESSES = ("leaves_it_to_a_process", "slows_its_rivals")  # of their own, which compete with all others


def crowded():
    """Whether other programs want all processors."""
    return os.getloadavg()[1] > 2 * len(os.sched_getaffinity(0))


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("theirs")
    modules = sorted((Path(__file__).parent / "cheats").glob("*.py"))
    for path in modules:
        shutil.copy(path, folder)
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("FFFBENCH_TEST_PIDS", str(folder / "pids"))
        plugins.install(folder, {path.stem: path.stem for path in modules}, patched)
        yield folder
    registry._plugins.cache_clear()


def cells_of(name, workload, protocols):
    return [Cell(name, workload, protocol) for protocol in protocols]


@pytest.fixture(scope="module")
def outcomes(installed):
    """Failure or None of every cell of every cheat and its twins, from one run."""
    cells = [cell for name, (_, work, protocols) in CHEATS.items() for cell in cells_of(name, work, protocols)]
    cells += [cell for name in HONEST for cell in cells_of(name, SMALL, (COLD, HOT, TORCH))]
    cells += cells_of("fff_cpu", SMALL, (COLD,))
    session = Session(Plan(tuple(cells), 1, 0.03), [], dict.fromkeys(cells, 1.0), lambda _: None, seed=1)
    return {outcome.cell: outcome.failure for outcome in session.outcomes()}


def test_every_cheat_is_tried():
    assert {path.stem for path in (Path(__file__).parent / "cheats").glob("*.py")} == {*CHEATS, *HONEST}


@pytest.mark.parametrize("name", CHEATS)
def test_a_cheat_has_no_time_in_any_protocol_where_it_would_pay(outcomes, name):
    said, workload, protocols = CHEATS[name]
    if name in ("takes_more_threads", *PROCESSES) and crowded():
        pytest.skip("other programs leave no processor for a second thread: it neither gains nor can be seen")
    for cell in cells_of(name, workload, protocols):
        allowed = (said,) if isinstance(said, str) else said
        assert any(text in (outcomes[cell.id] or "") for text in allowed), (cell.id, outcomes[cell.id])


def test_outputs_kept_by_content_are_seen_where_there_is_time_for_few_calls(installed):
    cheats, twins = (cells_of(name, SMALL, (HOT, WARM, TORCH)) for name in ("caches_by_content", "honest_twin"))
    cells = [*cheats, *twins]
    session = Session(Plan(tuple(cells), 1, 0.0005), [], dict.fromkeys(cells, 1.0), lambda _: None, seed=1)
    failures = {outcome.cell: outcome.failure for outcome in session.outcomes()}
    for cell in cheats:
        assert "copy of w" in (failures[cell.id] or ""), failures
    assert [failures[cell.id] for cell in twins] == [None] * 3


@pytest.mark.parametrize("name", HONEST)
def test_an_honest_twin_is_measured(outcomes, name):
    mine = {cell: failure for cell, failure in outcomes.items() if cell.startswith(f"{name}@")}
    assert len(mine) == 3
    assert set(mine.values()) == {None}


def checked(names):
    """What ``check`` says of each at a batch that is large enough to count threads."""
    with Round() as worker:
        return {
            name: answer["failure"] for name in names for _, answer in worker.conform([Cell(name, LARGE, HOT)], 120.0)
        }


REFUSED_BY_CHECK = {
    "works_where_unwritten": ("differ from the float64 reference",),
    "takes_more_threads": ("threads were at work (those of processes it started too), 1 were asked for",),
    "leaves_it_to_a_process": ("copy of w1", "threads were at work (those of processes it started too)"),
    "slows_its_rivals": ("threads were at work (those of processes it started too), 1 were asked for",),
    "forges_the_outcome": ("code in it wrote to the judge's channel",),
    "forges_the_verdict": ("code in it wrote to the judge's channel",),
}


def test_check_refuses_a_cheat_and_says_what_it_did_and_passes_the_honest_twins(installed):
    tried = [name for name in REFUSED_BY_CHECK if not (name in PROCESSES and crowded())]
    found = checked([*tried, *HONEST])
    for name in tried:
        said = REFUSED_BY_CHECK[name]
        assert any(text in (found[name] or "") for text in said), (name, found[name])
    assert {name: found[name] for name in HONEST} == dict.fromkeys(HONEST)


# they deceive the clock, or calls that only a run makes
PASSED_BY_CHECK = (
    *("works_once", "works_at_checked_batches", "replaces_the_clocks_reference", "replaces_samples"),
    "slows_its_worker",
)


def test_the_guide_names_each_cheat_that_check_passes(installed):
    assert checked(PASSED_BY_CHECK) == dict.fromkeys(PASSED_BY_CHECK)  # one that is refused leaves both lists
    guide = (Path(__file__).parents[2] / "docs" / "guide" / "untrusted-kernels.md").read_text()
    said = guide.partition("`fffbench check` runs")[2].partition("\n\n")[0]
    assert {name for name in CHEATS if f"`{name}`" in said} == set(PASSED_BY_CHECK)


def test_nothing_that_a_plugin_started_outlives_its_process(outcomes, installed):
    left = [int(line) for line in (installed / "pids").read_text().split()]
    assert left
    for process in left:
        with pytest.raises(ProcessLookupError):
            os.kill(process, 0)


def test_a_rivals_process_never_imports_it(outcomes, installed):
    assert outcomes[cells_of("fff_cpu", SMALL, (COLD,))[0].id] is None

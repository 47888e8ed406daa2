"""Does an implementation compute the right function at every edge of the shapes?

The same check as before every timing, on small workloads: batch 0, 1, odd and
not a multiple of any block; d not a multiple of a vector; one level, twenty
levels; several trees; leaf blocks; every token on one path; few leaves for most tokens.
Then again on inputs that nobody could foresee, in the same places; and with spoiled weights, to see whether the output
comes from a copy of them that is not declared. Somebody else's on a CPU computes in a process of its own; that of the
verdict never imports it (``subject``), and reads how many threads it had at work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import lru_cache
from itertools import product
from typing import TYPE_CHECKING, Any

from fffbench import contain
from fffbench.devices import DEVICES, HOST
from fffbench.implementations.registry import FAMILIES, Implementation, implementation, reasons
from fffbench.measure import cellrun, check, diagnosis, fresh, inputs
from fffbench.measure.judge import EXTRA_THREADS, at_work, audits, too_many
from fffbench.measure.subject import Apart, Here, StepFailedError, Subject
from fffbench.plan.workload import FAULTY, Cell, Protocol, Shape, Workload
from fffbench.problems import PROBLEMS, Data
from fffbench.problems.base import DENSE
from fffbench.problems.judging import Others, Reference
from fffbench.units import MOST_ERROR

if TYPE_CHECKING:
    import torch

BATCHES = (0, 1, 3, 64, 257)
FEW_BATCHES = (1, 257)  # for what is slow to prepare
DEEP = Shape.tree(8, 1, 20)  # a million neurons of 8 weights: for optimised kernels only, the others drown in it
LEAVES = Shape.leaf(768, 1, 7, 32)
# of one tree or none, as in the published benchmarks
PUBLISHED_KIND = (Shape.dense(100, 129), Shape.dense(33, 31), Shape.tree(33, 1, 5), Shape.tree(64, 1, 7))
LEAST_VISIBLE = 3, 16  # batch and d from which outputs of other weights differ for certain
COUNTED_TOKENS = 1024  # from here on a call is long enough to count the threads of
COUNTED_SECONDS = 0.1  # of calls: many turns on a core that others want too
CASES_KEPT = 400  # of at most 26 MB each, mostly far smaller; all cases of four dtypes

_processes: dict[str, Apart] = {}  # of somebody else's implementations, by name


def workloads(item: Implementation, dtype: str, device: str, threads: int = 2) -> Iterator[Workload]:
    """Every edge workload of a dtype and device for an implementation; dense layers see a tree's neurons too."""

    def work(shape: Shape, batch: int, routing: str = "uniform", threads: int = threads) -> Workload:
        return Workload(shape, batch * shape.together, dtype, routing, threads, device)

    if item.family == FAULTY:
        yield from (work(shape, batch) for shape, batch in product(PUBLISHED_KIND, BATCHES))
        return
    shapes = [shape for kind in item.kinds for shape in PROBLEMS[kind].edges()]
    if DENSE in item.kinds:
        shapes += [shape for shape in (Shape.tree(33, 1, 5), Shape.leaf(33, 3, 2, 5)) if shape.kind not in item.kinds]
        yield work(Shape.dense(100, 129), 1500)
    yield from (work(shape, batch) for shape, batch in product(shapes, BATCHES))
    if not {"tree", "leaf"} & set(item.kinds):
        return
    for batch in (1, 65):
        if item.family == "fff":
            yield work(DEEP, batch)
        for routing, shape in product(("single-path", "zipf"), (Shape.tree(768, 1, 12), LEAVES)):
            yield work(shape, 4 * batch, routing)
    yield work(Shape.tree(100, 2, 7), 1500)
    yield work(Shape.tree(100, 2, 7), 1500, threads=1)


def _reason(chosen: Implementation, workload: Workload) -> str | None:
    """Why ``chosen`` cannot run ``workload``, or None."""
    if not chosen.foreign:
        return chosen.unsupported(workload)
    known = _foreign_reasons(chosen.name, workload.dtype, workload.device)
    return known[workload] if workload in known else chosen.unsupported(workload)


@lru_cache(maxsize=64)
def _foreign_reasons(name: str, dtype: str, device: str) -> dict[Workload, str | None]:
    """The reasons of somebody else's code for all edges at once: each question starts a process that imports it."""
    chosen = implementation(name)
    edges = list(dict.fromkeys(workloads(chosen, dtype, device)))
    return dict(zip(edges, reasons([(chosen, edge) for edge in edges]), strict=True))


@lru_cache(maxsize=CASES_KEPT)
def _case(workload: Workload, family: str) -> tuple[Data, Reference]:
    data = workload.draw(workload.batch)
    return data, cellrun.build_reference(workload, family, data, workload.batch)


@lru_cache(maxsize=CASES_KEPT)
def _again(workload: Workload, family: str) -> tuple[Data, Reference]:
    """The weights of ``_case`` with inputs that are drawn now."""
    data = _case(workload, family)[0]
    data = replace(data, x=fresh.draw(workload, data.law, workload.batch).numpy())
    return data, cellrun.build_reference(workload, family, data, workload.batch)


def answer(cell: Cell) -> dict[str, Any]:
    """``conform`` as plain data: ``skipped`` with the reason, or ``error`` and ``failure``, also of what it raises."""
    try:
        verdict = conform(cell.implementation, cell.workload)
    except StepFailedError as error:
        return {"error": None, "failure": str(error)}
    except BaseException as error:  # noqa: BLE001  (SystemExit of somebody else's code too: it is this case's)
        return {"error": None, "failure": contain.one_line(f"{type(error).__name__}: {error}")}
    if isinstance(verdict, str):
        return {"skipped": verdict}
    return {"error": verdict.error, "failure": verdict.failure}


def _alike(shape: Shape, family: str) -> str:
    """The first family that computes the same on ``shape``: their references are the same."""
    found: str = next(other for other in FAMILIES if shape.seen_by(other) == shape.seen_by(family))
    return found


def conform(name: str, workload: Workload) -> check.Verdict | str:
    """The verdict on ``name`` at ``workload``, through both entries; or the reason it does not run there.

    The worse of the torch-level call and the bare kernel, each on unwritten, guarded outputs, the kernel twice.
    """
    chosen = implementation(name)
    reason = _reason(chosen, workload)
    if reason is not None:
        return reason
    if chosen.slow_to_prepare and workload.batch not in FEW_BATCHES:
        return f"{name} is slow to prepare: only batches {' and '.join(map(str, FEW_BATCHES))} are tried"
    cell = Cell(name, workload, Protocol("hot", "kernel"))
    apart = _apart(name) if chosen.foreign and workload.place.host_memory else None
    if apart is None:  # before the reference: with the threads of before it would wait for ever in a forked process
        workload.place.configure(workload.dtype, workload.threads)
    key = replace(workload, threads=1, device=HOST), _alike(workload.shape, chosen.family)
    data, reference = _case(*key)
    if apart is None:
        subject: Subject = Here.prepared(cell, data)
    else:
        apart.prepare(cell, data)
        subject = apart
    verdict = judge(subject, cell, reference, None if chosen.wrong else lambda: _again(*key))
    if verdict.failure is None and chosen.foreign:
        verdict = replace(verdict, failure=_meddling(subject, apart, workload))
    if verdict.failure is not None and verdict.error > 0 and not verdict.harm and not chosen.wrong:
        verdict = replace(verdict, failure=f"{verdict.failure}{_diagnosis(subject, cell, data, reference)}")
    return check.expecting(verdict, chosen.wrong)


def _apart(name: str) -> Apart:
    """The process in which somebody else's implementation is: the one of the last case, or a new one."""
    one = _processes.get(name)
    if one is None or not one.alive:
        DEVICES[HOST].configure("", 1)  # this process starts no thread, so that it can be forked again
        one = _processes[name] = Apart()
    return one


def _meddling(subject: Subject, apart: Apart | None, workload: Workload) -> str | None:
    """What somebody else's right outputs were made with that was not theirs to use, or None."""
    if (name := subject.replaced()) is not None:
        return f"it replaced {name}"
    if apart is None or workload.batch < COUNTED_TOKENS:
        return None
    most = workload.threads + EXTRA_THREADS
    runs = audits(apart.calls, lambda runs: at_work(runs) <= most, COUNTED_SECONDS)
    return too_many(at_work(runs), workload.threads)


def _diagnosis(subject: Subject, cell: Cell, data: Data, reference: Reference) -> str:
    """What a wrong layer did instead, on the inputs of the first comparison, after a semicolon; empty if nobody knows.

    The torch-level call is asked first, then the bare kernel. It explains a failure and decides nothing.
    """
    family = implementation(cell.implementation).family
    shape = cell.workload.shape.seen_by(family)
    if shape.kind not in PROBLEMS.own:
        return ""
    x, given = inputs.rounded(cell.workload, data, len(data.x))
    weights = cell.workload.shape.weights_seen_by(family, given)
    wide, w1, w2 = (tensor.double().numpy() for tensor in (x, weights["w1"], weights["w2"]))

    def of(y: torch.Tensor | None) -> str:
        return "" if y is None else diagnosis.diagnose(shape, wide, w1, w2, reference, y.double().cpu().numpy())

    try:
        subject.renew(x)
        said = of(subject.outputs("torch")[0]) or of(subject.outputs("kernel")[0])
    except Exception:  # noqa: BLE001  (somebody else's code, which is wrong already)
        return ""
    return f"; {said}" if said else ""


def judge(
    subject: Subject, cell: Cell, reference: Reference, again: Callable[[], tuple[Data, Reference]] | None = None
) -> check.Verdict:
    """Judge a prepared layer: the kernel on an unwritten output, again on the used one, and the torch-level call.

    ``again`` gives other inputs, on which it is judged once more where it is, and then with spoiled weights.
    """
    verdicts = [_verdict(subject, call, reference) for call in ("kernel", "kernel", "torch")]
    if again is not None and all(verdict.failure is None for verdict in verdicts):
        data, other = again()
        x = inputs.batch_of(data.x, subject.given()[0])
        # into the output of the other inputs: a kernel could look whether it is unwritten
        verdicts.append(check.compare(other, subject.renew(x)))
        verdicts += [_verdict(subject, call, other) for call in ("kernel", "torch")]
        if all(verdict.failure is None for verdict in verdicts) and _visible(cell.workload):
            verdicts += _from_copies(subject, cell, other)
    return max(verdicts, key=lambda verdict: (verdict.failure is not None, verdict.error))


def _verdict(subject: Subject, call: str, expected: Reference) -> check.Verdict:
    """On the output of one call, and on what else it wrote."""
    y, harm = subject.outputs(call)
    if y is None:
        return check.Verdict(MOST_ERROR, 0.0, len(expected.index), 0, 0, harm, harm=True)
    verdict = check.compare(expected, y)
    return verdict if harm is None else replace(verdict, failure=harm, harm=True)


def _visible(workload: Workload) -> bool:
    """Whether other weights certainly give other outputs."""
    return workload.batch >= LEAST_VISIBLE[0] and workload.shape.d >= LEAST_VISIBLE[1]


def _from_copies(subject: Subject, cell: Cell, expected: Reference) -> list[check.Verdict]:
    """A failure for each tensor that can be changed, with all declared copies, without a change of the output."""
    shape, found = cell.workload.shape, []
    x, kept = subject.given()
    states = [(expected, kept)]  # what the output may be where only later tensors come from hidden copies
    for name, factor in shape.spoilers().items():
        subject.spoil(name)
        y, harm = subject.outputs("kernel")
        if y is not None and harm is None and any(check.compare(other, y).failure is None for other, _ in states):
            found.append(name)
        states += [_spoiled(cell, x, *state, name, factor) for state in states]
    tokens = len(expected.index)
    return [
        check.Verdict(0.0, 0.0, tokens, 0, 0, f"it computes from a copy of {name} that it does not declare as resident")
        for name in found
    ]


def _spoiled(
    cell: Cell, x: torch.Tensor, expected: Reference, weights: dict[str, torch.Tensor], name: str, factor: float
) -> tuple[Reference, dict[str, torch.Tensor]]:
    """The reference and the weights with one tensor spoiled."""
    weights = weights | {name: factor * weights[name]}
    if factor == -1:  # negates the output
        others = {token: Others(-found.y, found.std) for token, found in expected.alternatives.items()}
        return replace(expected, y=-expected.y, alternatives=others), weights
    family = implementation(cell.implementation).family
    return check.make_reference(cell.workload, family, x, weights), weights

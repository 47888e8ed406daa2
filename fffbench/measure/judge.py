"""Who decides what a measurement of somebody else's code is worth? A process that never imports it.

The judge forks the measuring process (``measuring``), and from then on believes nothing but outputs and its own clocks.
It compares the outputs with the float64 reference, draws the inputs that are timed after the implementation was
prepared, picks the timed outputs that it checks, times calls itself through the channel, reads how much processor time
the other process took, and spoils the weights to see whether a hidden copy of them is in use. On CPUs; on an
accelerator the check runs in the measuring process (``cellrun``).

One proceeding in the order of its steps, each of which needs what the earlier ones kept: hence more than 300 lines.
"""

from __future__ import annotations

import math
import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fffbench import contain
from fffbench.implementations.registry import Implementation
from fffbench.measure import cellrun, check, fresh, inputs
from fffbench.measure.channel import Channel, GoneError, shared_memory
from fffbench.measure.failures import death
from fffbench.measure.outcome import NEVER, NEXT_RUN, NOW, Outcome, failed
from fffbench.measure.staging import CONTROL, MOST_CHECKS, UNWRITTEN, Layout, Sheet, size
from fffbench.measure.watching import Reading, read
from fffbench.parent import end_with_parent
from fffbench.plan.workload import Cell
from fffbench.problems import Data
from fffbench.problems.judging import Reference
from fffbench.units import MOST_ERROR

if TYPE_CHECKING:
    import torch

# The judge's clock sees two switches between processes besides the calls, 0.1 ms on a busy machine.
AUDIT_SECONDS = 0.01
AUDIT_CALLS = 100_000
AUDITS, MOST_AUDITS = 2, 8  # the shortest counts: whatever else runs can only lengthen one
SLOWER = 2.0  # times the claimed time that a call may take by the judge's clock
LONG_SECONDS = 0.2  # from here on the whole timing is compared, instead of calling once more
STEP_SECONDS = 0.25  # that a long call's eviction and unwriting may take
EXTRA_THREADS = 0.3  # above the label: the measuring process's own thread, while it starts others
NEW_CONTENT = 3.0  # times what a call on known content takes, that one on new content may take
NEW_CONTENT_SECONDS = 3e-6
ALL_NEW = 3  # first samples, all on new content: a process that has time for no more knows none
FEWEST_COMPARED = 5  # later ones of each kind
CONTROLS = 0.5  # share of checked calls whose content stays, to compare with
STALE = 0.5  # share of those with new content whose output is left as the call before wrote it
SPOILED_SECONDS = 0.1  # a longer call does not read its weights from a cache: a hidden copy would gain nothing
SPOILED_WIDTH = 16  # below, a row may come out alike by chance
NOTES, NOTE_LENGTH = 12, 300
STRAYED = "the measuring process answered something else than it was asked"
RELAYED = ("cell", "outcome", "verdict")  # what the process of an accelerator's cells may say

Audits = list[tuple[Reading, int]]  # what the other process did, in how many calls


class RefusedError(Exception):
    """Why the cell has no time; the message is the outcome's failure, ``retry`` when another attempt is worth it."""

    def __init__(self, reason: str, retry: str = NEVER) -> None:
        """A refusal over a clock is tried again: another load on the machine can cause it."""
        super().__init__(reason)
        self.retry = retry


@dataclass(frozen=True)
class Case:
    """What is judged: the cell, what its module declares, its data, its reference, and the process to watch."""

    cell: Cell
    process: int
    chosen: Implementation
    data: Data
    reference: Path
    pid: int


@dataclass(frozen=True)
class Kept:
    """A checked call: its batch, its number, and the last change of the batch's content (``CONTROL``: none yet)."""

    batch: int
    number: int
    offset: int


def outcome(case: Case, channel: Channel) -> Outcome:
    """Drive the measuring process through one cell."""
    start = time.perf_counter()
    try:
        return replace(_Judge(case, channel).judged(), wall=time.perf_counter() - start)
    except RefusedError as refusal:
        return failed(case.cell, case.process, str(refusal), time.perf_counter() - start, refusal.retry)


class _Judge:
    """One cell's proceedings."""

    def __init__(self, case: Case, channel: Channel) -> None:
        self._case, self._channel = case, channel
        self._family = case.chosen.family

    def judged(self) -> Outcome:
        """Ask for every step and judge it; ``RefusedError``."""
        case, layout = self._case, Layout.of(self._case.cell)
        prepared = self._ask("prepare")
        descriptor = shared_memory(size(layout))
        try:
            self._sheet = Sheet(layout, descriptor)
            checked = self._ask("check", descriptor)
        finally:
            os.close(descriptor)
        tokens = cellrun.checked_tokens(case.cell)
        given = inputs.rounded(case.cell.workload, case.data, tokens)
        expected = check.load(case.reference, case.cell.workload, self._family, *given)
        verdict = check.expecting(self._first_verdict(expected, checked), case.chosen.wrong)
        if verdict.failure is not None:
            raise RefusedError(f"wrong result: {verdict.failure}")
        self._kept: list[Kept] = []
        self._content: dict[int, int] = {}  # the last change of each batch
        self._fill()
        timed, phase = self._timing()
        samples, single = _numbers(timed["samples"], 1), _numbers(timed["checked"], 1)
        right = not case.chosen.wrong and case.cell.workload.batch > 0
        if right:
            self._outputs(self._kept)
            self._new_content(single)
        self._audit(statistics.median(samples), _numbers([timed["total"]], 1)[0], len(samples), phase)
        if right:
            self._outputs(self._kept[len(samples) :])
            visible = case.cell.workload.shape.d >= SPOILED_WIDTH
            if case.process == 0 and visible and statistics.median(samples) < SPOILED_SECONDS:
                self._copies()
        self._ending(case)
        return Outcome(
            cell=case.cell.id,
            process=case.process,
            samples=tuple(samples),
            error=verdict.error,
            tolerance=verdict.tolerance,
            tokens=verdict.tokens,
            diverged=verdict.diverged,
            diverged_cap=verdict.diverged_cap,
            distinct_rows=expected.distinct_rows,
            prepare_seconds=_numbers([prepared["prepare_seconds"]], 1)[0],
            extra_bytes=max(0, int(_numbers([prepared["extra_bytes"]], 1)[0])),
            notes=(
                *((f"wrong on purpose: {case.chosen.wrong}",) if case.chosen.wrong else ()),
                *_notes(prepared["notes"]),
                *_notes(timed["notes"]),
            ),
            threads_ran=round(_numbers([timed["threads_ran"]], 1)[0], 2),
        )

    def _ask(self, step: str, descriptor: int | None = None, **details: Any) -> dict[str, Any]:
        self._channel.send({"step": step, **details}, descriptor)
        return self._answer(step)

    def _answer(self, step: str) -> dict[str, Any]:
        """The answer to ``step``; ``RefusedError`` where the process says that it failed, or anything else."""
        try:
            answer = self._channel.receive()
        except ValueError:
            answer = {}
        if isinstance(answer.get("failure"), str):
            retry = answer.get("retry")
            raise RefusedError(contain.one_line(answer["failure"]), retry if retry in (NOW, NEXT_RUN) else NEVER)
        if answer.get("step") != step:
            raise RefusedError(STRAYED)
        return answer

    def _first_verdict(self, expected: Reference, answer: dict[str, Any]) -> check.Verdict:
        """Of the whole outputs on the inputs of the seed, before the timing."""
        if answer["harm"] is not None:
            return check.Verdict(MOST_ERROR, 0.0, 0, 0, 0, contain.one_line(answer["harm"]), harm=True)
        dtype = inputs.torch_dtype(self._case.cell.workload.dtype)
        return check.compare(expected, self._tensor("outputs").view(dtype))

    def _tensor(self, part: str) -> torch.Tensor:
        """A part of the sheet, bits as integers."""
        import torch

        signed = np.int32 if self._sheet.layout.itemsize == 4 else np.int16
        return torch.from_numpy(self._sheet.part[part].view(signed))

    def _fill(self) -> None:
        """Draw what is timed and checked."""
        import torch

        case, layout, part = self._case, self._sheet.layout, self._sheet.part
        workload = case.cell.workload
        dtype, rng = inputs.torch_dtype(workload.dtype), np.random.default_rng()
        drawn = fresh.draw(workload, case.data.law, layout.batches * layout.batch).to(dtype)
        self._tensor("x").view(dtype).copy_(drawn)
        self._x = drawn.view(self._tensor("x").dtype)  # its own: the other process may write into the sheet
        part["columns"][:] = rng.integers(layout.d, size=len(part["columns"]))
        # One element changes the logits by some 7 %, at any width: more than the widest tolerance, and few turns.
        values = rng.standard_normal(len(part["values"])) * max(1.0, 0.07 * layout.d**0.5)
        self._tensor("values").view(dtype).copy_(torch.from_numpy(values))
        offsets = rng.permutation(MOST_CHECKS)  # none twice: also a batch of one token has other content each time
        if case.cell.protocol.cache != "cold":
            offsets[ALL_NEW:][rng.random(MOST_CHECKS - ALL_NEW) < CONTROLS] = CONTROL
        part["offsets"][:] = offsets
        part["stale"][:] = rng.random(MOST_CHECKS) < STALE
        part["rows"][:] = rng.integers(max(1, layout.batch), size=MOST_CHECKS)
        part["places"][:] = rng.random(MOST_CHECKS)
        part["kept"].view(np.uint8)[:] = UNWRITTEN
        self._offsets, self._rows = offsets, part["rows"].copy()
        self._columns, self._values = part["columns"].copy(), part["values"].copy()

    def _timing(self) -> tuple[dict[str, Any], Reading]:
        """What the measuring process says of its timing; seconds and processor seconds of it by the judge's clocks."""
        self._channel.send({"step": "time"})
        self._answer("begin")
        before = self._read()
        timed = self._answer("time")
        phase = self._read().since(before)
        self._keep(timed["batches"], timed["fault"])
        if isinstance(timed["label_fault"], str):
            raise RefusedError(contain.one_line(timed["label_fault"]), NOW)
        if not len(timed["batches"]) == len(timed["samples"]) == len(timed["checked"]):
            raise RefusedError("the measuring process reports other samples than it had checked")
        return timed, phase

    def _read(self) -> Reading:
        return read(self._case.pid, with_helpers=self._case.chosen.foreign)

    def _keep(self, batches: object, fault: object) -> None:
        """Note that rows of the outputs of ``batches`` were kept."""
        if isinstance(fault, str) and not self._case.chosen.wrong:
            raise RefusedError(f"wrong result of a timed call: {contain.one_line(fault)}")
        if not isinstance(batches, list) or len(self._kept) + len(batches) > MOST_CHECKS:
            raise RefusedError(STRAYED)
        for batch in batches:
            if not isinstance(batch, int) or not 0 <= batch < self._sheet.layout.batches:
                raise RefusedError(STRAYED)
            number = len(self._kept)
            if self._offsets[number] != CONTROL:
                self._content[batch] = int(self._offsets[number])
            self._kept.append(Kept(batch, number, self._content.get(batch, CONTROL)))

    def _audit(self, claimed: float, total: float, samples: int, phase: Reading) -> None:
        """Compare the claimed time per call with the judge's clock, and the threads at work with the label."""
        threads = self._case.cell.workload.threads
        if claimed >= LONG_SECONDS:
            spent = phase.at_least(threads)
            if SLOWER * total + STEP_SECONDS * (samples + 1) < spent:
                raise RefusedError(
                    f"it reports {total:.3g} s of calls in {spent:.3g} s by a clock outside its process", NOW
                )
            _check_threads(phase.parallel, threads)
            return

        def fast(runs: Audits) -> float:
            return min(run.at_least(threads) / calls for run, calls in runs)

        runs = audits(
            self._run, lambda runs: fast(runs) <= SLOWER * claimed and at_work(runs) <= threads + EXTRA_THREADS
        )
        if fast(runs) > SLOWER * claimed:
            raise RefusedError(
                f"it reports {claimed:.3g} s per call; by a clock outside its process a call takes {fast(runs):.3g} s",
                NOW,
            )
        _check_threads(at_work(runs), threads)

    def _run(self, count: int) -> Reading:
        """Have ``count`` calls made, the first of them checked, while this process's clock runs."""
        self._ask("stage")
        before = self._read()
        self._ask("run", calls=count)
        run = self._read().since(before)
        answer = self._ask("keep")
        self._keep([answer["batch"]], answer["fault"])
        return run

    def _outputs(self, kept: Sequence[Kept]) -> None:
        """Compare the kept rows of some of these calls with the reference."""
        if kept:
            count = fresh.rows_to_check(self._case.cell.workload, self._family)
            failure = self._compare(fresh.SYSTEM.sample(kept, min(count, len(kept))), self._weights())
            if failure is not None:
                raise RefusedError(f"wrong result of a timed call: {failure}")

    def _new_content(self, single: list[float]) -> None:
        """Compare the times of checked calls whose input had just changed with those of the others."""
        if self._case.cell.protocol.cache == "cold":
            return  # it changes before every call
        later = list(zip(single, self._offsets, strict=False))[ALL_NEW:]
        known = [value for value, offset in later if offset == CONTROL]
        new = [value for value, offset in later if offset != CONTROL]
        if min(len(known), len(new)) < FEWEST_COMPARED:
            return
        fast, slow = statistics.median(known), min(new)  # all of them are slow where outputs are kept
        if slow > NEW_CONTENT * fast + NEW_CONTENT_SECONDS:
            raise RefusedError(
                f"a call on an input that it has seen takes {fast:.3g} s, on a new one {slow:.3g} s: outputs are kept",
                NOW,
            )

    def _weights(self) -> dict[str, torch.Tensor]:
        return inputs.rounded(self._case.cell.workload, self._case.data, 0)[1]

    def _compare(self, kept: Sequence[Kept], weights: Mapping[str, torch.Tensor]) -> str | None:
        """What is wrong with the kept rows of some checked calls, given the weights, or None."""
        import torch

        workload, layout = self._case.cell.workload, self._sheet.layout
        dtype, numbers = inputs.torch_dtype(workload.dtype), [one.number for one in kept]
        groups = [fresh.group_of(workload, int(self._rows[one.number])) for one in kept]
        inside = [(one, row) for one, group in zip(kept, groups, strict=True) for row in range(group.start, group.stop)]
        bits = self._x[[one.batch * layout.batch + row for one, row in inside]].numpy().copy()
        for place, (one, row) in enumerate(inside):
            if one.offset != CONTROL:
                entry = one.offset + row
                bits[place, self._columns[entry]] = self._values.view(bits.dtype)[entry]
        x, y = torch.from_numpy(bits).view(dtype), self._tensor("kept")[numbers].view(dtype)
        rows = [int(self._rows[one.number]) for one in kept]
        return fresh.compare_rows(workload, self._family, x, weights, rows, y).failure

    def _copies(self) -> None:
        """Spoil one tensor after the other: an output that stays comes from a copy that was not declared."""
        unspoiled = [self._weights()]  # or with the earlier ones spoiled, as far as these were not copies too
        for name, factor in self._case.cell.workload.shape.spoilers().items():
            self._offsets[len(self._kept)] = CONTROL  # its input stays
            try:
                answer = self._ask("spoil", weights=name)
            except (GoneError, RefusedError):
                return  # what it declared was all that it had
            self._keep([answer["batch"]], None)
            if any(self._compare(self._kept[-1:], weights) is None for weights in unspoiled):
                raise RefusedError(f"it computes from a copy of {name} that it does not declare as resident")
            unspoiled += [weights | {name: factor * weights[name]} for weights in unspoiled]

    def _ending(self, case: Case) -> None:
        """Nothing else was written, and nothing that measures was replaced."""
        try:
            answer = self._ask("end")
        except GoneError:
            return  # it died of its spoiled weights
        if isinstance(answer["harm"], str) and not case.chosen.wrong:
            raise RefusedError(f"wrong result: {contain.one_line(answer['harm'])}")
        if isinstance(answer["replaced"], str) and case.chosen.foreign:
            raise RefusedError(f"it replaced {contain.one_line(answer['replaced'])}")


def audits(run: Callable[[int], Reading], enough: Callable[[Audits], bool], seconds: float = AUDIT_SECONDS) -> Audits:
    """Readings of ``run``, which makes so many calls, each of ``seconds`` at least; until they are ``enough``."""
    count = 1
    runs: Audits = []
    while len(runs) < MOST_AUDITS:
        found = run(count)
        if found.undisturbed < seconds and count < AUDIT_CALLS:
            wanted = int(1.2 * count * seconds / max(found.undisturbed, 1e-4))
            count = min(AUDIT_CALLS, max(2 * count, wanted))
            continue
        runs.append((found, count))
        if len(runs) >= AUDITS and enough(runs):
            break
    return runs


def at_work(runs: Audits) -> float:
    """How many threads were at work, in the reading that had the fewest: whatever else runs can only add some."""
    return min(run.parallel for run, _ in runs)


def too_many(used: float, threads: int) -> str | None:
    """What is wrong with ``used`` threads at work where ``threads`` were asked for, or None."""
    if used <= threads + EXTRA_THREADS:
        return None
    return f"{used:.2f} threads were at work (those of processes it started too), {threads} were asked for"


def _check_threads(used: float, threads: int) -> None:
    if (said := too_many(used, threads)) is not None:
        raise RefusedError(said, NOW)


def _numbers(values: object, least: int) -> list[float]:
    """``values`` as at least ``least`` finite, not negative numbers; ``RefusedError``."""
    if not isinstance(values, list) or not least <= len(values) <= MOST_CHECKS:
        raise RefusedError("the measuring process reports no samples")
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
            raise RefusedError(f"the measuring process reports {contain.one_line(value, 60)} where a number is due")
    return [float(value) for value in values]


def _notes(values: object) -> list[str]:
    return [contain.one_line(value, NOTE_LENGTH) for value in values[:NOTES]] if isinstance(values, list) else []


def drive(case_of: Callable[[int], Case], serve: Callable[[Channel], None]) -> Outcome:
    """Fork the measuring process, which runs ``serve``, and judge it; whatever it forks ends with it."""
    ours, theirs = Channel.pair()
    judge = os.getpid()
    child = os.fork()
    if child == 0:
        end_with_parent(judge)
        ours.close()
        serve(theirs)
        os._exit(0)
    theirs.close()
    case = case_of(child)
    start = time.perf_counter()
    try:
        found = outcome(case, ours)
        ours.send({"step": "leave"})
    except GoneError:
        _, status = os.waitpid(child, 0)
        reason, retry = death(os.waitstatus_to_exitcode(status))
        found = failed(case.cell, case.process, reason, time.perf_counter() - start, retry)
    finally:
        ours.close()
        contain.end_descendants()
    return found


def relayed(serve: Callable[[Channel], None]) -> Iterator[dict[str, Any]]:
    """Fork a process that runs ``serve`` and checks itself; yield what it sends, and its death as a failure."""
    ours, theirs = Channel.pair()
    judge = os.getpid()
    child = os.fork()
    if child == 0:
        end_with_parent(judge)
        ours.close()
        serve(theirs)
        os._exit(0)
    theirs.close()
    try:
        while True:
            try:
                event = ours.receive()
            except GoneError:
                break
            except (ValueError, RecursionError):
                event = {}
            if event.get("event") in RELAYED:  # what else the worker says is about processes, and only its own
                yield event
            else:
                retry, failure = event.get("retry"), event.get("failure")
                known = retry if retry in (NOW, NEXT_RUN) else NEVER
                reason = contain.one_line(failure) if isinstance(failure, str) else STRAYED
                yield {"event": "failure", "reason": reason, "retry": known}
    finally:
        ours.close()
        _, status = os.waitpid(child, 0)
        contain.end_descendants()
    code = os.waitstatus_to_exitcode(status)
    if code != 0:
        reason, retry = death(code)
        yield {"event": "failure", "reason": reason, "retry": retry}

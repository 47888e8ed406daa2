"""What does an undecided or unmeasured claim lack?"""

from __future__ import annotations

from fffbench.analysis.evidence import one_record_per_cell
from fffbench.analysis.once import once
from fffbench.analysis.ranks import LEVEL
from fffbench.analysis.rows import Speedup
from fffbench.claims.base import Claim
from fffbench.devices import DEVICES
from fffbench.results.reader import SkippedCell
from fffbench.results.record import FULL_PROCESSES
from fffbench.results.store import Results


def lacking(claim: Claim, fair: Speedup | None, published: Speedup | None, results: Results) -> str:
    """Why neither set of conditions decides ``claim``, in processes measured."""
    processes = _processes(results)
    said, steady = [], []
    for name, row in (("fair", fair), ("published", published)):
        if row is None or name not in claim.conditions:
            continue
        if (row.coverage or 0) < LEVEL:
            ours, dense = (processes.get(record or "", 0) for record in (row.record, row.baseline_record))
            said.append(
                f"under {name} conditions {row.implementation} was measured in {_counted(ours)} and "
                f"{row.baseline_implementation} in {_counted(dense)}, too few for a 95 % interval"
            )
        else:
            steady.append(name)
    if not said:
        measured = [name for name, row in (("fair", fair), ("published", published)) if row is not None]
        said = [f"the {name} conditions were not measured" for name in claim.conditions if name not in measured]
        said = said or [f"the interval under {' and '.join(steady)} conditions reaches beyond both ends of the band"]
    return f"Undecided: {'; '.join(said)}."


@once
def _processes(results: Results) -> dict[str, int]:
    """How many processes each record has."""
    return {record.id: len(record.medians) for record in one_record_per_cell(results).records}


@once
def devices_of(results: Results) -> set[str]:
    """The devices that something was measured on."""
    return {record.cell.workload.device for record in results.records}


def advice(claim: Claim) -> str:
    """The sentence with the command that would measure what is lacking, six processes of each cell."""
    return f"`{claim.command()}` measures {FULL_PROCESSES} processes of each." if claim.command() else ""


def _counted(processes: int) -> str:
    return f"{processes} process{'es' * (processes != 1)}"


def skipped_for(claim: Claim, results: Results) -> SkippedCell | None:
    """The first skipped cell that would have answered."""
    want = claim.workload
    assert want is not None
    asked = (want.shape.id, want.batch, want.dtype)
    for item in results.skipped:
        shape, *_, batch, dtype, _, _, _, _ = item.cell.columns
        there = (shape, batch, dtype) == asked and item.cell.workload.device in want.devices
        if there and item.family != "dense":
            return item
    return None


def why_not_measured(claim: Claim, results: Results) -> str:
    """The reason of a skipped cell that would have answered, or the device that no machine here has."""
    want = claim.workload
    assert want is not None
    if (item := skipped_for(claim, results)) is not None:
        return f"Not measured: {item.cell.implementation} was skipped on {item.machine} ({item.reason})."
    if not devices_of(results).intersection(want.devices):
        needed = " or ".join(DEVICES[device].label for device in want.devices)
        return f"Not measured: there are no {needed} results yet."
    assert claim.subject is not None
    names = " or ".join(claim.subject.implementations) or f"an implementation of family {claim.subject.family}"
    return f"Not measured: no result has {names} beside its baseline at this shape, batch and dtype."

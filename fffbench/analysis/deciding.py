"""What does an undecided or unmeasured claim lack, and which command would decide it?"""

from __future__ import annotations

from collections.abc import Sequence

from fffbench.analysis.ledger import Claim, Conditions
from fffbench.analysis.rows import Speedup
from fffbench.analysis.speedup import PUBLISHED, SAME_PRIMITIVE
from fffbench.analysis.stats import LEVEL
from fffbench.plan.presets import FAST_DENSE, PAPER, Block
from fffbench.plan.workload import Shape
from fffbench.results.record import FULL_PROCESSES
from fffbench.results.store import Results

DEVICE_NAMES = {"cpu": "CPU", "cuda": "CUDA"}


def lacking(claim: Claim, fair: Speedup | None, published: Speedup | None, results: Results) -> str:
    """Why neither set of conditions decides ``claim``, in processes measured."""
    processes = {record.id: len(record.info.processes) for record in results.records}
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


def advice(claim: Claim) -> str:
    """The sentence with the command that would measure what is lacking, six processes of each cell."""
    return f"`{command(claim)}` measures {FULL_PROCESSES} processes of each." if command(claim) else ""


def _counted(processes: int) -> str:
    return f"{processes} process{'es' * (processes != 1)}"


def command(claim: Claim) -> str:
    """The command that measures the cells of a ratio; empty where no command line can name them."""
    want = claim.workload
    if claim.kind != "ratio" or want is None:
        return ""
    if any(_holds(block, claim) for block in PAPER.blocks):
        return f"fffbench run --preset paper --devices {','.join(want.devices)}"
    if not want.trees or want.leaf_width:
        return ""
    axes: dict[str, Sequence[object]] = {
        "d": [want.d],
        "levels": [want.levels],
        "trees": [want.trees],
        "batches": [want.batch],
        "dtypes": [want.dtype],
        "devices": want.devices,
        "implementations": [name for conditions in claim.conditions.values() for name in _sides(claim, conditions)],
        "routing": [conditions.routing for conditions in claim.conditions.values()],
        "cache": [conditions.cache for conditions in claim.conditions.values()],
        "call": [conditions.call[0] for conditions in claim.conditions.values()],
        "threads": _threads(claim),
    }
    return "fffbench run " + " ".join(
        f"--{axis} {','.join(map(str, dict.fromkeys(values)))}" for axis, values in axes.items()
    )


def _holds(block: Block, claim: Claim) -> bool:
    """Whether ``block`` measures the claim's subject at its work."""
    want, subject = claim.workload, claim.subject
    assert want is not None
    assert subject is not None
    names = subject.implementations or (f"family:{subject.family}",)
    shapes: tuple[Shape, ...] = (want.shape,)
    batches = {want.batch, *(batch for conditions in claim.conditions.values() for batch in conditions.or_batch)}
    return bool(
        set(shapes) & set(block.shapes)
        and batches & set(block.batches)
        and want.dtype in block.dtypes
        and set(want.devices) & set(block.devices)
        and {*names, *(f"family:{name.split('_')[0]}" for name in names)} & set(block.implementations)
    )


def _sides(claim: Claim, conditions: Conditions) -> tuple[str, ...]:
    """The implementations of both sides: the subject, and the dense layers that can be the baseline."""
    subject = conditions.subject or claim.subject
    assert subject is not None
    names = subject.implementations or (f"family:{subject.family}",)
    if conditions.baseline == "published":
        return (*names, PUBLISHED)
    if conditions.baseline == "same-primitive":
        return (*names, *(SAME_PRIMITIVE[name] for name in names if name in SAME_PRIMITIVE))
    return (*names, PUBLISHED, "dense_padded", *FAST_DENSE)


def _threads(claim: Claim) -> list[object]:
    asked = {conditions.threads for conditions in claim.conditions.values()}
    counts = [count for count in asked if isinstance(count, int)]
    return sorted(counts) if len(counts) == len(asked) else [1, "all"]  # type: ignore[return-value]


def why_not_measured(claim: Claim, results: Results) -> str:
    """The reason of a skipped cell that would have answered, or the device that no machine here has."""
    want = claim.workload
    assert want is not None
    for item in results.skipped:
        work = item.cell.workload
        if (
            (work.shape, work.batch, work.dtype) == (want.shape, want.batch, want.dtype)
            and work.device in want.devices
            and item.family != "dense"
        ):
            return f"Not measured: {item.cell.implementation} was skipped on {item.machine} ({item.reason})."
    devices = {record.cell.workload.device for record in results.records}
    if not devices.intersection(want.devices):
        needed = " or ".join(DEVICE_NAMES[device] for device in want.devices)
        return f"Not measured: there are no {needed} results yet."
    assert claim.subject is not None
    names = " or ".join(claim.subject.implementations) or f"an implementation of family {claim.subject.family}"
    return f"Not measured: no result has {names} beside its baseline at this shape, batch and dtype."

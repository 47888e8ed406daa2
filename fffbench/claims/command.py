"""Which command measures what the verdict on a claim needs?

The preset whose blocks hold both sides of every ratio that the claim's conditions ask for, on each of its devices; for
a claim that no preset knows, the axes of its cells one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from fffbench.analysis.baselines import ONE_THREAD, PUBLISHED_WIDTH, TABLE, WIDER
from fffbench.claims.base import Claim, Conditions
from fffbench.plan.presets import Block, presets
from fffbench.plan.workload import Shape

LEDGER_PRESETS = ("paper", "users", "leaf")  # the first that holds a claim is named


def command(claim: Claim) -> str:
    """The command that measures the cells of a ratio; empty where no command line can name them."""
    want = claim.workload
    assert want is not None
    for preset in (presets()[name] for name in LEDGER_PRESETS):
        if holds(preset.blocks, claim):
            return f"fffbench run --preset {preset.name} --devices {','.join(want.devices)}"
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


def holds(blocks: Sequence[Block], claim: Claim) -> bool:
    """Whether ``blocks`` measure both sides of every ratio that ``claim`` asks for, on each of its devices."""
    assert claim.workload is not None
    return all(
        any(_compared(place, claim, conditions) for place in _places(blocks, claim, conditions, device))
        for conditions in claim.conditions.values()
        for device in claim.workload.devices
    )


def _places(blocks: Sequence[Block], claim: Claim, conditions: Conditions, device: str) -> Iterator[list[Block]]:
    """The blocks of each batch and call that will do, all under the cache protocol asked for."""
    want = claim.workload
    assert want is not None
    for batch in (want.batch, *conditions.or_batch):
        for call in conditions.call:
            yield [
                block
                for block in blocks
                if batch in block.batches
                and call in block.calls
                and want.dtype in block.dtypes
                and device in block.devices
                and conditions.cache in block.caches
            ]


def _compared(blocks: Sequence[Block], claim: Claim, conditions: Conditions) -> bool:
    """Whether ``blocks`` of one place hold the subject and its baseline, at thread counts that can be compared."""
    want, subject = claim.workload, conditions.subject or claim.subject
    assert want is not None
    assert subject is not None
    return any(
        _common(
            conditions.threads,
            [
                block
                for block in blocks
                if want.shape in block.shapes
                and (conditions.routing in block.routings or want.n is not None)
                and block.asks(name)
            ],
            [block for block in blocks if block.asks(partner) and any(map(fits, block.shapes))],
            one_thread=name in ONE_THREAD,
        )
        for name in subject.implementations or (f"family:{subject.family}",)
        for partner, fits in [_baseline(conditions.baseline, name, want.shape)]
    )


def _common(threads: str | int, ours: Sequence[Block], dense: Sequence[Block], *, one_thread: bool) -> bool:
    """Whether both sides have a thread count that the conditions ask for: the same ones and all, or one in common."""
    counts = [{count for block in side for count in block.threads} for side in (ours, dense)]
    if threads == "fastest":  # what ``speedup`` asks for before it says that it knows the fastest one of each side
        return "all" in counts[1] and (one_thread or counts[0] == counts[1])
    common = counts[0] & counts[1]
    return bool(common if threads == "any" else common & {threads})


def _baseline(baseline: str, subject: str, shape: Shape) -> tuple[str, Callable[[Shape], bool]]:
    """Which dense layer ``subject`` is compared with, and the shapes that will do."""
    if baseline == WIDER:
        return subject, lambda other: (other.d, other.n) == (shape.d, PUBLISHED_WIDTH)
    row = TABLE[baseline]
    return row.layer(subject) or "family:dense", lambda other: row.takes(shape, other)


def _sides(claim: Claim, conditions: Conditions) -> tuple[str, ...]:
    """The implementations of both sides: the subject, and the dense layers that can be the baseline."""
    subject = conditions.subject or claim.subject
    assert subject is not None
    names = subject.implementations or (f"family:{subject.family}",)
    layers = [] if conditions.baseline == WIDER else [TABLE[conditions.baseline].layer(name) for name in names]
    return (*names, *([layer for layer in layers if layer] or ["family:dense"]))


def _threads(claim: Claim) -> list[object]:
    asked = {conditions.threads for conditions in claim.conditions.values()}
    counts = [count for count in asked if isinstance(count, int)]
    return sorted(counts) if len(counts) == len(asked) else [1, "all"]  # type: ignore[return-value]

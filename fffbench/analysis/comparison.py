"""How do two sets of results differ: two folders, two runs, two machines?

Of one machine, cells are compared with themselves. Of two machines, whose numbers of cores differ, a work is compared
with itself, each side on the number of threads that is fastest for it. The ratio is the first side's time over the
second's: above 1 the second is faster. Intervals are over processes, as everywhere here, so between two runs of one
machine they do not know how far it drifted meanwhile.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from fffbench.analysis.evidence import interval, one_record_per_cell
from fffbench.analysis.ranks import LEVEL
from fffbench.analysis.relative import fastest
from fffbench.analysis.rows import Timed
from fffbench.analysis.stats import Estimate, ratio_of_medians
from fffbench.results.record import Record
from fffbench.results.store import Results

MARGIN = 0.03  # as ``regress``: a difference up to this share does not matter
FASTER, SLOWER, SAME, UNDECIDED = "faster", "slower", "same", "undecided"
VERDICT_MEANING = {
    FASTER: "the whole interval lies beyond the margin, the second side takes less time",
    SLOWER: "the whole interval lies beyond the margin, the second side takes more time",
    SAME: "the whole interval lies within the margin",
    UNDECIDED: f"it does not, or covers less than {100 * LEVEL:g} %",
}


@dataclass(frozen=True)
class Compared:
    """One work measured on both sides; ``ratio`` is the first side's time over the second's."""

    implementation: str
    d: int
    n: int
    trees: int
    levels: int
    leaf_width: int
    batch: int
    dtype: str
    routing: str
    device: str
    cache: str
    call: str
    machine: tuple[str, str]
    threads: tuple[int, int]
    time: tuple[float, float]
    ratio: float
    low: float | None
    high: float | None
    coverage: float
    verdict: str
    records: tuple[str, str]

    def to_json(self) -> dict[str, Any]:
        """The row as the command line prints it: what has two sides is there twice."""
        row = asdict(self)
        for name in ("machine", "threads", "time", "records"):
            pair = row.pop(name)
            key = name.removesuffix("s") if name == "records" else name
            row |= {f"{key}_a": pair[0], f"{key}_b": pair[1]}
        return row


def compare(first: Results, second: Results, margin: float = MARGIN) -> list[Compared]:
    """Every work that both sides measured, in the order of the first one's records."""
    sides = [one_record_per_cell(side).records for side in (first, second)]
    machines = [{record.machine for record in side} for side in sides]
    across = not machines[0] & machines[1]
    groups = [_grouped(side, across=across) for side in sides]
    return [_compared(group, groups[1][key], margin) for key, group in groups[0].items() if key in groups[1]]


def counts(rows: Iterable[Compared]) -> dict[str, int]:
    """How many rows have each verdict, those that none has left out."""
    found = Counter(row.verdict for row in rows)
    return {verdict: found[verdict] for verdict in VERDICT_MEANING if found[verdict]}


def _grouped(records: Sequence[Record], *, across: bool) -> dict[object, list[Timed]]:
    """Records by what makes two of them comparable; ``across`` machines those of all thread counts together."""
    found: dict[object, list[Timed]] = defaultdict(list)
    for record in records:
        cell, work = record.cell, record.cell.workload
        place = (cell.implementation, work.shape, work.batch, work.dtype, work.routing, work.device, work.seed)
        own: tuple[object, ...] = () if across else (record.machine, work.threads)
        found[(*place, cell.protocol, *own)].append(Timed(record))
    return dict(found)


def _compared(ours: Sequence[Timed], theirs: Sequence[Timed], margin: float) -> Compared:
    one, two = fastest(ours), fastest(theirs)
    gain = ratio_of_medians(tuple(one.medians), tuple(two.medians))
    low, high = interval(gain, one.medians, two.medians)
    cell, work = one.record.cell, one.record.cell.workload
    return Compared(
        implementation=cell.implementation,
        d=work.shape.d,
        n=work.shape.n,
        trees=work.shape.trees,
        levels=work.shape.levels,
        leaf_width=work.shape.leaf_width,
        batch=work.batch,
        dtype=work.dtype,
        routing=work.routing,
        device=work.device,
        cache=cell.protocol.cache,
        call=cell.protocol.call,
        machine=(one.record.machine, two.record.machine),
        threads=(work.threads, two.record.cell.workload.threads),
        time=(one.time.value, two.time.value),
        ratio=gain.value,
        low=low,
        high=high,
        coverage=gain.coverage,
        verdict=_verdict(gain, margin),
        records=(one.record.id, two.record.id),
    )


def _verdict(gain: Estimate, margin: float) -> str:
    if gain.coverage < LEVEL:
        return UNDECIDED
    most = 1 + margin
    if gain.low > most:
        return FASTER
    if gain.high < 1 / most:
        return SLOWER
    return SAME if 1 / most <= gain.low and gain.high <= most else UNDECIDED

"""How much faster is a whole model, and how much of what it could gain at most is that?

Rows from records alone (their words: ``model_text``). Each side is taken at its best mode (eager, compiled, graph), by
the median over processes; where a mode of one side was planned and has no time, no ratio compares it with that mode
of the other: both are taken at the best of the modes that are left. The gain of a replacement is its time against the
model as it is; the most that anything could gain is that of the model without feedforward layers, which was measured
beside it. The share of the two, (dense - x) / (dense - none), is formed process by process: those of one round saw the
machine alike, and its interval is that of their median.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

import numpy as np

from fffbench.analysis.stats import Estimate, estimate_time, process_medians, ratio_of_medians
from fffbench.devices import device, threads_text
from fffbench.plan.architectures import ARCHITECTURES
from fffbench.plan.models import Variant, Work
from fffbench.results.models import ModelRecord, ModelResults, Routing

DENSE, NONE = "dense", "none"
ORDER = ("dense", "none", "fff", "masked", "small", "moe", "int8", "int8-fff")


@dataclass(frozen=True)
class ModelRow:
    """One variant of one work on one machine, at its best mode; times in seconds.

    ``gain_estimate``: times as fast as the model as it is, at that one's best mode. ``share_estimate``: of the most
    that could be gained. ``same_mode``: the gain in each mode, against the model as it is in the same mode.
    """

    machine: str
    work: Work
    variant: str
    mode: str
    time: float
    interval: tuple[float, float]
    p50: float
    p90: float
    p99: float
    tokens_per_second: float
    gain_estimate: Estimate | None
    share_estimate: Estimate | None
    modes: dict[str, float]
    same_mode: dict[str, Estimate]
    weights_bytes: int
    peak_bytes: int
    prepare_seconds: float
    joules_per_1000_tokens: float | None
    effective_leaves: float | None
    leaves: int | None
    error: float
    provisional: bool
    notes: tuple[str, ...] = ()
    records: tuple[str, ...] = ()
    equal_time_neurons: float | None = None  # of a dense layer that takes as long, by interpolation
    lost_modes: tuple[str, ...] = ()  # planned and without a time, so compared with on neither side

    @property
    def gain(self) -> float | None:
        """Times as fast as the model as it is."""
        return None if self.gain_estimate is None else self.gain_estimate.value

    @property
    def gain_interval(self) -> tuple[float, float] | None:
        """Low and high."""
        return None if self.gain_estimate is None else (self.gain_estimate.low, self.gain_estimate.high)

    @property
    def share(self) -> float | None:
        """Of what could be gained at most."""
        return None if self.share_estimate is None else self.share_estimate.value

    @property
    def share_interval(self) -> tuple[float, float] | None:
        """Low and high."""
        return None if self.share_estimate is None else (self.share_estimate.low, self.share_estimate.high)

    @property
    def title(self) -> str:
        """What the variant is, for a reader."""
        return variant_title(Variant.parse(self.variant), self.work)

    def to_json(self) -> dict[str, Any]:
        """As the command line prints it."""
        found = asdict(self)
        named = {"work": self.work.id, "bound": self.work.bound, "title": self.title, "gain": self.gain}
        return {**found.pop("work"), **named, "share": self.share, **found}


@dataclass
class _Measured:
    """All records of one cell, pooled."""

    records: list[ModelRecord] = field(default_factory=list)

    @property
    def processes(self) -> list[list[float]]:
        return [samples for record in self.records for samples in record.info.processes]

    @property
    def medians(self) -> list[float]:
        return process_medians(self.processes)


def variant_title(variant: Variant, work: Work) -> str:
    """``1 tree of 12 levels: 12 of 4095 neurons``."""
    one = work.architecture
    used, n = variant.used(one.ffn), variant.neurons(one.ffn)
    tree = f"{variant.trees} tree{'s' if variant.trees > 1 else ''} of {variant.levels} levels"
    titles = {
        "dense": "as it is",
        "none": "without feedforward layers",
        "fff": f"FFF, {tree}: {used} of {n} neurons",
        "masked": f"FFF as published (masked), {tree}",
        "small": f"{n} neurons",
        "moe": f"{variant.experts} experts of {variant.width} neurons, top {variant.top}",
        "int8": "all linear layers in dynamic int8",
        "int8-fff": f"FFF, {tree}, and the rest in dynamic int8",
    }
    return titles[variant.kind]


def work_title(work: Work) -> str:
    """``BERT-base, 1 x 128 tokens, fp32, CPU with 2 threads``."""
    one = work.architecture
    what = {
        "encode": f"{work.batch} x {work.sequence} tokens",
        "prefill": f"prompt of {work.batch} x {work.sequence} tokens",
        "decode": f"one token more after {work.sequence}, batch {work.batch}",
    }[work.phase]
    where = f"{device(work.device).label}{threads_text(work.device, work.threads, ' with ')}"
    return f"{one.title}, {what}, {work.dtype}, {where}"


def model_rows(results: ModelResults) -> list[ModelRow]:
    """A row for each variant of each work on each machine, those of one work together, the model as it is first."""
    cells: dict[tuple[str, Work], dict[str, dict[str, _Measured]]] = {}
    lost: dict[tuple[str, Work], dict[str, dict[str, str]]] = {}
    for record in results.records:
        cell = record.cell
        place = cells.setdefault((record.machine, cell.work), {})
        place.setdefault(cell.variant.id, {}).setdefault(cell.mode, _Measured()).records.append(record)
    for machine, cell, reason in results.skipped:
        if cell.mode not in cells.get((machine, cell.work), {}).get(cell.variant.id, {}):
            lost.setdefault((machine, cell.work), {}).setdefault(cell.variant.id, {})[cell.mode] = reason
    rows: list[ModelRow] = []
    for (machine, work), variants in sorted(cells.items(), key=lambda item: (item[0][0], _place(item[0][1]))):
        rows += _of_work(machine, work, variants, lost.get((machine, work), {}))
    return rows


def _place(work: Work) -> tuple[Any, ...]:
    return work.device, list(ARCHITECTURES).index(work.model), work.phase, work.dtype, work.batch, work.sequence


def _best(modes: dict[str, _Measured], lost: Iterable[str] = ()) -> tuple[str, _Measured] | None:
    left = [item for item in modes.items() if item[0] not in set(lost)]
    return min(left, key=lambda item: median(item[1].medians), default=None)


def _of_work(
    machine: str, work: Work, variants: dict[str, dict[str, _Measured]], lost: dict[str, dict[str, str]]
) -> list[ModelRow]:
    rows = [
        _row(machine, work, name, variants, lost)
        for name in sorted(variants, key=lambda name: (ORDER.index(Variant.parse(name).kind), Variant.parse(name)))
    ]
    widths = _widths(rows)
    return [_with_equal_time(row, widths) for row in rows]


def _row(
    machine: str,
    work: Work,
    name: str,
    variants: dict[str, dict[str, _Measured]],
    lost: dict[str, dict[str, str]],
) -> ModelRow:
    best = _best(variants[name])
    assert best is not None
    mode, measured = best
    missing = lost.get(name, {})
    dense = _medians(variants.get(DENSE, {}), {*missing, *lost.get(DENSE, {})})
    none = _medians(variants.get(NONE, {}), {*missing, *lost.get(DENSE, {}), *lost.get(NONE, {})})
    compared = _medians(variants[name], lost.get(DENSE, {}))
    time = estimate_time(measured.processes)
    samples = np.sort(np.concatenate([np.asarray(p) for p in measured.processes]))
    p50, p90, p99 = (float(np.quantile(samples, q, method="higher")) for q in (0.5, 0.9, 0.99))
    gain = ratio_of_medians(dense, compared) if dense and compared and name != DENSE else None
    # int8 makes the other layers faster too, so leaving the feedforward layers out is no limit for it
    limited = Variant.parse(name).kind not in (DENSE, NONE, "int8", "int8-fff")
    share = realised(dense, compared, none) if limited else None
    infos = [record.info for record in measured.records]
    joules = [one for info in infos for one in info.joules]
    routed = [layer for info in infos[:1] for layer in info.routing]
    in_dense = variants.get(DENSE, {})
    return ModelRow(
        machine=machine,
        work=work,
        variant=name,
        mode=mode,
        time=time.value,
        interval=(time.low, time.high),
        p50=p50,
        p90=p90,
        p99=p99,
        tokens_per_second=work.new_tokens / time.value,
        gain_estimate=gain,
        share_estimate=share,
        modes={mode: median(one.medians) for mode, one in variants[name].items()},
        same_mode={
            mode: ratio_of_medians(in_dense[mode].medians, one.medians)
            for mode, one in variants[name].items()
            if mode in in_dense and name != DENSE
        },
        weights_bytes=infos[0].weights_bytes,
        # a graph's replay allocates nothing: what it needs was counted when the same model ran eagerly
        peak_bytes=max(r.info.peak_bytes for one in variants[name].values() for r in one.records),
        prepare_seconds=min(info.prepare_seconds for info in infos),
        joules_per_1000_tokens=1000 * median(joules) / work.new_tokens if joules else None,
        effective_leaves=float(np.mean([effective(layer) for layer in routed])) if routed else None,
        leaves=routed[0].leaves if routed else None,
        error=max(info.check.error for info in infos),
        provisional=time.provisional,
        notes=(
            *(f"{one} has no time, and is not compared with on either side: {missing[one]}" for one in sorted(missing)),
            *dict.fromkeys(note for info in infos for note in info.notes),
        ),
        records=tuple(record.id for record in measured.records),
        lost_modes=tuple(sorted(missing)),
    )


def _medians(modes: dict[str, _Measured], lost: Iterable[str]) -> list[float]:
    """Medians of processes at the best of the modes that are not ``lost``."""
    best = _best(modes, lost)
    return [] if best is None else best[1].medians


def realised(dense: Sequence[float], other: Sequence[float], none: Sequence[float]) -> Estimate | None:
    """Share of the possible gain, (dense - other) / (dense - none), by the medians of processes of one round each.

    None where a process without feedforward layers was no faster than the dense one, so that there is nothing to share.
    """
    shares = [(d - o) / (d - n) if d > n else math.nan for d, o, n in zip(dense, other, none, strict=False)]
    if not shares or any(map(math.isnan, shares)):
        return None
    return estimate_time([[share] for share in shares])


def effective(routing: Routing) -> float:
    """How many leaves, equally used, would be as spread out: exp of the entropy of the tokens over leaves."""
    counts = np.asarray(routing.counts, dtype=np.float64)
    if not len(counts):
        return 0.0
    p = counts / counts.sum()
    return float(np.exp(-(p * np.log(p)).sum()))


def _widths(rows: Iterable[ModelRow]) -> list[tuple[float, float]]:
    """Neurons of plain layers with the times they take, from none to the model's own."""
    found = []
    for row in rows:
        variant = Variant.parse(row.variant)
        if variant.kind in (DENSE, NONE, "small"):
            found.append((0.0 if variant.kind == NONE else float(variant.neurons(row.work.architecture.ffn)), row.time))
    return sorted(found)


def _with_equal_time(row: ModelRow, widths: list[tuple[float, float]]) -> ModelRow:
    """``row`` with the neurons of a plain layer that takes as long, between the two measured ones beside it."""
    if Variant.parse(row.variant).kind not in ("fff", "moe") or len(widths) < 2:
        return row
    neurons, times = zip(*widths, strict=True)
    rising = np.maximum.accumulate(times)
    if not rising[0] < row.time < rising[-1]:
        return row
    found = float(np.interp(row.time, rising, neurons))
    return ModelRow(**{**{name: getattr(row, name) for name in row.__dataclass_fields__}, "equal_time_neurons": found})


def by_work(rows: Sequence[ModelRow]) -> list[tuple[str, Work, list[ModelRow]]]:
    """The rows of each machine and work, in their order."""
    groups: dict[tuple[str, Work], list[ModelRow]] = {}
    for row in rows:
        groups.setdefault((row.machine, row.work), []).append(row)
    return [(machine, work, group) for (machine, work), group in groups.items()]

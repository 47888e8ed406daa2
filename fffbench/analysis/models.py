"""How much faster is a whole model, and how much of what it could gain at most is that?

Rows and sentences from records alone. Each side is taken at its best mode (eager, compiled, graph), by the median
over processes. The gain of a replacement is its time against the model as it is; the most that anything could gain is
that of the model without feedforward layers, which was measured beside it. The share of the two,
(dense - x) / (dense - none), is formed process by process: those of one round saw the machine alike, and its interval
is that of their median.
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
from fffbench.plan.models import ARCHITECTURES, Variant, Work
from fffbench.results.models import ModelRecord, ModelResults, Routing
from fffbench.units import number, percent, ratio, seconds, size

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
    for record in results.records:
        cell = record.cell
        place = cells.setdefault((record.machine, cell.work), {})
        place.setdefault(cell.variant.id, {}).setdefault(cell.mode, _Measured()).records.append(record)
    rows: list[ModelRow] = []
    for (machine, work), variants in sorted(cells.items(), key=lambda item: (item[0][0], _place(item[0][1]))):
        rows += _of_work(machine, work, variants)
    return rows


def _place(work: Work) -> tuple[Any, ...]:
    return work.device, list(ARCHITECTURES).index(work.model), work.phase, work.dtype, work.batch, work.sequence


def _of_work(machine: str, work: Work, variants: dict[str, dict[str, _Measured]]) -> list[ModelRow]:
    best = {name: min(modes.items(), key=lambda item: median(item[1].medians)) for name, modes in variants.items()}
    dense, none = (best[name][1].medians if name in best else [] for name in (DENSE, NONE))
    rows = [
        _row(machine, work, name, best[name], variants, dense, none)
        for name in sorted(variants, key=lambda name: (ORDER.index(Variant.parse(name).kind), Variant.parse(name)))
    ]
    widths = _widths(rows)
    return [_with_equal_time(row, widths) for row in rows]


def _row(
    machine: str,
    work: Work,
    name: str,
    best: tuple[str, _Measured],
    variants: dict[str, dict[str, _Measured]],
    dense: Sequence[float],
    none: Sequence[float],
) -> ModelRow:
    mode, measured = best
    time = estimate_time(measured.processes)
    samples = np.sort(np.concatenate([np.asarray(p) for p in measured.processes]))
    p50, p90, p99 = (float(np.quantile(samples, q, method="higher")) for q in (0.5, 0.9, 0.99))
    gain = ratio_of_medians(dense, measured.medians) if dense and name != DENSE else None
    # int8 makes the other layers faster too, so leaving the feedforward layers out is no limit for it
    limited = Variant.parse(name).kind not in (DENSE, NONE, "int8", "int8-fff")
    share = realised(dense, measured.medians, none) if limited else None
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
        notes=tuple(dict.fromkeys(note for info in infos for note in info.notes)),
        records=tuple(record.id for record in measured.records),
    )


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


def sentence(rows: Sequence[ModelRow]) -> str:
    """What a reader should know of one work: rows of one machine and work. Empty without the model as it is."""
    known = {row.variant: row for row in rows}
    dense, none = known.get(DENSE), known.get(NONE)
    trees = [row for row in rows if Variant.parse(row.variant).kind == "fff" and row.gain is not None]
    if dense is None or not trees:
        return ""
    parts = [f"{work_title(dense.work)}: {seconds(dense.time)} as it is."]
    for row in trees:
        of_gain = (
            ""
            if row.share is None
            else f", {percent(row.share)}{_percents(row.share_interval)} of what could be gained"
        )
        parts.append(f"{row.title}: {_gain(row)}{of_gain}.")
    if none is not None and none.gain is not None:
        parts.append(
            f"Without any feedforward layer it is {_gain(none)}, which no replacement can pass "
            f"(multiply-adds alone would allow {number(dense.work.bound)}x)."
        )
    others = [
        f"{row.title} {_gain(row)}"
        for row in rows
        if Variant.parse(row.variant).kind in ("masked", "int8", "moe", "small") and row.gain is not None
    ]
    if others:
        parts.append(f"Instead of trees: {'; '.join(others)}.")
    slower = [f"{row.title} ({mode})" for row in trees for mode, gain in row.same_mode.items() if gain.value < 1]
    if slower:
        parts.append(f"Slower than the model as it is in the same mode: {', '.join(slower)}.")
    return " ".join(parts)


def _gain(row: ModelRow) -> str:
    assert row.gain is not None
    low, high = row.gain_interval or (None, None)
    return ratio(row.gain, low, high)


def _percents(interval: tuple[float, float] | None) -> str:
    return "" if interval is None else f" [{number(100 * interval[0])}, {number(100 * interval[1])}]"


COLUMNS = (
    "layers",
    "mode",
    "time",
    "p90",
    "p99",
    "tokens/s",
    "gain",
    "of possible",
    "weights",
    "peak",
    "J/1000 tokens",
)


def cells_of(row: ModelRow) -> tuple[str, ...]:
    """The row as texts, one for each of ``COLUMNS``."""
    share = "" if row.share is None else f"{percent(row.share)}{_percents(row.share_interval)}"
    return (
        row.title,
        row.mode,
        seconds(row.time) + (" (provisional)" if row.provisional else ""),
        seconds(row.p90),
        seconds(row.p99),
        number(row.tokens_per_second),
        "" if row.gain is None else _gain(row),
        share,
        size(row.weights_bytes),
        size(row.peak_bytes),
        "" if row.joules_per_1000_tokens is None else number(row.joules_per_1000_tokens),
    )


def footnotes(row: ModelRow) -> list[str]:
    """What belongs to a row beside its numbers: where its tokens went, and which plain layer takes as long."""
    said = []
    if row.effective_leaves is not None:
        said.append(
            f"{row.title}: the tokens of a layer are spread as over {number(row.effective_leaves)} "
            f"equally used leaves of {row.leaves}"
        )
    if row.equal_time_neurons is not None:
        said.append(f"{row.title}: a plain layer of about {number(row.equal_time_neurons)} neurons takes as long")
    return said + [f"{row.title}: {note}" for note in row.notes]


def notes_of(rows: Sequence[ModelRow]) -> list[str]:
    """The sentence of one machine and work, and what stands below its table."""
    said = sentence(rows)
    return [*([said] if said else []), *(note for row in rows for note in footnotes(row))]


def csv_rows(rows: Sequence[ModelRow]) -> list[dict[str, Any]]:
    """The rows as the CSV has them: numbers in SI units, intervals in columns of their own."""
    found = []
    for row in rows:
        gain, share = row.gain_interval or (None, None), row.share_interval or (None, None)
        found.append(
            {
                "machine": row.machine,
                "work": row.work.id,
                "variant": row.variant,
                "mode": row.mode,
                "seconds": row.time,
                "seconds_low": row.interval[0],
                "seconds_high": row.interval[1],
                "p50": row.p50,
                "p90": row.p90,
                "p99": row.p99,
                "tokens_per_second": row.tokens_per_second,
                "gain": row.gain,
                "gain_low": gain[0],
                "gain_high": gain[1],
                "share": row.share,
                "share_low": share[0],
                "share_high": share[1],
                "weights_bytes": row.weights_bytes,
                "peak_bytes": row.peak_bytes,
                "joules_per_1000_tokens": row.joules_per_1000_tokens,
                "effective_leaves": row.effective_leaves,
                "equal_time_neurons": row.equal_time_neurons,
            }
        )
    return found

"""What does a stranger read in the first minute? One sentence, one table, and what the table does not say."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from fffbench.analysis.fidelity import Climb, Step
from fffbench.analysis.headline import (
    PUBLISHED_BATCH,
    PUBLISHED_GAIN,
    PUBLISHED_SHAPE,
    STRICT,
    Answer,
    shape_of,
    type_name,
)
from fffbench.analysis.rows import Speedup
from fffbench.analysis.served import SERVED_UP_TO
from fffbench.analysis.thin import few
from fffbench.claims.program import deciding_climb
from fffbench.claims.rows import ClaimRow
from fffbench.claims.rule import EXCEEDED, NOT_MEASURED, REPRODUCED, UNDECIDED
from fffbench.devices import HOST
from fffbench.report.accuracy_section import UNKNOWN
from fffbench.report.cards import Cards, Cite, plain_figure
from fffbench.report.shown import Device, Place
from fffbench.report.view import Cell, Fact, Link, Said, Table
from fffbench.units import number, ratio

BATCHES = (1, 128, 1024, PUBLISHED_BATCH)
SHARE = 2 / 3  # of a model's time in its feedforward layers, as the ledger's claims put it
PUBLISHED_CLAIM = "cpu-78x"
PLACES = ((True, "a CPU"), (False, "a GPU"))  # the machine itself, or an accelerator in it
Served = Mapping[Place, Mapping[int, Speedup]]


def amdahl(gain: float, share: float = SHARE) -> float:
    """How many times faster a model becomes whose ``share`` of time becomes ``gain`` times faster."""
    return 1 / (1 - share + share / gain)


NO_MODEL = (
    f"a whole model, not measured yet, gains less: at most {amdahl(math.inf):g}x where such layers take two thirds of "
    "its time, however fast they become"
)


@dataclass(frozen=True)
class First:
    """What the first screen is made of."""

    devices: Sequence[Device]
    served: Served
    answers: Mapping[Place, Answer]
    climbs: Sequence[Climb]
    claims: Sequence[ClaimRow]
    model: str = NO_MODEL
    accuracy: Said = field(default_factory=lambda: Said(UNKNOWN))

    @property
    def history(self) -> tuple[Device, ...]:
        """The devices of older sources, of a kind (CPU or accelerator) that was measured from those of now elsewhere.

        They stand below the first table, in no sentence: what is said first is said of the kernels of now.
        """
        answered = [device for device in self.devices if device.place in self.answers]
        now = {device.device == HOST for device in answered if not device.older}
        return tuple(device for device in answered if device.older and (device.device == HOST) in now)

    @property
    def speaking(self) -> tuple[Device, ...]:
        """The devices whose figures the sentences and the first table have."""
        history = self.history
        return tuple(device for device in self.devices if device not in history)

    @property
    def spoken(self) -> tuple[Answer, ...]:
        """Their answers."""
        return tuple(self.answers[device.place] for device in self.speaking if device.place in self.answers)


def gain_text(found: Speedup | Step, cite: Cite) -> str:
    """``111x``, cited with the records it rests on."""
    if found.speedup is None:
        return "not measured"
    records = found.records if isinstance(found, Step) else (found.record, found.baseline_record)
    return cite(f"{number(found.speedup)}x", ratio(found.speedup, found.low, found.high), *records)


def _range(found: Sequence[Speedup | Step], cite: Cite) -> str:
    """``1.5x to 2.0x``, or one figure where both are written alike."""
    low, high = (pick(found, key=lambda one: one.speedup or 0) for pick in (min, max))
    if number(low.speedup or 0) == number(high.speedup or 0):
        return gain_text(low, cite)
    return f"{gain_text(low, cite)} to {gain_text(high, cite)}"


def lede(first: First, cite: Cite = plain_figure) -> str:
    """The three facts: the layer at its best, the layer as it is served, the model; ``cite`` writes the figures."""
    # the table below shows these batches: a figure of the sentence that stands nowhere is a riddle
    places = [device.place for device in first.speaking]
    shown = {place: [row for row in first.served.get(place, {}).values() if row.batch in BATCHES] for place in places}
    known = [(place, row) for place, rows in shown.items() for row in rows]
    strict = [(answer.machine, answer.device, row) for answer in first.spoken for row in answer.rows]
    if not known and not strict:
        return "No fast feedforward layer was measured beside a dense one under fair conditions yet."
    parts: list[str] = []
    for host, name in PLACES:
        rows = [row for (_, kind), row in known if (kind == HOST) == host]
        rows = rows or [row for _, kind, row in strict if (kind == HOST) == host]
        if rows:
            most = max(rows, key=lambda row: row.speedup or 0)
            said = gain_text(most, cite)
            # of several devices: another type or batch, which the table or a chart has, may give more
            most_of = "up to " if len({row.machine for row in rows}) > 1 else ""
            faster = f"{most_of}{said} faster" if (most.speedup or 0) >= 1 else f"slower ({said})"
            than = "" if parts else " than the best dense layer"
            parts.append(f"{faster}{than} on {name} ({type_name(most.dtype)}, batch {most.batch})")
    small = [row for (_, kind), row in known if kind != HOST and row.batch <= SERVED_UP_TO]
    middle = ""
    if small:
        types = " or ".join(dict.fromkeys(type_name(row.dtype) for row in small))
        spread = _range(small, cite)
        batches = sorted({row.batch for row in small})
        middle = f", but {spread} on a GPU as models are served ({types}, batch {batches[0]} to {batches[-1]})"
    layer = first.spoken[0].rows[0] if first.spoken else known[0][1]
    active = layer.trees * (layer.levels + layer.leaf_width)
    return (
        f"A fast feedforward (FFF) layer, which computes {active} of its {layer.n} neurons for each token, is "
        f"{' and '.join(parts)}{middle}; {first.model}."
    )


def answers_table(first: First, cards: Cards, *, history: bool = False) -> Table | None:
    """Machine by batch in the deployed type, strict fp32 beside it; with ``history`` the devices of older sources."""
    rows = []
    devices = first.history if history else first.speaking
    batches = [batch for batch in BATCHES if any(batch in first.served.get(d.place, {}) for d in devices)]
    for device in devices:
        answer, by = first.answers.get(device.place), first.served.get(device.place, {})
        if answer is None:
            continue
        types = dict.fromkeys(type_name(by[batch].dtype) for batch in batches if batch in by)
        cells = [_gain(by.get(batch), cards) for batch in batches]
        rows.append((Cell(device.name, ", ".join(types)), *cells, _strict(answer, cards)))
    if not rows:
        return None
    head = ("Device", *(f"batch {batch}" for batch in batches), "strict fp32")
    shapes = {shape_of(first.answers[device.place].rows[0]) for device in devices if device.place in first.answers}
    layer = "768 inputs, 4095 neurons, one tree of 12 levels" if shapes == {PUBLISHED_SHAPE} else "each device's layer"
    if history:
        caption = "Measured from sources that have changed since, on devices that were not measured again; as above."
        return Table("older", head, (False, *(True for _ in head[1:])), tuple(rows), "speedup.csv", caption)
    return Table(
        "answers",
        head,
        (False, *(True for _ in head[1:])),
        tuple(rows),
        "speedup.csv",
        f"Times faster than the fastest correct dense layer ({layer}), with 95 % intervals; each side in its fastest "
        "deployed type (bf16, fp16 or fp32 with TF32) and at its fastest thread count, cold caches, random tokens, "
        f"inside a CUDA graph on a GPU. Strict fp32 forbids TF32; batch {PUBLISHED_BATCH}. A number opens its samples.",
    )


def doubt(row: Speedup) -> str:
    """Why a number is provisional, in a few words; empty where it is not. The card has the whole reason."""
    if not row.provisional:
        return ""
    names = row.not_measured
    untried = f"{names[0] if len(names) == 1 else f'{len(names)} dense layers'} not tried" if names else ""
    return ", ".join(filter(None, (few(row.runs, row.processes), untried)))


def gain_cell(row: Speedup, cards: Cards, small: str = "", beside: str = "") -> Cell:
    """A speed-up with its interval, its card, and why it is provisional; ``small`` with the card ``beside`` first."""
    value = ratio(row.speedup or 0, row.low, row.high)
    key = cards.link(value, row.record, row.baseline_record)
    said = "; ".join(filter(None, (small, doubt(row))))
    return Cell(value, said, key, f"{row.speedup:.6g}", quantity=key, beside=beside)


def _gain(row: Speedup | None, cards: Cards) -> Cell:
    return Cell("not measured", words=True) if row is None else gain_cell(row, cards)


def strict_row(answer: Answer) -> Speedup | None:
    """The row of ``answer`` in strict fp32."""
    return next((row for row in answer.rows if row.dtype == STRICT), None)


def _strict(answer: Answer, cards: Cards) -> Cell:
    row = strict_row(answer)
    if row is None:
        return Cell("not measured", words=True)
    where = "" if row.batch == PUBLISHED_BATCH else f"at batch {row.batch}"
    with_tf32 = answer.with_tf32
    links: list[Link] = []
    beside = f"{gain_text(with_tf32, cards.citing(links))} over dense with TF32" if with_tf32 else ""
    return gain_cell(row, cards, "; ".join(filter(None, (where, beside))), links[0].to if links else "")


def facts(first: First, cards: Cards | None = None) -> tuple[Fact, ...]:
    """The published figure, the count, and what was not measured; ``cards`` say where the figures come from."""
    found = [_published(first, cards)]
    rows = [row for answer in first.spoken for row in answer.rows]
    if rows:
        deployed = [row for device in first.speaking for row in first.served.get(device.place, {}).values()]
        most = max([*rows, *deployed], key=lambda row: row.speedup or 0)
        best, unsure = most.speedup or 0, f" (provisional: {doubt(most)})" if doubt(most) else ""
        ceiling = max(row.n / (row.trees * (row.levels + row.leaf_width)) for row in rows)
        reached = f"Under fair conditions it was {'' if best >= ceiling else 'not '}reached as a speed"
        links: list[Link] = []
        gain = gain_text(most, cards.citing(links) if cards else plain_figure)
        found.append(
            Fact(
                f"{number(ceiling)}x?",
                f"A count of operations ({rows[0].n} neurons over {rows[0].levels} used), not a measurement. "
                f"{reached}: the most in the table is {gain}{unsure}.",
                tuple(links),
            )
        )
    found.append(Fact("Same answers?", first.accuracy.text, first.accuracy.links))
    return tuple(fact for fact in found if fact)


def _published(first: First, cards: Cards | None) -> Fact | None:
    """What became of the published figure: another program gives it, theirs does not."""
    strict = [
        row
        for answer in first.spoken
        for row in answer.rows
        if answer.device == HOST and row.dtype == STRICT and shape_of(row) == PUBLISHED_SHAPE
    ]
    if not strict:
        return None
    places = {device.place for device in first.speaking}
    own = [row for row in first.claims if row.id == PUBLISHED_CLAIM and (row.machine, row.device) in places]
    decided = [row.verdict for row in own if row.verdict not in (UNDECIDED, NOT_MEASURED)]
    reached = [verdict in (REPRODUCED, EXCEEDED) for verdict in decided]
    gains = [row.speedup or 0 for row in strict]
    answer = "Undecided" if not reached else "Yes" if all(reached) else "Partly" if any(reached) else "No"
    if answer == "Yes" and min(gains) < PUBLISHED_GAIN:  # its interval reaches the figure, its middle does not
        answer = "About"
    links: list[Link] = []
    cite = cards.citing(links) if cards else plain_figure
    best = max(strict, key=lambda row: row.speedup or 0)
    which = "the largest is " if len(strict) > 1 else ""
    unsure = f"; {which}provisional: {doubt(best)}" if doubt(best) else ""
    said = (
        f"{answer}, for this one layer on a CPU with the best kernel: {_range(strict, cite)} "
        f"over the best dense layer (strict fp32, batch {strict[0].batch}{unsure})"
    )
    steps = _program(first, first.speaking)
    past = not steps
    steps = steps or _program(first, first.history)
    if not steps:
        return Fact(f"{PUBLISHED_GAIN}x?", f"{said}. The published program was not measured here.", tuple(links))
    shipped = _range([climb.steps[0] for climb in steps], cite)
    mended = [climb.mended for climb in steps if climb.mended.speedup]
    after = f" and {_range(mended, cite)} once it computes the right thing" if mended else ""
    where = " (devices of older sources)" if past else ""
    text = f"{said}. The published program gives {shipped} as shipped{after}{where}."
    return Fact(f"{PUBLISHED_GAIN}x?", text, tuple(links))


def _program(first: First, devices: Sequence[Device]) -> list[Climb]:
    """The published program's deciding way on each of the CPUs among ``devices``."""
    found = []
    for device in devices:
        own = [item for item in first.climbs if (item.claim, item.machine) == (PUBLISHED_CLAIM, device.machine)]
        if own and device.device == HOST:
            found.append(deciding_climb(own, PUBLISHED_BATCH))
    return found

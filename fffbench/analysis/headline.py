"""What is the answer, in a line a machine, from these results?

Always FFF over the best dense layer, each side at its own fastest thread
count, cold caches, bare kernel (on a GPU inside a graph where one was
measured), uniform routing, at the batch of the published table (16384), or the
largest where that was not measured: fixed, so that no result can be picked for
being flattering. It leads with the types in which people deploy, each side in
the fastest of them; fp32 without TF32 stands second and is called strict, and
beside it the same FFF over a dense layer in fp32 with TF32 where one was
measured.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from fffbench.analysis.baselines import WITH_TF32
from fffbench.analysis.relative import TIE
from fffbench.analysis.rivals import tried_text
from fffbench.analysis.rows import Speedup, Timed
from fffbench.analysis.speedup import Found, measured
from fffbench.devices import DEVICES, HOST, main_device
from fffbench.problems import parse_problem
from fffbench.results.record import Machine
from fffbench.results.store import Results
from fffbench.units import number, ratio

PUBLISHED_SHAPE = (768, 1, 12, 0)  # d, trees, levels, leaf width of the paper's table
PUBLISHED_BATCH = 16384
PUBLISHED_GAIN = 78  # of that layer, on CPUs
DEPLOYED = ("bf16", "fp16", "tf32")  # types in which people deploy; TF32 is fp32 with tensor cores
STRICT = "fp32"
TYPES = (*DEPLOYED, STRICT)  # in the order in which they are shown
TYPE_NAMES = {"tf32": "fp32 with TF32", "fp32": "strict fp32"}
GENERIC = ("x86-64", "aarch64")  # architectures that are no generation
# what makers put around a name and readers leave out; of a GPU also its maker and memory
_NO_NAME = re.compile(r"\((R|TM)\)|\bProcessor$")
_NO_GPU_NAME = re.compile(r"^NVIDIA |\b(\d+ ?GB|HBM\w*)\b")


def machine_name(machine: Machine, device: str) -> str:
    """What a reader calls the machine: its GPU; its CPU with its cores and, in brackets, the GPU beside it; its id."""
    name = DEVICES[device].model(machine.stable)
    if name is None:
        return machine.id
    if device != HOST:
        return name
    name = _NO_NAME.sub("", name).strip()
    generation = machine.stable.get("architecture", "")
    if not any(map(str.isdigit, name)) and generation not in ("", *GENERIC):  # ``AMD EPYC`` is several processors
        name += f" {generation.capitalize()}"
    cores, main = machine.stable.get("cores"), main_device(machine.stable)
    name += f", {cores} cores" if cores else ""
    beside = DEVICES[main].model(machine.stable) if main != HOST else None
    return f"{name} ({_NO_GPU_NAME.sub('', beside).strip()})" if beside else name


def fair(row: Speedup) -> bool:
    """Whether ``row`` follows the headline's protocol."""
    return (
        row.family == "fff"
        and row.speedup is not None
        and (row.baseline, row.baseline_threads) == ("best-dense", "fastest")
        and row.main
    )


def shape_of(row: Speedup) -> tuple[int, int, int, int]:
    """The layer of a row: d, trees, levels, leaf width."""
    return (row.d, row.trees, row.levels, row.leaf_width)


def best_by_batch(rows: Sequence[Speedup]) -> dict[int, Speedup]:
    """The fastest FFF implementation's row at each batch, smallest batch first."""
    best: dict[int, Speedup] = {}
    for row in rows:
        if row.batch not in best or (row.time or 0) < (best[row.batch].time or 0):
            best[row.batch] = row
    return dict(sorted(best.items()))


def type_name(dtype: str) -> str:
    """What a reader calls a type: ``strict fp32`` may not use TF32."""
    return TYPE_NAMES.get(dtype, dtype)


@dataclass(frozen=True)
class Answer:
    """The headline of one machine and device: a row per dtype at the published batch, else the largest.

    ``deployed`` has each side in the fastest of the types people deploy, ``with_tf32`` the strict row's FFF over a
    dense layer that may use TF32; None where neither was measured.
    """

    machine: str
    name: str
    device: str
    rows: tuple[Speedup, ...]
    deployed: Speedup | None = None
    with_tf32: Speedup | None = None

    @property
    def lead(self) -> Speedup:
        """The row that leads: the types people deploy, strict fp32 only where nothing else was measured."""
        return self.deployed or self.rows[0]

    @property
    def strict(self) -> Speedup | None:
        """The row in fp32 without TF32."""
        return next((row for row in self.rows if row.dtype == STRICT), None)

    @property
    def line(self) -> str:
        """``7.3x [7.2, 7.4] faster at batch 16384 in bf16 (best of 4 tried) on Test GPU; in strict fp32 45x ...``."""
        text = f"{_said(self.lead)} on {self.name}"
        if self.strict is not None and self.strict is not self.lead:
            where = "" if self.strict.batch == self.lead.batch else f" at batch {self.strict.batch}"
            text += f"; in strict fp32 {_gain(self.strict)}{where} ({_evidence(self.strict)})"
        if self.with_tf32 is not None:
            text += (
                f"; FFF in strict fp32 over dense fp32 with TF32 {_gain(self.with_tf32)} ({_evidence(self.with_tf32)})"
            )
        return text


def _said(row: Speedup) -> str:
    types = type_name(row.dtype)
    if row.baseline_dtype not in (None, row.dtype):
        types = f"{types} over dense in {type_name(row.baseline_dtype or '')}"
    return f"{_gain(row)} at batch {row.batch} in {types} ({_evidence(row)})"


def _evidence(row: Speedup) -> str:
    """``best of 7 tried``, and the word for thin evidence."""
    found = [] if row.tried is None else [tried_text(row.tried, row.not_measured)]
    return "; ".join([*found, *(["provisional"] if row.provisional else [])])


def _gain(row: Speedup) -> str:
    """``116x [112, 121] faster``, ``no faster`` or ``2.1x [2.0, 2.2] slower``: as the interval has it."""
    assert row.speedup is not None
    if row.low is None or row.high is None:
        faster = row.speedup >= 1
        return f"{ratio(max(row.speedup, 1 / row.speedup), None, None)} {'faster' if faster else 'slower'}"
    if row.low > 1:
        return f"{ratio(row.speedup, row.low, row.high)} faster"
    if row.high < 1:
        return f"{ratio(1 / row.speedup, 1 / row.high, 1 / row.low)} slower"
    return f"neither faster nor slower ({ratio(row.speedup, row.low, row.high)})"


def answers(results: Results, rows: Sequence[Speedup]) -> list[Answer]:
    """One answer per machine and device that has a fair FFF row; GPUs after CPUs, otherwise by machine."""
    places: dict[tuple[str, str], list[Speedup]] = defaultdict(list)
    beside_strict: dict[str, Speedup] = {}  # by the record of the FFF in strict fp32
    for row in rows:
        if fair(row):
            places[row.device, row.machine].append(row)
        elif (row.baseline, row.baseline_threads) == (WITH_TF32, "fastest") and row.speedup is not None:
            beside_strict.setdefault(row.record or "", row)
    known = measured(results)
    subjects = {item.record.id: item for item in known.conditional}
    found = []
    for (device, machine), rows_there in sorted(places.items()):
        shapes = Counter(map(shape_of, rows_there))
        shape = PUBLISHED_SHAPE if PUBLISHED_SHAPE in shapes else max(sorted(shapes), key=lambda item: shapes[item])
        here = [row for row in rows_there if shape_of(row) == shape]
        best = []
        for dtype in TYPES:
            by_batch = best_by_batch([row for row in here if row.dtype == dtype])
            if by_batch:
                best.append(by_batch.get(PUBLISHED_BATCH) or by_batch[max(by_batch)])
        name = machine_name(results.machines[machine], device)
        strict = next((row.record for row in best if row.dtype == STRICT), None)
        with_tf32 = beside_strict.get(strict or "")
        found.append(Answer(machine, name, device, tuple(best), _deployed(best, subjects, known), with_tf32))
    return found


def _deployed(rows: Sequence[Speedup], subjects: Mapping[str, Timed], measured: Found) -> Speedup | None:
    """Each side in its fastest deployed type at the batch of the answer; None where none was measured."""
    deployed = [row for row in rows if row.dtype in DEPLOYED]
    if not deployed:
        return None
    batches = {row.batch for row in deployed}
    batch = PUBLISHED_BATCH if PUBLISHED_BATCH in batches else max(batches)
    return fastest_deployed([row for row in deployed if row.batch == batch], subjects, measured)


def fastest_deployed(rows: Sequence[Speedup], subjects: Mapping[str, Timed], measured: Found) -> Speedup:
    """Of rows of one layer and batch in deployed types: each side in the type that is fastest for it.

    A type that ties with the fastest on both sides stands for both: one type is the plainer comparison.
    """
    ours = min(rows, key=lambda row: row.time or 0)
    each = measured.across_types(subjects[ours.record or ""], DEPLOYED)
    assert each is not None  # the row's own baseline is among them
    least = ((1 - TIE) ** -1 * (each.time or 0), (1 - TIE) ** -1 * (each.baseline_time or 0))
    one_type = (row for row in rows if (row.time or 0) <= least[0] and (row.baseline_time or 0) <= least[1])
    return next(one_type, each)


@dataclass(frozen=True)
class Headline:
    """The answer as a reader meets it: what is compared, a line for each machine, then the details."""

    asked: str
    lines: tuple[str, ...] = ()
    details: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """All of it as plain text, a line each."""
        return "\n".join([self.asked, *(f"  {line}" for line in self.lines), *self.details])


def _layer(row: Speedup) -> str:
    return f"the FFF layer ({parse_problem(row.shape).label})"


def _details(found: Sequence[Answer], asked: tuple[int, int, int, int]) -> list[str]:
    """The other types machine by machine, layers other than the one asked about, doubts, and what the count allows."""
    said = []
    for answer in found:
        rest = [row for row in answer.rows if row.dtype != STRICT and row.record != answer.lead.record]
        said += [f"On {answer.name}: {', '.join(map(_said, rest))}."] if rest else []
    said += [
        f"On {answer.name} it is {_layer(answer.rows[0])}." for answer in found if shape_of(answer.rows[0]) != asked
    ]
    for answer in found:
        shown = {id(row): row for row in (answer.lead, *answer.rows, *([answer.with_tf32] if answer.with_tf32 else []))}
        doubts = {row.reason: row for row in shown.values() if row.reason}
        said += [f"Provisional on {answer.name} in {type_name(row.dtype)}: {reason}." for reason, row in doubts.items()]
    return [*said, ceiling_sentence(found)]


def ceiling_sentence(found: Sequence[Answer]) -> str:
    """What the operation count allows, beside the best that any machine reached."""
    rows = [row for answer in found for row in answer.rows]
    ceiling = max(parse_problem(row.shape).ceiling for row in rows)
    reached = "was reached" if max(row.low or 0 for row in rows) >= ceiling else "was not reached"
    return f"{number(ceiling)}x is a count of operations; as a measured speed of this layer it {reached}."


def headline(results: Results, rows: Sequence[Speedup]) -> Headline:
    """The last lines of a report: devices of the sources of now, CPUs and GPUs each for themselves; else all."""
    return headline_of(answers(results, rows), results.older, measured=bool(results.records))


def headline_of(every: Sequence[Answer], older: AbstractSet[tuple[str, str]], *, measured: bool) -> Headline:
    """The same from the answers; ``older`` are the places of older sources, ``measured`` is whether anything was."""
    now = {answer.device == HOST for answer in every if (answer.machine, answer.device) not in older}
    found = [
        answer for answer in every if (answer.machine, answer.device) not in older or (answer.device == HOST) not in now
    ]
    if found:
        first = found[0].rows[0]
        on_cpu = shape_of(first) == PUBLISHED_SHAPE and any(answer.device == HOST for answer in found)
        published = f", published as {PUBLISHED_GAIN}x faster on CPUs," if on_cpu else ""
        asked = f"Against the best dense layer, {_layer(first)}{published} is under fair conditions:"
        details = _details(found, shape_of(first))
        if left := len(every) - len(found):
            details.append(f"The page has {left} more device{'s' * (left != 1)}, measured from older sources.")
        return Headline(asked, tuple(answer.line for answer in found), tuple(details))
    if not measured:
        return Headline("Nothing has been measured yet.")
    return Headline(
        "No FFF layer was measured beside a dense one under the headline's protocol "
        "(cold caches, bare kernel, uniform routing) yet."
    )

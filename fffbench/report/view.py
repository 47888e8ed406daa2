"""What does the page show? Plain data with finished strings; templates only loop over it.

A string in here is plain text: the template escapes it. Only ``Figure.svg``
and ``SampleRow.strip`` are markup, drawn by this package. Declarations of one page and
no logic, which a template's author reads in one place: hence more than 300 lines.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from markupsafe import Markup

BESIDE = 560.0  # points: a narrower drawing leaves room for words to its right


@dataclass(frozen=True)
class Link:
    """Words or a figure, and where they lead: a card's name, an address, or nowhere (empty)."""

    text: str
    to: str = ""

    @property
    def address(self) -> str:
        """Where ``to`` is: a place on the page, or in the archive."""
        return self.to if "#" in self.to else f"#{self.to}"


@dataclass(frozen=True)
class Said:
    """A text whose figures, in their order, lead to their cards."""

    text: str
    links: tuple[Link, ...] = ()


@dataclass(frozen=True)
class Figure:
    """A drawn chart with its title, the sentence on how to read it, and its numbers in words."""

    id: str
    title: str
    how_to_read: str
    svg: Markup
    narrow: Markup | None = None  # drawn anew for a phone; otherwise the wide one scrolls
    numbers: tuple[Said, ...] = ()  # what the marks stand for, each number with its card

    @property
    def small(self) -> bool:
        """Whether its words have room beside the drawing on a wide screen."""
        width = re.search(r'viewBox="0 0 ([\d.]+)', self.svg)
        return width is not None and float(width[1]) < BESIDE

    @property
    def count(self) -> int:
        """How many numbers it has that lead to a card."""
        return sum(bool(link.to) for said in self.numbers for link in said.links)


@dataclass(frozen=True)
class Cell:
    """A table cell: the number, the smaller line under it, a link to samples, or the words that stand for a number."""

    main: str = ""
    small: str = ""
    link: str = ""
    sort: str = ""
    words: bool = False
    badge: str = ""  # the verdict whose colour it has
    quantity: str = ""  # which time or ratio the number is; one quantity has one value on a page
    beside: str = ""  # where the smaller line leads: the other side of a ratio

    @property
    def href(self) -> str:
        """The address of ``link``: a place on the page, or a file beside it."""
        return self.link if ".html#" in self.link or self.link.endswith((".csv", ".json")) else f"#{self.link}"


@dataclass(frozen=True)
class Table:
    """A table that scrolls inside itself; ``numeric`` says which columns are right-aligned."""

    id: str
    head: tuple[str, ...]
    numeric: tuple[bool, ...]
    rows: tuple[tuple[Cell, ...], ...]
    csv: str
    caption: str = ""
    filterable: bool = False

    @property
    def labels(self) -> str:
        """The heads as CSS variables, which label the cells on a phone; only characters that CSS takes as they are."""
        words = ("".join(c for c in head if c.isalnum() or c in " ,/-")[:40] for head in self.head)
        return ";".join(f"--h{index}:'{text}'" for index, text in enumerate(words, start=1))


@dataclass(frozen=True)
class Finding:
    """What one machine says about one claim."""

    machine: str
    verdict: str
    icon: str
    published: tuple[Cell, ...]
    fair: tuple[Cell, ...]
    reason: str
    difference: str = ""
    program: Cell | None = None  # the verdicts on the published program, where it was measured


@dataclass(frozen=True)
class LadderView:
    """The way from one published figure to the fair comparison on one machine."""

    claim: str
    title: str
    machine: str
    sentences: tuple[str, ...]
    table: Table
    command: str


@dataclass(frozen=True)
class RunView:
    """One run: its machine and id, when and of which sources it was made, its files, its machine's fingerprint."""

    title: str
    sources: str
    files: tuple[Link, ...]
    machine: str


@dataclass(frozen=True)
class SampleRow:
    """The raw samples of one record, by process: a strip and the process medians."""

    anchor: str
    cell: str
    run: str
    time: str
    processes: str
    strip: Markup
    note: str = ""


@dataclass(frozen=True)
class ClaimView:
    """One claim of the ledger with its findings."""

    id: str
    statement: str
    shown: str
    source: str
    confidence: str
    note: str
    command: str
    findings: tuple[Finding, ...]
    ladders: tuple[LadderView, ...] = ()
    samples: tuple[SampleRow, ...] = ()

    @property
    def verdicts(self) -> tuple[tuple[str, str], ...]:
        """Verdict and icon of each finding, each once."""
        return tuple(dict.fromkeys((finding.verdict, finding.icon) for finding in self.findings))


@dataclass(frozen=True)
class MachineView:
    """One machine and device: its tables, and where its dense side is weak."""

    id: str
    anchor: str
    title: str
    device: str
    main: Table | None = None
    other: Table | None = None
    calls: Table | None = None
    strength: tuple[str, ...] = ()


@dataclass(frozen=True)
class Fingerprint:
    """What identifies a machine, what its newest run saw, its measured ceilings, and its runs."""

    id: str
    name: str
    stable: tuple[tuple[str, str], ...]
    observed: tuple[tuple[str, str], ...]
    ceilings: Table | None
    runs: tuple[str, ...]


@dataclass(frozen=True)
class Archive:
    """Everything in the archive, in its order."""

    claims: tuple[ClaimView, ...]
    claims_table: Table | None
    machines: tuple[MachineView, ...]
    ladders: tuple[LadderView, ...]
    break_even: tuple[Table, ...]
    history: tuple[Figure, ...]
    history_table: Table | None
    regressions: Table | None
    skipped: Table | None
    fingerprints: tuple[Fingerprint, ...]
    refused: tuple[str, ...]
    samples: tuple[SampleRow, ...]
    left_out: int
    models: tuple[Table, ...] = ()
    cards: tuple[Card, ...] = ()  # of whole models, whose samples are in no table
    runs: Mapping[str, RunView] = field(default_factory=dict)  # by what a row of samples calls its run


@dataclass(frozen=True)
class SideView:
    """One side of a number: what was timed, its samples by process, and where they come from."""

    what: str
    threads: str
    time: str
    processes: str
    strip: Markup
    run: str
    date: str
    sources: str
    files: tuple[Link, ...]
    link: str
    machine: str


@dataclass(frozen=True)
class Card:
    """Where a number comes from: both sides and the command that measures just these cells, or how it was computed."""

    id: str
    value: str
    title: str
    protocol: str = ""
    sides: tuple[SideView, ...] = ()
    command: str = ""
    how: str = ""
    parts: tuple[Link, ...] = ()  # the numbers it was computed from

    @property
    def shared(self) -> bool:
        """Whether all sides come from one place, which is said once below them."""
        origins = {(side.run, side.date, side.sources, side.files, side.machine) for side in self.sides}
        return len(origins) == 1


@dataclass(frozen=True)
class Fact:
    """A question of the first screen that the table does not answer, and its answer in two sentences."""

    question: str
    answer: str
    links: tuple[Link, ...] = ()

    @property
    def said(self) -> Said:
        """The answer with its figures' cards."""
        return Said(self.answer, self.links)


@dataclass(frozen=True)
class LedgerCell:
    """What one device says about one claim: the verdict, the number, and (undecided) which way it leans."""

    device: str
    icon: str
    verdict: str
    number: str = ""
    link: str = ""
    quantity: str = ""
    leans: str = ""
    figure: str = ""  # in ``number``, where that is a sentence: what leads to the card

    @property
    def said(self) -> Said:
        """The sentence with its figure's card."""
        figure = self.figure if self.figure and self.figure in self.number else self.number
        return Said(self.number, (Link(figure, self.link),) if self.link else ())


@dataclass(frozen=True)
class LedgerRow:
    """One claim: what was published, the answer on each device, and that of the published program."""

    id: str
    shown: str
    statement: str
    cells: tuple[LedgerCell | None, ...]
    program: str = ""
    program_badge: str = ""
    program_link: str = ""
    alone: LedgerCell | None = None  # the verdict of a claim that no device answers


@dataclass(frozen=True)
class LedgerGroup:
    """Claims of one kind."""

    title: str
    rows: tuple[LedgerRow, ...]


@dataclass(frozen=True)
class Source:
    """A source in words, and where it can be read."""

    text: str
    link: str = ""


@dataclass(frozen=True)
class Note:
    """What is said of one claim, opened from its row."""

    id: str
    shown: str
    statement: str
    source: Source
    confidence: str
    paragraphs: tuple[Link, ...]
    findings: tuple[Finding, ...]
    command: str
    more: str = ""  # where the rest is, if not under its own name in the archive


@dataclass(frozen=True)
class LadderLine:
    """A published benchmark, mended step by step: one sentence a device."""

    title: str
    claim: str
    sentences: tuple[Said, ...]


@dataclass(frozen=True)
class Page:
    """Everything on the page, in the page's order."""

    title: str
    lede: Said
    answers: Table | None
    older: Table | None  # the same of devices of older sources
    facts: tuple[Fact, ...]
    hero: Figure | None
    summary: str
    devices: tuple[tuple[str, str], ...]  # short and full name of each column
    ledger: tuple[LedgerGroup, ...]
    notes: tuple[Note, ...]
    model: Table | None
    accuracy: Figure | None
    curves: tuple[Figure, ...]
    why: Figure | None
    roofline: Figure | None
    ladder: Figure | None
    ladders: tuple[LadderLine, ...]
    break_even: Table | None
    evidence: tuple[str, ...]
    machines: Table | None
    changed: str
    changes: Table | None
    yours: Table | None
    your_models: Table | None
    starred: bool  # whether a device is of older sources
    cards: tuple[Card, ...]
    marks: tuple[Card, ...]  # of the charts' marks; they are in the archive
    compare: str
    version: str
    date: str
    left_out: int
    files: tuple[tuple[str, str, tuple[tuple[str, str], ...]], ...] = field(default=())

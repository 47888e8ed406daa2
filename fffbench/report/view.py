"""What does the page show? Plain data with finished strings; templates only loop over it.

A string in here is plain text: the template escapes it. Only ``Figure.svg``
and ``SampleRow.strip`` are markup, drawn by this package.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from markupsafe import Markup

from fffbench.analysis.headline import Headline


@dataclass(frozen=True)
class Figure:
    """A drawn chart with its title, the sentence on how to read it, and its numbers in words."""

    id: str
    title: str
    how_to_read: str
    svg: Markup
    narrow: Markup | None = None  # drawn anew for a phone; otherwise the wide one scrolls


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
    """One machine and device: figures, tables, what it is, and what was measured about it."""

    id: str
    anchor: str
    title: str
    device: str
    figures: tuple[Figure, ...] = ()
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
class Page:
    """Everything on the page, in the page's order."""

    title: str
    headline: Headline
    summary: str
    hero: Figure | None
    claims: tuple[ClaimView, ...]
    claims_table: Table | None
    machines: tuple[MachineView, ...]
    why: tuple[Figure, ...]
    ladders: tuple[LadderView, ...]
    break_even: tuple[Table, ...]
    savings: Table | None
    maps: tuple[Figure, ...]
    history: tuple[Figure, ...]
    history_table: Table | None
    regressions: Table | None
    skipped: Table | None
    fingerprints: tuple[Fingerprint, ...]
    refused: tuple[str, ...]
    samples: tuple[SampleRow, ...]
    files: tuple[tuple[str, str], ...] = field(default=())

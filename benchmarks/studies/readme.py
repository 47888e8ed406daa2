"""Does the README still say what the results say?

``python -m benchmarks.studies.readme`` writes the generated part of README.md
(headline, chart, a small table) and ``docs/answer.svg`` from ``results/``;
``--check`` writes nothing and exits with 1, naming what is stale. The chart is
compared by the numbers in its description, because another version of the
plotting library may draw the same numbers a pixel apart.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.studies import written
from fffbench.errors import UserError
from fffbench.plan.presets import presets
from fffbench.report import build, drawing, hero
from fffbench.report.accuracy_section import accuracy
from fffbench.report.analysed import Analysis, analyse
from fffbench.report.first import answers_table, facts, lede
from fffbench.report.method import row_terms
from fffbench.report.models import Models, models
from fffbench.report.published import load_published
from fffbench.report.view import Cell, Table
from fffbench.text import markdown

BEGIN, END = "<!-- answer:begin", "<!-- answer:end -->"
BLOCK = re.compile(rf"({re.escape(BEGIN)}[^\n]*-->\n)(.*?)({re.escape(END)})", re.DOTALL)
MARKED = re.compile(r"(<!-- (\w+):begin[^\n]*-->\n)(.*?)(<!-- \2:end -->)", re.DOTALL)
REFERENCE = Path("docs") / "reference"
SVG = Path("docs") / "answer.svg"
HERO = (
    "From the published figure (diamond) over the published code as shipped (hollow) and mended (filled) to the best "
    "kernel over the best dense layer (square)"
)


def block(analysis: Analysis, whole: Models | None = None, results: Path | None = None) -> str:
    """The generated part of the README, between the markers: the page's first screen in a dozen lines and a chart.

    A number of the table leads to the raw file it was read from, where that lies in the folder ``results``.
    """
    first = build.first_of(analysis, whole, accuracy(results, analysis.names))
    parts = [f"**{markdown(lede(first))}**"]
    cards = build.cards_of(analysis, results)
    found = answers_table(first, cards)
    if found is not None:
        files = {card.id: card.sides[0].files[-1].to for card in cards.all if card.sides and card.sides[0].files}
        parts.append("\n".join(_table(found, files)))
        parts.append("\n".join(f"- **{markdown(fact.question)}** {markdown(fact.answer)}" for fact in facts(first)))
    if build.hero_lines(analysis):
        parts.append(f"![{HERO}]({SVG.as_posix()})")
    return "\n\n".join(parts) + "\n"


def terms() -> str:
    """What the columns of a row mean, from beside the rules."""
    rows = [f"| {name} | {text} |" for name, text in row_terms()]
    return "\n".join(["| column | meaning |", "|---|---|", *rows]) + "\n"


def preset_table() -> str:
    """Every preset with what it measures, from its file."""
    rows = [f"| `{name}` | {preset.summary} |" for name, preset in presets().items()]
    return "\n".join(["| preset | measures |", "|---|---|", *rows]) + "\n"


def _table(table: Table, files: Mapping[str, str]) -> list[str]:
    """The page's first table in Markdown: what stands small there stands in brackets here."""

    def written(cell: Cell) -> str:
        text = markdown(cell.main)
        if files.get(cell.link):
            figure, space, rest = text.partition(" ")
            text = f"[{figure}]({files[cell.link]}){space}{rest}"
        return f"{text} ({markdown(cell.small)})" if cell.small else text

    lines = [" | ".join(map(written, row)) for row in table.rows]
    head = " | ".join(markdown(name) for name in table.head)
    rule = "|".join("--:" if numeric else "---" for numeric in table.numeric)
    return [f"| {head} |", f"|{rule}|", *(f"| {line} |" for line in lines)]


def chart(analysis: Analysis) -> str:
    """The first chart as a file of its own: its own paper and ink, light or dark as the reader has it."""
    lines = build.hero_lines(analysis)
    return drawing.to_file(hero.draw(lines, build.CEILING, "answer", narrow=False)) if lines else ""


def stale(root: Path, results: Path) -> dict[Path, str]:
    """What must be written under ``root``, with its new text; empty where everything is up to date."""
    analysis = analyse(load_published(results))
    whole = models(results, analysis.names)
    readme = root / "README.md"
    text = _read(readme)
    if len(BLOCK.findall(text)) != 1:
        raise UserError(f"{readme.name}: needs one line starting with {BEGIN!r} and, after it, one line {END!r}")
    beside = results if results.resolve() == (root / "results").resolve() else None  # a link elsewhere would not open
    new = BLOCK.sub(lambda match: match[1] + block(analysis, whole, beside) + match[3], text)
    found = {readme: new} if new != text else {}
    made = {"terms": terms, "presets": preset_table}
    for page in sorted((root / REFERENCE).glob("*.md")):
        text = _read(page)
        new = MARKED.sub(lambda match: match[1] + made[match[2]]() + match[4], text)
        found |= {page: new} if new != text else {}
    svg = chart(analysis)
    path = root / SVG
    if svg and (not path.is_file() or _numbers(_read(path)) != _numbers(svg)):
        found[path] = svg
    return found


def _numbers(svg: str) -> str:
    match = re.search(r"<desc[^>]*>(.*?)</desc>", svg, re.DOTALL)
    return match[1] if match else ""


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path.name} cannot be read: {error}") from error


def main(arguments: Sequence[str] | None = None) -> int:
    """Write, or with ``--check`` only compare; the exit status."""
    return written.main("readme", __doc__, stale, arguments)


if __name__ == "__main__":
    sys.exit(main())

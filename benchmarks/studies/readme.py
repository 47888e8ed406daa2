"""Does the README still say what the results say?

``python -m benchmarks.studies.readme`` writes the generated part of README.md
(headline, chart, a small table) and ``docs/answer.svg`` from ``results/``;
``--check`` writes nothing and exits with 1, naming what is stale. The chart is
compared by the numbers in its description, because another version of the
plotting library may draw the same numbers a pixel apart.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from fffbench.analysis.headline import TYPES, fair, headline, shape_of, type_name
from fffbench.analysis.rows import Speedup
from fffbench.errors import UserError
from fffbench.plan.presets import presets
from fffbench.report import build, drawing, forest
from fffbench.report.analysed import Analysis, analyse
from fffbench.report.method import row_terms
from fffbench.results.store import load
from fffbench.text import markdown
from fffbench.units import percent, ratio, seconds

BEGIN, END = "<!-- answer:begin", "<!-- answer:end -->"
BLOCK = re.compile(rf"({re.escape(BEGIN)}[^\n]*-->\n)(.*?)({re.escape(END)})", re.DOTALL)
MARKED = re.compile(r"(<!-- (\w+):begin[^\n]*-->\n)(.*?)(<!-- \2:end -->)", re.DOTALL)
REFERENCE = Path("docs") / "reference"
SVG = Path("docs") / "answer.svg"
BATCHES = (1, 128, 1024, 16384)  # those that were measured stand in the table


def block(analysis: Analysis) -> str:
    """The generated part of the README, between the markers."""
    said = headline(analysis.results, analysis.rows)
    parts = [f"**{markdown(said.asked)}**"]
    if said.lines:
        parts.append("\n".join(f"- **{markdown(line)}**" for line in said.lines))
    if any(row.measured for row in analysis.claims if row.kind == "ratio"):
        parts.append(f"![Published figures and what was measured]({SVG.as_posix()})")
        parts.append(
            "Diamond: published. Grey: measured under the published conditions. Blue: under fair ones. Dashed: the "
            "bound from counting operations."
        )
    lines = _table(analysis)
    if lines:
        parts.append("\n".join(lines))
        parts.append(
            "FFF over the fastest correct dense layer, each side at its own fastest thread count; cold caches, bare "
            "kernel (on a GPU inside a graph), uniform routing, 95 % intervals. Strict fp32 may not use TF32. Dense "
            "layers tried: of how many the dense one is the fastest, out of those that belong there and that no "
            "measurement ruled out. Of bound: roofline bound over time."
        )
    if said.details:
        parts.append("\n".join(f"- {markdown(detail)}" for detail in said.details))
    return "\n\n".join(parts) + "\n"


def terms() -> str:
    """What the columns of a row mean, from beside the rules."""
    rows = [f"| {name} | {text} |" for name, text in row_terms()]
    return "\n".join(["| column | meaning |", "|---|---|", *rows]) + "\n"


def preset_table() -> str:
    """Every preset with what it measures, from its file."""
    rows = [f"| `{name}` | {preset.summary} |" for name, preset in presets().items()]
    return "\n".join(["| preset | measures |", "|---|---|", *rows]) + "\n"


def _table(analysis: Analysis) -> list[str]:
    rows = []
    for answer in analysis.answers:
        shape = shape_of(answer.rows[0])
        here = [
            row
            for row in analysis.rows
            if fair(row)
            and row.batch in BATCHES
            and (row.machine, row.device, shape_of(row)) == (answer.machine, answer.device, shape)
        ]
        best: dict[tuple[str, int], Speedup] = {}
        for row in here:
            key = (row.dtype, row.batch)
            if key not in best or (row.time or 0) < (best[key].time or 0):
                best[key] = row
        rows += [_line(answer.name, best[key]) for key in sorted(best, key=lambda key: (TYPES.index(key[0]), key[1]))]
    if not rows:
        return []
    head = "| machine | batch | type | dense | dense layers tried | FFF | speed-up | of bound |"
    return [head, "|---|--:|---|--:|--:|--:|--:|--:|", *rows]


def _line(name: str, row: Speedup) -> str:
    assert row.speedup is not None
    share = "" if row.roofline_share is None else percent(row.roofline_share)
    gain = ratio(row.speedup, row.low, row.high) + (" (provisional)" if row.provisional else "")
    tried = f"{row.tried} of {(row.tried or 0) + len(row.not_measured)}"
    times = f"{seconds(row.baseline_time or 0)} | {tried} | {seconds(row.time or 0)}"
    return f"| {markdown(name)} | {row.batch} | {type_name(row.dtype)} | {times} | {gain} | {share} |"


def chart(analysis: Analysis) -> str:
    """The forest plot as a file of its own: its own paper and ink, light or dark as the reader has it."""
    markup = forest.standalone(analysis.claims, build.CEILING, build.places(analysis), "answer")
    return drawing.to_file(markup) if markup else ""


def stale(root: Path, results: Path) -> dict[Path, str]:
    """What must be written under ``root``, with its new text; empty where everything is up to date."""
    analysis = analyse(load(results))
    readme = root / "README.md"
    text = _read(readme)
    if len(BLOCK.findall(text)) != 1:
        raise UserError(f"{readme.name}: needs one line starting with {BEGIN!r} and, after it, one line {END!r}")
    new = BLOCK.sub(lambda match: match[1] + block(analysis) + match[3], text)
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
    parser = argparse.ArgumentParser(prog="python -m benchmarks.studies.readme", description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 and name what is stale")
    parser.add_argument("--root", type=Path, default=Path(), help="the folder of README.md (default: this one)")
    parser.add_argument("--results", type=Path, help="the folder of results (default: results beside README.md)")
    given = parser.parse_args(arguments)
    try:
        found = stale(given.root, given.results or given.root / "results")
        for path, text in found.items():
            if given.check:
                name = path.relative_to(given.root).as_posix()
                sys.stderr.write(f"{name} is stale: run python -m benchmarks.studies.readme\n")
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
    except (UserError, OSError) as error:
        sys.stderr.write(f"fffbench: {error}\n")
        return 2
    return 1 if given.check and found else 0


if __name__ == "__main__":
    sys.exit(main())

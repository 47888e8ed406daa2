"""Where does the page go? Renders results into one self-contained HTML file and its CSV tables."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import fields, replace
from itertools import chain
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from fffbench.analysis import headline as answer
from fffbench.analysis.model_text import csv_rows
from fffbench.analysis.speedup import speedups
from fffbench.claims.model_claims import Figure, ModelVerdict, load_figures
from fffbench.claims.rule import in_words
from fffbench.collector import collector_paused
from fffbench.errors import UserError
from fffbench.files import write_plain
from fffbench.report import (
    accuracy_section,
    csv_tables,
    model_section,
)
from fffbench.report.analysed import Analysis, analyse
from fffbench.report.archive import archive
from fffbench.report.build import build, changes_of
from fffbench.report.csv_files import write_csv
from fffbench.report.method import Method
from fffbench.report.models import Models, models
from fffbench.report.published import own_model_files, own_runs, split
from fffbench.report.raw import copy_files
from fffbench.report.view import Page, Said
from fffbench.report.your_models import your_models
from fffbench.report.yours import NONE, Yours, your_runs
from fffbench.results.refusals import beside_layers
from fffbench.results.store import Results
from fffbench.text import plain

INDEX, ALL = "index.html", "all.html"
_CODE = re.compile(r"`([^`<>]+)`")  # what reasons quote is a command
ASV = "asv/index.html"  # asv's own pages, where somebody put them beside the report


def headline(results: Results) -> str:
    """The answer in one sentence, for the end of a run."""
    return answer.headline(results, speedups(results)).text


@collector_paused()
def render(results: Results, out_dir: Path | str, *, folder: Path | None = None) -> Path:
    """Write ``index.html``, the archive and every table as CSV into ``out_dir`` and return the page's path.

    ``folder`` is where the results were read from: of its runs those that git does not know are the reader's own.
    """
    out = Path(out_dir)
    published, own = split(results, own_runs(results, folder) if folder else frozenset())
    analysis = analyse(published)
    yours = your_runs(own, analysis, folder) if own else NONE
    return publish(analysis, yours, out, folder, lambda: _write_tables(analysis, out))


def publish(analysis: Analysis, yours: Yours, out: Path, folder: Path | None, write_tables: Callable[[], None]) -> Path:
    """Write the pages of an analysis into ``out``; ``write_tables`` writes the files with rows of every machine."""
    if folder:
        analysis = replace(analysis, refused=tuple(sorted({*analysis.refused, *beside_layers(folder)})))
    mine = own_model_files(folder) if folder else frozenset()
    whole = models(folder, analysis.names, lambda path: path not in mine)
    my_models = your_models(folder, mine, whole) if folder and mine else NONE
    environment = Environment(
        loader=PackageLoader("fffbench.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        finalize=lambda value: plain(value) if type(value) is str else value,
    )  # fmt: skip
    environment.filters |= {"tight": _tight, "cited": _cited, "words": in_words}
    static = {name: Markup(_static(environment, name)) for name in ("style.css", "script.js")}  # noqa: S704 - our own
    shared = {"method": Method(), "style": static["style.css"], "script": static["script.js"]}
    shared["asv"] = ASV if (out / ASV).is_file() else ""
    since = changes_of(analysis, folder, whole)
    front = build(analysis, yours, my_models, folder, whole, since)
    rest = archive(analysis, whole, folder, front.marks)
    pages = {
        INDEX: _nearest(environment.get_template("index.html.j2").render(page=front, **shared), front),
        ALL: environment.get_template("all.html.j2").render(page=rest, **shared),
    }
    named = [side.files for card in (*front.cards, *rest.cards) for side in card.sides]
    named += [run.files for run in rest.runs.values()] + ([(since.file,)] if since.file else [])
    try:
        out.mkdir(parents=True, exist_ok=True)
        write_tables()
        csv_tables.write_told(analysis, since, out)
        write_models(whole, out)
        learnt = accuracy_section.csv_rows(accuracy_section.accuracy(folder, analysis.names))
        write_csv(out / accuracy_section.CSV, learnt, accuracy_section.CSV_COLUMNS)
        if folder is not None:
            copy_files(chain.from_iterable(named), folder, out)
        for name, html in pages.items():
            write_plain(out / name, html.lstrip())
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        raise UserError(f"report folder {str(out)!r} cannot be written: {error.strerror}{where}") from error
    return out / INDEX


def _tight(text: str) -> Markup:
    """``text`` with intervals that do not break inside."""
    return Markup(str(escape(plain(text))).replace(", ", ",&nbsp;") if "x [" in text else escape(plain(text)))  # noqa: S704


def _cited(said: Said) -> Markup:
    """The text of ``said`` with each of its figures, taken in their order, a link to its card."""
    found, text = [], plain(said.text)
    for link in said.links:
        before, figure, after = text.partition(link.text)
        if figure and link.to:
            found += [escape(before), Markup('<a href="{}">{}</a>').format(link.address, figure)]
            text = after
    return Markup(_CODE.sub(r"<code>\1</code>", str(Markup("").join([*found, escape(text)]))))  # noqa: S704 - escaped


def _nearest(html: str, page: Page) -> str:
    """``html`` of ``page`` with the cards that it has itself opened here, not in the archive."""
    here = {card.id for card in page.cards}
    return re.sub(
        rf'"{re.escape(ALL)}#(\w-\w+)"', lambda match: f'"#{match[1]}"' if match[1] in here else match[0], html
    )


def _static(environment: Environment, name: str) -> str:
    assert environment.loader is not None
    return environment.loader.get_source(environment, name)[0]


def _write_tables(analysis: Analysis, out: Path) -> None:
    """The files that have rows of every machine."""
    csv_tables.write_measured(analysis.results, out)
    csv_tables.write_speedups(analysis.rows, out)
    csv_tables.write_break_even(analysis.crossings, out / "breakeven.csv")
    csv_tables.write_attributions(analysis.attributions, out)


def write_models(whole: Models | None, out: Path) -> None:
    """The tables of whole models, empty where none was measured."""
    rows = csv_rows(whole.rows) if whole else []
    write_csv(out / model_section.CSV, rows, list(rows[0]) if rows else ["machine"])
    columns = [field.name for field in fields(ModelVerdict)]
    write_csv(out / model_section.CLAIMS_CSV, map(vars, whole.verdicts) if whole else (), columns)
    write_csv(out / model_section.ELSEWHERE_CSV, map(vars, load_figures()), list(Figure.model_fields))

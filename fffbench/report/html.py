"""Where does the page go? Renders results into one self-contained HTML file and its CSV tables."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields
from itertools import chain
from operator import attrgetter
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from fffbench.analysis import headline as answer
from fffbench.analysis.breakeven import BreakEven
from fffbench.analysis.ceilings import Ceilings
from fffbench.analysis.devices import Saving
from fffbench.analysis.model_text import csv_rows
from fffbench.analysis.rows import Speedup
from fffbench.analysis.speedup import speedups
from fffbench.claims.model_claims import ModelVerdict
from fffbench.claims.rows import ClaimRow
from fffbench.claims.rule import in_words
from fffbench.collector import collector_paused
from fffbench.errors import UserError
from fffbench.files import write_plain
from fffbench.report import (
    accuracy_section,
    changes,
    history_section,
    ladder_section,
    model_section,
    regression_section,
    waterfall,
)
from fffbench.report.analysed import Analysis, analyse
from fffbench.report.archive import archive
from fffbench.report.build import build, changes_of
from fffbench.report.csv_files import write_csv, write_rows
from fffbench.report.method import Method
from fffbench.report.models import Models, models
from fffbench.report.published import own_model_files, own_runs, split
from fffbench.report.raw import copy_files
from fffbench.report.tables import CELL_COLUMNS, cell_rows
from fffbench.report.view import Page, Said
from fffbench.report.your_models import your_models
from fffbench.report.yours import NONE, your_runs
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
        _write_tables(analysis, out)
        write_models(whole, out)
        learnt = accuracy_section.csv_rows(accuracy_section.accuracy(folder, analysis.names))
        write_csv(out / accuracy_section.CSV, learnt, accuracy_section.CSV_COLUMNS)
        write_csv(out / changes.CSV, changes.csv_rows(since), changes.CSV_COLUMNS)
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
    results = analysis.results
    for name, kind, rows in (
        ("speedup.csv", Speedup, analysis.rows),
        ("claims.csv", ClaimRow, analysis.claims),
        ("breakeven.csv", BreakEven, analysis.crossings),
        ("savings.csv", Saving, analysis.savings),
    ):
        columns = [field.name for field in fields(kind)]
        write_rows(out / name, map(attrgetter(*columns), rows), columns)
    columns, ways = waterfall.csv_table(analysis.attributions)
    write_csv(out / waterfall.CSV, ways, columns)
    cells = cell_rows(results.records, analysis.shares, analysis.times)
    write_csv(out / "cells.csv", cells, CELL_COLUMNS if results.records else CELL_COLUMNS[:1])
    write_rows(out / "samples.csv", _sample_rows(results), ["record", "process", "median", "samples"])
    skipped = (
        {"machine": item.machine, "run": item.run, "cell": item.cell.id, "family": item.family, "reason": item.reason}
        for item in results.skipped
    )
    owed = (
        {"machine": f"class {job.class_name}", "run": f"job {job.name}", "cell": cell, "reason": job.reason}
        for job in results.open_jobs
        for cell in job.cells
    )
    write_csv(out / "skipped.csv", chain(skipped, owed), ["machine", "run", "cell", "family", "reason"])
    write_csv(out / "history.csv", history_section.csv_rows(analysis.history), history_section.CSV_COLUMNS)
    write_csv(out / ladder_section.CSV, ladder_section.csv_rows(analysis.climbs), ladder_section.CSV_COLUMNS)
    checks = regression_section.csv_rows(results.checks)
    write_csv(out / "regressions.csv", checks, regression_section.CSV_COLUMNS)
    write_csv(
        out / "machines.csv", _machine_rows(results, analysis.ceilings), ["machine", "part", "name", "threads", "value"]
    )
    refused = ({"path": item.path, "field": item.field, "reason": item.reason} for item in results.refused)
    write_csv(out / "refused.csv", refused, ["path", "field", "reason"])


def write_models(whole: Models | None, out: Path) -> None:
    """The tables of whole models, empty where none was measured."""
    rows = csv_rows(whole.rows) if whole else []
    write_csv(out / model_section.CSV, rows, list(rows[0]) if rows else ["machine"])
    columns = [field.name for field in fields(ModelVerdict)]
    write_csv(out / model_section.CLAIMS_CSV, map(vars, whole.verdicts) if whole else (), columns)


def _sample_rows(results: Results) -> Iterator[tuple[object, ...]]:
    for record in results.records:
        for index, (samples, middle) in enumerate(zip(record.info.processes, record.medians, strict=True)):
            yield record.id, index, middle, list(samples)


def _machine_rows(results: Results, ceilings: Ceilings) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for machine in results.machines.values():
        for part, facts in (("stable", machine.stable), ("observed", machine.observed)):
            rows += [
                {"machine": machine.id, "part": part, "name": name, "value": facts[name]} for name in sorted(facts)
            ]
        for name, by_threads in sorted(ceilings.measured[machine.id].items()):
            for threads, value in sorted(by_threads.items()):
                rows.append(
                    {"machine": machine.id, "part": "ceiling", "name": name, "threads": threads, "value": value}
                )
        rows += [
            {"machine": machine.id, "part": "bound", "name": name, "threads": threads, "value": ceiling.value}
            for name, by in ceilings.used(machine.id).items()
            for threads, ceiling in sorted(by.items())
        ]
    return rows

"""The command that renders the page: ``report``. It needs no torch."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from fffbench.cli import loading
from fffbench.cli.shared import ResultsDir, folder
from fffbench.text import plain

if TYPE_CHECKING:
    from fffbench.results.listing import Refusal


def report(
    results: ResultsDir = Path("results"),
    out: Annotated[Path, folder("--out", "the folder the page goes to")] = Path("reports"),
) -> None:
    """Render the page and the CSV of every table; print the headline and where the page is."""
    from fffbench.analysis.headline import headline
    from fffbench.analysis.speedup import speedups
    from fffbench.report import by_machine, render, yours
    from fffbench.report.published import own_model_files, own_runs, split
    from fffbench.report.your_models import model_lines
    from fffbench.results import store
    from fffbench.results.refusals import beside_layers

    def note(refused: Iterable[Refusal]) -> None:
        loading.name_refused((*refused, *beside_layers(results)), results)

    done = by_machine.render(results, out, note)
    if done is not None:
        page, said, mine = done.page, done.headline, []
    else:
        found = store.load(results)
        note(found.refused)
        page = render(found, out, folder=results)
        published, own = split(found, own_runs(found, results))  # as on the page: no published figure moves
        said = headline(published, speedups(published)).text
        mine = yours.lines(own, published) if own else []
    models = own_model_files(results)
    mine += model_lines(results, models) if models else []
    for line in [*said.split("\n"), *mine]:
        print(plain(line))
    print(plain(str(page.resolve())))

"""Which sources would be timed here, and of which were older records?

A record says what it was timed from (``timed_sources``). Records of before that field existed are looked up by their
commit in a table beside the results, which ``python -m benchmarks.studies.timed_sources`` writes from the history;
those of a changed checkout, or of a commit that nobody knows, are of unknown sources.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError

from fffbench import sources, timed
from fffbench.extensions import IMPLEMENTATIONS, files_of, registered
from fffbench.results.documents import Document
from fffbench.results.listing import Refusal
from fffbench.results.parsing import FieldError, parse_json, why
from fffbench.results.record import DIRTY, UNKNOWN_COMMIT, RunInfo, Text

TABLE = "timed-sources.json"
FORMAT = 1
FEWEST_DIGITS = 7  # of a commit, that name it


def current(implementation: str) -> str | None:
    """The digest of what this installation would time as ``implementation`` (``timed.MODELS``: whole models).

    None where nobody can know: no such implementation, kernels built from other sources, a package edited in place.
    Imports no implementation, ours or another package's.
    """
    own = timed.of(implementation, here())  # no name of ours begins like another package's: the registry refuses it
    return own if own is not None else _foreign(implementation)


@cache
def here() -> dict[str, str]:
    """The digest of each of our own, by the name of its module, as far as it can be known."""
    package = Path(sources.__file__).resolve().parent
    tree, built = timed.read_tree(package), sources.built(package)
    if not any(path.endswith(timed.COMPILED) for path in tree):
        return {} if sources.edited(package) else built
    now = timed.digests(tree)
    if built.get(timed.KERNELS) == now[timed.KERNELS] or sources.built_from_these(package):
        return now
    return {name: found for name, found in now.items() if name not in timed.by_kernels(tree)}


@cache
def _foreign(implementation: str) -> str | None:
    points = {point.name: point.value for point in registered(IMPLEMENTATIONS)[0]}
    value = timed.of(implementation, points)
    version = here().get(timed.PROTOCOL)
    return None if value is None or version is None else timed.foreign_digest(files_of(value), version)


Names = Annotated[dict[Text, Text], Field(max_length=10_000)]


class Table(Document):
    """Digests by implementation of every commit of which there are results; ``format`` 1 is the first."""

    commits: Annotated[dict[Text, Names], Field(max_length=10_000)]

    def of(self, run: RunInfo, implementation: str) -> str:
        """What ``implementation`` was timed from in ``run``: known where its commit is, and nothing was changed."""
        commit = run.commit.removesuffix(DIRTY)
        if run.dirty is not False or commit == UNKNOWN_COMMIT or len(commit) < FEWEST_DIGITS:
            return timed.UNKNOWN
        found = [digests for name, digests in self.commits.items() if name.startswith(commit)]
        return (timed.of(implementation, found[0]) if len(found) == 1 else None) or timed.UNKNOWN


def read_table(root: Path) -> tuple[Table, list[Refusal]]:
    """The table in the folder of results ``root``, and why it cannot be used; an empty one where there is none."""
    path = root / TABLE
    if not path.is_file():
        return known({}), []
    try:
        found = Table.model_validate(parse_json(path))
    except ValidationError as error:
        return known({}), [Refusal(TABLE, *why(error))]
    except FieldError as error:
        return known({}), [Refusal(TABLE, error.field, str(error))]
    except (ValueError, OSError) as error:
        return known({}), [Refusal(TABLE, "", f"cannot be read: {error}")]
    if found.format > FORMAT:
        return known({}), [Refusal(TABLE, "format", f"{found.format} is newer than is read here")]
    return found, []


def known(table: Mapping[str, Mapping[str, str]]) -> Table:
    """The table of these digests by commit and implementation."""
    return Table(format=FORMAT, commits={commit: dict(found) for commit, found in table.items()})

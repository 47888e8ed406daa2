"""What did layers learn, and how long do they take? Reads the rooms ``accuracy`` and ``layer-times``.

``results/accuracy/<data>/<layer>.json``: a layer with its recipe, trained with as many seeds as ``test`` has entries.
``results/layer-times/<machine>/<data>.json``: times of these layers. Written by ``benchmarks.studies.accuracy``.

Format history (key ``format``): 1 is the first; ``made`` came later, and older files have none.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import FailFast, Field

from fffbench.results.documents import Document, read_documents
from fffbench.results.listing import Refusal
from fffbench.results.record import Count, Seconds, Text, _Plain, state_of_sources

ACCURACY, LAYER_TIMES = "accuracy", "layer-times"
FORMAT = 1

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{0,79}$")]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Shares = Annotated[list[Share], Field(min_length=1, max_length=1000), FailFast()]


class Made(_Plain):
    """When a file was made, and of which commit; ``history`` says which that is where git's history had to say it.

    ``dirty`` is None where nobody can tell, as in every file of results.
    """

    date: Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")]
    commit: Annotated[str, Field(pattern=r"^([0-9a-f]{7,40}|unknown)$")]
    dirty: bool | None = None
    history: Text = ""

    @property
    def sources(self) -> str:
        """Commit and state, as a reader should see them."""
        said = state_of_sources(self.commit, dirty=self.dirty)
        return f"{said} ({self.history})" if self.history else said


class Layer(_Plain):
    """What was trained: ``none``, ``dense``, ``tree``, ``leaf`` or ``moe``, and the numbers that its form has."""

    form: Annotated[str, Field(pattern=r"^(none|dense|tree|leaf|moe)$")]
    recipe: Text = ""
    n: Count = 0
    trees: Count = 0
    levels: Count = 0
    width: Count = 0
    top: Count = 0


class Trained(Document):
    """One layer: shares of samples that each seed got right, with the learning rate that validation chose."""

    id: Name
    data: Text
    arm: Layer
    used: Count
    d: Count
    rate: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    validation: Shares
    test: Shares
    made: Made | None = None
    sources: Text = ""
    torch: Text = ""
    effective_leaves: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None


class LayerTime(_Plain):
    """Seconds of a call in each process."""

    id: Name
    batch: Annotated[int, Field(ge=1, lt=2**31)]
    threads: Annotated[int, Field(ge=1, lt=2**16)]
    processes: Annotated[list[Seconds], Field(min_length=1, max_length=200), FailFast()]


class LayerTimes(Document):
    """All layers of one machine."""

    machine: Name
    data: Name
    made: Made | None = None
    torch: Text = ""
    times: Annotated[list[LayerTime], Field(max_length=10_000), FailFast()]


def read_trained(root: Path) -> tuple[list[Trained], list[Refusal]]:
    """Every layer under ``root``, by its name, and what could not be read."""
    found, refused = read_documents(root, ACCURACY, Trained, FORMAT, _not_its_name)
    return sorted(found, key=lambda one: one.id), refused


def read_layer_times(root: Path) -> tuple[list[LayerTimes], list[Refusal]]:
    """The times of every machine under ``root``, and what could not be read."""
    found, refused = read_documents(root, LAYER_TIMES, LayerTimes, FORMAT, _not_its_place)
    return sorted(found, key=lambda one: one.machine), refused


def _not_its_name(one: Trained, path: Path) -> tuple[str, str] | None:
    return None if path.stem == one.id else ("id", f"{one.id!r} lies in a file of another name")


def _not_its_place(one: LayerTimes, path: Path) -> tuple[str, str] | None:
    return None if path.parent.name == one.machine else ("machine", f"{one.machine!r} lies in another machine's folder")

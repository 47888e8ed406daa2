"""A file that is wrong a million times costs no more than one that is wrong once: every field is bounded."""

from __future__ import annotations

import importlib
import typing
from collections.abc import Iterator

import pytest
from annotated_types import MaxLen
from pydantic import BaseModel, FailFast, ValidationError

from fffbench.results import reader
from fffbench.runs import journals

READERS = ("accuracy", "asv", "current", "models", "open_jobs", "reader", "record", "regressions", "snapshots")
FEW = 64  # entries of a list whose errors may all be collected


def models() -> Iterator[type[BaseModel]]:
    """Every pydantic model by which a foreign file is read."""
    modules = [importlib.import_module(f"fffbench.results.{name}") for name in READERS]
    for module in (*modules, journals):
        for value in vars(module).values():
            if isinstance(value, type) and issubclass(value, BaseModel) and value.__module__ == module.__name__:
                yield value


def unbounded(hint: object, metadata: tuple[object, ...] = ()) -> Iterator[str]:
    """The lists of a type that are read to their end whatever is wrong, and the mappings of any length."""
    if typing.get_origin(hint) is typing.Annotated:
        inner, *given = typing.get_args(hint)
        given = [part for one in given for part in (one, *getattr(one, "metadata", ()))]
        yield from unbounded(inner, (*metadata, *given))
        return
    most = min((part.max_length for part in metadata if isinstance(part, MaxLen)), default=None)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is list and typing.Any not in arguments:
        if not any(isinstance(part, FailFast) for part in metadata) and (most is None or most > FEW):
            yield str(hint)
    elif origin is dict and arguments[1] is not typing.Any and most is None:
        yield str(hint)
    for argument in arguments:
        yield from unbounded(argument)


@pytest.mark.parametrize("model", list(models()), ids=lambda model: f"{model.__module__}.{model.__name__}")
def test_every_list_ends_at_its_first_fault_and_every_mapping_is_bounded(model: type[BaseModel]) -> None:
    hints = typing.get_type_hints(model, include_extras=True)
    own = {name: hints[name] for name in model.model_fields}
    assert {name: found for name, hint in own.items() if (found := [*unbounded(hint)])} == {}


@pytest.mark.parametrize("field", ["benchmarks", "skipped"])
def test_of_many_faults_in_a_result_file_one_is_kept(field: str) -> None:
    many = "[" + ",".join(["{}"] * 5000) + "]"
    inner = f'{{"skipped": {many}}}' if field == "skipped" else "{}"
    text = f'{{"benchmarks": {many if field == "benchmarks" else "[]"}, "fffbench": {inner}}}'
    with pytest.raises(ValidationError) as refused:
        reader._File.model_validate_json(text)
    assert refused.value.error_count() < 50

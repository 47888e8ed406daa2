"""How is a room of the results read whose files are each one document of one kind?"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import Field, ValidationError

from fffbench.results.listing import Refusal, json_files, shown_path
from fffbench.results.parsing import FieldError, parse_json, why
from fffbench.results.record import _Plain


class Document(_Plain):
    """What every kind has: the version of its file."""

    format: Annotated[int, Field(ge=1)]


T = TypeVar("T", bound=Document)


def read_documents(
    root: Path, room: str, kind: type[T], newest: int, misplaced: Callable[[T, Path], tuple[str, str] | None]
) -> tuple[list[T], list[Refusal]]:
    """Every document under ``root / room``, and what could not be read.

    ``newest`` is the last version that is read; ``misplaced`` gives the field and the reason where a document lies in
    the place of another.
    """
    found: list[T] = []
    files, refused = json_files(root, room)
    for path in files:
        shown = shown_path(path, root)
        try:
            one = kind.model_validate(parse_json(path))
        except ValidationError as error:  # a ValueError too, with the field
            refused.append(Refusal(shown, *why(error)))
        except FieldError as error:
            refused.append(Refusal(shown, error.field, str(error)))
        except (ValueError, OSError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            refused.append(Refusal(shown, "", f"cannot be read: {reason}"))
        else:
            if one.format > newest:
                refused.append(Refusal(shown, "format", f"{one.format} is newer than this fffbench reads ({newest})"))
            elif (fault := misplaced(one, path)) is not None:
                refused.append(Refusal(shown, *fault))
            else:
                found.append(one)
    return found, refused

"""How is a TOML file read of which the user may have written every key, and how is said what is wrong in it?"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from fffbench.errors import UserError
from fffbench.files import read_plain

MAX_BYTES = 2**20  # of one file: the longest claim has 2 kB


def read_toml(path: Path) -> dict[str, Any]:
    """The table in the file ``path``; ``OSError`` or ``ValueError`` where there is none."""
    return tomllib.loads(read_plain(path, MAX_BYTES, links=True).decode("utf-8"))


@contextmanager
def named(what: str) -> Iterator[None]:
    """Whatever is found wrong within becomes a ``UserError`` of one line that begins with ``what``: ``claim x.toml``.

    Of what a model refuses the first key is named, and what stands there.
    """
    try:
        yield
    except OSError as error:
        raise UserError(f"{what}: cannot be read: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        where = "".join(f"{part}." for part in first["loc"])[:-1]
        given = "" if isinstance(first["input"], dict | list) else f", not {str(first['input'])[:60]!r}"
        raise UserError(f"{what}: {where + ': ' if where else ''}{first['msg']}{given}") from error
    except (ValueError, RecursionError) as error:  # not TOML, not UTF-8, a number of thousands of digits, too large
        raise UserError(f"{what}: not valid TOML: {error}") from error
    except UserError as error:
        raise UserError(f"{what}: {error}") from error

"""Which claims are there? Each file of the ledger read by the model of its kind, or refused by file and field."""

from __future__ import annotations

import tomllib
from pathlib import Path

from pydantic import ValidationError

from fffbench.claims.base import Claim
from fffbench.claims.kinds import KINDS
from fffbench.errors import UserError
from fffbench.files import read_plain

FOLDER = Path(__file__).parent
MAX_BYTES = 2**20  # of one claim: the longest has 2 kB


def read_claim(path: Path) -> Claim:
    """The claim in the TOML file ``path``; ``UserError`` naming file and field if it is not one."""
    try:
        data = tomllib.loads(read_plain(path, MAX_BYTES, links=True).decode("utf-8"))
        claim = KINDS[str(data.get("kind", ""))[:60]].model_validate(data)
    except OSError as error:
        raise UserError(f"claim {path.name}: cannot be read: {error.strerror}") from error
    except ValidationError as error:
        raise UserError(f"claim {path.name}: {_first(error)}") from error
    except (ValueError, RecursionError) as error:  # not TOML, not UTF-8, a number of thousands of digits, too large
        raise UserError(f"claim {path.name}: not valid TOML: {error}") from error
    except UserError as error:
        raise UserError(f"claim {path.name}: {error}") from error
    if claim.id != path.stem:
        raise UserError(f"claim {path.name}: id: {claim.id!r} differs from the file's name")
    return claim


def _first(error: ValidationError) -> str:
    """Field and reason of the first complaint."""
    first = error.errors(include_url=False, include_context=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    given = "" if isinstance(first["input"], dict | list) else f", not {str(first['input'])[:60]!r}"
    return f"{where + ': ' if where else ''}{first['msg']}{given}"


def load_claims(folder: Path | None = None) -> list[Claim]:
    """Every claim of the ledger (or of another folder) in reading order."""
    folder = FOLDER if folder is None else folder
    claims = [read_claim(path) for path in sorted(folder.glob("*.toml"))]
    if not claims:
        raise UserError(f"no claims (*.toml) in {str(folder)!r}")
    return sorted(claims, key=lambda claim: (claim.order, claim.id))

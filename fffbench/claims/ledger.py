"""Which claims are there? Each file of the ledger read by the model of its kind, or refused by file and field."""

from __future__ import annotations

from pathlib import Path

from fffbench.claims.base import Claim
from fffbench.claims.kinds import KINDS
from fffbench.errors import UserError
from fffbench.tomlfiles import named, read_toml

FOLDER = Path(__file__).parent


def read_claim(path: Path) -> Claim:
    """The claim in the TOML file ``path``; ``UserError`` naming file and field if it is not one."""
    with named(f"claim {path.name}"):
        data = read_toml(path)
        claim = KINDS[str(data.get("kind", ""))[:60]].model_validate(data)
        if claim.id != path.stem:
            raise UserError(f"id: {claim.id!r} differs from the file's name")
    return claim


def load_claims(folder: Path | None = None) -> list[Claim]:
    """Every claim of the ledger (or of another folder) in reading order."""
    folder = FOLDER if folder is None else folder
    claims = [read_claim(path) for path in sorted(folder.glob("*.toml"))]
    if not claims:
        raise UserError(f"no claims (*.toml) in {str(folder)!r}")
    return sorted(claims, key=lambda claim: (claim.order, claim.id))

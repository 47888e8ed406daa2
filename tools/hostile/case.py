"""What is one case, and what came of it?"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field
from typing import Any

Spec = dict[str, Any]  # what a domain draws: plain data, so that a case can be kept after its domain draws otherwise

GIB = 2**30
MOST_SECONDS = 60.0  # of any one command, on any file set under 100 MB
MOST_BYTES = 1 * GIB  # resident, of any one command


@dataclass(frozen=True)
class Case:
    """One input: where it comes from, and the input itself where it is given explicitly (the corpus)."""

    domain: str
    seed: int
    index: int
    spec: Spec | None = None

    @property
    def id(self) -> str:
        """``domain:seed:index``."""
        return f"{self.domain}:{self.seed}:{self.index}"

    @property
    def rng(self) -> random.Random:
        """The generator from which the domain draws this case, the same on every machine."""
        return random.Random(self.id)

    @classmethod
    def parse(cls, text: str) -> Case:
        """The case called ``text``; ValueError for any other text."""
        parts = text.split(":")
        if len(parts) != 3:
            raise ValueError(f"{text!r}: a case is written domain:seed:index")
        return cls(parts[0], int(parts[1]), int(parts[2]))


@dataclass
class Result:
    """What a case did: the faults (judge and sentence), seconds and peak bytes of its slowest and largest part.

    ``cpu`` and ``wall`` are the processor time and the seconds that all of it took.
    """

    case: Case
    spec: Spec = field(default_factory=dict)
    faults: list[tuple[str, str]] = field(default_factory=list)
    seconds: float = 0.0
    peak: int = 0
    skipped: str = ""
    cpu: float = 0.0
    wall: float = 0.0

    @property
    def wrong(self) -> bool:
        """Whether any judge found a fault."""
        return bool(self.faults)

    def to_json(self) -> str:
        """One line."""
        return json.dumps(
            {
                "spec": self.spec,
                "faults": self.faults,
                "seconds": self.seconds,
                "peak": self.peak,
                "skipped": self.skipped,
                "cpu": self.cpu,
                "wall": self.wall,
            }
        )

    @classmethod
    def from_json(cls, case: Case, text: str) -> Result:
        """The result of ``case`` that ``to_json`` wrote."""
        data = json.loads(text)
        faults = [(judge, said) for judge, said in data["faults"]]
        return cls(
            case, data["spec"], faults, data["seconds"], data["peak"], data["skipped"], data["cpu"], data["wall"]
        )

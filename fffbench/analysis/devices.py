"""How many fewer devices would a layer need? Tokens per second of one device, dense against FFF.

The press's 99.7 % is 1 - 1/341. Here the same arithmetic is done with the
measured speed-up of the headline, for the layer alone: the rest of a model
costs what it costs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from fffbench.analysis.headline import Answer


@dataclass(frozen=True)
class Saving:
    """One machine, device and dtype at the headline's batch; ``fewer`` is the share of devices saved, 1 - 1/speedup."""

    machine: str
    device: str
    dtype: str
    batch: int
    dense_tokens: float
    fff_tokens: float
    fewer: float
    low: float | None
    high: float | None
    records: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The row as plain data."""
        return asdict(self) | {"records": list(self.records)}


def savings(answers: Sequence[Answer]) -> list[Saving]:
    """One entry per row of each machine's answer."""
    found = []
    for answer in answers:
        for row in answer.rows:
            assert row.time is not None
            assert row.baseline_time is not None
            assert row.speedup is not None
            found.append(
                Saving(
                    machine=row.machine,
                    device=row.device,
                    dtype=row.dtype,
                    batch=row.batch,
                    dense_tokens=row.batch / row.baseline_time,
                    fff_tokens=row.batch / row.time,
                    fewer=1 - 1 / row.speedup,
                    low=None if row.low is None else 1 - 1 / row.low,
                    high=None if row.high is None else 1 - 1 / row.high,
                    records=tuple(item for item in (row.record, row.baseline_record) if item),
                )
            )
    return found

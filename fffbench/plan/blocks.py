"""Which cells must be measured on one machine, because they are compared with each other?

A speed-up needs both sides from one machine, and a dense layer is the baseline of more than its own shape: any that
has enough neurons, with uniform routing for every routing, in the fastest type for the headline, hot and cold for the
factors between the ceiling and what was measured. What is never compared is what differs in device, width d or batch;
so these make a block, and a job that measures one block parts no baseline from its rivals.
"""

from __future__ import annotations

from collections.abc import Iterable

from fffbench.errors import one_of
from fffbench.plan.workload import Cell


def block_of(cell: Cell) -> str:
    """The block of ``cell``: ``cpu-d768-b16384``."""
    work = cell.workload
    return f"{work.device}-d{work.shape.d}-b{work.batch}"


def by_block(cells: Iterable[Cell]) -> dict[str, list[Cell]]:
    """``cells`` by block, both in their given order."""
    found: dict[str, list[Cell]] = {}
    for cell in cells:
        found.setdefault(block_of(cell), []).append(cell)
    return found


def in_block(cells: Iterable[Cell], block: str) -> list[Cell]:
    """Those of ``cells`` that are in ``block``; ``UserError`` listing the blocks where none is."""
    blocks = by_block(cells)
    if block not in blocks:
        raise one_of("block of this preset", block, blocks)
    return blocks[block]

"""How much faster is the published layer as it is served: batch by batch, each side in its fastest deployed type?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from fffbench.analysis.headline import DEPLOYED, PUBLISHED_SHAPE, best_by_batch, fair, fastest_deployed, shape_of
from fffbench.analysis.rows import Speedup
from fffbench.analysis.speedup import measured
from fffbench.results.store import Results

SERVED_UP_TO = 1024  # tokens: one user's token to a thousand users' at once, or a short prompt
Place = tuple[str, str]  # machine and device


def served(results: Results, rows: Sequence[Speedup], places: Sequence[Place]) -> dict[Place, dict[int, Speedup]]:
    """The row of each batch on each of ``places``, smallest first: in deployed types, or strict fp32 where none was."""
    known = measured(results)
    subjects = {item.record.id: item for item in known.conditional}
    grouped: dict[Place, dict[int, list[Speedup]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        if fair(row) and shape_of(row) == PUBLISHED_SHAPE and row.dtype in DEPLOYED:
            grouped[row.machine, row.device][row.batch].append(row)
    found = {}
    for place in places:
        if place in grouped:
            by = sorted(grouped[place].items())
            found[place] = {batch: fastest_deployed(here, subjects, known) for batch, here in by}
        else:  # nobody measured a deployed type there: what was measured, under its own name
            own = [row for row in rows if fair(row) and (row.machine, row.device) == place]
            found[place] = best_by_batch([row for row in own if shape_of(row) == PUBLISHED_SHAPE])
    return found

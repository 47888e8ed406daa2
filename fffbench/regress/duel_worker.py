"""How do two implementations take turns, each in a process of its own, block by block?

A server: torch is imported once, then every block forks a fresh child for each side, which prepares its layer on the
same data, and the children take turns as in ``worker``. A side is a registered implementation or a module in a folder,
so two versions under one name never meet in one process. In the first block every side's outputs are checked against
the float64 reference; one that is wrong is refused.

Requests and answers are lines of JSON on standard input and output.
"""

from __future__ import annotations

import importlib
import os
import sys
import time
import tomllib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from fffbench import extensions
from fffbench.devices import HOST, Device, device
from fffbench.implementations import registry
from fffbench.implementations.registry import Implementation
from fffbench.measure import alone, cellrun, inputs, measuring
from fffbench.plan.workload import Cell, parse_cell
from fffbench.problems import Data
from fffbench.regress.torch_worker import Graphs, serve
from fffbench.regress.worker import Child, Runner, Turns, take_all_turns

Case = dict[str, Any]


def side(name: str, folder: str) -> Implementation:
    """The implementation ``name``: registered, or of the module in ``folder`` that it names."""
    if not folder:
        return registry.implementation(name)
    module = module_of(name, Path(folder))
    sys.path.insert(0, str(Path(folder) / "src" if (Path(folder) / "src").is_dir() else folder))
    importlib.invalidate_caches()
    sys.modules.pop(module, None)
    loaded = importlib.import_module(module)
    if not Path(str(loaded.__file__)).resolve().is_relative_to(Path(folder).resolve()):
        raise ValueError(f"{module} was imported from {loaded.__file__}, not from {folder}")
    found = registry.from_module(name, loaded)
    if name not in found:
        raise ValueError(f"{module} in {folder} registers {', '.join(found)}, not {name}")
    return found[name]


def module_of(name: str, folder: Path) -> str:
    """The module that a package's metadata registers as ``name``; without metadata the one of that name."""
    try:
        project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8")).get("project", {})
        points = project.get("entry-points", {}).get(extensions.IMPLEMENTATIONS, {})
    except (OSError, ValueError, AttributeError):
        return name
    found = points.get(name) or next((value for key, value in points.items() if name.startswith(f"{key}_")), name)
    return str(found)


def prepare(case: Case, name: str, folder: str, data: dict[str, Data], *, check: bool) -> Runner:
    """The calls of ``case`` by one side; ``ValueError`` with the reason where it cannot make them, or is wrong."""
    try:
        chosen = side(name, folder)
        place = parse_cell(case["cell"])
        cell = Cell(name, place.workload, place.protocol)
        reason, calls = _calls(chosen, cell, data[case["cell"]], check=check)
        if reason is None:
            return runner(cell.workload.place, calls)
    except Exception as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error
    raise ValueError(reason)


class Synchronised(Turns):
    """Turns on a device whose calls return before they are done, and cannot be captured."""

    def __init__(self, calls: list[Callable[[], object]], synchronize: Callable[[], None]) -> None:
        """The last call of a turn waits for all of them."""
        super().__init__(calls)
        self._synchronize = synchronize

    def run(self, count: int) -> float:
        """Seconds until ``count`` calls are done."""
        self._synchronize()
        began = time.perf_counter()
        super().run(count)
        self._synchronize()
        return time.perf_counter() - began


def runner(place: Device, calls: list[Callable[[], object]]) -> Runner:
    """How ``calls`` take a turn on ``place``: inside a graph where it has graphs."""
    if place.name == HOST:
        return Turns(calls)
    if "graph" not in place.calls:
        return Synchronised(calls, place.synchronize)
    graphs = Graphs(calls)
    try:
        graphs.run(1)  # a call that waits for the device cannot be captured, and says so here, where it is refused
    except RuntimeError as error:
        raise ValueError(f"cannot be captured in a graph: {str(error).splitlines()[0]}") from error
    return graphs


def _calls(
    chosen: Implementation, cell: Cell, data: Data, *, check: bool
) -> tuple[str | None, list[Callable[[], object]]]:
    """Why ``chosen`` cannot compute the cell, or is wrong, or None; and a call for each batch of the pool."""
    work = cell.workload
    if (reason := chosen.unsupported(work)) is not None:
        return reason, []
    device(work.device).configure(work.dtype, work.threads)
    pool = inputs.make_pool(cell, data)
    reference = alone.expected(cell, chosen.family, pool) if check else None  # before anything of it has run
    layer = measuring.checked_layer(chosen.prepare(pool.weights, work))
    calls = [layer.bind(x, y) for x, y in zip(pool.x, pool.y, strict=True)]
    if reference is None:
        return None, calls
    failure = cellrun.check_calls(cell, pool, calls, reference).failure
    return (None if failure is None else f"wrong: {failure}"), calls


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Measure one block."""
    data = {case["cell"]: _data(case["cell"]) for case in request["cases"]}
    children = {}
    for one in request["sides"]:
        arguments = {"name": one["implementation"], "folder": one["folder"], "data": data}
        opened = partial(prepare, **arguments, check=request["block"] == 0)
        children[one["name"]] = Child(partial(_pinned, opened, request), request["cases"])
    # before a graph of calls its own replay is the lead
    lead = {} if _on_host(request) else {"lead_seconds": 0.0}
    return take_all_turns(request, children, **lead)


def _on_host(request: dict[str, Any]) -> bool:
    return all(parse_cell(case["cell"]).workload.device == HOST for case in request["cases"])


def _pinned(opened: Any, request: dict[str, Any]) -> Any:
    """In a child: on a core of the block's own, where a single thread computes.

    Not beside an accelerator: its compilers and launching threads would share that core.
    """
    alone = all(case["threads"] == 1 for case in request["cases"]) and _on_host(request)
    if hasattr(os, "sched_setaffinity") and alone:
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[request["block"] % len(cores)]})
    return opened


_held: dict[str, Data] = {}


def _data(name: str) -> Data:
    if name not in _held:
        cell = parse_cell(name)
        _held[name] = cell.workload.draw(max(cellrun.data_tokens(cell), cell.workload.batch))
    return _held[name]


if __name__ == "__main__":
    serve(answer)

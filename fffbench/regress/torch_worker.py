"""How do the implementations of several revisions compare through torch, block by block?

A server: torch is imported once (3 s), then every block forks fresh children,
one for each revision. A child takes the revision's ``fffbench`` from its
sources, starts CUDA for itself, and the children take turns as in ``worker``.
The server never touches CUDA, so that forking is allowed.

On CUDA a turn is one CUDA graph of as many calls as last two milliseconds,
between two events, right behind an untimed replay of the same graph: that one
pays for the change of processes on the GPU and for what the other side left in
the L2. On the CPU a turn is timed as in ``worker``.

Requests and answers are lines of JSON on standard input and output.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from fffbench.devices.cpu import NAME as HOST
from fffbench.regress.worker import Call, Child, Runner, Turns, end, take_all_turns

Case = dict[str, Any]

CACHES = {"FFFBENCH_CACHE": "kernels", "TRITON_CACHE_DIR": "triton"}  # beside a revision's sources: its own binaries
NOT_COMPILED = "does not compile"  # begins the reason for which a case is refused, where that is a compiler's


def open_package(folder: str, data: str, device: str) -> Callable[[Case], Runner]:
    """Use the ``fffbench`` whose sources lie in ``folder``, in this process; what prepares a case with it."""
    for variable, name in CACHES.items():
        os.environ[variable] = str(Path(folder).parent / name)
    for name in [name for name in sys.modules if name.split(".")[0] == "fffbench"]:
        del sys.modules[name]
    # an editable installation of fffbench finds itself before any path does
    sys.meta_path[:] = [f for f in sys.meta_path if f is PathFinder or f.find_spec("fffbench", None) is None]
    sys.path.insert(0, folder)
    importlib.invalidate_caches()
    package = importlib.import_module("fffbench")
    if not Path(str(package.__file__)).is_relative_to(folder):
        raise ImportError(f"fffbench was imported from {package.__file__}, not from {folder}")
    return partial(prepare, tensors=Tensors(data, device))


class Tensors:
    """The data on the device, each file once."""

    def __init__(self, folder: str, device: str) -> None:
        """Read nothing yet."""
        self._folder, self.device = Path(folder), device
        self._held: dict[tuple[str, str, int, int | None], Any] = {}

    def get(self, name: str, dtype: str, d: int, rows: int | None = None) -> Any:
        """The matrix ``name`` (``x``, ``w1``, ``w2``), rows of ``d``, in ``dtype`` (fp32 or bf16).

        ``rows`` beyond the data's own are those again.
        """
        import numpy as np
        import torch

        file, key = f"{name}.{dtype}", (name, dtype, d, rows)
        if key not in self._held:
            array = np.fromfile(self._folder / file, np.float32 if dtype == "fp32" else np.int16)
            if rows is not None:
                array = np.resize(array, rows * d)
            tensor = torch.from_numpy(array).to(self.device)
            self._held[key] = (tensor if dtype == "fp32" else tensor.view(torch.bfloat16)).view(-1, d)
        return self._held[key]


def prepare(case: Case, tensors: Tensors) -> Runner:
    """The calls of ``case``; ``ValueError`` with the reason where this revision cannot make them."""
    try:
        calls = bind(case, tensors)
        return Graphs(calls) if tensors.device != HOST else Turns(calls)
    except Exception as error:
        if type(error).__name__ == "BuildError":  # of the revision's own cuda.build: nothing can be imported from it
            sys.stderr.write(f"{error.__cause__ or error}\n")
            raise ValueError(f"{NOT_COMPILED}: {error}") from error
        raise ValueError(f"{type(error).__name__}: {error}") from error


def bind(case: Case, tensors: Tensors) -> list[Call]:
    """One call for each batch of the pool; ``case`` is ``Case.request`` of ``suite``."""
    import torch

    d, dtype, batch = case["d"], case["dtype"], case["batch"]
    x = tensors.get("x", dtype, d)
    weights = {name: tensors.get(name, dtype, d, rows) for name, rows in case["rows"].items()}
    inputs = list(x[: case["pool"] * batch].split(batch))
    if case["kind"] == "control":
        return _dense(inputs, *weights.values())
    registry = importlib.import_module("fffbench.implementations.registry")
    workloads = importlib.import_module("fffbench.plan.workload")
    workload = workloads.parse_cell(f"{case['implementation']}@{case['workload']}@warm-kernel").workload
    chosen = registry.implementation(case["implementation"])
    if (reason := chosen.unsupported(workload)) is not None:
        raise ValueError(reason)
    layer = chosen.prepare(registry.Weights(*weights.values()), workload)
    return [layer.bind(one, torch.empty_like(one)) for one in inputs]


def _dense(inputs: Sequence[Any], w1: Any, w2: Any) -> list[Call]:
    """The drift control: two matrix products by torch, the same code whatever revision is measured."""
    import torch

    hidden = torch.empty(inputs[0].shape[0], w1.shape[0], dtype=w1.dtype, device=w1.device)

    def layer(x: Any, y: Any) -> None:
        torch.mm(x, w1.t(), out=hidden)
        hidden.relu_()
        torch.mm(hidden, w2, out=y)

    return [partial(layer, one, torch.empty_like(one)) for one in inputs]


class Graphs:
    """The calls of one case as CUDA graphs, one for each number of calls that was asked for."""

    def __init__(self, calls: list[Call]) -> None:
        """Warm up: what allocates or compiles must not be captured."""
        import torch

        self._calls = calls
        self._stream: Any = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        self._graphs: dict[int, Any] = {}
        self._start, self._stop = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            for call in calls:
                call()
        torch.cuda.synchronize()

    def run(self, count: int) -> float:
        """Seconds for ``count`` calls, rotating over the pool, by the GPU's clock."""
        import torch

        graph = self._graphs.get(count)
        if graph is None:
            graph = self._graphs[count] = self._captured(count)
        graph.replay()
        self._start.record()
        graph.replay()
        self._stop.record()
        torch.cuda.synchronize()
        return float(self._start.elapsed_time(self._stop)) * 1e-3

    def _captured(self, count: int) -> Any:
        import torch

        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=self._stream):
            for i in range(count):
                self._calls[i % len(self._calls)]()
        return graph


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Measure one block; with ``compile`` only prepare every case, all sides at once."""
    children = {
        side["name"]: Child(partial(open_package, side["build"], request["data"], request["device"]), request["cases"])
        for side in request["sides"]
    }
    if request.get("compile"):
        return _compiled(request, children)
    return take_all_turns(request, children, lead_seconds=0.0)


def _compiled(request: dict[str, Any], children: dict[str, Child]) -> dict[str, Any]:
    reasons: dict[str, dict[str, str]] = {}
    for index, case in enumerate(request["cases"]):
        for name in case["sides"]:
            children[name].ask(index)
        said = {name: children[name].answered() for name in case["sides"]}
        reasons[case["name"]] = {name: reason for name, reason in said.items() if reason is not None}
    end(children)
    return {"times": {}, "reasons": reasons}


def serve(answer: Callable[[dict[str, Any]], dict[str, Any]], *optional: str) -> None:
    """Answer requests, a line of JSON each, until standard input ends; torch and ``optional`` are imported before."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever prints is not an answer
    importlib.import_module("torch")
    for name in optional:
        with suppress(ImportError):
            importlib.import_module(name)
    for line in sys.stdin:
        try:
            said = answer(json.loads(line))
        except OSError as error:  # a child died: ChildProcessError, or its pipe broke
            said = {"error": str(error)}
        answers.write(json.dumps(said) + "\n")
        answers.flush()


if __name__ == "__main__":
    serve(answer, "triton")

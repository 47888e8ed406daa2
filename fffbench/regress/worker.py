"""How do the kernels of several builds compare in one fresh block of processes?

Run as a script, isolated (``python -I -S worker.py``), because a start must be
cheap: numpy and the builds' own extensions are all it imports, nothing of
fffbench and no torch (so all that it needs stands here, in more than 300
lines). It lays out the data, forks one child for each build
(each loads its own extension), and lets them take turns of a few milliseconds,
one at a time on one core, in the order A B B A. On a shared machine the speed
of a core changes by 10 to 20 % within seconds, as its neighbours come and go;
turns this short see the same machine on both sides. The children share the
pages of the data, so neither side has better ones and a turn finds the caches
as the other side left them.

One JSON request on standard input, one JSON answer on standard output: for
every case and side the seconds per call of each turn.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import struct
import sys
import time
from collections.abc import Callable
from functools import cache, partial
from typing import Any, Protocol

Call = Callable[[], object]

# A turn is timed as one: 40 000 times the cost of reading the clock, and long against a timer interrupt (a few us).
TURN_SECONDS = 2e-3
# Calls before the clock starts, so that a turn does not pay for what the turn before left in the first-level caches.
LEAD_SECONDS = 2e-4
FEWEST_ROUNDS = 3  # a median of fewer quadruples is no protection against a single disturbed one
MOST_ROUNDS = 200
ALIGNMENT = 2**21  # a huge page
SMALL_PAGE = 4096
REASON_BYTES = 300
_READY, _REFUSED = b"+", b"-"


class Buffers:
    """The data, laid out once: what is read on private huge pages, outputs on pages that all children share."""

    def __init__(self, folder: str) -> None:
        """Read nothing yet."""
        self._folder = folder
        self._held: dict[str, tuple[int, int]] = {}
        self._maps: list[Any] = []
        self._outputs: list[memoryview] = []

    def address(self, name: str, least: int = 0) -> tuple[int, int]:
        """Address and size of the file ``name``, copied on first use; over and over up to ``least`` bytes."""
        if name not in self._held or self._held[name][1] < least:
            path = os.path.join(self._folder, name)  # noqa: PTH118 - pathlib costs 8 ms of every start
            size = os.path.getsize(path)  # noqa: PTH202
            total = max(size, least)
            address, view = self._reserve(total, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
            done = 0
            while done < total:
                with open(path, "rb", buffering=0) as file:  # noqa: PTH123
                    while done < total and (read := file.readinto(view[done:total])):
                        done += read
            self._held[name] = (address, total)
        return self._held[name]

    def output(self, name: str, size: int) -> int:
        """Address of ``size`` zeroed bytes under ``name``."""
        if name not in self._held or self._held[name][1] < size:
            address, view = self._reserve(size, mmap.MAP_SHARED | mmap.MAP_ANONYMOUS)
            self._held[name] = (address, size)
            self._outputs.append(view)
        return self._held[name][0]

    def touch_outputs(self) -> None:
        """Map the shared pages into this process: a fork does not, and first touches cost a timed call 15 %."""
        for view in self._outputs:
            _touch(view)

    def _reserve(self, size: int, flags: int) -> tuple[int, memoryview]:
        import ctypes

        held = mmap.mmap(-1, size + ALIGNMENT, flags=flags)
        with contextlib.suppress(AttributeError, OSError, ValueError):  # not every system has huge pages
            held.madvise(mmap.MADV_HUGEPAGE)
        start = ctypes.addressof(ctypes.c_char.from_buffer(held))
        offset = -start % ALIGNMENT
        view = memoryview(held)[offset : offset + size]
        _touch(view)
        self._maps.append(held)
        return start + offset, view


def _touch(view: memoryview) -> None:
    for at in range(0, len(view), SMALL_PAGE):
        view[at] = 0


def load_extension(path: str) -> Any:
    """The compiled module at ``path``."""
    from importlib.machinery import ExtensionFileLoader
    from importlib.util import module_from_spec, spec_from_loader

    loader = ExtensionFileLoader("_cpu", path)
    spec = spec_from_loader("_cpu", loader)
    assert spec is not None
    module = module_from_spec(spec)
    loader.exec_module(module)
    return module


def lay_out(case: dict[str, Any], buffers: Buffers) -> tuple[list[int], list[tuple[int, int]]]:
    """Addresses of the weights, and of x and y for each batch of the pool.

    Weights beyond the data's own rows are those rows again: numbers as good as any others.
    """
    element = 2 if case["dtype"] == "bf16" else 4
    x, size = buffers.address(f"x.{case['dtype']}")
    y = buffers.output(f"y.{case['dtype']}", size)
    step = case["batch"] * case["d"] * element
    places = [(x + at, y + at) for at in range(0, size - step + 1, step)]
    weights = case["op"][2] if case["op"] else [case["n"] * case["d"]] * 2
    names = (f"w{min(index, 2)}.{case['dtype']}" for index in range(1, len(weights) + 1))
    at = [buffers.address(name, count * element)[0] for name, count in zip(names, weights, strict=True)]
    return at, places[: case["pool"]]


def bind(case: dict[str, Any], extension: Any, buffers: Buffers) -> list[Call]:
    """One call for each batch of the pool; ``case`` is ``Case.request`` of ``suite``."""
    weights, places = lay_out(case, buffers)
    if case["kind"] == "control":
        return _numpy_dense(case["d"], case["n"], case["batch"], weights, places)
    if case["kind"] == "layer":
        raise ValueError(f"{case['implementation']} is called through torch; fffbench duel compares such kernels")
    op, sizes, _ = case["op"]
    x, y = places[0]
    run_on = getattr(extension, op)(x, *weights, y, **sizes).run_on
    return [partial(run_on, x, *weights, y) for x, y in places]


def _numpy_dense(d: int, n: int, batch: int, weights: list[int], places: list[tuple[int, int]]) -> list[Call]:
    """The drift control: two matrix products by numpy's own BLAS, the same code whatever build is measured."""
    import ctypes

    import numpy as np

    def array(address: int, rows: int) -> Any:
        return np.ctypeslib.as_array((ctypes.c_float * (rows * d)).from_address(address)).reshape(rows, d)

    w1, w2 = (array(at, n) for at in weights)
    w1 = w1.T
    hidden = np.empty((batch, n), np.float32)

    def layer(x: Any, y: Any) -> None:
        np.matmul(x, w1, out=hidden)
        np.maximum(hidden, 0, out=hidden)
        np.matmul(hidden, w2, out=y)

    return [partial(layer, array(x, batch), array(y, batch)) for x, y in places]


class Runner(Protocol):
    """What a child measures: ``run(count)`` gives the seconds that ``count`` calls took."""

    def run(self, count: int) -> float:
        """Seconds for ``count`` calls."""


class Turns:
    """The calls of one case, and where in the pool the next turn begins."""

    def __init__(self, calls: list[Call]) -> None:
        """Start at the pool's first batch."""
        self._calls, self._at = calls, 0

    def run(self, count: int) -> float:
        """Seconds for ``count`` calls, rotating over the pool."""
        chosen = [self._calls[i % len(self._calls)] for i in range(self._at, self._at + count)]
        self._at += count
        start = time.perf_counter()
        for call in chosen:
            call()
        return time.perf_counter() - start


@cache
def _parent_module() -> Any:
    """``fffbench.parent``, by its path: nothing of the package can be imported here."""
    from importlib.util import module_from_spec, spec_from_file_location

    spec = spec_from_file_location("parent", os.path.join(os.path.dirname(__file__), "..", "parent.py"))  # noqa: PTH118, PTH120
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Child:
    """A forked process that holds one build and runs the case it is sent."""

    def __init__(
        self, open_build: Callable[[], Callable[[dict[str, Any]], Runner]], cases: list[dict[str, Any]]
    ) -> None:
        """Fork; the child calls ``open_build`` and waits for orders.

        What that returns makes the calls of a case; it refuses one it does not have by a ``ValueError`` or the like.
        """
        order_in, self._orders = os.pipe()
        self._answers, answer_out = os.pipe()
        worker = os.getpid()
        self.pid = os.fork()
        if self.pid == 0:
            _parent_module().end_with_parent(worker)
            os.close(self._orders)
            os.close(self._answers)
            try:
                _serve(open_build(), cases, order_in, answer_out)
            finally:
                os._exit(1)  # reached by an exception only: its traceback must not run the parent's clean-up
        os.close(order_in)
        os.close(answer_out)

    def begin(self, index: int) -> str | None:
        """Prepare case ``index``; why it cannot be, or None."""
        self.ask(index)
        return self.answered()

    def ask(self, index: int) -> None:
        """Let the child prepare case ``index``."""
        self._send(index, 0)

    def answered(self) -> str | None:
        """Wait until it has: why it cannot, or None."""
        if self._receive(1) == _READY:
            return None
        return self._receive(REASON_BYTES).rstrip(b"\0").decode(errors="replace")

    def turn(self, index: int, count: int) -> float:
        """Seconds for ``count`` calls of case ``index``."""
        self._send(index, count)
        seconds: float = struct.unpack("d", self._receive(8))[0]
        return seconds

    def _send(self, index: int, count: int) -> None:
        os.write(self._orders, struct.pack("qq", index, count))

    def _receive(self, size: int) -> bytes:
        got = b""
        while len(got) < size:
            part = os.read(self._answers, size - len(got))
            if not part:
                raise ChildProcessError("a build crashed while it was measured")
            got += part
        return got

    def close(self) -> None:
        """Let the child end, once later children (which hold copies of the pipe) have been closed as well."""
        os.close(self._orders)
        os.close(self._answers)

    def wait(self) -> None:
        """Wait until the child has ended."""
        os.waitpid(self.pid, 0)


def _serve(prepare: Callable[[dict[str, Any]], Runner], cases: list[dict[str, Any]], orders: int, answers: int) -> None:
    """The child's life: read an order, carry it out, answer; end when the parent closes the pipe."""
    current: Runner | None = None
    while order := os.read(orders, 16):
        index, count = struct.unpack("qq", order)
        if count == 0:
            try:
                current = prepare(cases[index])
                os.write(answers, _READY)
            except (TypeError, ValueError, AttributeError) as error:  # a revision from before this kernel or parameter
                reason = " ".join(str(error).split()).encode()[:REASON_BYTES]
                os.write(answers, _REFUSED + reason.ljust(REASON_BYTES, b"\0"))
        elif current is not None:
            os.write(answers, struct.pack("d", current.run(count)))
    os._exit(0)


def open_extension(path: str, buffers: Buffers) -> Callable[[dict[str, Any]], Runner]:
    """Load the extension at ``path`` in this process; what makes the calls of a case with it."""
    extension = load_extension(path)
    buffers.touch_outputs()
    return lambda case: Turns(bind(case, extension, buffers))


def calls_of_a_turn(children: list[Child], index: int, lead_seconds: float) -> tuple[int, int]:
    """How many calls make a turn, and how many the lead before it, once every child has warmed up."""
    count = 1
    while (elapsed := children[0].turn(index, count)) < TURN_SECONDS:
        count = max(count + 1, min(10 * count, int(count * TURN_SECONDS / max(elapsed, 1e-7)) + 1))
    elapsed = min(child.turn(index, count) for child in children)  # the first turns paid for cold caches and pages
    count = max(1, round(count * TURN_SECONDS / elapsed))
    led = count > 1 and lead_seconds > 0
    return count, max(1, round(count * lead_seconds / TURN_SECONDS)) if led else 0


def take_turns(
    children: list[Child], index: int, seconds: float, lead_seconds: float = LEAD_SECONDS
) -> list[list[float]]:
    """Seconds per call of both children, two for every round of A B B A; every other round is B A A B."""
    count, lead = calls_of_a_turn(children, index, lead_seconds)
    times: list[list[float]] = [[] for _ in children]
    begin = time.perf_counter()
    for number in range(MOST_ROUNDS):
        if number >= FEWEST_ROUNDS and time.perf_counter() - begin > seconds * len(children):
            break
        order = list(range(len(children)))
        if number % 2:
            order.reverse()
        for which in order + order[::-1]:
            if lead:
                children[which].turn(index, lead)
            times[which].append(children[which].turn(index, count) / count)
    return times


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Measure one block."""
    sys.path[:0] = request["packages"]
    if any(case["kind"] == "control" for case in request["cases"]):
        import numpy  # noqa: F401, ICN001 - before the fork: imported once
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[request["block"] % len(cores)]})
    buffers = Buffers(request["data"])
    for case in request["cases"]:
        lay_out(case, buffers)
    children = {
        side["name"]: Child(partial(open_extension, side["build"], buffers), request["cases"])
        for side in request["sides"]
    }
    return take_all_turns(request, children)


def take_all_turns(
    request: dict[str, Any], children: dict[str, Child], lead_seconds: float = LEAD_SECONDS
) -> dict[str, Any]:
    """The answer to ``request``: seconds per call of every turn by case and side, and why a side refused a case."""
    times: dict[str, dict[str, list[float]]] = {}
    reasons: dict[str, dict[str, str]] = {}
    for index, case in enumerate(request["cases"]):
        names = case["sides"]
        refused = {name: reason for name in names if (reason := children[name].begin(index))}
        if refused:
            reasons[case["name"]] = refused
            continue
        measured = take_turns([children[name] for name in names], index, request["seconds"], lead_seconds)
        times[case["name"]] = dict(zip(names, measured, strict=True))
    end(children)
    return {"times": times, "reasons": reasons}


def end(children: dict[str, Child]) -> None:
    """Let all children end, and wait until they have."""
    for child in children.values():
        child.close()
    for child in children.values():
        child.wait()


if __name__ == "__main__":
    sys.stdout.write(json.dumps(answer(json.load(sys.stdin))))

"""Where is the implementation that ``check`` asks for outputs: in this process, or in one of its own?

Ours is prepared ``Here``. Somebody else's on a CPU is ``Apart``: a process that is forked before anything of it is
imported, and holds one end of a channel and no other open file. What comes back of it are outputs, in memory that the
judge reads; the verdict is made where that code never was, so that there is none to forge.
"""

from __future__ import annotations

import contextlib
import os
import signal
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from fffbench import contain
from fffbench.implementations._plugin import MEMORY_BYTES
from fffbench.implementations.registry import Layer, implementation
from fffbench.measure import cellrun, inputs, measuring, seal
from fffbench.measure.channel import Channel, GoneError, shared_memory
from fffbench.measure.failures import death
from fffbench.measure.watching import Reading, read
from fffbench.parent import end_with_parent
from fffbench.plan.workload import Cell, parse_cell
from fffbench.plan.workload import Protocol as Clocked
from fffbench.problems import Data

if TYPE_CHECKING:
    import torch

Outputs = tuple["torch.Tensor | None", str | None]  # and what is wrong with other memory than theirs
STRAYED = "its process answered something else than it was asked: code in it wrote to the judge's channel"


class StepFailedError(Exception):
    """What somebody else's code raised, or how its process ended, as a sentence."""


class Subject(Protocol):
    """A prepared layer on one batch ``x (batch, d)`` of a cell, as its judge sees it."""

    def given(self) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Its inputs and weights as they should be now, in the dtype; not changed by what it does."""

    def outputs(self, call: str) -> Outputs:
        """The output ``(batch, d)`` of one ``call`` ("kernel" or "torch") into unwritten, guarded memory."""

    def renew(self, x: torch.Tensor) -> torch.Tensor:
        """The kernel's output on other inputs ``x (batch, d)`` in the same place, into the output as it was left."""

    def spoil(self, name: str) -> None:
        """Change the weights called ``name`` as the problem's spoilers say, and clear every declared copy."""

    def replaced(self) -> str | None:
        """What was replaced of what measures, or None."""


class Here:
    """In this process."""

    def __init__(self, layer: Layer, cell: Cell, pool: inputs.Pool, names: seal.Names | None = None) -> None:
        """Bind ``layer``; ``names`` were taken before it was imported."""
        self._layer, self._cell, self._pool, self._names = layer, cell, pool, names or {}
        self._by_torch = Cell(cell.implementation, cell.workload, Clocked(cell.protocol.cache, "torch"))
        self._kept = {name: tensor.clone() for name, tensor in pool.weights.tensors.items()}
        self.run: Callable[[], object] = layer.bind(pool.x[0], pool.y[0])

    @classmethod
    def prepared(cls, cell: Cell, data: Data) -> Here:
        """Import and prepare the implementation of ``cell`` on the first batch of ``data``."""
        chosen = implementation(cell.implementation)
        cell.workload.place.configure(cell.workload.dtype, cell.workload.threads)
        names = seal.snapshot() if chosen.foreign else {}
        pool = inputs.make_pool(cell, data)
        layer = measuring.checked_layer(chosen.prepare(pool.weights, cell.workload))
        return cls(layer, cell, pool, names)

    def given(self) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """As ``Subject`` has it."""
        return self._pool.x[0], self._kept

    def outputs(self, call: str) -> Outputs:
        """As ``Subject`` has it."""
        pool, forward, x = self._pool, self._layer.forward, self._pool.x[0]
        weights = [tensor.clone() for tensor in pool.weights.tensors.values()]
        cell, run = (self._by_torch, lambda: forward(x)) if call == "torch" else (self._cell, self.run)
        found, harm = cellrun.run_checked(cell, pool, [run], weights)
        if not found:
            return None, harm
        [y] = found
        if y.dtype != x.dtype or y.shape != x.shape:
            return None, f"forward returned {tuple(y.shape)} in {y.dtype}, not {tuple(x.shape)} in {x.dtype}"
        return y, harm

    def renew(self, x: torch.Tensor) -> torch.Tensor:
        """As ``Subject`` has it."""
        self._pool.x[0].copy_(x)
        self.run()
        self._cell.workload.place.synchronize()
        return self._pool.y[0].clone()

    def spoil(self, name: str) -> None:
        """As ``Subject`` has it."""
        measuring.spoil(self._cell.workload.shape, self._pool.weights, self._layer, name)

    def replaced(self) -> str | None:
        """As ``Subject`` has it."""
        return seal.replaced(self._names) if self._names else None


class Apart:
    """In a process of its own, which stays for the next cell."""

    def __init__(self) -> None:
        """Fork it; this process has started no thread of torch's, and must not before."""
        contain.adopt_orphans()  # whatever it leaves behind is ended with it
        ours, theirs = Channel.pair()
        judge = os.getpid()
        self.pid = os.fork()
        if self.pid == 0:
            end_with_parent(judge)
            theirs.keep_alone()
            contain.limit_memory(MEMORY_BYTES)
            with contextlib.suppress(GoneError):
                _serve(theirs)
            os._exit(0)
        theirs.close()
        self._channel, self.alive = ours, True

    def prepare(self, cell: Cell, data: Data) -> None:
        """Prepare the implementation of ``cell`` there, on the first batch of ``data``."""
        self._cell, self._x, self._weights = cell, *inputs.rounded(cell.workload, data, cell.workload.batch)
        self._ask("prepare", cell=cell.id)

    def given(self) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """As ``Subject`` has it."""
        return self._x, self._weights

    def outputs(self, call: str) -> Outputs:
        """As ``Subject`` has it."""
        return self._asked("outputs", call=call)

    def renew(self, x: torch.Tensor) -> torch.Tensor:
        """As ``Subject`` has it."""
        self._x = x.to(self._x)
        y, _ = self._asked("renew")
        assert y is not None
        return y

    def spoil(self, name: str) -> None:
        """As ``Subject`` has it."""
        self._ask("spoil", name=name)

    def replaced(self) -> str | None:
        """As ``Subject`` has it."""
        said = self._ask("replaced")["name"]
        return None if said is None else contain.one_line(said)

    def calls(self, count: int) -> Reading:
        """What it did during ``count`` calls of the kernel, by this process's clock and the system's account."""
        before = read(self.pid, with_helpers=True)
        self._ask("calls", count=count)
        return read(self.pid, with_helpers=True).since(before)

    def end(self) -> None:
        """End it with all that it started."""
        self._channel.close()
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        self._reaped()

    def _reaped(self) -> int:
        """The exit code of the process, which has ended or is about to."""
        self.alive = False
        try:
            _, status = os.waitpid(self.pid, 0)
        except ChildProcessError:
            return 0
        contain.end_descendants()
        return os.waitstatus_to_exitcode(status)

    def _asked(self, step: str, **details: Any) -> Outputs:
        """An output and what was harmed: the output as the memory has it, whatever the answer says of it."""
        descriptor = shared_memory(0)
        try:
            _write(descriptor, self._x)
            answer = self._ask(step, descriptor, **details)
            harm = answer.get("harm")
            if answer.get("outputs") is not True:
                return None, contain.one_line(harm or STRAYED)
            return _read(descriptor, self._x), None if harm is None else contain.one_line(harm)
        finally:
            os.close(descriptor)

    def _ask(self, step: str, descriptor: int | None = None, **details: Any) -> dict[str, Any]:
        """The answer to ``step``; ``StepFailedError``. A number that nobody can foresee says that it is this one's."""
        number = int.from_bytes(os.urandom(6), "little")
        try:
            self._channel.send({"step": step, "number": number, **details}, descriptor)
            answer = self._channel.receive()
        except GoneError:
            raise StepFailedError(death(self._reaped())[0]) from None
        except (ValueError, RecursionError):
            answer = {}
        if answer.get("number") != number:
            self.end()
            raise StepFailedError(STRAYED)
        if isinstance(answer.get("failure"), str):
            raise StepFailedError(contain.one_line(answer["failure"]))
        return answer


def _serve(channel: Channel) -> None:
    """Do what the judge asks for, until it leaves; whatever is raised meanwhile is the answer."""
    subject: Here | None = None
    while True:
        message = channel.receive()
        answer: dict[str, Any]
        try:
            if message["step"] == "prepare":
                cell = parse_cell(message["cell"])
                subject, answer = Here.prepared(cell, cell.workload.draw(cell.workload.batch)), {}
            else:
                assert subject is not None
                answer = _done(subject, message, channel.descriptor)
        except BaseException as error:  # noqa: BLE001  (SystemExit of somebody else's code too)
            with contextlib.suppress(OSError):
                traceback.print_exc()
            answer = {"failure": contain.one_line(f"{type(error).__name__}: {error}")}
        channel.send({"number": message["number"], **answer})


def _done(subject: Here, message: dict[str, Any], descriptor: int | None) -> dict[str, Any]:
    """The answer to one step."""
    step = message["step"]
    if descriptor is not None:
        try:
            x, _ = subject.given()
            y, harm = (
                subject.outputs(message["call"]) if step == "outputs" else (subject.renew(_read(descriptor, x)), None)
            )
            if y is not None:
                _write(descriptor, y)
            return {"outputs": y is not None, "harm": harm}
        finally:
            os.close(descriptor)
    if step == "replaced":
        return {"name": subject.replaced()}
    if step == "spoil":
        subject.spoil(message["name"])
    for _ in range(message.get("count", 0)):
        subject.run()
    return {}


def _write(descriptor: int, tensor: torch.Tensor) -> None:
    """The bytes of ``tensor`` at the start of a file in memory."""
    import torch

    flat = tensor.detach().reshape(-1)  # of an empty batch the strides may be anything
    left, at = memoryview(flat.contiguous().view(torch.uint8).numpy().tobytes() if len(flat) else b""), 0
    while left:
        written = os.pwrite(descriptor, left, at)
        left, at = left[written:], at + written


def _read(descriptor: int, like: torch.Tensor) -> torch.Tensor:
    """A tensor of the shape and dtype of ``like`` from the start of a file; unread where the file was cut short.

    Read, not mapped: a page that the other process takes away would end this one.
    """
    import torch

    found, at = bytearray(like.numel() * like.element_size()), 0
    while at < len(found):
        part = os.pread(descriptor, len(found) - at, at)
        if not part:
            raise StepFailedError(STRAYED)
        found[at : at + len(part)] = part
        at += len(part)
    if not found:
        return torch.empty_like(like)
    return torch.frombuffer(found, dtype=like.dtype).view(like.shape)

"""What does the process do that runs the implementation? What the judge (``judge``) asks for, step by step, on a CPU.

It alone imports somebody else's code. What it holds of the judge is one end of a channel and, when the implementation
is prepared and bound, a sheet of fresh inputs; it has no reference, and says nothing that the judge does not check.
"""

from __future__ import annotations

import gc
import os
import statistics
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from fffbench.devices.clock import Clock, Effort
from fffbench.implementations.registry import Layer, implementation
from fffbench.measure import cellrun, inputs, occupancy, seal
from fffbench.measure.channel import Channel
from fffbench.measure.idle import await_idle
from fffbench.measure.staging import Layout, Sheet, Staged
from fffbench.plan.workload import Cell
from fffbench.problems import Data, Problem, Weights

if TYPE_CHECKING:
    import torch

Answer = dict[str, Any]


def serve(channel: Channel, cell: Cell, data: Data, effort: Effort) -> None:
    """Answer the judge until it says that it has all."""
    measuring = Measuring(channel, cell, data, effort)
    steps: dict[str, Callable[[dict[str, Any]], Answer]] = {
        "prepare": measuring.prepare,
        "check": measuring.check,
        "time": measuring.time,
        "stage": measuring.stage,
        "run": measuring.run,
        "keep": measuring.keep,
        "spoil": measuring.spoil,
        "end": measuring.end,
    }
    while True:
        message = channel.receive()
        step = message["step"]
        if step == "leave":
            return
        channel.send({"step": step, **steps[step](message)})


class Measuring:
    """One cell in this process."""

    def __init__(self, channel: Channel, cell: Cell, data: Data, effort: Effort) -> None:
        """Take hold of the clock and of everything else that a foreign import could replace."""
        self._channel, self._cell, self._effort = channel, cell, effort
        self._tools = seal.Tools()
        self._clock = Clock(self._tools.now)
        self._evictor, self._await_idle = cell.workload.place.evictor, await_idle
        cell.workload.place.configure(cell.workload.dtype, cell.workload.threads)
        # What it is prepared and bound with is drawn from the seed, as the check's is; what it is timed with is not.
        self._pool = inputs.make_pool(cell, data)
        self._weights = tuple(self._pool.weights.tensors.values())
        self._kept_weights = [tensor.clone() for tensor in self._weights]
        self._names = seal.snapshot()
        self._position = 0

    def prepare(self, _: dict[str, Any]) -> Answer:
        """Import and prepare the implementation, and bind it to all batches."""
        chosen = implementation(self._cell.implementation)
        before = self._tools.now()
        layer = chosen.prepare(self._pool.weights, self._cell.workload)
        seconds = (self._tools.now() - before) * 1e-9
        self._layer = checked_layer(layer)
        self._calls = cellrun.calls_of(self._cell, self._layer, self._pool)
        self._by_torch = self._cell.protocol.call == "torch"
        return {
            "prepare_seconds": seconds,
            "extra_bytes": sum(tensor.numel() * tensor.element_size() for tensor in self._layer.resident),
            "notes": [str(note) for note in self._layer.notes],
        }

    def check(self, _: dict[str, Any]) -> Answer:
        """Run the checked batches once, and hand over the whole outputs."""
        descriptor = self._channel.descriptor
        assert descriptor is not None
        self._sheet = Sheet(Layout.of(self._cell), descriptor)
        os.close(descriptor)
        outputs, harm = cellrun.run_checked(self._cell, self._pool, self._calls, self._kept_weights)
        self._kept_weights = []
        target = self._sheet.part["outputs"]
        for i, output in enumerate(outputs):
            rows = slice(i * self._cell.workload.batch, (i + 1) * self._cell.workload.batch)
            if tuple(output.shape) != (rows.stop - rows.start, target.shape[1]):
                harm = f"an output has the shape {tuple(output.shape)}"
                break
            target[rows] = _bits(output)
        return {"harm": harm}

    def time(self, _: dict[str, Any]) -> Answer:
        """Take over the fresh inputs, and time."""
        fresh, batch = self._sheet.part["x"], self._cell.workload.batch
        for i, x in enumerate(self._pool.x):
            _array(x)[:] = fresh[i * batch : (i + 1) * batch]
        self._staged = Staged(self._sheet, self._pool.x, None if self._by_torch else self._pool.y, self._tools)
        evict = None
        if self._cell.protocol.cache == "cold":
            resident = (*self._weights, *self._layer.resident)
            evict = self._evictor(resident, self._pool.x, self._pool.y, self._tools.evict)
        notes = self._await_idle()
        self._channel.send({"step": "begin"})
        clocks = occupancy.read()
        timed = self._clock.time_calls(self._calls, self._effort, evict, self._staged)
        label, call_seconds = self._cell.workload.threads, statistics.median(timed.samples)
        seen = occupancy.of_cell(self._calls, call_seconds, clocks, occupancy.read())
        family = implementation(self._cell.implementation).family
        return {
            "samples": timed.samples,
            "checked": timed.checked,
            "total": timed.total,
            "notes": notes,
            "threads_ran": seen.active,
            "label_fault": occupancy.does_not_hold(family, label, seen, call_seconds),
            "batches": self._staged.batches,
            "fault": self._staged.fault,
        }

    def stage(self, _: dict[str, Any]) -> Answer:
        """Prepare one checked call among those that the judge is about to time."""
        self._next = self._position
        self._staged.change(self._next)
        return {}

    def run(self, message: dict[str, Any]) -> Answer:
        """Call as often as asked, in rotation, while the judge's clock runs; the staged batch comes first."""
        count, calls = message["calls"], self._calls
        run = [calls[(self._position + i) % len(calls)] for i in range(count)]
        self._result = run[0]()
        for call in run[1:]:
            call()
        self._position = (self._position + count) % len(calls)
        return {}

    def keep(self, _: dict[str, Any]) -> Answer:
        """Hand over a row of the staged batch's output."""
        self._staged.keep(self._next, self._result)
        self._result = None
        return {"batch": self._next, "fault": self._staged.fault}

    def spoil(self, message: dict[str, Any]) -> Answer:
        """Call, spoil one tensor, and call again on the same input: the output must not stay."""
        self._next = self._position
        self._calls[self._next]()  # what keeps outputs by their inputs has this one
        spoil(self._cell.workload.shape, self._pool.weights, self._layer, message["weights"])
        self._staged.unwrite(self._next)
        self._result = self._calls[self._next]()
        return self.keep({})

    def end(self, _: dict[str, Any]) -> Answer:
        """Whether anything was written beside the outputs, or replaced."""
        harm = None
        if not inputs.all_guards_intact(self._pool):
            harm = "the rows before or after the output were overwritten"
        gc.collect()
        return {"harm": harm, "replaced": seal.replaced(self._names)}


def spoil(problem: Problem, weights: Weights, layer: Layer, which: str) -> None:
    """Change a tensor where it lies, as ``problem.spoilers`` says, and clear every copy that the layer declares.

    A copy of integers may be indices: it stays.
    """
    weights.tensors[which].mul_(problem.spoilers()[which])
    for tensor in layer.resident:
        if tensor.is_floating_point() or tensor.element_size() == 1:
            tensor.zero_()


def checked_layer(layer: object) -> Layer:
    """``layer``, if it is what ``prepare`` must return; ``TypeError``."""
    import torch

    if not isinstance(layer, Layer) or not callable(layer.forward) or not callable(layer.bind):
        raise TypeError(f"prepare returned {type(layer).__name__}, not a Layer")
    if not isinstance(layer.resident, tuple) or not all(isinstance(part, torch.Tensor) for part in layer.resident):
        raise TypeError("a Layer's resident must be a tuple of tensors")
    return layer


def _array(tensor: torch.Tensor) -> Any:
    """The tensor's bits as an array over the same memory."""
    import torch

    bits, unsigned = (torch.int32, np.uint32) if tensor.element_size() == 4 else (torch.int16, np.uint16)
    return tensor.detach().view(bits).numpy().view(unsigned)


def _bits(tensor: torch.Tensor) -> Any:
    return _array(tensor.contiguous())

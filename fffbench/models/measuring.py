"""What does a process do that measures cells of whole models? Build, replace, check, prepare, time, in that order.

Cells that differ in their work or mode alone are measured one after another on one model. No time is kept without its
check: replaced layers against float64 on what they are given inside the model, prepared models against themselves.
"""

from __future__ import annotations

import contextlib
import gc
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fffbench.devices import Device, device
from fffbench.errors import UserError
from fffbench.implementations.registry import implementation
from fffbench.measure.idle import await_idle
from fffbench.models import build, judging, makers, modes, preparing
from fffbench.models.energy import Joules
from fffbench.models.outcome import ModelOutcome
from fffbench.nn import TreeFFF
from fffbench.plan.models import ModelCell, Variant, Work
from fffbench.plan.workload import Workload
from fffbench.results.models import Check, Routing
from fffbench.swapping import Swapped

WARMUPS = 2
LONG_CALL_SECONDS = 0.3  # a forward pass as long as this needs none: the check has just run it
FEWEST, MOST = 2, 400  # samples of a process


def group_of(cell: ModelCell) -> tuple[str, ...]:
    """What cells must share to be measured on one model in one process."""
    work = cell.work
    return work.model, work.dtype, work.device, str(work.threads), str(work.seed), cell.variant.id


@dataclass(frozen=True)
class Checked:
    """A model ready for a work, what the check of its layers found, and the shapes of their calls in that pass."""

    built: build.Built
    check: Check
    routing: tuple[Routing, ...]
    seen: tuple[judging.Captured, ...]


@dataclass
class Made:
    """A model with its variant, and what was seen of it so far."""

    model: nn.Module
    swapped: Swapped | None
    notes: list[str]
    build_seconds: float
    resident_before: int
    compiled: bool = False
    eager: dict[Work, Checked] = field(default_factory=dict)


def make(work: Work, variant: Variant) -> Made:
    """Build the model and put the variant's layers into it; what is no feedforward layer must stay what it was."""
    device(work.device).configure(work.dtype, work.threads)
    before, began = _resident(), time.perf_counter()
    model = build.model_of(work)
    own = dict(model.named_parameters())
    model, swapped, notes = makers.put(model, variant, work)
    if swapped is not None:
        # where the other layers are quantised too they are new ones, which quantising made of the old ones
        _only_the_feedforward_layers(model, swapped, {} if variant.kind == "int8-fff" else own, work)
    if swapped is not None and not device(work.device).host_memory:
        _kernels_serve(swapped, work)
    return Made(model, swapped, notes, time.perf_counter() - began, before)


def _kernels_serve(swapped: Swapped, work: Work) -> None:
    """``UserError`` where plain torch would silently compute trees instead of the device's kernels."""
    for module in swapped.replacements:
        if isinstance(module, TreeFFF):
            workload = Workload(module.shape, work.new_tokens, work.dtype, device=work.device)
            reason = implementation(device(work.device).kernel).unsupported(workload)
            if reason is not None:
                raise UserError(f"no kernel of the device computes these trees here: {reason}")


def _only_the_feedforward_layers(model: nn.Module, swapped: Swapped, own: dict[str, nn.Parameter], work: Work) -> None:
    """``WrongError`` where a parameter outside the layers that were replaced is not the one that was there."""
    names = {id(module): name for name, module in model.named_modules()}
    replaced = tuple(
        f"{names.get(id(parent), '')}.{child}." for layer in swapped.layers for parent, child in layer.places
    )
    now = dict(model.named_parameters())
    lost = [name for name, known in own.items() if now.get(name) is not known and not name.startswith(replaced)]
    if lost:
        raise judging.WrongError(f"{lost[0]} is outside the feedforward layers and was replaced")
    if len(swapped.layers) != work.architecture.layers:
        raise judging.WrongError(
            f"{len(swapped.layers)} feedforward layers were replaced, of {work.architecture.layers}"
        )


def measure(cell: ModelCell, process: int, made: Made, seconds: float) -> ModelOutcome:
    """Check and time one cell; ``WrongError`` where it computes something else."""
    began = time.perf_counter()
    with torch.inference_mode():
        checked = _checked(cell, made)
        built = checked.built
        call, prepare_seconds, check = _prepared(cell, made, built, checked.check)
        before = time.perf_counter()
        peak = _peak(lambda: call(built.inputs[0]), made.resident_before, device(cell.work.device))
        warmups = 0 if time.perf_counter() - before > LONG_CALL_SECONDS else WARMUPS
        notes = await_idle() if device(cell.work.device).host_memory else []
        samples, joules = _timed(call, built.inputs, seconds, device(cell.work.device), warmups)
    return ModelOutcome(
        cell.id,
        process,
        tuple(samples),
        check,
        checked.routing,
        makers.weights_bytes(made.model),
        peak,
        made.build_seconds,
        prepare_seconds,
        joules,
        (*made.notes, *notes),
        wall=time.perf_counter() - began,
    )


def _checked(cell: ModelCell, made: Made) -> Checked:
    """The model ready for the cell's work, once its layers are checked on what they are given there."""
    if cell.work not in made.eager:
        built = build.ready(made.model, cell.work)
        computing = [m for m in (made.swapped.replacements if made.swapped else ()) if not isinstance(m, nn.Identity)]
        with modes.as_they_are(built.layers), judging.capturing(computing) as captured:
            built.call(built.inputs[-1])
        called = {one.module for one in captured}
        if len(called) != len(computing):
            raise judging.WrongError(f"{len(called)} of {len(computing)} replaced layers were called")
        if len(captured) != len(called):
            raise judging.WrongError(f"{len(called)} replaced layers were called {len(captured)} times")
        verdict = judging.judge(captured, cell.work.dtype)
        check = Check(
            error=verdict.error,
            tokens=verdict.tokens,
            layers=verdict.layers,
            near=verdict.near,
            turned=verdict.turned,
        )
        routing = tuple(
            Routing(tokens=one.tokens, leaves=one.leaves, visits={str(tokens): n for tokens, n in one.visits.items()})
            for one in judging.routing(captured)
        )
        made.eager[cell.work] = Checked(built, check, routing, tuple(one.shapes for one in captured))
    return made.eager[cell.work]


def _prepared(
    cell: ModelCell, made: Made, built: build.Built, check: Check
) -> tuple[Callable[[Tensor], Tensor], float, Check]:
    """How this mode calls the model, how long it took to prepare, and the check with that of the mode."""
    if cell.mode == "eager":
        return (preparing.as_it_is(built) if made.compiled else built.call), 0.0, check
    made.compiled = made.compiled or cell.mode.startswith("compiled")
    seen = made.eager[cell.work].seen
    call, seconds, verdict, alike = preparing.prepare(cell.mode, built, made.swapped, seen, cell.work.dtype)
    return (
        call,
        seconds,
        Check(
            error=max(check.error, verdict.error),
            tokens=check.tokens + verdict.tokens,
            layers=check.layers,
            near=check.near + verdict.near,
            turned=check.turned + verdict.turned,
            mode_median=alike.median,
            mode_beyond=alike.beyond,
        ),
    )


def _timed(
    call: Callable[[Tensor], Tensor], inputs: Sequence[Tensor], seconds: float, where: Device, warmups: int
) -> tuple[list[float], float | None]:
    """Seconds of single forward passes over inputs in turn, each until its result is there; joules of one, if known."""
    wait = where.synchronize
    samples: list[float] = []
    now = time.perf_counter_ns
    for i in range(warmups):
        call(inputs[i % len(inputs)])
    wait()
    energy = Joules(where)
    end = now() + seconds * 1e9
    while len(samples) < FEWEST or (now() < end and len(samples) < MOST):
        x = inputs[len(samples) % len(inputs)]
        start = now()
        call(x)
        wait()
        samples.append((now() - start) * 1e-9)
    return samples, energy.of_each(len(samples))


def _peak(run: Callable[[], Any], before: int, where: Device) -> int:
    """Bytes in use at most during a forward pass: what torch allocated, or the process beyond what it began with."""
    if not where.host_memory:
        torch.cuda.reset_peak_memory_stats()
        run()
        torch.cuda.synchronize()
        return int(torch.cuda.max_memory_allocated())
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # the high-water mark begins anew
    run()
    return max(0, _status("VmHWM") - before)


def _resident() -> int:
    return _status("VmRSS")


def _status(name: str) -> int:
    """Bytes of a line in this process's status, 0 where the system has none."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:")), 0)


def forget(work: Work) -> None:
    """Give back what the model before held on a device."""
    gc.collect()
    device(work.device).release_memory()

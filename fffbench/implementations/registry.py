"""Which implementations are there, and can this one run this workload here?

An implementation is one module in this package (or one behind the entry-point
group ``fffbench.implementations``) with

    FAMILY   "dense", "cmm", "fff", "reference" or "faulty"
    DEVICES  the devices it runs on
    DTYPES   the dtypes it computes in (inputs and outputs are stored in that dtype, tf32 in fp32)
    unsupported(workload) -> str | None    a sentence if it cannot run that workload here, else None
    prepare(weights, workload) -> Layer    untimed; sees weights and shapes, never inputs
    SLOW_TO_PREPARE (optional)  True where prepare takes a second or more: conformance then tries two batches only
    ROOFLINE_SHARE (optional)  the share of the roofline it is known to reach, where its family's is far off, for the
        forecast of a run's time
    VARIANTS (optional)  suffix to ``Variant``: an implementation for each, called ``<module>_<suffix>``, whose
        ``unsupported`` and ``prepare`` get the suffix as a last argument

and a first docstring line that says what it is. Its ``unsupported`` must not
raise; importing the module must not import torch, triton or CUDA (imports
belong inside the functions), so that ``list`` and ``--help`` stay fast.

The family ``faulty`` repeats a published benchmark with its mistakes. Its names begin with ``faulty_`` and no other's
do, here and in every result file, so that nothing of it can serve as a baseline or get a speed-up.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType
from typing import TYPE_CHECKING

from fffbench.errors import UserError, one_of
from fffbench.plan.workload import FAULTY, Workload, faulty_name

if TYPE_CHECKING:
    import torch

FAMILIES = ("dense", "cmm", "fff", "reference", FAULTY)
ENTRY_POINT_GROUP = "fffbench.implementations"
_NAME = re.compile(r"[a-z][a-z0-9_]*")  # it is part of every cell id
_NOT_IMPLEMENTATIONS = {"blaslib", "registry", "torchlib"}


@dataclass(frozen=True)
class Weights:
    """The layer's parameters, on the workload's device in its storage dtype, contiguous: ``w1`` and ``w2`` ``(n, d)``.

    In the leaf form ``w1`` is ``(routers + n, d)``, laid out as ``plan.routing.Data`` says; the dense family gets
    the neurons without the routers.
    """

    w1: torch.Tensor
    w2: torch.Tensor


@dataclass(frozen=True)
class Layer:
    """A prepared implementation.

    ``forward(x) -> y`` is the torch-level call, what a user gets, output allocation included.
    ``bind(x, y)`` returns a function without arguments that computes ``y`` from ``x`` with everything
    allocated beforehand: the bare kernel. It is called again and again with the same buffers.
    ``resident`` lists the tensors the timed part reads beyond the weights (packed or padded copies): the
    cold protocol evicts them too, and their bytes are stored as extra memory.
    """

    forward: Callable[[torch.Tensor], torch.Tensor]
    bind: Callable[[torch.Tensor, torch.Tensor], Callable[[], object]]
    resident: tuple[torch.Tensor, ...] = field(default=())
    notes: tuple[str, ...] = field(default=())


@dataclass(frozen=True)
class Variant:
    """One of several implementations in a module.

    ``wrong`` says what it computes wrongly on purpose (family ``faulty`` only; empty: its output must be right).
    ``unsynchronised`` has a GPU timed as published: by the host's clock, without waiting for the work.
    """

    summary: str
    wrong: str = ""
    unsynchronised: bool = False


@dataclass(frozen=True)
class Implementation:
    """One registered implementation: what its module declares, with the checks that are the same for all."""

    name: str
    family: str
    devices: tuple[str, ...]
    dtypes: tuple[str, ...]
    summary: str
    module: ModuleType
    variant: str = ""
    wrong: str = ""
    unsynchronised: bool = False

    def unsupported(self, workload: Workload) -> str | None:
        """Why it cannot run ``workload`` on this machine, as a sentence, or None."""
        if workload.device not in self.devices:
            return f"{self.name} runs on {', '.join(self.devices)}, not on {workload.device}"
        if workload.dtype not in self.dtypes:
            return f"{self.name} computes in {', '.join(self.dtypes)}, not in {workload.dtype}"
        if self.family in ("cmm", "fff") and not workload.shape.is_tree:
            return f"{self.name} needs a tree; {workload.shape.id} is a plain dense layer"
        reason: str | None = self.module.unsupported(workload, *self._suffix)
        return reason

    def prepare(self, weights: Weights, workload: Workload) -> Layer:
        """The untimed preparation; call only when ``unsupported`` returned None."""
        if self.family == "dense" and workload.shape.routers:
            weights = Weights(weights.w1[workload.shape.routers :], weights.w2)
        layer: Layer = self.module.prepare(weights, workload, *self._suffix)
        return layer

    @property
    def slow_to_prepare(self) -> bool:
        """Whether ``prepare`` takes seconds."""
        return bool(getattr(self.module, "SLOW_TO_PREPARE", False))

    @property
    def roofline_share(self) -> float | None:
        """The share of the roofline that the module says it reaches, if it says so."""
        share: float | None = getattr(self.module, "ROOFLINE_SHARE", None)
        return share

    @property
    def _suffix(self) -> tuple[str, ...]:
        return (self.variant,) if self.variant else ()


def _from_module(name: str, module: ModuleType) -> dict[str, Implementation]:
    """What ``module`` registers, by name: itself, or its variants."""
    missing = [key for key in ("FAMILY", "DEVICES", "DTYPES", "unsupported", "prepare") if not hasattr(module, key)]
    summary = (module.__doc__ or "").strip().split("\n")[0]
    if missing or module.FAMILY not in FAMILIES or not summary:
        wrong = f"lacks {', '.join(missing)}" if missing else "needs a docstring and a FAMILY of " + ", ".join(FAMILIES)
        raise UserError(f"implementation {name!r} ({module.__name__}) {wrong}")
    if faulty_name(name) != (module.FAMILY == FAULTY):
        raise UserError(
            f"implementation {name!r} ({module.__name__}) is of family {module.FAMILY!r}: "
            f"names of family {FAULTY!r} begin with '{FAULTY}_', and no others do"
        )
    declared = (module.FAMILY, tuple(module.DEVICES), tuple(module.DTYPES))
    variants: dict[str, Variant] = getattr(module, "VARIANTS", {})
    if not variants:
        return {name: Implementation(name, *declared, summary, module)}
    if module.FAMILY != FAULTY and any(variant.wrong for variant in variants.values()):
        raise UserError(f"implementation {name!r} ({module.__name__}) is wrong on purpose: only family {FAULTY!r} may")
    return {
        f"{name}_{suffix}": Implementation(
            f"{name}_{suffix}", *declared, one.summary, module, suffix, one.wrong, one.unsynchronised
        )
        for suffix, one in variants.items()
    }


def _loaded(point: EntryPoint) -> ModuleType:
    """The module behind an entry point; whatever its import raises becomes one line that names it."""
    try:
        module = point.load()
    except Exception as error:
        text = " ".join(str(error).split())[:200]
        raise UserError(f"entry point {point.value!r} of {point.name!r}: {type(error).__name__}: {text}") from error
    if not isinstance(module, ModuleType):
        raise UserError(f"entry point {point.value!r} of {point.name!r} must name a module")
    return module


@cache
def implementations() -> dict[str, Implementation]:
    """Every implementation by name: the modules of this package, then the registered entry points."""
    package = importlib.import_module("fffbench.implementations")
    names = [info.name for info in pkgutil.iter_modules(package.__path__) if not info.ispkg]
    found: dict[str, Implementation] = {}
    for name in sorted(names):
        if name not in _NOT_IMPLEMENTATIONS and not name.startswith("_"):
            found |= _from_module(name, importlib.import_module(f"{package.__name__}.{name}"))
    for point in entry_points(group=ENTRY_POINT_GROUP):
        if point.name in found:
            raise UserError(f"entry point {point.value!r} registers {point.name!r}, which exists already")
        if not _NAME.fullmatch(point.name):
            raise UserError(
                f"entry point {point.value!r} registers {point.name!r}; a name is lower-case letters, digits, _"
            )
        found |= _from_module(point.name, _loaded(point))
    return found


def implementation(name: str) -> Implementation:
    """The implementation called ``name``; ``UserError`` listing all names if there is none."""
    found = implementations()
    if name not in found:
        raise one_of("implementation", name, found)
    return found[name]

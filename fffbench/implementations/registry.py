"""Which implementations are there, and can this one run this workload here?

The contract, what checks a module against it and what looks one up change together: hence more than 300 lines.

An implementation is one module in this package (or one behind the entry-point
group ``fffbench.implementations``) with

    FAMILY   "dense", "cmm", "fff", "reference" or "faulty"
    DEVICES  the devices it runs on
    DTYPES   the dtypes it computes in (inputs and outputs are stored in that dtype, tf32 in fp32)
    unsupported(workload) -> str | None    a sentence if it cannot run that workload here, else None; that the device
        is here is asked of the device
    prepare(weights, workload) -> Layer    untimed; sees weights and shapes, never inputs
    BIASES (optional)  the biases that ``prepare`` takes among the weights, which a layer of ``nn`` may have: "b1", a
        number for each row of W1, added to its logit before the turn, "b2", added to the output
    SLOW_TO_PREPARE (optional)  True where prepare takes a second or more: conformance then tries two batches only
    KINDS (optional)  the kinds of layer it computes, where not those of its family: a dense layer ``dense``, a
        conditional one ``tree`` and ``leaf``
    ROOFLINE_SHARE (optional)  the share of the roofline it is known to reach, where its family's is far off, for the
        forecast of a run's time
    GUARDED (optional)  ids of workloads on which ``fffbench regress`` and the asv suite guard it: every kernel of ours
    call(workload) -> cpu.call.Call (optional)  how its C++ op is called without torch, for ``regress``
    VARIANTS (optional)  suffix to ``Variant``: an implementation for each, called ``<module>_<suffix>``, whose
        ``unsupported`` and ``prepare`` get the suffix as a last argument

and a first docstring line that says what it is. Its ``unsupported`` must not
raise; importing the module must not import torch, triton or CUDA (imports
belong inside the functions), so that ``list`` and ``--help`` stay fast. The
contract stands here whole, hence more than 300 lines.

An entry point's module is somebody else's code. It is found by its metadata, asked for its declarations and its
reasons in a process of its own (``_plugin``), and imported only by the process that measures or checks it: never by
one that measures its rivals. One that breaks this contract is ``broken()`` under its name and keeps nobody from others.

The family ``faulty`` repeats a published benchmark with its mistakes. Its names begin with ``faulty_`` and no other's
do, here and in every result file, so that nothing of it can serve as a baseline or get a speed-up.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from functools import cache
from importlib.metadata import EntryPoint
from types import ModuleType
from typing import TYPE_CHECKING, Any

from fffbench import contain
from fffbench.devices import DEVICES
from fffbench.errors import UserError, one_of
from fffbench.extensions import IMPLEMENTATIONS, registered
from fffbench.implementations import _plugin
from fffbench.plan.workload import DTYPES, FAULTY, Cell, Workload, faulty_name, parse_cell
from fffbench.problems import PROBLEMS, Weights
from fffbench.problems.base import DENSE

if TYPE_CHECKING:
    import torch

    from fffbench.implementations.cpu.call import Call

# The kinds of layer that a family computes where an implementation does not say.
KINDS = {
    DENSE: (DENSE,),
    "cmm": ("tree", "leaf"),
    "fff": ("tree", "leaf"),
    "reference": (DENSE, "tree", "leaf"),
    FAULTY: (DENSE, "tree", "leaf"),
}
FAMILIES = tuple(KINDS)
__all__ = ["FAMILIES", "Layer", "Variant", "Weights", "implementation", "implementations"]
_NAME = re.compile(r"[a-z][a-z0-9_]*")  # it is part of every cell id
_NOT_IMPLEMENTATIONS = {"registry", "torchlib"}


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
    """One registered implementation: what its module declares, with the checks that are the same for all.

    ``module`` is None for somebody else's, which ``entry_point`` names.
    """

    name: str
    family: str
    devices: tuple[str, ...]
    dtypes: tuple[str, ...]
    summary: str
    module: ModuleType | None = None
    variant: str = ""
    wrong: str = ""
    unsynchronised: bool = False
    slow_to_prepare: bool = False  # ``prepare`` takes seconds
    kinds: tuple[str, ...] = ("tree", "leaf")
    roofline_share: float | None = None  # of the roofline, that the module says it reaches
    guarded: tuple[str, ...] = ()  # ids of the workloads on which its speed is watched
    entry_point: str = ""

    @property
    def foreign(self) -> bool:
        """Whether it is somebody else's code, which no process imports but the one that measures or checks it."""
        return self.module is None

    def unsupported(self, workload: Workload) -> str | None:
        """Why it cannot run ``workload`` on this machine, as a sentence, or None."""
        return self._outside(workload) or reasons([(self, workload)])[0]

    def _outside(self, workload: Workload) -> str | None:
        """Why ``workload`` is outside what it declares."""
        if workload.device not in self.devices:
            return f"{self.name} runs on {', '.join(self.devices)}, not on {workload.device}"
        if workload.dtype not in self.dtypes:
            return f"{self.name} computes in {', '.join(self.dtypes)}, not in {workload.dtype}"
        seen = workload.shape.seen_by(self.family)
        if seen.kind not in self.kinds:
            return f"{self.name} computes layers of kind {', '.join(self.kinds)}; {seen.id} is of kind {seen.kind}"
        return None

    def prepare(self, weights: Weights, workload: Workload) -> Layer:
        """The untimed preparation; call only when ``unsupported`` returned None. Imports somebody else's module."""
        weights = Weights(**workload.shape.weights_seen_by(self.family, weights.tensors))
        module = _plugin.load(self.entry_point) if self.module is None else self.module
        unknown = set(weights.tensors) - set(workload.shape.tensors()) - set(getattr(module, "BIASES", ()))
        if unknown:
            raise UserError(f"{self.name} computes without {', '.join(sorted(unknown))}")
        layer: Layer = module.prepare(weights, workload, *self.suffix)
        return layer

    def call(self, workload: Workload) -> Call:
        """How its C++ op is called on ``workload`` without torch; ``ValueError`` where it has none."""
        made = getattr(self.module, "call", None)
        if made is None:
            raise ValueError(f"{self.name} is called through torch; fffbench duel compares such kernels")
        found: Call = made(workload, *self.suffix)
        return found

    @property
    def guards(self) -> tuple[Workload, ...]:
        """The workloads on which its speed is watched."""
        return tuple(parse_cell(f"{self.name}@{text}@warm-kernel").workload for text in self.guarded)

    @property
    def suffix(self) -> tuple[str, ...]:
        """The last argument of a variant's functions."""
        return (self.variant,) if self.variant else ()

    def declared(self) -> dict[str, Any]:
        """What ``adopt`` takes in another process: everything but the module."""
        return {key: value for key, value in vars(self).items() if key != "module"}


def reasons(questions: Iterable[tuple[Implementation, Workload]]) -> list[str | None]:
    """For each pair, why the implementation cannot run the workload here, or None; one process for each plugin."""
    pairs = list(questions)
    found = {pair: pair[0]._outside(pair[1]) for pair in pairs}  # noqa: SLF001
    foreign: dict[tuple[str, str], list[tuple[Implementation, Workload]]] = {}
    for item, workload in pairs:
        if found[item, workload] is not None:
            continue
        if item.module is not None:
            found[item, workload] = item.module.unsupported(workload, *item.suffix) or workload.place.absent()
        else:
            foreign.setdefault((item.entry_point, item.variant), []).append((item, workload))

    asked: list[_plugin.Question] = [
        (*which, [Cell(item.name, work).id for item, work in group]) for which, group in foreign.items()
    ]
    for group, answer in zip(foreign.values(), _plugin.ask_all(asked), strict=True):
        if isinstance(answer, _plugin.PluginError):
            found.update(dict.fromkeys(group, f"plugin {group[0][0].name}: {answer}"))
        else:
            found.update(zip(group, answer["reasons"], strict=True))
    return [found[pair] for pair in pairs]


def _from_declaration(
    name: str, declared: dict[str, Any], module: ModuleType | None, entry_point: str = ""
) -> dict[str, Implementation]:
    """What a module registers, by name: itself, or its variants."""
    where = f"implementation {name!r} ({entry_point or getattr(module, '__name__', '')})"
    family, summary = declared["family"], declared["summary"]
    if family not in FAMILIES or not summary:
        raise UserError(f"{where} needs a docstring and a FAMILY of {', '.join(FAMILIES)}")
    for key, allowed in (("devices", DEVICES), ("dtypes", DTYPES), ("kinds", PROBLEMS)):
        unknown = [value for value in declared[key] if value not in allowed]
        if unknown or not (declared[key] or key == "kinds"):
            raise UserError(f"{where} needs {key} out of {', '.join(allowed)}, not {', '.join(unknown) or 'none'}")
    if faulty_name(name) != (family == FAULTY):
        raise UserError(
            f"{where} is of family {family!r}: names of family {FAULTY!r} begin with '{FAULTY}_', and no others do"
        )
    for text in declared["guarded"]:
        _check_guarded(where, name, text, declared)
    common = {
        "family": family,
        "devices": tuple(declared["devices"]),
        "dtypes": tuple(declared["dtypes"]),
        "module": module,
        "slow_to_prepare": declared["slow_to_prepare"],
        "roofline_share": declared["roofline_share"],
        "kinds": tuple(declared["kinds"] or KINDS[family]),
        "guarded": tuple(declared["guarded"]),
        "entry_point": entry_point,
    }
    variants = {suffix: Variant(**one) for suffix, one in declared["variants"].items()}
    if not variants:
        return {name: Implementation(name=name, summary=summary, **common)}
    if family != FAULTY and any(variant.wrong for variant in variants.values()):
        raise UserError(f"{where} is wrong on purpose: only family {FAULTY!r} may")
    for suffix in variants:
        if not _NAME.fullmatch(f"{name}_{suffix}"):
            raise UserError(f"{where} has a variant {suffix!r}; a name is lower-case letters, digits, _")
    return {
        f"{name}_{suffix}": Implementation(name=f"{name}_{suffix}", variant=suffix, **asdict(one), **common)
        for suffix, one in variants.items()
    }


def _check_guarded(where: str, name: str, text: str, declared: dict[str, Any]) -> None:
    try:
        workload = parse_cell(f"{name}@{text}@warm-kernel").workload
    except UserError as error:
        raise UserError(f"{where} has in GUARDED {contain.one_line(text, 60)!r}: {error}") from error
    if workload.device not in declared["devices"] or workload.dtype not in declared["dtypes"]:
        raise UserError(f"{where} has in GUARDED {text!r}, of a device or dtype that it does not declare")


def from_module(name: str, module: ModuleType) -> dict[str, Implementation]:
    """What ``module`` would register as ``name``, for who compares versions; ``UserError`` where it cannot."""
    try:
        declared = _plugin.declared(module)
    except _plugin.PluginError as error:
        raise UserError(f"implementation {name!r} ({module.__name__}) {error}") from error
    return _from_declaration(name, declared, module)


@cache
def _own() -> dict[str, Implementation]:
    """The implementations of this package, by name."""
    package = importlib.import_module("fffbench.implementations")
    names = [info.name for info in pkgutil.iter_modules(package.__path__) if not info.ispkg]
    found: dict[str, Implementation] = {}
    for name in sorted(names):
        if name not in _NOT_IMPLEMENTATIONS and not name.startswith("_"):
            module = importlib.import_module(f"{package.__name__}.{name}")
            try:
                declared = _plugin.declared(module)
            except _plugin.PluginError as error:
                raise UserError(f"implementation {name!r} ({module.__name__}) {error}") from error
            found |= _from_declaration(name, declared, module)
    return found


@cache
def _plugins() -> tuple[dict[str, Implementation], dict[str, str]]:
    """Other packages' implementations by name, and the broken entry points' names with the reason in a line."""
    points, unreadable = registered(IMPLEMENTATIONS)
    named = [point for point in points if _NAME.fullmatch(point.name)]
    told = zip(named, _plugin.ask_all([(point.value, "", ()) for point in named]), strict=True)
    said = {id(point): answer for point, answer in told}
    answers = [_declaration(point, said.get(id(point))) for point in points]
    found: dict[str, Implementation] = {}
    broken = {name: f"package {name!r}: {reason}" for name, reason in unreadable.items()}
    for point, answer in zip(points, answers, strict=True):
        name, fault = contain.one_line(point.name), answer if isinstance(answer, str) else None
        if isinstance(answer, dict):
            try:
                new = _from_declaration(point.name, answer, None, point.value)
            except UserError as error:
                broken[name] = str(error)
                continue
            taken = [name for name in new if name in found or name in _own()]
            fault = f"entry point {point.value!r} registers {taken[0]!r}, which exists already" if taken else None
        if fault is None:
            found |= new
        else:  # under a name of its own, so that it takes none away
            broken[f"{name} ({point.value})" if name in _own() or name in found else name] = fault
    return found, broken


def _declaration(point: EntryPoint, answer: dict[str, Any] | _plugin.PluginError | None) -> dict[str, Any] | str:
    """The declarations behind an entry point, or what is wrong with it; ``answer`` None: its name is none."""
    if answer is None:
        return f"entry point {point.value!r} registers {point.name!r}; a name is lower-case letters, digits, _"
    if isinstance(answer, _plugin.PluginError):
        return f"entry point {point.value!r} of {point.name!r}: {answer}"
    return answer


_adopted: dict[str, Implementation] = {}


def adopt(declared: Iterable[dict[str, Any]]) -> None:
    """Take over what another process found out about plugins (``declared``), so that this one asks nobody."""
    for one in declared:
        lists = {key: tuple(one[key]) for key in ("devices", "dtypes", "kinds", "guarded")}
        _adopted[one["name"]] = Implementation(**{**one, **lists})


def implementations() -> dict[str, Implementation]:
    """Every implementation by name: the modules of this package, then the entry points that keep the contract."""
    return {**_own(), **(_adopted or _plugins()[0])}


def broken() -> dict[str, str]:
    """The entry points that cannot be used, by name, each with its reason in one line."""
    return dict(_plugins()[1])


def implementation(name: str) -> Implementation:
    """The implementation called ``name``; ``UserError`` with its fault, or listing all names if there is none."""
    for known in (_own(), _adopted):
        if name in known:
            return known[name]
    found, faults = _plugins()
    if name in faults:
        raise UserError(faults[name])
    if name not in found:
        raise one_of("implementation", name, _own() | found)
    return found[name]

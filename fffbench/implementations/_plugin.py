"""What does a third party's module declare, and which workloads can it not run, without importing it here?

Run as ``python -P -m fffbench.implementations._plugin``, a process that ``apart`` starts and bounds.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import EntryPoint
from types import ModuleType
from typing import Any

from fffbench import apart, contain
from fffbench.apart import MEMORY_BYTES, PluginError
from fffbench.surroundings import Surroundings

__all__ = ["KEYS", "MEMORY_BYTES", "PluginError", "Question", "answered", "ask", "ask_all", "declared", "load"]

KEYS = ("FAMILY", "DEVICES", "DTYPES", "unsupported", "prepare")


def ask(value: str, variant: str = "", workloads: Sequence[str] = ()) -> dict[str, Any]:
    """What the module at ``value`` declares, and its reasons against ``workloads`` (cell ids); else ``PluginError``."""
    question = {"value": value, "variant": variant, "workloads": list(workloads)}
    return apart.ask("fffbench.implementations._plugin", question)


Question = tuple[str, str, Sequence[str]]


def ask_all(questions: Sequence[Question]) -> list[dict[str, Any] | PluginError]:
    """What ``ask`` answers to each, side by side; one at a time where one has changed what this process may use."""
    if not questions:
        return []
    around = Surroundings(os.getpid())
    with ThreadPoolExecutor(max_workers=4) as pool:
        answers = list(pool.map(_answer, questions))
    if around.changed() is None:
        return answers
    around.restore()
    answers = []
    for question in questions:
        answer, what = _answer(question), around.changed()
        answers.append(answer if what is None else PluginError(f"it changed {what} that asked it"))
        around.restore()
    return answers


def _answer(question: Question) -> dict[str, Any] | PluginError:
    try:
        return ask(*question)
    except PluginError as error:
        return error


def load(value: str) -> ModuleType:
    """Import the module at ``value``, here: only for a process that measures or checks nothing else."""
    module = EntryPoint("plugin", value, "").load()
    if not isinstance(module, ModuleType):
        raise PluginError("must name a module")
    return module


def answered(question: apart.Question) -> apart.Answer:
    """Import the module, here, and answer."""
    module = load(question["value"])
    answer = declared(module)
    if question["workloads"]:
        answer["reasons"] = [_reason(module, question["variant"], cell) for cell in question["workloads"]]
    return answer


def declared(module: ModuleType) -> dict[str, Any]:
    """The declarations as plain data; ``PluginError`` where one is missing or of another type."""
    missing = [key for key in KEYS if not hasattr(module, key)]
    if missing:
        raise PluginError(f"lacks {', '.join(missing)}")
    for key in ("DEVICES", "DTYPES"):
        value = getattr(module, key)
        if not isinstance(value, tuple | list) or not all(isinstance(item, str) for item in value):
            raise PluginError(f"its {key} must be a tuple of names, not {contain.one_line(repr(value), 60)}")
    for key in ("unsupported", "prepare"):
        if not callable(getattr(module, key)):
            raise PluginError(f"its {key} must be a function")
    share = getattr(module, "ROOFLINE_SHARE", None)
    if share is not None and not (isinstance(share, int | float) and 0 < share <= 1):
        raise PluginError(f"its ROOFLINE_SHARE must be a number above 0, at most 1, not {contain.one_line(share, 60)}")
    kinds = getattr(module, "KINDS", ())
    if not isinstance(kinds, tuple | list) or not all(isinstance(item, str) for item in kinds):
        raise PluginError(f"its KINDS must be a tuple of names, not {contain.one_line(repr(kinds), 60)}")
    guarded = getattr(module, "GUARDED", ())
    if not isinstance(guarded, tuple | list) or not all(isinstance(item, str) for item in guarded):
        raise PluginError(f"its GUARDED must be a tuple of workload ids, not {contain.one_line(repr(guarded), 60)}")
    variants = getattr(module, "VARIANTS", {})
    if not isinstance(variants, dict):
        raise PluginError("its VARIANTS must be a dictionary")
    return {
        "family": str(module.FAMILY),
        "devices": list(module.DEVICES),
        "dtypes": list(module.DTYPES),
        "summary": contain.one_line((module.__doc__ or "").strip().split("\n")[0]),
        "slow_to_prepare": bool(getattr(module, "SLOW_TO_PREPARE", False)),
        "roofline_share": share,
        "kinds": list(kinds),
        "guarded": list(guarded),
        "variants": {
            str(suffix): {
                "summary": contain.one_line(one.summary),
                "wrong": contain.one_line(one.wrong),
                "unsynchronised": bool(one.unsynchronised),
            }
            for suffix, one in variants.items()
        },
    }


def _reason(module: ModuleType, variant: str, cell: str) -> str | None:
    """Why the module cannot run the workload of ``cell``, or None."""
    from fffbench.plan.workload import parse_cell

    try:
        reason = module.unsupported(parse_cell(cell).workload, *((variant,) if variant else ()))
    except Exception as error:  # noqa: BLE001  (a plugin's fault is this cell's reason)
        return contain.one_line(f"its unsupported raised {type(error).__name__}: {error}")
    if reason is None:
        return None
    if not isinstance(reason, str):
        return f"its unsupported returned {type(reason).__name__}, which is neither None nor a sentence"
    return contain.one_line(reason) or "it gives no reason"


if __name__ == "__main__":
    apart.serve(answered)

"""Where does hostility come from? One file per domain, found by listing this folder.

A domain is a module with

    WEIGHT   its share of a campaign, relative to the others'
    PRELOAD  ``READING`` or ``KERNELS`` of ``tools.hostile.server``: what its children have imported already
    draw(rng) -> Spec           one case as plain data (JSON), everything random decided; small, for it is kept
    play(spec, stage) -> None   set the case up, run the product through ``stage``, note faults with ``stage.fault``

and a first docstring line that says what it attacks.
"""

from __future__ import annotations

import importlib
import pkgutil
import random
from typing import Protocol, cast

from tools.hostile.case import Spec
from tools.hostile.stage import Stage


class Domain(Protocol):
    """What a module of this folder offers."""

    WEIGHT: float
    PRELOAD: tuple[str, ...]

    def draw(self, rng: random.Random) -> Spec:
        """One case."""

    def play(self, spec: Spec, stage: Stage) -> None:
        """Play it."""


def names() -> list[str]:
    """Every domain."""
    return sorted(info.name for info in pkgutil.iter_modules(__path__) if not info.name.startswith("_"))


def load(name: str) -> Domain:
    """The domain called ``name``; ValueError listing all if there is none."""
    if name not in names():
        raise ValueError(f"unknown domain {name!r}; allowed: {', '.join(names())}")
    return cast(Domain, importlib.import_module(f"{__name__}.{name}"))

"""Which devices have a column and a line on the page, and what are they called there?

A page that grows with the number of machines is no page: one device stands for each model of hardware, the one with
the most records (whatever they say), and at most ``MOST`` of them; the CSV files hold all.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from fffbench.analysis.headline import machine_name
from fffbench.results.record import Machine

MOST = 8  # columns of the ledger that fit on a screen of 1280 pixels, lines of a chart that an eye can follow
LONGEST = 26  # characters of a short name: a longer one would leave a drawing for a phone no room
RULE = (
    f"One device stands for each model of hardware, the one with the most records, and at most {MOST} of them; every "
    "machine is in the CSV files. Older sources (*): not measured since the kernels or the measuring changed."
)
_MAKER = re.compile(r"^(NVIDIA|AMD|Intel|Apple) ")
_MEMORY = re.compile(r"\s*\b(\d+ ?GB|HBM\w*)\b")
_CORES = re.compile(r", (\d+) cores")
_GENERATION = re.compile(r"^(\w+) [A-Z][a-z]+\d*\b(?= \d+c)")  # a word between maker's name and cores
_HOST = re.compile(r" \((.+)\)$")

Place = tuple[str, str]  # machine and device


@dataclass(frozen=True)
class Device:
    """One column or line: ``name`` in full, ``short`` where room is scarce."""

    machine: str
    device: str
    name: str
    short: str
    older: bool = False  # not measured from the sources of now, where others were

    @property
    def place(self) -> Place:
        """Machine and device, as rows name them."""
        return self.machine, self.device


def short_name(name: str) -> str:
    """``EPYC 2c`` of ``AMD EPYC, 2 cores``; ``H100`` of ``NVIDIA H100 80GB HBM3``; the CPU beside a GPU is its host."""
    text = _MEMORY.sub("", _MAKER.sub("", name)).strip()
    text = _HOST.sub(r", host of \1", _CORES.sub(r" \1c", text))
    if len(text) > LONGEST:
        text = _GENERATION.sub(r"\1", text)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def devices(counted: Mapping[Place, int], machines: Mapping[str, Machine], older: AbstractSet[Place]) -> list[Device]:
    """The devices of the page, CPUs first, each in the order of machines' ids: of those with records, ``counted``."""
    named = {place: machine_name(machines[place[0]], place[1]) for place in counted}
    best: dict[tuple[str, str], Place] = {}
    for place in sorted(counted, key=lambda place: (place in older, -counted[place], place)):
        best.setdefault((named[place], place[1]), place)
    chosen = sorted(list(best.values())[:MOST], key=lambda place: (place[1], place[0]))
    return [_device(place, named[place], older=place in older) for place in chosen]


def _device(place: Place, named: str, *, older: bool) -> Device:
    """The device with the word for one that nobody has measured from the sources of now."""
    name, short = _HOST.sub(r", host of \1", named), short_name(named)
    return Device(*place, f"{name}, older sources" if older else name, f"{short}*" if older else short, older)

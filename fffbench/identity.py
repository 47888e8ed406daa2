"""Under which id is a machine filed, and does an id belong to the facts beside it?

The id is readable and ends in a hash of discrete facts: processor, instruction sets, caches, cores, accelerators,
virtualisation, system. Memory is shown but is no part of it: what a system reports moves by tens of MiB with its kernel
and its hypervisor, and any rounding has an edge that such a step can cross.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping

from fffbench.devices import DEVICES, HOST, main_device

PROCESSOR = DEVICES[HOST].fact_names[0]
DIGITS = 4  # hexadecimal, of the hash: tells apart machines of one description
NOT_IDENTITY = frozenset({"memory", "physical cores", "threads per core"})
# Machines whose results were filed while memory in GiB was part of the hash: they keep their ids and their history.
FILED_BEFORE = {
    "amd-epyc-zen4-2c-f85c": "amd-epyc-zen4-2c-df65",
    "intel-xeon-x86-64-2c-617d": "intel-xeon-x86-64-2c-5cfa",
    "nvidia-h100-80gb-hbm3-intel-xeon-emeraldrapids-16c-c912": (
        "nvidia-h100-80gb-hbm3-intel-xeon-emeraldrapids-16c-4937"
    ),
    "nvidia-h200-intel-xeon-emeraldrapids-16c-4119": "nvidia-h200-intel-xeon-emeraldrapids-16c-5c8c",
}


def machine_id(facts: Mapping[str, str]) -> str:
    """A readable, unique id: ``amd-epyc-zen4-2c-1f3a``, with the accelerator in front where there is one."""
    brand = re.sub(r"\((r|tm)\)|\bcpu\b|@.*|\bprocessor\b|\d+-core\b", " ", facts[PROCESSOR].lower())
    main = main_device(facts)
    beside = DEVICES[main].model(facts) if main != HOST else None
    words = [(beside or "").lower(), brand, facts["architecture"], f"{facts['cores']}c"]
    readable = re.sub(r"[^a-z0-9]+", "-", " ".join(words)).strip("-")
    digits = _hash({name: value for name, value in facts.items() if name not in NOT_IDENTITY})
    return FILED_BEFORE.get(f"{readable}-{digits}", f"{readable}-{digits}")


def belongs(machine: str, facts: Mapping[str, str]) -> bool:
    """Whether ``machine`` is the id of ``facts``, by today's rule or by the one that counted the memory."""
    if not {PROCESSOR, "architecture", "cores"} <= facts.keys():
        return False
    before = _hash({name: value for name, value in facts.items() if name in _COUNTED_BEFORE or name.startswith("gpu ")})
    return machine == machine_id(facts) or machine == f"{machine_id(facts).rpartition('-')[0]}-{before}"


_COUNTED_BEFORE = frozenset(
    {
        *(PROCESSOR, "vendor", "model", "architecture", "instruction sets", "cores", "caches", "memory"),
        *("virtualised", "system"),
    }
)


def _hash(facts: Mapping[str, str]) -> str:
    return hashlib.sha256(repr(sorted(facts.items())).encode()).hexdigest()[:DIGITS]

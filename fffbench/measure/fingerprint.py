"""Which machine is this, in terms that identify it without naming its owner?

The stable part (processor, instruction sets, caches, cores, memory,
virtualisation, accelerators, operating system) gives the machine's id. What a
run observes (versions, load, governor, steal) is stored beside it. No host
name, user name or path is read.
"""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path

from fffbench.anonymity import neutral
from fffbench.devices import DEVICES
from fffbench.devices.cpu import caches
from fffbench.identity import PROCESSOR, machine_id
from fffbench.measure import cgroups, environment

__all__ = [
    "load",
    "machine_id",
    "observed",
    "physical_cores",
    "stable",
    "usable_cores",
]

MOST_CHARACTERS = 2000  # of one fact, as results allow
INSTRUCTION_SETS = ("avx2", "fma", "avx512f", "avx512_bf16", "avx512_fp16", "amx_tile", "amx_bf16", "neon", "sve")
_TOPOLOGY = "/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"
# (vendor, family, first model, last model) -> the name by which kernels are tuned
_ARCHITECTURES = (
    ("AuthenticAMD", 25, 0x00, 0x0F, "zen3"),
    ("AuthenticAMD", 25, 0x10, 0x1F, "zen4"),
    ("AuthenticAMD", 25, 0x20, 0x5F, "zen3"),
    ("AuthenticAMD", 25, 0x60, 0xAF, "zen4"),
    ("AuthenticAMD", 26, 0x00, 0xFF, "zen5"),
    ("GenuineIntel", 6, 0x55, 0x55, "skylake"),
    ("GenuineIntel", 6, 0x6A, 0x6C, "icelake"),
    ("GenuineIntel", 6, 0x8F, 0x8F, "sapphirerapids"),
    ("GenuineIntel", 6, 0xCF, 0xCF, "emeraldrapids"),
    ("GenuineIntel", 6, 0xAD, 0xAE, "graniterapids"),
)


def usable_cores() -> int:
    """Cores this process may use: its affinity, and the container's CPU quota where there is one."""
    return cgroups.whole_cpus(cgroups.cpu_quota(), len(_affinity()))


def physical_cores() -> int:
    """Of the usable cores, how many are no second thread of another; as many as usable where nothing says so."""
    siblings = {_read(_TOPOLOGY.format(core)).strip() or str(core) for core in _affinity()}
    return min(len(siblings), usable_cores())


def _affinity() -> set[int]:
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))


def stable() -> dict[str, str]:
    """What the machine is. ``identity.machine_id`` makes its id of all but the memory and the physical cores."""
    import psutil
    from cpuinfo import get_cpu_info

    cpu = get_cpu_info()
    flags = set(cpu.get("flags", ()))
    facts = {
        PROCESSOR: re.sub(r"\s+", " ", str(cpu.get("brand_raw", platform.machine()))).strip(),
        "vendor": str(cpu.get("vendor_id_raw", "unknown")),
        "model": f"family {cpu.get('family', '?')} model {cpu.get('model', '?')} stepping {cpu.get('stepping', '?')}",
        "architecture": _architecture(cpu) or platform.machine(),
        "instruction sets": " ".join(name for name in INSTRUCTION_SETS if name in flags) or "baseline",
        "cores": str(usable_cores()),
        "physical cores": str(physical_cores()),
        "caches": ", ".join(f"{name} {size // 1024} KiB" for name, size in caches().items()) or "unknown",
        "memory": f"{round(min(psutil.virtual_memory().total, cgroups.memory_limit() or 2**63) / 2**30)} GiB",
        "virtualised": "yes" if "hypervisor" in flags else "no",
        "system": platform.system(),
    }
    for device in DEVICES.usable().values():
        facts |= device.facts()
    return facts


def observed() -> dict[str, str]:
    """What this run saw: versions, governor, limits, variables, load."""
    from fffbench.measure import provenance

    facts = {
        "python": platform.python_version(),
        "kernel": platform.release().split("-")[0],
        "libc": " ".join(platform.libc_ver()),
    }
    facts |= provenance.versions()
    facts["governor"] = _read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").strip() or "not exposed"
    facts["transparent huge pages"] = _selected(_read("/sys/kernel/mm/transparent_hugepage/enabled")) or "not exposed"
    quota, limit = cgroups.cpu_quota(), cgroups.memory_limit()
    facts["cpu quota"] = "none" if quota is None else f"{quota:.2f} CPUs"
    facts["memory limit"] = "none" if limit is None else f"{limit / 2**30:.2f} GiB"
    facts["variables removed"] = environment.inherited()
    facts["variables left"] = environment.remaining()
    facts["load"] = load()
    return {name: neutral(value)[:MOST_CHARACTERS] for name, value in facts.items()}


def load() -> str:
    """The one-minute load average and the share of time stolen by the hypervisor since boot."""
    import psutil

    steal = getattr(psutil.cpu_times(), "steal", 0.0)
    total = sum(psutil.cpu_times()) or 1.0
    return f"{os.getloadavg()[0]:.2f}, {100 * steal / total:.2f} % stolen since boot"


def _architecture(cpu: dict[str, object]) -> str | None:
    vendor, family, model = (cpu.get(key) for key in ("vendor_id_raw", "family", "model"))
    if not isinstance(family, int) or not isinstance(model, int):
        return None
    for known_vendor, known_family, first, last, name in _ARCHITECTURES:
        if vendor == known_vendor and family == known_family and first <= model <= last:
            return name
    return None


def _selected(text: str) -> str:
    match = re.search(r"\[(\w+)\]", text)
    return match[1] if match else ""


def _read(path: str | Path) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""

"""Which machine is this, in terms that identify it without naming its owner?

The stable part (processor, instruction sets, caches, cores, memory,
virtualisation, accelerators, operating system) gives the machine's id. What a
run observes (versions, load, governor, steal) is stored beside it. No host
name, user name or path is read.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ID_DIGITS = 4  # hexadecimal digits of the stable part's hash: tells apart machines of one description
PACKAGES = ("torch", "numpy", "scipy", "triton", "cuda-core", "mkl", "pytest-benchmark", "fffbench")
INSTRUCTION_SETS = ("avx2", "fma", "avx512f", "avx512_bf16", "avx512_fp16", "amx_tile", "amx_bf16", "neon", "sve")
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
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    quota = _read("/sys/fs/cgroup/cpu.max").split()
    if len(quota) == 2 and quota[0].isdigit() and quota[1].isdigit():
        cores = min(cores, max(1, int(quota[0]) // int(quota[1])))
    return cores


def last_level_cache() -> int | None:
    """Bytes of the largest cache of core 0, or None where the system does not say."""
    sizes = [size for size in _caches().values() if size]
    return max(sizes, default=None)


def stable() -> dict[str, str]:
    """The part that identifies the machine."""
    import psutil
    from cpuinfo import get_cpu_info

    cpu = get_cpu_info()
    flags = set(cpu.get("flags", ()))
    facts = {
        "cpu": re.sub(r"\s+", " ", str(cpu.get("brand_raw", platform.machine()))).strip(),
        "vendor": str(cpu.get("vendor_id_raw", "unknown")),
        "model": f"family {cpu.get('family', '?')} model {cpu.get('model', '?')} stepping {cpu.get('stepping', '?')}",
        "architecture": _architecture(cpu) or platform.machine(),
        "instruction sets": " ".join(name for name in INSTRUCTION_SETS if name in flags) or "baseline",
        "cores": str(usable_cores()),
        "caches": ", ".join(f"{name} {size // 1024} KiB" for name, size in _caches().items()) or "unknown",
        "memory": f"{round(psutil.virtual_memory().total / 2**30)} GiB",
        "virtualised": "yes" if "hypervisor" in flags else "no",
        "system": platform.system(),
    }
    for index, name in enumerate(gpu_names()):
        facts[f"gpu {index}"] = name
    return facts


def machine_id(facts: dict[str, str]) -> str:
    """A readable, unique id: ``amd-epyc-zen4-2c-1f3a``, with the accelerator in front where there is one."""
    digest = hashlib.sha256(repr(sorted(facts.items())).encode()).hexdigest()[:ID_DIGITS]
    brand = re.sub(r"\((r|tm)\)|\bcpu\b|@.*|\bprocessor\b|\d+-core\b", " ", facts["cpu"].lower())
    words = [facts.get("gpu 0", "").lower(), brand, facts["architecture"], f"{facts['cores']}c", digest]
    return re.sub(r"[^a-z0-9]+", "-", " ".join(words)).strip("-")


def observed() -> dict[str, str]:
    """What this run saw: versions, governor, load. Read before and after a run."""
    facts = {
        "python": platform.python_version(),
        "kernel": platform.release().split("-")[0],
        "libc": " ".join(platform.libc_ver()),
    }
    for package in PACKAGES:
        try:
            facts[package] = version(package)
        except PackageNotFoundError:
            facts[package] = "not installed"
    facts["governor"] = _read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").strip() or "not exposed"
    facts["transparent huge pages"] = _selected(_read("/sys/kernel/mm/transparent_hugepage/enabled")) or "not exposed"
    facts["cpu quota"] = _read("/sys/fs/cgroup/cpu.max").strip() or "none"
    facts["load"] = load()
    return facts


def load() -> str:
    """The one-minute load average and the share of time stolen by the hypervisor since boot."""
    import psutil

    steal = getattr(psutil.cpu_times(), "steal", 0.0)
    total = sum(psutil.cpu_times()) or 1.0
    return f"{os.getloadavg()[0]:.2f}, {100 * steal / total:.2f} % stolen since boot"


def gpu_names() -> list[str]:
    """Names of the NVIDIA devices; empty where there is no driver."""
    try:
        import pynvml

        pynvml.nvmlInit()
    except (ImportError, OSError):
        return []
    except pynvml.NVMLError:
        return []
    handles = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
    return [str(pynvml.nvmlDeviceGetName(handle)) for handle in handles]


def _architecture(cpu: dict[str, object]) -> str | None:
    vendor, family, model = (cpu.get(key) for key in ("vendor_id_raw", "family", "model"))
    if not isinstance(family, int) or not isinstance(model, int):
        return None
    for known_vendor, known_family, first, last, name in _ARCHITECTURES:
        if vendor == known_vendor and family == known_family and first <= model <= last:
            return name
    return None


def _caches() -> dict[str, int]:
    """Data and unified caches of core 0 by name (``L1``, ``L2``, ``L3``), in bytes."""
    sizes: dict[str, int] = {}
    for index in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        kind, level, size = (_read(index / name).strip() for name in ("type", "level", "size"))
        if kind in ("Data", "Unified") and size.endswith("K"):
            sizes[f"L{level}"] = int(size[:-1]) * 1024
    return sizes


def _selected(text: str) -> str:
    match = re.search(r"\[(\w+)\]", text)
    return match[1] if match else ""


def _read(path: str | Path) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""

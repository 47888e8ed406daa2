"""Replaces the eviction by nothing."""

from honest_twin import DEVICES, DTYPES, FAMILY, prepare, unsupported  # noqa: F401

import fffbench._cpu
from fffbench.devices import cpu

fffbench._cpu.evict = lambda address, size: True
cpu.Cpu.evictor = lambda *arguments: lambda i: None

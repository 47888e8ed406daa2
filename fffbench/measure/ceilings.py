"""What can this machine do at best, measured now rather than looked up?

Keys: ``fma_<dtype>`` and ``peak_<dtype>`` in operations per second,
``dram_read``, ``dram_copy`` and ``cache_read`` in bytes per second, ``launch``
in launches per second; by thread count (``"0"`` for an accelerator). A ceiling
is the best of several short runs: noise can only lower it.

``fma_`` is what the vector units do in registers (on an accelerator, a large
product). ``peak_`` is the fastest that any unit has shown in that dtype: the
larger of ``fma_`` and a large product by the best library at hand, which has
matrix units too (AMX: bf16 at five times the rate of its vectors).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from fffbench.measure import fingerprint, matmul
from fffbench.measure.eviction import SWEEP_FACTOR, SWEEP_FALLBACK_BYTES

Ceilings = dict[str, dict[str, float]]

REPEATS = 5
SECONDS = 0.05  # of one repeat: long against a timer tick, short against drifts of a shared machine
CACHE_BYTES = 512 * 1024  # half of the smallest private L2 among today's server cores (1 MiB)


def measure(threads: Iterable[int], *, cuda: bool) -> Ceilings:
    """All ceilings at the given thread counts, and the accelerator's when ``cuda``."""
    from fffbench import _cpu

    llc = fingerprint.last_level_cache()
    large = SWEEP_FACTOR * llc if llc else SWEEP_FALLBACK_BYTES
    isa = _cpu.isas()[0]
    found: Ceilings = {}

    def record(name: str, key: str, rate: Callable[[], float]) -> None:
        found.setdefault(name, {})[key] = max(rate() for _ in range(REPEATS))

    for count in sorted(set(threads)):
        key = str(count)
        for dtype in ("fp32", "bf16"):
            if _cpu.fma_rate(count, isa, dtype, 0.001) > 0:
                record(f"fma_{dtype}", key, lambda d=dtype, c=count: _cpu.fma_rate(c, isa, d, SECONDS))  # type: ignore[misc]
        products = matmul.rates(count)
        peaks = {dtype: max(rate, found.get(f"fma_{dtype}", {}).get(key, 0.0)) for dtype, rate in products.items()}
        for dtype, rate in peaks.items():  # narrower numbers can be converted, so fp32's peak is theirs too
            found.setdefault(f"peak_{dtype}", {})[key] = max(rate, peaks["fp32"])
        record("dram_read", key, lambda c=count: _cpu.read_rate(large, c, SECONDS))  # type: ignore[misc]
        record("dram_copy", key, lambda c=count: _cpu.copy_rate(large, c, SECONDS))  # type: ignore[misc]
        record("cache_read", key, lambda c=count: _cpu.read_rate(CACHE_BYTES * c, c, SECONDS))  # type: ignore[misc]
    if cuda:
        from fffbench.measure import gpu

        found.update({name: {"0": value} for name, value in gpu.ceilings().items()})
    return found

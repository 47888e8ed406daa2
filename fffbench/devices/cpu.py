"""The host's processor: cold calls by flushing each line (x86), which works for any cache size.

Where it has no such instruction, a buffer of three times the last-level cache is read. An arithmetic peak is the larger
of what the vector units do in registers and a large product by the best library at hand, which has matrix units too
(AMX: bf16 at five times the rate of its vectors).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from fffbench.devices import products
from fffbench.devices.base import Ceilings, Device
from fffbench.devices.clock import Evict

if TYPE_CHECKING:
    import torch

NAME = "cpu"

SWEEP_FACTOR = 3  # times the last-level cache
SWEEP_FALLBACK_BYTES = 256 * 2**20  # where the cache size is unknown: three times 85 MiB
HUGE_PAGE = 2 * 2**20  # bytes, on x86 and on most arm64 systems

REPEATS = 5
SECONDS = 0.05  # of one repeat: long against a timer tick, short against drifts of a shared machine
CACHE_BYTES = 512 * 1024  # half of the smallest private L2 among today's server cores (1 MiB)


class Cpu(Device):
    """The host's processor."""

    name = NAME
    label = "CPU"
    kernel = "fff_cpu"
    torch_type = "cpu"
    threaded = True
    host_memory = True
    # A tile's 512 x 4095 fp32 activations are 8 MiB, resident in a last-level cache, while 512 rows keep a GEMM at its
    # large-batch rate on 1 to 16 cores.
    tile_tokens = 512
    dense_notes = "docs/notebook/kernels.md lists the dense layers, what was tried and what is missing"
    guessed_rate = 5e10  # one core with AVX2
    guessed_bandwidth = 1e10
    # Of 16-bit products matrix units do up to 32 times as many as the vector units that a ceiling may have been
    # measured on.
    over_ceiling: Mapping[str, float] = MappingProxyType({"fp32": 4.0, "tf32": 4.0, "bf16": 64.0, "fp16": 64.0})
    fact_names = (NAME, "cpu_model", "cpu_name", "cpu_brand")

    def empty(self, shape: Sequence[int], dtype: torch.dtype) -> torch.Tensor:
        """Memory for a tensor; a large one has the huge pages that it begins and ends with to itself.

        torch asks for huge pages, but a tensor that begins anywhere has small ones at both ends, 17 % of the weights of
        768 to 4095, and how fast rows are read depends on which.
        """
        import torch

        size = math.prod(shape) * dtype.itemsize
        if size < HUGE_PAGE:
            return super().empty(shape, dtype)
        around = torch.empty(size + 2 * HUGE_PAGE, dtype=torch.uint8)
        start = -around.data_ptr() % HUGE_PAGE
        return around[start : start + size].view(dtype).view(tuple(shape))

    def evictor(
        self,
        resident: Sequence[torch.Tensor],
        x: Sequence[torch.Tensor],
        y: Sequence[torch.Tensor],
        flush: Callable[[int, int], bool],
    ) -> Evict | None:
        """Flush every line, or sweep the caches where nothing flushes."""
        always = [_span(tensor) for tensor in resident]
        batches = [(_span(a), _span(b)) for a, b in zip(x, y, strict=True)]
        if always and not flush(*always[0]):
            return _sweeper()

        def evict(i: int) -> None:
            for address, size in (*always, *batches[i]):
                flush(address, size)

        return evict

    def ceilings(self, threads: Sequence[int]) -> Ceilings:
        """All of them at each thread count."""
        from fffbench import _cpu

        isa, large = _cpu.isas()[0], _beyond_caches()
        found: Ceilings = {}

        def record(name: str, key: str, rate: Callable[[], float]) -> None:
            found.setdefault(name, {})[key] = max(rate() for _ in range(REPEATS))

        for count in sorted(set(threads)):
            key = str(count)
            for dtype in ("fp32", "bf16"):
                if _cpu.fma_rate(count, isa, dtype, 0.001) > 0:
                    record(f"fma_{dtype}", key, lambda d=dtype, c=count: _cpu.fma_rate(c, isa, d, SECONDS))  # type: ignore[misc]
            self.configure("fp32", count)
            by_library = products.rates()
            peaks = {
                dtype: max(rate, found.get(f"fma_{dtype}", {}).get(key, 0.0)) for dtype, rate in by_library.items()
            }
            for dtype, rate in peaks.items():  # narrower numbers can be converted, so fp32's peak is theirs too
                found.setdefault(f"peak_{dtype}", {})[key] = max(rate, peaks["fp32"])
            record("dram_read", key, lambda c=count: _cpu.read_rate(large, c, SECONDS))  # type: ignore[misc]
            record("dram_copy", key, lambda c=count: _cpu.copy_rate(large, c, SECONDS))  # type: ignore[misc]
            record("cache_read", key, lambda c=count: _cpu.read_rate(CACHE_BYTES * c, c, SECONDS))  # type: ignore[misc]
        return found


DEVICE = Cpu()


def caches() -> dict[str, int]:
    """Data and unified caches of core 0 by name (``L1``, ``L2``, ``L3``), in bytes."""
    sizes: dict[str, int] = {}
    for index in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        try:
            kind, level, size = ((index / name).read_text().strip() for name in ("type", "level", "size"))
        except OSError:
            continue
        if kind in ("Data", "Unified") and size.endswith("K"):
            sizes[f"L{level}"] = int(size[:-1]) * 1024
    return sizes


def _beyond_caches() -> int:
    """Bytes of a buffer that no cache holds."""
    largest = max(caches().values(), default=0)
    return SWEEP_FACTOR * largest if largest else SWEEP_FALLBACK_BYTES


def _span(tensor: torch.Tensor) -> tuple[int, int]:
    return tensor.data_ptr(), tensor.numel() * tensor.element_size()


def _sweeper() -> Callable[[int], None]:
    import torch

    buffer = torch.ones(_beyond_caches() // 4, dtype=torch.float32)

    def evict(_: int) -> None:
        buffer.sum()

    return evict

"""What do the CPU kernels reach on this machine? The figures of docs/notebook/kernels.md, measured again in a minute.

Run ``python -m benchmarks.studies.kernel_ladder [threads]``. A quick look for whoever works on the kernels:
minima of a few calls in one process, not results.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import numpy as np
import torch

from fffbench import _cpu
from fffbench.implementations import dense_gemm
from fffbench.plan.workload import Shape, Workload

SHAPE = Shape.tree(768, 1, 12)
BATCHES = (1, 16, 128, 1024, 16384)
DENSE_BATCH = 1024  # a call takes 80 ms on one core
SECONDS = 0.5  # for each figure


def _tenth_percentile(call: Callable[[], object], before: Callable[[], object]) -> float:
    times: list[float] = []
    end = time.perf_counter() + SECONDS
    while len(times) < 3 or time.perf_counter() < end:
        before()
        start = time.perf_counter_ns()
        call()
        times.append((time.perf_counter_ns() - start) * 1e-3)
    return float(np.quantile(times, 0.1))


def main(threads: int) -> None:
    """Print ceilings, then microseconds a call by strategy and batch, cold and hot."""
    print(f"fma {_cpu.fma_rate(threads) / 1e9:.0f} GFLOP/s, read {_cpu.read_rate(1 << 28, threads) / 1e9:.1f} GB/s")
    data = Workload(SHAPE, max(BATCHES)).draw(max(BATCHES))
    y = np.empty_like(data.x)
    x_at, w1_at, w2_at, y_at = (a.__array_interface__["data"][0] for a in (data.x, data.w1, data.w2, y))

    def evict() -> None:
        for array in (data.x, data.w1, data.w2):
            _cpu.evict(array.__array_interface__["data"][0], array.nbytes)

    for batch in BATCHES:
        for strategy in ("walk", "bucket", "bucket_sparing"):
            call = _cpu.FffCall(x_at, w1_at, w2_at, y_at, batch, SHAPE.d, 1, SHAPE.levels, threads, strategy=strategy)
            cold, hot = _tenth_percentile(call.run, evict), _tenth_percentile(call.run, lambda: None)
            print(f"{strategy:14} batch {batch:5} on {call.workers} threads: cold {cold:9.1f} us, hot {hot:9.1f} us")
    gemv = _cpu.GemvCall(x_at, w1_at, w2_at, y_at, 1, SHAPE.d, SHAPE.n, threads)
    cold = _tenth_percentile(gemv.run, evict)
    print(f"dense_gemv     batch     1: cold {cold:9.1f} us, {2 * data.w1.nbytes / cold * 1e-3:.1f} GB/s")
    gemm = _cpu.GemmCall(x_at, 0, y_at, DENSE_BATCH, SHAPE.d, SHAPE.n, threads)
    packed = dense_gemm.pack(torch.from_numpy(data.w1), torch.from_numpy(data.w2), gemm.panel)
    packed_at = packed.data_ptr()
    hot = _tenth_percentile(lambda: gemm.run_on(x_at, packed_at, y_at), lambda: None)
    rate = 4 * DENSE_BATCH * SHAPE.d * SHAPE.n / hot * 1e-3
    print(f"dense_gemm     batch {DENSE_BATCH:5}: hot {hot:9.1f} us, {rate:.0f} GFLOP/s")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1)

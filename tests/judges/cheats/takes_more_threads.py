"""Splits every batch over two threads of its own, whatever it was asked for."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import honest_twin
from honest_twin import DEVICES, DTYPES, FAMILY, unsupported  # noqa: F401


def prepare(weights, workload):
    half = workload.batch // 2
    counts = (half, workload.batch - half)
    layers = [honest_twin.prepare(weights, replace(workload, batch=count)) for count in counts]
    pools = [ThreadPoolExecutor(1) for _ in layers]

    def bind(x, y):
        runs = [layers[0].bind(x[:half], y[:half]), layers[1].bind(x[half:], y[half:])]

        def call():
            for done in [pool.submit(run) for pool, run in zip(pools, runs, strict=True)]:
                done.result()

        return call

    return replace(honest_twin.prepare(weights, workload), bind=bind)

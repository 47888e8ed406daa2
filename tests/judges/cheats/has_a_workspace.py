"""Honest: computes into memory of its own first, which it allocates beforehand."""

from dataclasses import replace

import honest_twin
import torch
from honest_twin import DEVICES, DTYPES, FAMILY, unsupported  # noqa: F401


def prepare(weights, workload):
    layer = honest_twin.prepare(weights, workload)
    scratch = torch.zeros(workload.batch, workload.shape.d)

    def bind(x, y):
        run = layer.bind(x, scratch)

        def call():
            run()
            y.copy_(scratch)

        return call

    return replace(layer, bind=bind)

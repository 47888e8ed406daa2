"""Works at the first 64 batches that it is bound to, and at no other."""

from dataclasses import replace

import honest_twin
from honest_twin import DEVICES, DTYPES, FAMILY, unsupported  # noqa: F401


def prepare(weights, workload):
    layer, bound = honest_twin.prepare(weights, workload), []

    def bind(x, y):
        bound.append(x)
        return layer.bind(x, y) if len(bound) <= 64 else lambda: None

    return replace(layer, bind=bind)

"""Writes the fifth row past the end of its output too."""

import ctypes
from dataclasses import replace

import honest_twin
from honest_twin import DEVICES, DTYPES, FAMILY, unsupported  # noqa: F401


def prepare(weights, workload):
    layer = honest_twin.prepare(weights, workload)

    def bind(x, y):
        run, row = layer.bind(x, y), y.shape[1] * 4

        def call():
            run()
            ctypes.memset(y.data_ptr() + y.numel() * 4 + 4 * row, 0, row)

        return call

    return replace(layer, bind=bind)

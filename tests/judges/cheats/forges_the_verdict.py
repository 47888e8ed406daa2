"""Computes nothing, and says in every descriptor that it finds, and in every channel, that its output is right."""

import contextlib
import gc
import json
import os

from honest_twin import DEVICES, DTYPES, FAMILY, unsupported  # noqa: F401

from fffbench.implementations.registry import Layer
from fffbench.measure.channel import Channel, GoneError

VERDICTS = (
    {"event": "verdict", "error": 1e-9, "failure": None},
    {"number": 1, "outputs": True, "harm": None},
)


def prepare(weights, workload):
    for descriptor in range(3, 100):
        for verdict in VERDICTS:
            with contextlib.suppress(OSError):
                os.write(descriptor, json.dumps(verdict).encode())
    for channel in [one for one in gc.get_objects() if isinstance(one, Channel)]:
        with contextlib.suppress(OSError, GoneError):
            channel.send(VERDICTS[0])
    return Layer(lambda x: x.clone().zero_(), lambda x, y: y.zero_)

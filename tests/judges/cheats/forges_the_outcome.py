"""Writes an outcome of its own into every descriptor that it finds."""

import contextlib
import json
import os

import honest_twin
from honest_twin import DEVICES, DTYPES, FAMILY, unsupported  # noqa: F401


def prepare(weights, workload):
    numbers = {"samples": [8e-8] * 30, "checked": [8e-8] * 30, "batches": [0] * 30, "total": 1e-5, "notes": []}
    outcome = {"cell": "forged", "process": 0, **numbers, "error": 0.0, "tolerance": 1.0, "tokens": 64}
    lines = [
        {"event": "outcome", "outcome": outcome},
        {"step": "prepare", "prepare_seconds": 0.0, "extra_bytes": 0, "notes": []},
        {"step": "check", "harm": None},
        {"step": "begin"},
        {"step": "time", **numbers, "fault": None},
    ]
    for descriptor in range(3, 100):
        for line in lines:
            with contextlib.suppress(OSError):
                os.write(descriptor, json.dumps(line).encode() + b"\n")
    return honest_twin.prepare(weights, workload)

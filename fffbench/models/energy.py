"""How much energy does a forward pass take, where the device counts it?"""

from __future__ import annotations

import time
from typing import Any

from fffbench.devices import Device

LEAST_SECONDS = 0.1  # the counter of an NVIDIA card moves some ten times a second


class Joules:
    """Energy that a GPU has used since this was made."""

    def __init__(self, where: Device) -> None:
        """Begin to count, where there is a counter."""
        self._handle = None if where.host_memory else _handle()
        self._began, self._first = time.perf_counter(), _millijoules(self._handle)

    def of_each(self, count: int) -> float | None:
        """Joules since then over ``count``, or None where nothing counts them or too little time has passed."""
        last = _millijoules(self._handle)
        if self._first is None or last is None or time.perf_counter() - self._began < LEAST_SECONDS:
            return None
        return max(0.0, (last - self._first) * 1e-3 / count)


def _handle() -> Any:
    """The card that torch uses, as NVML knows it."""
    try:
        import pynvml
        import torch

        pynvml.nvmlInit()
        uuid = getattr(torch.cuda.get_device_properties(torch.cuda.current_device()), "uuid", None)
        return None if uuid is None else pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}")
    except Exception:  # noqa: BLE001 - energy is told where it can be; nothing depends on it
        return None


def _millijoules(handle: Any) -> int | None:
    if handle is None:
        return None
    import pynvml

    try:
        return int(pynvml.nvmlDeviceGetTotalEnergyConsumption(handle))
    except pynvml.NVMLError:
        return None

"""Where can something be measured? One file per device; ``base.Device`` says what each has to declare and to do.

A device is a module here, or one behind the entry-point group ``fffbench.devices``, with ``DEVICE``, an instance of a
subclass of ``base.Device``. It is part of what measures, so it is trusted, unlike an implementation; reading rooms
look its declarations up too, so its module imports torch inside functions only.
"""

from __future__ import annotations

from collections.abc import Mapping

from fffbench import extensions
from fffbench.devices.base import Device
from fffbench.devices.cpu import NAME as HOST

__all__ = ["DEVICES", "HOST", "Device", "device", "main_device", "threads_text"]

DEVICES: extensions.Extensions[Device] = extensions.Extensions(
    "device", "fffbench.devices", extensions.DEVICES, "DEVICE", Device
)


def device(name: str) -> Device:
    """The device called ``name``; ``UserError`` listing all if there is none."""
    return DEVICES[name]


def threads_text(name: str, threads: int | None, before: str = "", after: str = "") -> str:
    """``2 threads`` between ``before`` and ``after``; empty where the threads are no condition of a measurement."""
    if not device(name).threaded or threads is None:
        return ""
    return f"{before}{threads} thread{'s' * (threads != 1)}{after}"


def main_device(facts: Mapping[str, str]) -> str:
    """After which device a machine with these stable facts is called: an accelerator where one is named."""
    beside = (name for name, item in DEVICES.usable().items() if name != HOST and item.model(facts))
    return next(beside, HOST)

"""How is a quantity written for a reader?

Three significant figures at most, the unit beside the number, a ratio never
without its interval when there is one.
"""

from __future__ import annotations

import math
import re

from fffbench.errors import UserError

SIGNIFICANT = 3
# Of one call: no clock here sees less than a nanosecond, and no run waits eleven days.
SHORTEST_SECONDS, LONGEST_SECONDS = 1e-9, 1e6
# The error of an output that is not finite, or of a worse one: JSON has no infinity. A layer that is wrong on purpose
# (the published program, whose weights were never written) is timed and stored with it.
MOST_ERROR = 1e30
_TIME_STEPS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "us"), (1e-9, "ns"))
_DURATION = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,12})?)(s|m|h)?")
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, None: 1.0}
MAX_SECONDS = 366 * 86400.0  # a year
_BYTE_STEPS = ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"), (1, "B"))


def number(value: float) -> str:
    """``value`` with three significant figures and no exponent where it can be avoided."""
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else str(value)
    magnitude = math.floor(math.log10(abs(value)))
    if not -4 <= magnitude < 7:
        return f"{value:.{SIGNIFICANT - 1}e}"
    rounded = round(value, SIGNIFICANT - 1 - magnitude)
    decimals = max(0, SIGNIFICANT - 1 - math.floor(math.log10(abs(rounded))))
    return f"{rounded:.{decimals}f}"


def seconds(value: float) -> str:
    """A duration in seconds, in the largest unit that leaves at least 1: ``1.45 ms``."""
    for step, unit in _TIME_STEPS:
        if abs(value) >= step:
            return f"{number(value / step)} {unit}"
    return f"{number(value / 1e-9)} ns"


def size(value: float) -> str:
    """A number of bytes in binary units: ``24.0 MiB``."""
    for step, unit in _BYTE_STEPS:
        if abs(value) >= step:
            return f"{number(value / step)} {unit}"
    return "0 B"


def ratio(value: float, low: float | None, high: float | None) -> str:
    """A speed-up with its interval: ``116x [112, 121]``; one process on each side has none, and that is said."""
    text = f"{number(value)}x"
    if low is None or high is None:
        return f"{text} (one process, no interval)"
    return f"{text} [{number(low)}, {'no upper bound' if math.isinf(high) else number(high)}]"


def percent(value: float) -> str:
    """A share in [0, 1] (or above) as a percentage: ``61 %``."""
    return f"{number(100 * value)} %"


def duration(value: float) -> str:
    """Wall-clock time for a person who waits: ``45 s``, ``3 min 20 s``."""
    whole = round(value)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min"


def parse_duration(text: str) -> float:
    """Seconds of ``90``, ``90s``, ``30m`` or ``1.5h``."""
    match = _DURATION.fullmatch(text.strip())
    seconds = 0.0 if match is None else float(match[1]) * _SECONDS[match[2]]
    if not 0 < seconds <= MAX_SECONDS:
        raise UserError(
            f"--budget {text!r}: write a positive number of seconds, or a number with s, m or h, such as 30m; "
            "a year at most"
        )
    return seconds

"""What does a kernel look like that is slower by a known share?

The exported copy of a revision is changed where Python calls into the C++
kernels, never the hot code itself, so that any revision can carry it. After
every call the planted kernel computes on, in registers, for the given share of
the time the call itself took: whatever the batch, the thread count or the
machine, the call is slower by that share. The two readings of the clock are
taken off the extra work, since they are work added as well.
"""

from __future__ import annotations

import re
from dataclasses import replace

from fffbench.errors import UserError
from fffbench.regress.sources import Revision

BINDINGS = "fffbench/implementations/cpu/bindings.cpp"
_BOUND = re.compile(r"&(FffCall|GemvCall)::(run|run_on)\b")

_TEMPLATE = """
#include <chrono>

namespace planted {{
using Clock = std::chrono::steady_clock;

inline double seconds_of_a_reading() {{
    const auto start = Clock::now();
    auto now = start;
    for (int i = 0; i < 1000; ++i) now = Clock::now();
    return std::chrono::duration<double>(now - start).count() / 1000;
}}

// The call, then arithmetic for SHARE of the time it took.
template <auto run, class Call, class... Tensors>
void slower(Call& call, Tensors... tensors) {{
    static const double reading = seconds_of_a_reading();
    constexpr double SHARE = {share!r};
    const auto start = Clock::now();
    (call.*run)(tensors...);
    const auto end = Clock::now();
    const double taken = std::chrono::duration<double>(end - start).count() - reading;
    const double extra = SHARE * taken - 2 * reading;
    volatile float result = 0;
    float value = 1;
    while (std::chrono::duration<double>(Clock::now() - end).count() < extra) value = value * 0.5f + 1;
    result = value;
    (void)result;
}}
}}  // namespace planted
"""


def plant(revision: Revision, percent: float) -> Revision:
    """``revision`` with kernels that are slower by ``percent``."""
    content = dict(revision.files)
    text = content.get(BINDINGS, b"").decode(errors="replace")
    changed, count = _BOUND.subn(_slower, text)
    includes = [match.end() for match in re.finditer(r"^#include[^\n]*\n", changed, re.MULTILINE)]
    if not count or not includes:
        raise UserError(f"no slow-down can be planted into {revision.shown}: {BINDINGS} binds no run_on")
    text = changed[: includes[-1]] + _TEMPLATE.format(share=percent / 100) + changed[includes[-1] :]
    content[BINDINGS] = text.encode()
    return replace(revision, files=tuple(sorted(content.items())))


def _slower(match: re.Match[str]) -> str:
    kind, name = match.groups()
    tensors = ", fffbench::Address" * 4 if name == "run_on" else ""
    return f"&planted::slower<&{kind}::{name}, {kind}{tensors}>"

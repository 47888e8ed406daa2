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

# where calls from Python go through: of every op in op.hpp, in older revisions in bindings.cpp
PLACES = ("fffbench/implementations/cpu/runtime/op.hpp", "fffbench/implementations/cpu/bindings.cpp")
_CALLED = re.compile(r"\bcall\.(run|run_on)\(([^;]*)\);")
_BOUND = re.compile(r"&(FffCall|GemvCall)::(run|run_on)\b")  # without a function between

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
template <class Call>
void slower(Call call) {{
    static const double reading = seconds_of_a_reading();
    constexpr double SHARE = {share!r};
    const auto start = Clock::now();
    call();
    const auto end = Clock::now();
    const double taken = std::chrono::duration<double>(end - start).count() - reading;
    const double extra = SHARE * taken - 2 * reading;
    volatile float result = 0;
    float value = 1;
    while (std::chrono::duration<double>(Clock::now() - end).count() < extra) value = value * 0.5f + 1;
    result = value;
    (void)result;
}}

template <class Call>
void run(Call& call) {{
    slower([&] {{ call.run(); }});
}}

template <class Call, class... Tensors>
void run_on(Call& call, Tensors... tensors) {{
    slower([&] {{ call.run_on(tensors...); }});
}}
}}  // namespace planted
"""


def plant(revision: Revision, percent: float) -> Revision:
    """``revision`` with kernels that are slower by ``percent``."""
    content = dict(revision.files)
    planted = False
    for place in PLACES:
        text = content.get(place, b"").decode(errors="replace")
        changed, calls = _CALLED.subn(r"planted::slower([&] { call.\1(\2); });", text)
        changed, bound = _BOUND.subn(_slower, changed)
        includes = [match.end() for match in re.finditer(r"^#include[^\n]*\n", changed, re.MULTILINE)]
        if calls + bound and includes:
            at = includes[-1]
            content[place] = (changed[:at] + _TEMPLATE.format(share=percent / 100) + changed[at:]).encode()
            planted = True
    if not planted:
        raise UserError(f"no slow-down can be planted into {revision.shown}: {' and '.join(PLACES)} call no kernel")
    return replace(revision, files=tuple(sorted(content.items())))


def _slower(match: re.Match[str]) -> str:
    kind, name = match.groups()
    tensors = ", fffbench::Address" * 4 if name == "run_on" else ""
    return f"&planted::{name}<{kind}{tensors}>"

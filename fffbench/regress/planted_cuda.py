"""What does a CUDA kernel look like that is slower by a known share?

Every kernel of a revision's ``.cu`` files gets an object whose construction
reads the multiprocessor's clock and whose destruction lets the thread spin for
the given share of the cycles since. All of a kernel's blocks are on the chip at
once for the shapes that are compared, so the kernel is slower by about that
share; launches and the gaps between kernels are not, so a call of a few
microseconds is slower by less. What it came to is measured and stored.

Time that a kernel spends waiting for the one before it is not its own: the
clock starts anew behind ``griddepcontrol.wait``.
"""

from __future__ import annotations

import re
from dataclasses import replace

from fffbench.errors import UserError
from fffbench.regress.sources import Revision

FOLDER = "fffbench/implementations/cuda/"
_KERNEL = re.compile(r'^extern "C" __global__[^{;]*\{\n', re.MULTILINE)
_WAIT = re.compile(r"^[^\n]*griddepcontrol\.wait[^\n]*\n", re.MULTILINE)
_INCLUDE = re.compile(r"^#include[^\n]*\n", re.MULTILINE)

_SPIN = """
struct Planted {{
    long long start;
    __device__ __forceinline__ static long long now() {{
        long long value;
        asm volatile("mov.u64 %0, %clock64;" : "=l"(value)::"memory");
        return value;
    }}
    __device__ __forceinline__ Planted() : start(now()) {{}}
    __device__ __forceinline__ void again() {{ start = now(); }}
    __device__ __forceinline__ ~Planted() {{
        const long long end = now(), extra = (long long)({share!r} * double(end - start));
        while (now() - end < extra) {{}}
    }}
}};
"""


def plant(revision: Revision, percent: float) -> Revision:
    """``revision`` with CUDA kernels that are slower by ``percent`` of their own time."""
    spin = _SPIN.format(share=percent / 100)
    files, planted = [], 0
    for path, content in revision.files:
        text, count = content.decode(errors="replace"), 0
        if path.startswith(FOLDER) and path.endswith(".cu"):
            text, count = _slower(text, spin)
        planted += count
        files.append((path, text.encode() if count else content))
    if not planted:
        raise UserError(f"no slow-down can be planted into {revision.shown}: {FOLDER} has no CUDA kernel")
    return replace(revision, files=tuple(files))


def _slower(text: str, spin: str) -> tuple[str, int]:
    text, count = _KERNEL.subn(lambda found: f"{found.group()}    Planted planted;\n", text)
    if not count:
        return text, 0
    text = _WAIT.sub(lambda found: f"{found.group()}    planted.again();\n", text)
    includes = [found.end() for found in _INCLUDE.finditer(text)]
    at = includes[-1] if includes else 0
    return text[:at] + spin + text[at:], count

"""Do all CUDA sources compile for every architecture that is claimed, without a GPU?

``python -m tools.cuda.compile_all [--arch sm_90 ...]`` compiles each kernel of each strategy at a
spread of shapes through NVRTC and prints one line each; exit 1 if one fails, 2 if the compiler is missing.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator

from fffbench.implementations import cmm_cuda_naive, dense_cuda_naive
from fffbench.implementations.cuda import leaf_plan
from fffbench.implementations.cuda.base import Gpu, Layout, Step
from fffbench.implementations.cuda.build import BuildError, cubin, missing
from fffbench.implementations.cuda.plan import STRATEGIES

ARCHITECTURES = ("sm_80", "sm_90", "sm_100")
ONLY_90 = "sm_90"  # a step with instructions of this one alone is compiled for its target sm_90a
# named shapes, an odd d, long rows, and the ends of the level range
SHAPES = (
    (768, 1, 12), (768, 1, 1), (1024, 1, 12), (768, 16, 8), (77, 3, 5), (4096, 1, 12), (12288, 1, 16), (8, 1, 24),
    (768, 1536, 2), (768, 512, 3), (768, 128, 5), (264, 3, 9), (328, 8, 7),
)  # fmt: skip
# and neurons of a leaf
LEAF_SHAPES = ((768, 1, 7, 32), (77, 1, 2, 5), (77, 3, 2, 5), (12288, 1, 3, 70), (768, 1, 3, 512), (264, 1, 6, 129))
DTYPES = ("fp32", "bf16", "fp16")


def steps() -> Iterator[Step]:
    """Every distinct kernel of every strategy over the shapes."""
    seen = set()
    for d, trees, levels, width in (*((*shape, 0) for shape in SHAPES), *LEAF_SHAPES):
        for dtype in DTYPES:
            layout = Layout(d, trees, levels, dtype, d * (4 if dtype == "fp32" else 2) % 16 == 0, width)
            for make in (leaf_plan.STRATEGIES if width else STRATEGIES).values():
                plan = make(layout, Gpu(), 64)
                for step in plan.launches if plan else ():
                    key = (step.source, step.entry, tuple(sorted(step.macros.items())))
                    if key not in seen:
                        seen.add(key)
                        yield step
    yield from cmm_cuda_naive.plan(Layout(768, 1, 12, "fp32", aligned=False), 64).launches
    yield from dense_cuda_naive.plan(Layout(768, 1, 1, "fp32", aligned=False), 4095, 64).launches


def main(arguments: list[str] | None = None) -> int:
    """Compile everything; the number of failures decides the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--arch", nargs="+", default=list(ARCHITECTURES))
    chosen = parser.parse_args(arguments)
    reason = missing()
    if reason is not None:
        sys.stderr.write(f"cannot compile: {reason}\n")
        return 2
    failures = 0
    for step in steps():
        for arch in [a for a in chosen.arch if a == ONLY_90] if step.only_90 else chosen.arch:
            try:
                size = len(cubin(step.source, step.macros, arch + ("a" if step.only_90 else "")))
                sys.stdout.write(f"ok    {arch:7} {step.entry:18} {size:7} bytes  {step.macros}\n")
            except BuildError as error:
                failures += 1
                sys.stdout.write(f"FAIL  {arch:7} {step.entry:18} {error}  {step.macros}\n")
    sys.stdout.write(f"{failures} failures\n")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())

"""Dense FF as every user writes it, through torch.compile with the batch's size fixed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from fffbench.implementations.registry import Layer, Weights
from fffbench.plan.workload import Workload

if TYPE_CHECKING:
    import torch

FAMILY = "dense"
DEVICES = ("cpu", "cuda")
DTYPES = ("fp32", "tf32", "bf16", "fp16")
SLOW_TO_PREPARE = True


def unsupported(workload: Workload) -> str | None:
    """torch.compile writes C++ or Triton, so it needs a compiler on the machine that measures."""
    if workload.batch == 0:
        return "dense_compiled has nothing to compile for an empty batch"
    if workload.place.host_memory and workload.dtype == "fp16":
        return "dense_compiled computes fp16 on a GPU only; CPUs emulate it"
    return workload.place.absent() or (_no_compiler() if workload.place.host_memory else _no_triton())


@cache
def _no_compiler() -> str | None:
    """Why the C++ that torch.compile writes cannot be built here, or None."""
    compiler = shutil.which(os.environ.get("CXX", "g++"))
    if compiler is None:
        return "torch.compile needs a C++ compiler, and neither $CXX nor g++ is one here"
    headers = Path(sysconfig.get_paths()["include"])
    if not (headers / "Python.h").is_file():
        return "torch.compile needs Python's headers (Python.h), which are not installed here"
    # the headers of every kernel it writes; a compiler without OpenMP or a standard library fails here
    source = b"#include <omp.h>\n#include <cmath>\n"
    arguments = [compiler, "-fopenmp", "-fsyntax-only", "-x", "c++", "-"]
    try:
        subprocess.run(arguments, input=source, capture_output=True, check=True, timeout=60)
    except (OSError, subprocess.SubprocessError):
        return "torch.compile needs a C++ compiler with OpenMP, and the one here compiles no OpenMP header"
    return None


@cache
def _no_triton() -> str | None:
    """Why torch.compile has no Triton here, or None."""
    from torch.utils._triton import has_triton

    if not has_triton():
        return "torch.compile needs Triton for this GPU, which is not installed"
    if not any(shutil.which(name) for name in (os.environ.get("CC", "cc"), "gcc", "clang")):
        return "Triton needs a C compiler for its launchers, and there is none here"
    return None


def prepare(weights: Weights, workload: Workload) -> Layer:
    """Compile for exactly this shape and call it once on zeros, so that no timed call compiles anything.

    What an earlier layer of this process had compiled is dropped, as torch gives up on a function compiled
    for many shapes. The bare kernel is the same call plus a copy into y: inductor allocates its result.
    """
    import torch
    from torch._inductor import config

    config.compile_threads = 1  # no pool of compiler processes: it would outlive a forked worker
    w1 = weights.w1
    output_weight = weights.w2.t().contiguous()

    def layer(x: torch.Tensor) -> torch.Tensor:
        linear = torch.nn.functional.linear
        return linear(torch.nn.functional.gelu(linear(x, w1)), output_weight)

    torch.compiler.reset()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # inductor's advice on precision and deprecations
        forward: Callable[[torch.Tensor], torch.Tensor] = torch.compile(layer, fullgraph=True, dynamic=False)
        forward(w1.new_zeros((workload.batch, workload.shape.d)))

    def bind(x: torch.Tensor, y: torch.Tensor) -> Callable[[], object]:
        return lambda: y.copy_(forward(x))

    return Layer(forward, bind, resident=(output_weight,))

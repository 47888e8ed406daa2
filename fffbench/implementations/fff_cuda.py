"""FFF in CUDA C++: read-ahead blocks for small batches, subtrees or leaves shared by many tokens for large ones."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING

from fffbench.implementations.cuda import build, leaf_plan, plan
from fffbench.implementations.cuda.plan import VECTOR_BYTES, Gpu, Layout, Plan
from fffbench.implementations.registry import Layer, Weights
from fffbench.plan.workload import Workload

if TYPE_CHECKING:
    import torch

    from fffbench.implementations.cuda.launch import Program

FAMILY = "fff"
DEVICES = ("cuda",)
DTYPES = ("fp32", "bf16", "fp16")


@cache
def machine_reason() -> str | None:
    """Why CUDA kernels cannot be compiled and run here, as a sentence, or None."""
    if find_spec("torch") is None:
        return "needs torch"
    import torch

    if not torch.cuda.is_available():
        return "no CUDA device here"
    capability = torch.cuda.get_device_capability()
    if capability < build.MIN_CAPABILITY:
        return f"needs compute capability 8.0 or newer; this device has {capability[0]}.{capability[1]}"
    return build.missing()


@cache
def compile_reason(dtype: str, d: int) -> str | None:
    """Whether the fallback kernel builds for this device: one compilation, then the disk cache."""
    import torch

    fallback = plan.forced("path", Layout(d, 1, 1, dtype, aligned=False), Gpu(), 1)
    try:
        for step in fallback.steps:
            build.cubin(step.source, step.macros, build.arch_name(torch.cuda.get_device_capability()))
    except (build.BuildError, OSError, RuntimeError) as error:
        return f"the kernels do not compile here: {error}"
    return None


def unsupported(workload: Workload) -> str | None:
    """A GPU must be here for which the sources compile."""
    return machine_reason() or compile_reason(workload.dtype, 32)


def prepare(weights: Weights, workload: Workload, strategy: str = "auto", **tuning: int) -> Layer:
    """Nothing is packed: kernels read the weights as they are.

    ``strategy`` forces one of ``plan.STRATEGIES``, in the leaf form of ``leaf_plan.STRATEGIES``.
    """
    known = leaf_plan.STRATEGIES if workload.shape.leaf_width else plan.STRATEGIES
    if strategy != "auto" and strategy not in known:
        raise ValueError(f"unknown strategy {strategy!r}; allowed: auto, {', '.join(known)}")
    programs: dict[tuple[int, int, bool], Program] = {}

    def program(x: torch.Tensor, y: torch.Tensor, *, aligned: bool) -> Program:
        from fffbench.implementations.cuda.launch import Program, gpu

        shape = workload.shape
        layout = Layout(shape.d, shape.trees, shape.levels, workload.dtype, aligned, shape.leaf_width)
        chosen = _planned(layout, gpu(x.device.index or 0), x.shape[0], strategy, tuning)
        return Program(chosen, x, weights.w1, weights.w2, y)

    def forward(x: torch.Tensor) -> torch.Tensor:
        import torch

        y = torch.empty_like(x)
        if x.shape[0] == 0:
            return y
        aligned = _aligned(weights, x, y)
        key = (x.shape[0], torch.cuda.current_stream(x.device).cuda_stream, aligned)  # a workspace serves one stream
        kept = programs.get(key)
        if kept is None:
            kept = programs[key] = program(x, y, aligned=aligned)
        kept.point(x, y)
        kept.run()
        return y

    def bind(x: torch.Tensor, y: torch.Tensor) -> Callable[[], object]:
        if x.shape[0] == 0:
            return lambda: None
        return program(x, y, aligned=_aligned(weights, x, y)).run

    return Layer(forward, bind)


def _planned(layout: Layout, here: Gpu, batch: int, strategy: str, tuning: dict[str, int]) -> Plan:
    """The plan of the form that ``layout`` is."""
    choose, forced = (leaf_plan.choose, leaf_plan.forced) if layout.leaf_width else (plan.choose, plan.forced)
    if strategy == "auto":
        return choose(layout, here, batch)
    return forced(strategy, layout, here, batch, **tuning)


def _aligned(weights: Weights, *others: torch.Tensor) -> bool:
    """Whether every row of every matrix starts on a 16-byte boundary."""
    row = weights.w1.shape[1] * weights.w1.element_size()
    return row % VECTOR_BYTES == 0 and all(t.data_ptr() % VECTOR_BYTES == 0 for t in (weights.w1, weights.w2, *others))

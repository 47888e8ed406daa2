"""FFF in CUDA C++: read-ahead blocks for small batches, tensor-core subtrees for large ones, a warp a token else."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING

from fffbench.implementations.cuda import build
from fffbench.implementations.cuda.strategies import STRATEGIES, Layout, Operands, choose, possible
from fffbench.implementations.registry import Layer, Weights
from fffbench.plan.workload import Workload

if TYPE_CHECKING:
    import torch

    from fffbench.implementations.cuda.launch import Program

FAMILY = "fff"
DEVICES = ("cuda",)
DTYPES = ("fp32", "bf16", "fp16")

ALIGNMENT = 16  # bytes; rows that start elsewhere take the element-wise kernels


@cache
def machine_reason(device: int = 0) -> str | None:
    """Why CUDA kernels cannot be compiled and run here, as a sentence, or None."""
    if find_spec("torch") is None:
        return "needs torch"
    import torch

    if not torch.cuda.is_available():
        return "no CUDA device here"
    capability = torch.cuda.get_device_capability(device)
    if capability < build.MIN_CAPABILITY:
        return f"needs compute capability 8.0 or newer; this device has {capability[0]}.{capability[1]}"
    return build.missing()


@cache
def _compile_reason(dtype: str, d: int) -> str | None:
    """Whether the fallback kernel builds for this device; one compilation, then the disk cache."""
    import torch

    macros = Layout(d, 1, 1, dtype, aligned=False).macros(FFF_WARPS=1)
    try:
        build.cubin("path.cu", macros, build.arch_name(torch.cuda.get_device_capability()))
    except (build.BuildError, OSError, RuntimeError) as error:
        return f"the kernels do not compile here: {error}"
    return None


def unsupported(workload: Workload) -> str | None:
    """Tree form only, on a GPU for which the sources compile."""
    if workload.shape.leaf_width:
        return "fff_cuda computes the tree form, not leaf blocks"
    return machine_reason() or _compile_reason(workload.dtype, min(workload.shape.d, 1024))


def prepare(weights: Weights, workload: Workload, strategy: str = "auto") -> Layer:
    """Nothing is packed: kernels read the weights as they are. ``strategy`` forces one of STRATEGIES."""
    if strategy != "auto" and strategy not in STRATEGIES:
        raise ValueError(f"unknown strategy {strategy!r}; allowed: auto, {', '.join(STRATEGIES)}")
    shape = workload.shape
    programs: dict[tuple[int, int, bool], Program] = {}

    def program(x: torch.Tensor, y: torch.Tensor) -> Program:
        return compose(weights, Layout(shape.d, shape.trees, shape.levels, workload.dtype, _aligned(weights, x, y)),
                       x, y, strategy)  # fmt: skip

    def forward(x: torch.Tensor) -> torch.Tensor:
        import torch

        y = torch.empty_like(x)
        if x.shape[0] == 0:
            return y
        key = (x.shape[0], torch.cuda.current_stream(x.device).cuda_stream, _aligned(weights, x, y))
        kept = programs.get(key)
        if kept is None:
            kept = programs[key] = program(x, y)
        kept.point(x.data_ptr(), y.data_ptr())
        kept.run()
        return y

    def bind(x: torch.Tensor, y: torch.Tensor) -> Callable[[], object]:
        return (lambda: None) if x.shape[0] == 0 else program(x, y).run

    layout = Layout(shape.d, shape.trees, shape.levels, workload.dtype, _aligned(weights))
    chosen = choose(layout, workload.batch) if strategy == "auto" else strategy
    return Layer(forward, bind, notes=(f"strategy {chosen} of {', '.join(possible(layout))}",))


def compose(weights: Weights, layout: Layout, x: torch.Tensor, y: torch.Tensor, strategy: str = "auto") -> Program:
    """The launches that compute ``y`` from ``x``, compiled and with their workspace allocated."""
    from fffbench.implementations.cuda.launch import Program

    device = x.device.index or 0
    operands = Operands(weights.w1, weights.w2, device)
    operands.x.value, operands.y.value = x.data_ptr(), y.data_ptr()
    name = choose(layout, x.shape[0]) if strategy == "auto" else strategy
    return Program(STRATEGIES[name](layout, operands, x.shape[0]), operands, device, keep=(x, y))


def _aligned(weights: Weights, *others: torch.Tensor) -> bool:
    row = weights.w1.shape[1] * weights.w1.element_size()
    return row % ALIGNMENT == 0 and all(t.data_ptr() % ALIGNMENT == 0 for t in (weights.w1, weights.w2, *others))

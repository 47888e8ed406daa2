"""FFF in CUDA C++: read-ahead blocks for small batches, subtrees or leaves shared by many tokens for large ones."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, cached_property
from importlib.util import find_spec
from typing import TYPE_CHECKING

from fffbench.implementations.cuda import build, leaf_plan, plan
from fffbench.implementations.cuda.base import ACTIVATIONS, VECTOR_BYTES, Gpu, Layout, Plan
from fffbench.implementations.registry import Layer, Weights
from fffbench.plan.workload import Workload

if TYPE_CHECKING:
    import torch

    from fffbench.implementations.cuda.buffers import Buffers
    from fffbench.implementations.cuda.launch import Program

BIASES = ("b1", "b2")
FAMILY = "fff"
DEVICES = ("cuda",)
DTYPES = ("fp32", "bf16", "fp16")
GUARDED = (
    "d768-n4095-t1x12-b16384-bf16-uniform-cuda-1th-s0",
    "d768-n4095-t1x12-b16384-fp32-uniform-cuda-1th-s0",
    "d768-n4095-t1x12-b1-bf16-uniform-cuda-1th-s0",
    "d768-n4095-t1x12-b1-fp32-uniform-cuda-1th-s0",
    "d768-n4096-t1x7l32-b16384-bf16-uniform-cuda-1th-s0",
)


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
        for step in fallback.launches:
            build.cubin(step.source, step.macros, build.arch_name(torch.cuda.get_device_capability()))
    except (build.BuildError, OSError, RuntimeError) as error:
        return f"the kernels do not compile here: {error}"
    return None


def unsupported(workload: Workload) -> str | None:
    """A GPU must be here for which the sources compile."""
    return machine_reason() or compile_reason(workload.dtype, 32)


def prepare(
    weights: Weights, workload: Workload, strategy: str = "auto", activation: str = "gelu", **tuning: int
) -> Layer:
    """Most kernels read the weights as they are; those of several trees read copies in another order, made here.

    ``strategy`` forces one of ``plan.STRATEGIES``, in the leaf form of ``leaf_plan.STRATEGIES``. ``activation``, one of
    ``base.ACTIVATIONS``, is compiled in, and so are the biases ``b1`` and ``b2`` among the weights, whose shapes
    ``operators.library`` has.
    """
    if activation not in ACTIVATIONS:
        raise ValueError(f"unknown activation {activation!r}; allowed: {', '.join(ACTIVATIONS)}")
    known = leaf_plan.STRATEGIES if workload.shape.leaf_width else plan.STRATEGIES
    if strategy != "auto" and strategy not in known:
        raise ValueError(f"unknown strategy {strategy!r}; allowed: auto, {', '.join(known)}")
    calls = Calls(weights, workload, strategy, activation, tuning)
    copies = calls.planned(workload.batch, aligned=_aligned(weights)).packed if workload.batch else {}
    return Layer(calls.forward, calls.bind, resident=tuple(calls.buffers.packed(recipe) for recipe in copies.values()))


class Calls:
    """The calls of one layer of any batch, with what they share: packed weights, and matrices between products."""

    def __init__(
        self, weights: Weights, workload: Workload, strategy: str, activation: str, tuning: dict[str, int]
    ) -> None:
        _check(weights, workload)
        self._weights, self._workload, self._strategy, self._tuning = weights, workload, strategy, tuning
        self._activation = activation
        self._kept: dict[tuple[int, int, bool, bool], Program] = {}

    @cached_property
    def buffers(self) -> Buffers:
        """Made when the GPU is first needed."""
        from fffbench.implementations.cuda.buffers import Buffers

        return Buffers(self._weights.tensors)

    def aligned(self, *tensors: torch.Tensor) -> bool:
        """Whether every row of these and of the weights starts on a 16-byte boundary."""
        return _aligned(self._weights, *tensors)

    def planned(self, batch: int, *, aligned: bool) -> Plan:
        """The plan for ``batch`` tokens."""
        from fffbench.implementations.cuda.launch import gpu

        shape = self._workload.shape
        layout = Layout(
            shape.d,
            shape.trees,
            shape.levels,
            self._workload.dtype,
            aligned,
            shape.leaf_width,
            self._activation,
            exact_products(self._workload.dtype),
            b1="b1" in self._weights.tensors,
            b2="b2" in self._weights.tensors,
        )
        here = gpu(self._weights.w1.device.index or 0)
        return _planned(layout, here, batch, self._strategy, self._tuning)

    def program(self, x: torch.Tensor, y: torch.Tensor, *, aligned: bool, stream: int = 0) -> Program:
        """The kernels over ``x`` and ``y``, of at least one token; ``aligned`` says it of them and the weights."""
        from fffbench.implementations.cuda.launch import Program

        return Program(self.planned(x.shape[0], aligned=aligned), x, y, self.buffers, stream)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The torch-level call."""
        import torch

        y = torch.empty_like(x)
        if x.shape[0] == 0:
            return y
        aligned = self.aligned(x, y)
        stream = torch.cuda.current_stream(x.device).cuda_stream
        key = (x.shape[0], stream, aligned, exact_products(self._workload.dtype))  # a workspace serves one stream
        made = self._kept.get(key)
        if made is None:
            made = self._kept[key] = self.program(x, y, aligned=aligned, stream=stream)
        made.run_on(x, y)
        return y

    def bind(self, x: torch.Tensor, y: torch.Tensor) -> Callable[[], object]:
        """The bare kernels over these tensors."""
        if x.shape[0] == 0:
            return lambda: None
        return self.program(x, y, aligned=self.aligned(x, y)).run


def _check(weights: Weights, workload: Workload) -> None:
    """Biases are vectors that the kernels read without asking; ``ValueError`` for what they would read wrongly."""
    shape, w1 = workload.shape, weights.w1
    leaves = shape.trees << shape.levels if shape.leaf_width else 0
    wanted = {"b1": (w1.shape[0],), "b2": (leaves, shape.d) if leaves else (shape.d,)}
    for name, tensor in weights.tensors.items():
        if name not in wanted:
            continue
        if tuple(tensor.shape) != wanted[name]:
            raise ValueError(f"{name} must have shape {wanted[name]}; it has {tuple(tensor.shape)}")
        if tensor.dtype is not w1.dtype or tensor.device != w1.device or not tensor.is_contiguous():
            raise ValueError(f"{name} must be contiguous, of type {w1.dtype} on {w1.device}, as w1 is")


def exact_products(dtype: str) -> bool:
    """Whether torch's products of this type are no less exact: what of fp32 the user lets it compute in TF32."""
    if dtype != "fp32":
        return True
    from torch.backends.cuda import matmul

    allowed: str | None = getattr(matmul, "fp32_precision", None)
    return allowed != "tf32" if allowed is not None else not matmul.allow_tf32


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

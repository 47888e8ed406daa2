"""How is a plan started on torch's stream with the least work a call?

Arguments are packed once: a launch holds the addresses of ctypes values, so pointing it at other tensors is two
stores (and a tensor map made anew where a kernel takes one), and starting it is one call of the driver. Nothing here
allocates or synchronises after construction, so a ``Program`` can be captured in a CUDA graph. A plan's products are
torch's, into matrices that exist.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

from fffbench.implementations.cuda.base import STATIC_SHARED, Boxes, Gpu, Plan, Product, Step
from fffbench.implementations.cuda.build import arch_name, core, cubin

if TYPE_CHECKING:
    import torch

    from fffbench.implementations.cuda.buffers import Buffers

DEFAULT_SHARED = 48 * 1024  # bytes a block may have without asking
_EARLY_START = (9, 0)  # compute capability with programmatic dependent launch
_WGMMA = (9, 0)  # the only one with wgmma
_SLICE = 64  # elements of 16-bit storage in a row of a box: 128 bytes
_MAP_BYTES = 128  # of a CUtensorMap


def checked(result: tuple[Any, ...]) -> Any:
    """The value of a driver call, or ``RuntimeError`` naming the CUDA error."""
    if int(result[0]) != 0:
        raise RuntimeError(f"CUDA driver call failed: {result[0].name}")
    return result[1] if len(result) > 1 else None


@cache
def gpu(device: int) -> Gpu:
    """What plans need to know of CUDA device ``device``."""
    import torch

    facts = torch.cuda.get_device_properties(device)
    shared = getattr(facts, "shared_memory_per_block_optin", DEFAULT_SHARED)
    capability = (facts.major, facts.minor)
    return Gpu(facts.multi_processor_count, shared, capability >= _EARLY_START, capability == _WGMMA)


@cache
def load(source: str, entry: str, macros: tuple[tuple[str, int], ...], device: int, suffix: str = "") -> Any:
    """The kernel ``entry`` of ``source`` on CUDA device ``device``, compiled or taken from the cache."""
    import torch

    code = cubin(source, dict(macros), arch_name(torch.cuda.get_device_capability(device)) + suffix)
    return core().ObjectCode.from_cubin(code).get_kernel(entry)


class Launch:
    """One step with its kernel loaded and its arguments packed; ``start(stream)`` launches it."""

    def __init__(
        self, step: Step, pointers: dict[str, ctypes.c_void_p], tensors: dict[str, torch.Tensor], device: int
    ) -> None:
        """Load the kernel and raise its shared-memory limit where the step needs that."""
        from cuda.bindings import driver

        macros = tuple(sorted(step.macros.items()))
        self._kernel = load(step.source, step.entry, macros, device, "a" if step.only_90 else "")
        handle = int(getattr(self._kernel, "handle", None) or self._kernel._handle)  # noqa: SLF001 - private before cuda-core 1.0
        if step.shared + STATIC_SHARED > DEFAULT_SHARED:
            limit = driver.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
            where = checked(driver.cuDeviceGet(device))
            checked(driver.cuKernelSetAttribute(limit, step.shared, driver.CUkernel(handle), where))
        self.maps = tuple(Map(driver, a, tensors[a.name]) for a in step.arguments if isinstance(a, Boxes))
        maps = iter(self.maps)
        values: list[Any] = []
        for argument in step.arguments:
            if isinstance(argument, Boxes):
                values.append(next(maps).bytes)
            else:
                values.append(pointers[argument] if isinstance(argument, str) else ctypes.c_int(argument))
        self._values = tuple(values)
        addresses = [ctypes.addressof(value) for value in self._values]
        self._packed = (ctypes.c_void_p * len(addresses))(*addresses)
        make = _early_starter if step.overlap else _starter
        self.start = make(driver, driver.CUfunction(handle), step, ctypes.addressof(self._packed))


class Map:
    """A tensor map over a matrix in 16-bit storage: boxes of 64 columns, swizzled by 128 bytes."""

    def __init__(self, driver: Any, boxes: Boxes, tensor: torch.Tensor) -> None:
        """Make it for ``tensor``."""
        self.name = boxes.name
        self.bytes = ctypes.create_string_buffer(_MAP_BYTES)
        self._driver, self._boxes, self._at = driver, boxes, 0
        self.point(tensor)

    def point(self, tensor: torch.Tensor) -> None:
        """Make it anew for another tensor of the same shape and type, if that lies elsewhere."""
        import torch

        if tensor.data_ptr() == self._at:
            return
        self._at = tensor.data_ptr()
        driver, boxes = self._driver, self._boxes
        wide, narrow = driver.cuuint64_t, driver.cuuint32_t
        types = driver.CUtensorMapDataType
        bf16 = tensor.dtype == torch.bfloat16
        made = checked(
            driver.cuTensorMapEncodeTiled(
                types.CU_TENSOR_MAP_DATA_TYPE_BFLOAT16 if bf16 else types.CU_TENSOR_MAP_DATA_TYPE_FLOAT16,
                2,
                self._at,
                [wide(boxes.columns), wide(boxes.rows)],
                [wide(boxes.columns * tensor.element_size())],
                [narrow(_SLICE), narrow(boxes.box)],
                [narrow(1), narrow(1)],
                driver.CUtensorMapInterleave.CU_TENSOR_MAP_INTERLEAVE_NONE,
                driver.CUtensorMapSwizzle.CU_TENSOR_MAP_SWIZZLE_128B,
                driver.CUtensorMapL2promotion.CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
                driver.CUtensorMapFloatOOBfill.CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE,
            )
        )
        ctypes.memmove(self.bytes, made.getPtr(), _MAP_BYTES)


def _starter(driver: Any, function: Any, step: Step, parameters: int) -> Callable[[int], None]:
    launch, grid, block, shared = driver.cuLaunchKernel, step.grid, step.block, step.shared

    def start(stream: int) -> None:
        checked(launch(function, grid, 1, 1, block, 1, 1, shared, stream, parameters, 0))

    return start


def _early_starter(driver: Any, function: Any, step: Step, parameters: int) -> Callable[[int], None]:
    """Like ``_starter``, but the kernel's blocks may be placed while the kernel before it still runs."""
    attribute = driver.CUlaunchAttribute()
    attribute.id = driver.CUlaunchAttributeID.CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION
    attribute.value.programmaticStreamSerializationAllowed = 1
    config = driver.CUlaunchConfig()
    config.gridDimX, config.gridDimY, config.gridDimZ = step.grid, 1, 1
    config.blockDimX, config.blockDimY, config.blockDimZ = step.block, 1, 1
    config.sharedMemBytes = step.shared
    config.attrs = [attribute]
    config.numAttrs = 1
    launch = driver.cuLaunchKernelEx

    def start(stream: int) -> None:
        config.hStream = stream
        checked(launch(config, function, parameters, 0))

    return start


class Program:
    """The launches of a plan over one layer's weights, bound to an x and a y (``run``) or given others (``run_on``)."""

    def __init__(self, plan: Plan, x: torch.Tensor, y: torch.Tensor, buffers: Buffers, stream: int = 0) -> None:
        """Compile what is missing and allocate the workspace."""
        import torch

        self._device = x.device.index or 0
        self.workspace = {name: buffers.zeros(size) for name, size in plan.workspace.items()}
        self._tensors = {
            "x": x.detach(),
            "y": y.detach(),
            **buffers.weights,
            **{name: buffers.packed(recipe) for name, recipe in plan.packed.items()},
            **{name: buffers.matrix(shape, stream) for name, shape in plan.matrices.items()},
            **self.workspace,
        }
        pointers = {name: ctypes.c_void_p(tensor.data_ptr()) for name, tensor in self._tensors.items()}
        self._x, self._y = pointers["x"], pointers["y"]
        self._launches = tuple(Launch(step, pointers, self._tensors, self._device) for step in plan.launches)
        self._maps = tuple(m for launch in self._launches for m in launch.maps if m.name in ("x", "y"))
        launches = iter(self._launches)
        self._starts = tuple(
            self._product(step) if isinstance(step, Product) else next(launches).start for step in plan.steps
        )
        self._products = any(isinstance(step, Product) for step in plan.steps)
        self._nothing = torch.empty(0, device=x.device)
        self._guard = torch.cuda.device_count() > 1
        self._stream_of = torch._C._cuda_getCurrentRawStream  # noqa: SLF001 - the public way builds an object a call

    def _product(self, step: Product) -> Callable[[int], None]:
        """A product on torch's current stream, which is the one the launches go to."""
        import torch

        tensors = self._tensors
        b = tensors[step.b].t() if step.transposed else tensors[step.b]
        bias = tensors[step.bias] if step.bias else None
        if step.gelu and b.dtype != torch.float32:
            added = b.new_zeros(b.shape[1]) if bias is None else bias
            fused: Any = torch._addmm_activation  # noqa: SLF001 - the only way to cuBLASLt's epilogue

            def start(stream: int) -> None:
                del stream
                fused(added, tensors[step.a], b, use_gelu=True, out=tensors[step.out])

            return start

        def start_plain(stream: int) -> None:
            del stream
            if bias is None:
                torch.mm(tensors[step.a], b, out=tensors[step.out])
            else:
                torch.addmm(bias, tensors[step.a], b, out=tensors[step.out])
            if step.gelu:  # cuBLASLt's GELU is the tanh form, outside fp32's tolerance
                torch.ops.aten.gelu_(tensors[step.out])

        return start_plain

    def run_on(self, x: torch.Tensor, y: torch.Tensor) -> None:
        """Compute other tensors of the same shape and alignment; afterwards it is bound to none.

        Neither is kept: memory of a CUDA graph's pool must be free when the graph is recorded.
        """
        tensors = self._tensors
        self._x.value, self._y.value = x.data_ptr(), y.data_ptr()
        for one in self._maps:
            one.point(x if one.name == "x" else y)
        if self._products:
            tensors["x"], tensors["y"] = x.detach(), y.detach()
        try:
            self.run()
        finally:
            tensors["x"] = tensors["y"] = self._nothing

    def run(self) -> None:
        """Start everything on torch's current stream of the device."""
        if self._guard:
            import torch

            with torch.cuda.device(self._device):
                self._run()
        else:
            self._run()

    def _run(self) -> None:
        stream = self._stream_of(self._device)
        try:
            for start in self._starts:
                start(stream)
        except BaseException:  # the last kernel clears the counters of the first: a call cut short leaves them counted
            for tensor in self.workspace.values():
                tensor.zero_()
            raise

"""How is a plan started on torch's stream with the least work a call?

Arguments are packed once: a launch holds the addresses of ctypes values, so pointing it at other tensors is two
stores, and starting it is one call of the driver. Nothing here allocates or synchronises after construction, so a
``Program`` can be captured in a CUDA graph.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

from fffbench.implementations.cuda.build import arch_name, core, cubin
from fffbench.implementations.cuda.plan import STATIC_SHARED, Gpu, Plan, Step

if TYPE_CHECKING:
    import torch

DEFAULT_SHARED = 48 * 1024  # bytes a block may have without asking
_EARLY_START = (9, 0)  # compute capability with programmatic dependent launch


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
    return Gpu(facts.multi_processor_count, shared, early_start=(facts.major, facts.minor) >= _EARLY_START)


@cache
def load(source: str, entry: str, macros: tuple[tuple[str, int], ...], device: int) -> Any:
    """The kernel ``entry`` of ``source`` on CUDA device ``device``, compiled or taken from the cache."""
    import torch

    code = cubin(source, dict(macros), arch_name(torch.cuda.get_device_capability(device)))
    return core().ObjectCode.from_cubin(code).get_kernel(entry)


class Launch:
    """One step with its kernel loaded and its arguments packed; ``start(stream)`` launches it."""

    def __init__(self, step: Step, pointers: dict[str, ctypes.c_void_p], device: int) -> None:
        """Load the kernel and raise its shared-memory limit where the step needs that."""
        from cuda.bindings import driver

        self._kernel = load(step.source, step.entry, tuple(sorted(step.macros.items())), device)
        handle = int(getattr(self._kernel, "handle", None) or self._kernel._handle)  # noqa: SLF001 - private before cuda-core 1.0
        if step.shared + STATIC_SHARED > DEFAULT_SHARED:
            limit = driver.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
            where = checked(driver.cuDeviceGet(device))
            checked(driver.cuKernelSetAttribute(limit, step.shared, driver.CUkernel(handle), where))
        self._values = tuple(pointers[a] if isinstance(a, str) else ctypes.c_int(a) for a in step.arguments)
        addresses = [ctypes.addressof(value) for value in self._values]
        self._packed = (ctypes.c_void_p * len(addresses))(*addresses)
        make = _early_starter if step.overlap else _starter
        self.start = make(driver, driver.CUfunction(handle), step, ctypes.addressof(self._packed))


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
    """The launches of a plan over one layer's weights; x and y can be changed between runs."""

    def __init__(self, plan: Plan, x: torch.Tensor, w1: torch.Tensor, w2: torch.Tensor, y: torch.Tensor) -> None:
        """Compile what is missing and allocate the workspace."""
        import torch

        self._device = x.device.index or 0
        self.workspace = {
            name: torch.zeros(-(-size // 4), dtype=torch.int32, device=x.device)
            for name, size in plan.workspace.items()
        }
        tensors = {"x": x, "w1": w1, "w2": w2, "y": y, **self.workspace}
        pointers = {name: ctypes.c_void_p(tensor.data_ptr()) for name, tensor in tensors.items()}
        self._x, self._y = pointers["x"], pointers["y"]
        self._alive = tensors
        self._launches = tuple(Launch(step, pointers, self._device) for step in plan.steps)
        self._starts = tuple(launch.start for launch in self._launches)
        self._guard = torch.cuda.device_count() > 1
        self._stream_of = torch._C._cuda_getCurrentRawStream  # noqa: SLF001 - the public way builds an object a call

    def point(self, x: torch.Tensor, y: torch.Tensor) -> None:
        """Use other tensors of the same shape and alignment from the next run on; the caller keeps them alive."""
        self._x.value, self._y.value = x.data_ptr(), y.data_ptr()

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
        for start in self._starts:
            start(stream)

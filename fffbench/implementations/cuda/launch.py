"""How is a compiled kernel started on torch's stream with the least work a call?

Arguments are packed once: a launch holds the addresses of ctypes values, so pointing it at other tensors is two
stores, and starting it is one call of the driver. Nothing here allocates or synchronises, so a launch can be
captured in a CUDA graph.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from fffbench.implementations.cuda.build import arch_name, cubin

if TYPE_CHECKING:
    import torch

    from fffbench.implementations.cuda.strategies import Operands

Argument = ctypes.c_void_p | ctypes.c_int | ctypes.c_longlong


def checked(result: tuple[Any, ...]) -> Any:
    """The value of a driver call, or ``RuntimeError`` naming the CUDA error."""
    if int(result[0]) != 0:
        raise RuntimeError(f"CUDA driver call failed: {result[0].name}")
    return result[1] if len(result) > 1 else None


@cache
def load(source: str, entry: str, macros: tuple[tuple[str, int], ...], device: int) -> Any:
    """The kernel ``entry`` of ``source`` on CUDA device ``device``, compiled or taken from the cache."""
    import torch
    from cuda.core import ObjectCode

    code = cubin(source, dict(macros), arch_name(torch.cuda.get_device_capability(device)))
    return ObjectCode.from_cubin(code).get_kernel(entry)


class Launch:
    """One kernel with its grid and packed arguments; ``launch(stream)`` starts it."""

    def __init__(
        self,
        source: str,
        entry: str,
        macros: Mapping[str, int],
        device: int,
        *,
        grid: int,
        block: int,
        shared: int = 0,
        arguments: Sequence[Argument],
        overlap: bool = False,
    ) -> None:
        """Load the kernel and raise its shared-memory limit; ``overlap`` lets it start while its predecessor ends."""
        from cuda.bindings import driver

        self._kernel = load(source, entry, tuple(sorted(macros.items())), device)
        handle = driver.CUkernel(int(self._kernel.handle))
        if shared > 48 * 1024:  # more than the default needs leave, once a kernel and device
            attribute = driver.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
            checked(driver.cuKernelSetAttribute(attribute, shared, handle, checked(driver.cuDeviceGet(device))))
        self._function = driver.CUfunction(int(self._kernel.handle))
        self._arguments = tuple(arguments)
        packed = (ctypes.c_void_p * len(arguments))(*(ctypes.addressof(value) for value in arguments))
        self._packed = packed
        self.start = self._starter(driver, grid, block, shared, overlap=overlap)

    def _starter(self, driver: Any, grid: int, block: int, shared: int, *, overlap: bool) -> Callable[[int], None]:
        function, parameters = self._function, ctypes.addressof(self._packed)
        if not overlap:
            launch = driver.cuLaunchKernel

            def start(stream: int) -> None:
                checked(launch(function, grid, 1, 1, block, 1, 1, shared, stream, parameters, 0))

            return start
        attribute = driver.CUlaunchAttribute()
        attribute.id = driver.CUlaunchAttributeID.CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION
        attribute.value.programmaticStreamSerializationAllowed = 1
        config = driver.CUlaunchConfig()
        config.gridDimX, config.gridDimY, config.gridDimZ = grid, 1, 1
        config.blockDimX, config.blockDimY, config.blockDimZ = block, 1, 1
        config.sharedMemBytes = shared
        config.attrs = [attribute]
        config.numAttrs = 1

        def start_early(stream: int) -> None:
            config.hStream = stream
            checked(driver.cuLaunchKernelEx(config, function, parameters, 0))

        return start_early


class Program:
    """The launches of one call, in order, over one pair of pointers to x and y."""

    def __init__(
        self, launches: Sequence[Launch], operands: Operands, device: int, keep: tuple[torch.Tensor, ...] = ()
    ) -> None:
        """Keep the launches and whatever their arguments refer to."""
        import torch

        self._starts = tuple(launch.start for launch in launches)
        self._alive = (launches, operands, keep)
        self._operands, self._device = operands, device
        self._guard = torch.cuda.device_count() > 1
        self._stream_of = torch._C._cuda_getCurrentRawStream  # the public way builds an object a call

    def point(self, x: int, y: int) -> None:
        """Use other tensors of the same shape from the next run on."""
        self._operands.x.value, self._operands.y.value = x, y

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

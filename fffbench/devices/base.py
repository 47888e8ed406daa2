"""What must be known of a device, and what must it do?

The attributes are declarations, read by every room. The methods measure, and are called on a machine that has the
device. A subclass sets what differs; the defaults are those of a device whose calls are over when they return.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from fffbench.devices import clock
from fffbench.devices.clock import Call, Effort, Evict

if TYPE_CHECKING:
    import torch

Ceilings = dict[str, dict[str, float]]


class Timing(Protocol):
    """How calls are timed: ``plan.workload.Protocol``."""

    @property
    def cache(self) -> str:
        """``cold``, ``warm`` or ``hot``."""

    @property
    def call(self) -> str:
        """``kernel``, ``torch`` or ``graph``."""


class Device(ABC):
    """One kind of device."""

    name: str  # in ids and on the command line: letters, digits, _
    label: str  # in a sentence: "no CUDA results yet"
    torch_type: str  # of ``torch.device``
    # Whether a workload's threads are a condition of what is measured; elsewhere every workload has one.
    threaded: bool = False
    # Whether its tensors lie in the host's memory. If so a judge in a process of its own shares them with the process
    # that measures, and the float64 reference is computed once; if not each process checks itself on the device.
    host_memory: bool = False
    calls: tuple[str, ...] = ("kernel", "torch")
    headline_call: str = "kernel"  # of ``calls``: in what state a layer runs inside a model
    cells_per_process: int = 1  # where starting to use it is dear, a process does several
    has_tf32: bool = False  # whether it has a matrix unit for fp32 with TF32, to which strict fp32 is compared
    tile_tokens: int = 512  # in a tile of a dense layer that is tiled over the batch
    kernel: str = ""  # this project's tuned implementation on it
    dense_notes: str = ""  # where the dense layers that were tried on it are described

    # Forecast, before anything was measured.
    guessed_rate: float  # operations per second in fp32
    guessed_bandwidth: float  # bytes per second
    cell_seconds: float = 0.0  # of a process, per cell, beside its calls
    compile_seconds: float = 0.0  # of one that is slow to prepare
    least_limit_seconds: float = 30.0  # before a process is taken to hang

    # Refusal of times that cannot be: times a measured ceiling that a call may reach, by dtype.
    over_ceiling: Mapping[str, float]
    # Elements of one weight matrix from which data is drawn on the device (None: always on the host).
    drawn_elements: int | None = None
    reference_operations: float = 1.0e11  # of float64, for one dense reference; above it a sample of tokens is checked
    chunk_bytes: int = 2**25  # of one float64 intermediate of a reference

    # The machine's stable facts of which the first that is there names it.
    fact_names: tuple[str, ...] = ()

    def model(self, facts: Mapping[str, str]) -> str | None:
        """The model of a machine's device of this kind, from its stable facts as they were stored."""
        return next((facts[name] for name in self.fact_names if facts.get(name)), None)

    def ceilings_key(self, threads: int) -> str:
        """Under which a machine's ceilings stand: the threads, or ``"0"`` where they do not matter."""
        return str(threads) if self.threaded else "0"

    def most_calls(self, call: str) -> int | None:
        """The largest number of calls that the clock makes in one process, or None where only time ends it."""
        del call
        return None

    # What follows runs where the device is.

    def absent(self) -> str | None:
        """A sentence if it is not here, else None."""
        return None

    def unnamed(self) -> str | None:
        """Why what is measured on it here must not be stored: the machine's id would not name it."""
        return None

    def facts(self) -> dict[str, str]:
        """The stable facts that it adds to a machine's fingerprint, and so to its id."""
        return {}

    def configure(self, dtype: str, threads: int) -> None:
        """Give torch and every BLAS in the process exactly ``threads`` threads."""
        del dtype
        import torch
        from threadpoolctl import threadpool_limits

        torch.set_num_threads(threads)
        threadpool_limits(threads)

    def empty(self, shape: Sequence[int], dtype: torch.dtype) -> torch.Tensor:
        """Memory for a tensor."""
        import torch

        return torch.empty(tuple(shape), dtype=dtype, device=self.torch_type)

    def synchronize(self) -> None:  # noqa: B027 - nothing to wait for where calls are done when they return
        """Wait until everything launched is done."""

    def release_memory(self) -> None:  # noqa: B027 - nothing to give back where torch keeps none
        """Give memory that torch keeps for later back to the device."""

    def evictor(
        self,
        resident: Sequence[torch.Tensor],
        x: Sequence[torch.Tensor],
        y: Sequence[torch.Tensor],
        flush: Callable[[int, int], bool],
    ) -> Evict | None:
        """What evicts ``resident`` and batch ``i`` of ``x`` and ``y`` before a cold call; None if the clock does.

        ``flush`` is ``_cpu.evict``, taken hold of before anybody could replace it.
        """
        del resident, x, y, flush
        return None

    def time_calls(
        self,
        calls: Sequence[Call],
        protocol: Timing,
        effort: Effort,
        evict: Evict | None = None,
        renew: Callable[[], object] = lambda: None,
    ) -> tuple[list[float], list[str]]:
        """Seconds per call of each sample, and notes about them.

        ``renew`` changes what the calls compute on before a last one that is not timed, so that what it leaves can be
        checked. Not called where a judge in another process times, by a ``Clock`` of its own.
        """
        del protocol
        samples = clock.time_calls(calls, effort, evict)
        renew()
        calls[0]()
        return samples, []

    def time_launches(self, calls: Sequence[Call], effort: Effort) -> tuple[list[float], list[str]]:
        """Seconds until a call returns, which need not be when its work is done: a published clock."""
        return clock.time_calls(calls, effort, None), []

    @abstractmethod
    def ceilings(self, threads: Sequence[int]) -> Ceilings:
        """What it can do at best, measured now: rates per second by name and ``ceilings_key``.

        ``fma_<dtype>`` and ``peak_<dtype>`` in operations, ``dram_read``, ``dram_copy`` and ``cache_read`` in bytes,
        ``launch`` in launches. ``fma_`` is what the vector units do in registers (on an accelerator, a large product),
        ``peak_`` the fastest that any unit has shown in that dtype. Each is the best of several short runs: noise can
        only lower it.
        """

"""NVIDIA GPUs: how long does one call take by the GPU's own clock, and what can it do at best?

CUDA events around each call, enqueued behind a flush of the L2 that lasts
longer than the launches do, so that the host is never what is timed. ``graph``
captures several calls, each between two events and behind a flush where the
protocol is cold, and replays them. Clocks, power and throttle reasons are read
before and after; a round under a thermal or hardware slow-down is discarded
and counted, the power cap is only recorded (a dense GEMM lives at it). Declarations, clock and ceilings
of one device stand in one file, hence more than 300 lines.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fffbench.devices.base import Ceilings, Device, Timing
from fffbench.devices.clock import MOST_SAMPLES, Call, Effort, Evict

NAME = "cuda"

FLUSH_FACTOR = 3  # times the L2: nothing of the previous call survives
FLUSH_FLOOR_BYTES = 256 * 2**20  # about 60 us of writes on an H200: longer than launching a layer's kernels
CALLS_A_ROUND = 20  # eager calls between two readings of the throttle reasons
GRAPH_CALLS = 10  # calls in one captured graph
WARMUP_SECONDS = 0.05
MOST_ROUNDS_DISCARDED = 5
MOST_CALLS = MOST_SAMPLES + CALLS_A_ROUND * (MOST_ROUNDS_DISCARDED + 1)  # timed calls of a process, in whole rounds
CEILING_SECONDS = 0.2
GEMM_SIDE = 8192  # 1.1 TFLOP a product: long against a launch, three times the L2 in each operand


class Cuda(Device):
    """An NVIDIA GPU."""

    name = NAME
    label = "CUDA"
    kernel = "fff_cuda"
    torch_type = "cuda"
    calls = ("kernel", "torch", "graph")
    # An eager launch of a small layer measures the launch; inside a model it would be hidden, as a graph hides it.
    headline_call = "graph"
    cells_per_process = 24  # creating a context and loading its libraries takes some three seconds
    has_tf32 = True
    tile_tokens = 16384  # a GPU needs more rows for full waves; 16384 x 4096 bf16 activations are 128 MiB
    guessed_rate = 2e13  # a data-centre GPU of 2020
    guessed_bandwidth = 1.5e12
    # A cell's share of a new context and its libraries, the warm-up, the float64 reference, capturing a graph, and in a
    # first process NVRTC or Triton.
    cell_seconds = 0.5
    compile_seconds = 8.0  # torch.compile, 5 to 10 s a shape; every process compiles its own
    least_limit_seconds = 60.0
    over_ceiling: Mapping[str, float] = dict.fromkeys(("fp32", "tf32", "bf16", "fp16"), 2.0)
    drawn_elements = 2**24  # 16 million normal numbers take the host 0.7 s
    reference_operations = 1.0e12  # 0.1 s at 10 TFLOP/s; a layer of 2**20 neurons of 768 has 310 tokens of it
    chunk_bytes = 2**29
    fact_names = ("gpu 0", "gpu")

    def most_calls(self, call: str) -> int | None:
        """Whole rounds, or those of one graph."""
        return GRAPH_CALLS if call == "graph" else MOST_CALLS

    def absent(self) -> str | None:
        """Whether torch can use one."""
        import torch

        return None if torch.cuda.is_available() else "no CUDA device here"

    def unnamed(self) -> str | None:
        """A GPU of another maker, which torch calls by the same name, or one without NVML."""
        if gpu_names():
            return None
        import torch

        hip = getattr(torch.version, "hip", None)
        if hip:
            return (
                f"torch is built for ROCm {hip}: AMD's GPUs are not named in a machine's id yet, so nothing is measured"
            )
        return (
            "NVML does not name the GPU (nvidia-ml-py or the driver's library is missing): no machine to file it under"
        )

    def facts(self) -> dict[str, str]:
        """The names of the GPUs."""
        return {f"gpu {index}": name for index, name in enumerate(gpu_names())}

    def configure(self, dtype: str, threads: int) -> None:
        """Allow tf32 for tf32 workloads and for no other."""
        super().configure(dtype, threads)
        import torch

        torch.backends.cuda.matmul.allow_tf32 = dtype == "tf32"
        torch.backends.cudnn.allow_tf32 = dtype == "tf32"
        # sums of bf16 and fp16 products stay in fp32, as in every other implementation
        torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False
        torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction = False

    def synchronize(self) -> None:
        """Wait for all streams."""
        import torch

        torch.cuda.synchronize()

    def release_memory(self) -> None:
        """Empty torch's cache of blocks."""
        import torch

        torch.cuda.empty_cache()

    def time_calls(
        self,
        calls: Sequence[Call],
        protocol: Timing,
        effort: Effort,
        evict: Evict | None = None,
        renew: Callable[[], object] = lambda: None,
    ) -> tuple[list[float], list[str]]:
        """By events, and notes about clocks and discarded rounds.

        ``renew`` comes before the last round, of which no time is kept: it is launched as the others were, a graph's
        replay too, so what it leaves is what they compute.
        """
        del evict  # the rounds flush the L2 themselves
        flush = _flusher() if protocol.cache == "cold" else None
        telemetry = _Telemetry()
        [once] = _eager_round(calls, flush, 1)()
        if once > effort.seconds:  # the check was its warm-up; a graph would repeat what takes seconds
            telemetry.slowed_down()
            renew()
            _eager_round(calls, flush, 1)()
            return [once], [
                telemetry.summary(),
                "a call outlasts the time of a process: one is timed, launched eagerly",
            ]
        warm_until = time.perf_counter() + WARMUP_SECONDS
        while time.perf_counter() < warm_until:
            for call in calls[: _calls_within(WARMUP_SECONDS, once, CALLS_A_ROUND)]:
                call()
            self.synchronize()
        if protocol.call == "graph":
            measure_round = _graph_round(calls, flush, _calls_within(effort.seconds, once, GRAPH_CALLS))
        else:
            measure_round = _eager_round(calls, flush, _calls_within(effort.seconds, once, CALLS_A_ROUND))
        samples: list[float] = []
        discarded = 0
        end = time.perf_counter() + effort.seconds
        while not samples or (time.perf_counter() < end and len(samples) < MOST_SAMPLES):
            taken = measure_round()
            if telemetry.slowed_down() and discarded < MOST_ROUNDS_DISCARDED:
                discarded += 1
                continue
            samples += taken
        renew()
        measure_round()
        notes = [telemetry.summary()]
        if discarded:
            notes.append(f"{discarded} rounds under a thermal or hardware slow-down were discarded")
        return samples, notes

    def time_launches(self, calls: Sequence[Call], effort: Effort) -> tuple[list[float], list[str]]:
        """By the host's clock, without waiting for the work.

        A round times ``CALLS_A_ROUND`` calls one after another, as published, and waits before the next.
        """
        samples: list[float] = []
        end = time.perf_counter() + effort.seconds
        calls[0]()
        self.synchronize()
        while not samples or (time.perf_counter() < end and len(samples) < MOST_SAMPLES):
            for i in range(CALLS_A_ROUND):
                start = time.perf_counter_ns()
                calls[i % len(calls)]()
                samples.append((time.perf_counter_ns() - start) * 1e-9)
            self.synchronize()
        return samples, ["host clock without synchronisation, as published: the time to launch, not to compute"]

    def ceilings(self, threads: Sequence[int]) -> Ceilings:
        """Matrix peak by dtype, copy and read bandwidth, launches per second."""
        del threads
        import torch

        found: dict[str, float] = {}
        for dtype, storage in (
            ("fp32", torch.float32),
            ("tf32", torch.float32),
            ("bf16", torch.bfloat16),
            ("fp16", torch.float16),
        ):
            torch.backends.cuda.matmul.allow_tf32 = dtype == "tf32"
            a, b, c = (torch.randn(GEMM_SIDE, GEMM_SIDE, device=NAME).to(storage) for _ in range(3))
            rate = 2 * GEMM_SIDE**3 / _best(lambda a=a, b=b, c=c: torch.mm(a, b, out=c))  # type: ignore[misc]
            # cuBLAS takes the fastest unit that the dtype has; strict fp32 has no matrix unit
            found[f"fma_{dtype}"] = found[f"peak_{dtype}"] = rate
            del a, b, c
        source = torch.ones(2**30, dtype=torch.float32, device=NAME)
        target = torch.empty_like(source)
        found["dram_copy"] = 2 * source.nbytes / _best(lambda: target.copy_(source))
        found["dram_read"] = source.nbytes / _best(lambda: torch.sum(source))
        tiny = torch.ones(1, device=NAME)
        found["launch"] = CALLS_A_ROUND / _best(lambda: [tiny.add_(1) for _ in range(CALLS_A_ROUND)])
        return {name: {self.ceilings_key(1): value} for name, value in found.items()}


DEVICE = Cuda()


def gpu_names() -> list[str]:
    """Names of the NVIDIA devices; empty where there is no driver."""
    try:
        import pynvml

        pynvml.nvmlInit()
    except (ImportError, OSError):
        return []
    except pynvml.NVMLError:
        return []
    handles = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
    return [str(pynvml.nvmlDeviceGetName(handle)) for handle in handles]


def _calls_within(seconds: float, call: float, most: int) -> int:
    """How many calls of ``call`` seconds make a round that is to last ``seconds``: at least one, ``most`` at most."""
    return max(1, min(most, int(seconds / max(call, 1e-9))))


def _flusher() -> Callable[[], object]:
    import torch

    l2 = torch.cuda.get_device_properties(0).L2_cache_size
    buffer = torch.empty(max(FLUSH_FACTOR * l2, FLUSH_FLOOR_BYTES) // 4, dtype=torch.int32, device=NAME)
    return buffer.zero_


def _event(*, external: bool = False) -> Any:
    import torch

    # torch's constructor is untyped; an external event is the kind that may sit inside a captured graph
    return torch.cuda.Event(enable_timing=True, external=external)  # type: ignore[no-untyped-call]


def _eager_round(calls: Sequence[Call], flush: Callable[[], object] | None, count: int) -> Callable[[], list[float]]:
    """Each round times ``count`` calls, rotating; the sleep before each covers the launches when warm."""
    import torch

    position = 0
    lead = flush if flush is not None else _busy()

    def measure_round() -> list[float]:
        nonlocal position
        pairs = []
        for _ in range(count):
            start, stop = _event(), _event()
            lead()
            start.record()
            calls[position % len(calls)]()
            stop.record()
            pairs.append((start, stop))
            position += 1
        torch.cuda.synchronize()
        return [start.elapsed_time(stop) * 1e-3 for start, stop in pairs]

    return measure_round


def _busy() -> Callable[[], object]:
    """Keeps the GPU busy without touching its L2, so that the host runs ahead of it: about 100 us at 2 GHz."""
    import torch

    return lambda: torch.cuda._sleep(200_000)  # type: ignore[no-untyped-call]  # noqa: SLF001  (no public one)


def _graph_round(calls: Sequence[Call], flush: Callable[[], object] | None, count: int) -> Callable[[], list[float]]:
    import torch

    chosen = [calls[i % len(calls)] for i in range(count)]
    pairs = [(_event(external=True), _event(external=True)) for _ in chosen]
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for call in chosen:
            call()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for call, (start, stop) in zip(chosen, pairs, strict=True):
            if flush is not None:
                flush()
            start.record()
            call()
            stop.record()

    def measure_round() -> list[float]:
        graph.replay()
        torch.cuda.synchronize()
        return [start.elapsed_time(stop) * 1e-3 for start, stop in pairs]

    return measure_round


class _Telemetry:
    """Clocks, power and throttle reasons through NVML; silent where there is none."""

    def __init__(self) -> None:
        try:
            import pynvml

            pynvml.nvmlInit()
            self._nvml: Any = pynvml
            self._handle = pynvml.nvmlDeviceGetHandleByIndex(0)
        except Exception:  # noqa: BLE001  (no driver, no library, no permission: all mean no telemetry)
            self._nvml = None
        self._seen: set[str] = set()
        self._clocks: list[int] = []

    def slowed_down(self) -> bool:
        """Read the sensors; whether a thermal or hardware slow-down is on now."""
        if self._nvml is None:
            return False
        nvml = self._nvml
        reasons = nvml.nvmlDeviceGetCurrentClocksThrottleReasons(self._handle)
        self._clocks.append(nvml.nvmlDeviceGetClockInfo(self._handle, nvml.NVML_CLOCK_SM))
        names = {
            "thermal": nvml.nvmlClocksThrottleReasonSwThermalSlowdown | nvml.nvmlClocksThrottleReasonHwThermalSlowdown,
            "hardware": nvml.nvmlClocksThrottleReasonHwSlowdown,
            "power cap": nvml.nvmlClocksThrottleReasonSwPowerCap,
        }
        now = {name for name, bits in names.items() if reasons & bits}
        self._seen |= now
        return bool(now & {"thermal", "hardware"})

    def summary(self) -> str:
        """What was seen, in words."""
        if self._nvml is None or not self._clocks:
            return "GPU clocks were not readable"
        reasons = ", ".join(sorted(self._seen)) or "none"
        return f"SM clock {min(self._clocks)} to {max(self._clocks)} MHz, slow-down reasons: {reasons}"


def _best(call: Call) -> float:
    """The shortest of repeated calls, in seconds."""
    import torch

    best, end = float("inf"), time.perf_counter() + CEILING_SECONDS
    call()
    while time.perf_counter() < end:
        start, stop = _event(), _event()
        start.record()
        call()
        stop.record()
        torch.cuda.synchronize()
        best = min(best, start.elapsed_time(stop) * 1e-3)
    return best

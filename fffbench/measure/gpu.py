"""How long does one call take on the GPU, by the GPU's own clock?

CUDA events around each call, enqueued behind a flush of the L2 that lasts
longer than the launches do, so that the host is never what is timed. ``graph``
captures several calls, each between two events and behind a flush where the
protocol is cold, and replays them. Clocks, power and throttle reasons are read
before and after; a round under a thermal or hardware slow-down is discarded
and counted, the power cap is only recorded (a dense GEMM lives at it).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from fffbench.measure.clock import MOST_SAMPLES, Call, Effort
from fffbench.plan.workload import Protocol, Workload

if TYPE_CHECKING:
    pass

FLUSH_FACTOR = 3  # times the L2: nothing of the previous call survives
FLUSH_FLOOR_BYTES = 256 * 2**20  # about 60 us of writes on an H200: longer than launching a layer's kernels
CALLS_A_ROUND = 20  # eager calls between two readings of the throttle reasons
GRAPH_CALLS = 10  # calls in one captured graph
WARMUP_SECONDS = 0.05
MOST_ROUNDS_DISCARDED = 5
MOST_CALLS = MOST_SAMPLES + CALLS_A_ROUND * (MOST_ROUNDS_DISCARDED + 1)  # timed calls of a process, in whole rounds
CEILING_SECONDS = 0.2
GEMM_SIDE = 8192  # 1.1 TFLOP a product: long against a launch, three times the L2 in each operand


def configure(workload: Workload) -> None:
    """Allow tf32 for tf32 workloads and for no other."""
    import torch

    torch.backends.cuda.matmul.allow_tf32 = workload.dtype == "tf32"
    torch.backends.cudnn.allow_tf32 = workload.dtype == "tf32"
    # sums of bf16 and fp16 products stay in fp32, as in every other implementation
    torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False
    torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction = False


def time_calls(
    calls: Sequence[Call], protocol: Protocol, effort: Effort, renew: Callable[[], object] = lambda: None
) -> tuple[list[float], list[str]]:
    """Seconds per call of each sample, and notes about clocks and discarded rounds.

    ``renew`` changes what the calls compute on before the last round, of which no time is kept: it is launched as the
    others were, a graph's replay too, so what it leaves is what they compute.
    """
    import torch

    flush = _flusher() if protocol.cache == "cold" else None
    telemetry = _Telemetry()
    [once] = _eager_round(calls, flush, 1)()
    if once > effort.seconds:  # the check was its warm-up; a graph would repeat what takes seconds
        telemetry.slowed_down()
        renew()
        _eager_round(calls, flush, 1)()
        return [once], [telemetry.summary(), "a call outlasts the time of a process: one is timed, launched eagerly"]
    warm_until = time.perf_counter() + WARMUP_SECONDS
    while time.perf_counter() < warm_until:
        for call in calls[: _calls_within(WARMUP_SECONDS, once, CALLS_A_ROUND)]:
            call()
        torch.cuda.synchronize()
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


def _calls_within(seconds: float, call: float, most: int) -> int:
    """How many calls of ``call`` seconds make a round that is to last ``seconds``: at least one, ``most`` at most."""
    return max(1, min(most, int(seconds / max(call, 1e-9))))


def time_launches(calls: Sequence[Call], effort: Effort) -> tuple[list[float], list[str]]:
    """Seconds until a call returns, which is not when its work is done: a published clock, kept to show what it says.

    A round times ``CALLS_A_ROUND`` calls one after another, as published, and waits before the next.
    """
    import torch

    samples: list[float] = []
    end = time.perf_counter() + effort.seconds
    calls[0]()
    torch.cuda.synchronize()
    while not samples or (time.perf_counter() < end and len(samples) < MOST_SAMPLES):
        for i in range(CALLS_A_ROUND):
            start = time.perf_counter_ns()
            calls[i % len(calls)]()
            samples.append((time.perf_counter_ns() - start) * 1e-9)
        torch.cuda.synchronize()
    return samples, ["host clock without synchronisation, as published: the time to launch, not to compute"]


def _flusher() -> Callable[[], object]:
    import torch

    l2 = torch.cuda.get_device_properties(0).L2_cache_size
    buffer = torch.empty(max(FLUSH_FACTOR * l2, FLUSH_FLOOR_BYTES) // 4, dtype=torch.int32, device="cuda")
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


def ceilings() -> dict[str, float]:
    """Matrix peak by dtype (operations per second), copy and read bandwidth (bytes per second), launches per second."""
    import torch

    found: dict[str, float] = {}
    for dtype, storage in (
        ("fp32", torch.float32),
        ("tf32", torch.float32),
        ("bf16", torch.bfloat16),
        ("fp16", torch.float16),
    ):
        torch.backends.cuda.matmul.allow_tf32 = dtype == "tf32"
        a, b, c = (torch.randn(GEMM_SIDE, GEMM_SIDE, device="cuda").to(storage) for _ in range(3))
        rate = 2 * GEMM_SIDE**3 / _best(lambda a=a, b=b, c=c: torch.mm(a, b, out=c))  # type: ignore[misc]
        # cuBLAS takes the fastest unit that the dtype has; strict fp32 has no matrix unit
        found[f"fma_{dtype}"] = found[f"peak_{dtype}"] = rate
        del a, b, c
    source = torch.ones(2**30, dtype=torch.float32, device="cuda")
    target = torch.empty_like(source)
    found["dram_copy"] = 2 * source.nbytes / _best(lambda: target.copy_(source))
    found["dram_read"] = source.nbytes / _best(lambda: torch.sum(source))
    tiny = torch.ones(1, device="cuda")
    found["launch"] = CALLS_A_ROUND / _best(lambda: [tiny.add_(1) for _ in range(CALLS_A_ROUND)])
    return found


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

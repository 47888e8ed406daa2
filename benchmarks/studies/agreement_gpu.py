"""Does our GPU clock agree with Triton's and with the driver's own record of when kernels ran?

Three clocks time the same bound kernels in one process, each call behind a flush of the L2, in short turns whose order
alternates: ours (``devices.cuda``), ``triton.testing.do_bench`` (events too, another loop), and CUPTI through
``torch.profiler`` (no events: from the start of a call's first kernel to the end of its last). Cells last 0.2 ms and
more, because events see a launch that CUPTI does not, some microseconds. A clock that is not there is left out, with
the reason.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec

from fffbench.devices import cuda
from fffbench.devices.clock import Call, Effort
from fffbench.implementations.registry import implementation
from fffbench.measure import cellrun, inputs
from fffbench.plan.workload import Cell, Protocol, Shape, Workload

TURNS = 10  # of each clock; events scatter by 1 % from call to call, a median of ten turns of many calls by far less
TURN_SECONDS = 0.05
PROFILED_CALLS = 20  # of a turn of CUPTI
COLD = Protocol("cold", "kernel")
_WAITS = ("Stream ", "Event ", "Context ")  # how the profiler names synchronisations, which are no work

TREE = Shape.tree(768, 1, 12)
CELLS = tuple(
    Cell(name, Workload(TREE, batch, dtype, device=cuda.NAME), Protocol("hot", "kernel"))  # one batch of inputs
    for name, dtype, batch in (
        ("dense_linear", "fp32", 16384),
        ("dense_linear", "bf16", 16384),
        ("fff_cuda", "fp32", 65536),
        ("fff_triton", "fp32", 65536),
        ("cmm_triton_levels", "fp32", 16384),
    )
)


@dataclass(frozen=True)
class Reading:
    """One cell by one other clock: medians in seconds a call, and the median of the paired ratios minus one."""

    cell: str
    clock: str
    ours: float
    theirs: float
    difference: float


def do_bench(run: Call) -> float:
    """Seconds a call by Triton's benchmark function, which flushes the L2 before each."""
    from triton.testing import do_bench as timed

    milliseconds: float = timed(run, warmup=5, rep=int(TURN_SECONDS * 1e3), return_mode="median")
    return milliseconds * 1e-3


def cupti(run: Call) -> float:
    """Seconds a call from the start of its first kernel to the end of its last, as the driver records them."""
    flush = cuda._flusher()  # noqa: SLF001 - the same flush as the clock under test
    parts = len(_recorded(flush)), len(_recorded(run))

    def all_calls() -> None:
        for _ in range(PROFILED_CALLS):
            flush()
            run()

    spans = _recorded(all_calls)
    step = sum(parts)
    if parts[1] == 0 or len(spans) != PROFILED_CALLS * step:
        raise RuntimeError(
            f"CUPTI recorded {len(spans)} activities, not {PROFILED_CALLS} times {parts[0]} + {parts[1]}"
        )
    calls = (spans[at + parts[0] : at + step] for at in range(0, len(spans), step))
    return statistics.median(call[-1][1] - call[0][0] for call in calls) * 1e-9


def _recorded(work: Callable[[], object]) -> list[tuple[int, int]]:
    """Start and end, nanoseconds, of everything that ``work`` did on the GPU, in order."""
    import torch
    from torch.autograd import DeviceType  # type: ignore[attr-defined]
    from torch.profiler import ProfilerActivity, profile

    torch.cuda.synchronize()
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiler:
        work()
        torch.cuda.synchronize()
    events = profiler.profiler.kineto_results.events()
    on_gpu = (
        event for event in events if event.device_type() == DeviceType.CUDA and not event.name().startswith(_WAITS)
    )
    return sorted((event.start_ns(), event.start_ns() + event.duration_ns()) for event in on_gpu)


def clocks() -> dict[str, Callable[[Call], float]]:
    """The other clocks that are there."""
    found: dict[str, Callable[[Call], float]] = {"CUPTI": cupti}
    if find_spec("triton") is not None:
        found["triton.testing.do_bench"] = do_bench
    return found


def compare(cell: Cell) -> list[Reading]:
    """``cell`` by our clock and every other, in short turns of alternating order."""
    cuda.DEVICE.configure(cell.workload.dtype, cell.workload.threads)
    pool = inputs.make_pool(cell, cell.workload.draw(cellrun.data_tokens(cell)))
    run = implementation(cell.implementation).prepare(pool.weights, cell.workload).bind(pool.x[0], pool.y[0])
    run()  # compiles and allocates

    def ours() -> float:
        return statistics.median(cuda.DEVICE.time_calls([run], COLD, Effort(TURN_SECONDS))[0])

    readings = []
    for name, clock in clocks().items():
        pairs = []
        for turn in range(TURNS):
            first = ours() if turn % 2 == 0 else None
            theirs = clock(run)
            pairs.append((first if first is not None else ours(), theirs))
        difference = statistics.median(a / b for a, b in pairs) - 1
        mine, other = (statistics.median(column) for column in zip(*pairs, strict=True))
        readings.append(Reading(cell.id, name, mine, other, difference))
    return readings


def readings() -> Iterator[Reading]:
    """Every cell of the comparison that can run here."""
    for cell in CELLS:
        if implementation(cell.implementation).unsupported(cell.workload) is None:
            yield from compare(cell)

"""How fast is each CUDA variant here, and is it right? Checks against float64, then times; prints a short table.

``python -m tools.cuda.tune [PART ...]`` from the repository root, on a machine with a GPU; parts: bf16, fp32, small,
rivals, others, profile. Each figure is the time of one call in a CUDA graph that holds several calls over different
copies of inputs and weights, started after the L2 was flushed: median of REPEATS graph replays.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Sequence

import torch

from fffbench.implementations import cmm_cuda_naive, cmm_triton_levels, fff_cuda, fff_triton
from fffbench.implementations.registry import Weights
from fffbench.plan.workload import Shape, Workload

REPEATS = 15
FLUSH_BYTES = 256 * 2**20  # several times any L2
TORCH = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
TOLERANCE = {"fp32": 2e-5, "bf16": 5e-3, "fp16": 1e-3}


def data(shape: Shape, batch: int, dtype: str, seed: int, *, single: bool = False) -> tuple[torch.Tensor, Weights]:
    """Unit logits and outputs, as the project's own data; ``single`` sends every token down one path."""
    g = torch.Generator("cuda").manual_seed(seed)
    x = torch.randn(batch, shape.d, generator=g, device="cuda")
    w1 = torch.randn(shape.routers + shape.n, shape.d, generator=g, device="cuda") * shape.d**-0.5
    w2 = torch.randn(shape.n, shape.d, generator=g, device="cuda") * shape.active**-0.5
    if single:
        x = x[:1].expand(batch, -1).contiguous()
    cast = TORCH[dtype]
    return x.to(cast), Weights(w1.to(cast), w2.to(cast))


def reference(x: torch.Tensor, weights: Weights, shape: Shape) -> tuple[torch.Tensor, torch.Tensor]:
    """Float64 output, and each token's smallest |logit|."""
    wide = x.double()
    y = torch.zeros_like(wide)
    least = torch.full((x.shape[0],), float("inf"), device="cuda", dtype=torch.float64)
    for t in range(shape.trees):
        node = torch.zeros(x.shape[0], dtype=torch.int64, device="cuda")
        for _ in range(shape.levels):
            row = t * (2**shape.levels - 1) + node
            z = (wide * weights.w1[row].double()).sum(1)
            y += torch.nn.functional.gelu(z)[:, None] * weights.w2[row].double()
            least = torch.minimum(least, z.abs())
            node = 2 * node + 1 + (z > 0)
    return y, least


def check(y: torch.Tensor, exact: torch.Tensor, least: torch.Tensor, dtype: str) -> str:
    """Worst relative error of the tokens whose path is not in doubt, and how many were in doubt."""
    error = (y.double() - exact).norm(dim=1) / exact.norm(dim=1).clamp_min(1e-30)
    error = torch.where(torch.isfinite(error), error, torch.full_like(error, float("inf")))
    doubt = least < 3e-6
    worst = float(error[~doubt].max()) if bool((~doubt).any()) else 0.0
    verdict = "ok" if worst < TOLERANCE[dtype] else "WRONG"
    return f"{verdict:5} {worst:.1e} ({int((error >= TOLERANCE[dtype]).sum())} over, {int(doubt.sum())} in doubt)"


def graph_time(calls: Sequence[Callable[[], object]]) -> float:
    """Microseconds a call, the calls captured in one graph and started on a flushed L2."""
    flush = torch.empty(FLUSH_BYTES // 4, dtype=torch.int32, device="cuda")
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for call in calls:
            call()
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=stream):
            for call in calls:
                call()
        samples = []
        for _ in range(REPEATS):
            flush.zero_()
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            graph.replay()
            end.record()
            end.synchronize()
            samples.append(start.elapsed_time(end) * 1e3 / len(calls))
    return statistics.median(samples)


def case(shape: Shape, batch: int, dtype: str, strategy: str, *, single: bool = False, **tuning: int) -> None:
    """Check and time one variant; print one line."""
    label = f"{dtype} {shape.id} b{batch} {strategy} {tuning or ''}{' single-path' if single else ''}"
    copies = 4 if batch * shape.d > 2**20 else 24
    workload = Workload(shape, batch, dtype, device="cuda")
    try:
        bound, verdict = [], ""
        for copy in range(copies):
            x, weights = data(shape, batch, dtype, copy, single=single)
            y = torch.full_like(x, float("nan"))
            call = fff_cuda.prepare(weights, workload, strategy, **tuning).bind(x, y)
            if copy == 0:
                call()
                call()
                verdict = check(y, *reference(x, weights, shape), dtype)
            bound.append((call, x, y, weights))
        calls = [b[0] for b in bound] * (2 if copies == 4 else 1)
        print(f"{graph_time(calls):9.1f} us  {verdict}  {label}", flush=True)
    except (RuntimeError, ValueError) as error:
        print(f"   failed: {label}: {str(error)[:150]}", flush=True)
        if "CUDA" in str(error):
            raise


def dense(batch: int, dtype: str, n: int = 4096, d: int = 768) -> None:
    """The rival: two GEMMs and GELU through torch."""
    copies = []
    for _ in range(4):
        x = torch.randn(batch, d, device="cuda", dtype=TORCH[dtype])
        w1, w2 = (torch.randn(n, d, device="cuda", dtype=TORCH[dtype]) * 0.03 for _ in range(2))
        h, y = torch.empty(batch, n, device="cuda", dtype=TORCH[dtype]), torch.empty_like(x)

        def call(
            x: torch.Tensor = x, w1: torch.Tensor = w1, w2: torch.Tensor = w2, h: torch.Tensor = h, y: torch.Tensor = y
        ) -> None:
            torch.mm(x, w1.t(), out=h)
            torch.ops.aten.gelu_(h)
            torch.mm(h, w2, out=y)

        copies.append(call)
    print(f"{graph_time(copies * 2):9.1f} us  dense {dtype} n={n} b{batch}", flush=True)


TREE = Shape.tree(768, 1, 12)


def bf16() -> None:
    """The tensor-core kernels: tile, stages and the split of the levels; then the crossover with a warp a token."""
    for bottom, stages in ((5, 4), (6, 3)):
        for tile in (64, 128, 32):
            case(TREE, 16384, "bf16", "tensor", bottom=bottom, tile=tile, stages=stages)
        for tile_top, stages_top in ((64, 3), (128, 3), (128, 4)):
            tuning = {"bottom": bottom, "stages": stages, "tile_top": tile_top, "stages_top": stages_top}
            case(TREE, 16384, "bf16", "tensor", **tuning)
    case(TREE, 16384, "bf16", "tensor", single=True)
    case(TREE, 16384, "fp16", "tensor")
    for batch in (4096, 8192, 65536):
        for strategy in ("tensor", "path"):
            case(TREE, batch, "bf16", strategy)


def fp32() -> None:
    """The shared-memory kernels and their crossover with a warp a token."""
    for bottom in (5, 4):
        case(TREE, 16384, "fp32", "shared", bottom=bottom)
    case(TREE, 16384, "fp32", "shared", single=True)
    for batch in (4096, 8192, 65536):
        for strategy in ("shared", "path"):
            case(TREE, batch, "fp32", strategy)


def small() -> None:
    """Small batches as a user gets them."""
    for dtype in ("fp32", "bf16"):
        for batch in (1, 128, 256, 512, 1024, 1536, 2048):
            case(TREE, batch, dtype, "auto")


def eager() -> None:
    """What a call costs the host: many calls of the smallest batch, wall clock."""
    x, weights = data(TREE, 1, "bf16", 0)
    layer = fff_cuda.prepare(weights, Workload(TREE, 1, "bf16", device="cuda"))
    for name, call in (("bind", layer.bind(x, torch.empty_like(x))), ("forward", lambda: layer.forward(x))):
        for _ in range(200):
            call()
        torch.cuda.synchronize()
        start = time.perf_counter()
        for _ in range(2000):
            call()
        torch.cuda.synchronize()
        print(f"{(time.perf_counter() - start) / 2000 * 1e6:9.1f} us  a call, eager, bf16 b1 {name}", flush=True)


def rivals() -> None:
    """Our other GPU kernels, and dense through torch."""
    for module in (fff_triton, cmm_triton_levels, cmm_cuda_naive):
        for batch in (1, 1024, 16384):
            x, weights = data(TREE, batch, "fp32", 0)
            y = torch.empty_like(x)
            call = module.prepare(weights, Workload(TREE, batch, device="cuda")).bind(x, y)
            call()
            verdict = check(y, *reference(x, weights, TREE), "fp32")
            print(
                f"{graph_time([call] * 4):9.1f} us  {verdict}  fp32 b{batch} {module.__name__} (one copy)", flush=True
            )
    eager()
    for dtype in ("bf16", "fp32"):
        for batch in (1, 128, 1024, 16384):
            dense(batch, dtype)


def others() -> None:
    """Other shapes as a user gets them."""
    for d, trees, levels in ((1024, 1, 12), (768, 1, 6), (768, 1, 13), (768, 1, 16), (768, 16, 8), (4096, 1, 12)):
        for dtype in ("fp32", "bf16"):
            case(Shape.tree(d, trees, levels), 4096, dtype, "auto")


def profile() -> None:
    """One call of each kernel pair and nothing else, for a profiler."""
    for dtype, strategy in (("bf16", "tensor"), ("fp32", "shared")):
        x, weights = data(TREE, 16384, dtype, 0)
        call = fff_cuda.prepare(weights, Workload(TREE, 16384, dtype, device="cuda"), strategy).bind(x, x.clone())
        call()
        torch.cuda.synchronize()


PARTS = {f.__name__: f for f in (bf16, fp32, small, rivals, others, profile)}

if __name__ == "__main__":
    print(torch.cuda.get_device_name(), torch.__version__)
    for name in sys.argv[1:] or [name for name in PARTS if name != "profile"]:
        PARTS[name]()

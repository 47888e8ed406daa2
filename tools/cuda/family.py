"""How fast is each strategy for several trees, wide layers and leaf blocks here, and is it right? A table, and JSON.

``python -m tools.cuda.family [--part PART ...] [--auto] [--json FILE]`` from the repository root, on a machine with a
GPU; ``--auto`` takes what the plans choose. As in ``tune.py`` a figure is the time of one call in a CUDA graph that
holds several calls over different copies of inputs and weights, started after the L2 was flushed: the median of 15
replays in one process. Beside it stands the fastest dense layer of as many neurons, measured the same way in the same
minute. Outputs are checked against float64 on random tokens.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from fffbench.implementations import cmm_leaf_grouped, dense_fused, dense_padded, fff_cuda
from fffbench.implementations.cuda import build, leaf_plan
from fffbench.implementations.cuda import plan as tree_plan
from fffbench.implementations.cuda.base import Gpu, Layout, Plan
from fffbench.implementations.cuda.plan import STRATEGIES
from fffbench.implementations.registry import Weights
from fffbench.plan.workload import Shape, Workload
from tools.cuda.tune import TOLERANCE, data, graph_time

FAMILY = [Shape.tree(768, t, n) for t, n in (
    (3072, 1), (1536, 2), (512, 3), (256, 4), (128, 5), (64, 6), (32, 7), (16, 8), (8, 9), (4, 10), (2, 11), (1, 12)
)]  # fmt: skip
CHECKED = 96  # tokens
Case = tuple[Shape, int, str, str, dict[str, int]]


def exact(x: torch.Tensor, weights: Weights, shape: Shape) -> tuple[torch.Tensor, torch.Tensor]:
    """Float64 output of some tokens, all trees at once, and each token's smallest |logit|."""
    wide, batch = x.double(), x.shape[0]
    tree = torch.arange(shape.trees, device="cuda")
    node = torch.zeros(batch, shape.trees, dtype=torch.int64, device="cuda")
    y = torch.zeros_like(wide)
    least = torch.full((batch,), float("inf"), device="cuda", dtype=torch.float64)
    for _ in range(shape.levels):
        rows = tree * (2**shape.levels - 1) + node
        z = torch.empty(batch, shape.trees, device="cuda", dtype=torch.float64)
        for i in range(batch):
            z[i] = weights.w1[rows[i]].double() @ wide[i]
            if not shape.leaf_width:
                y[i] += torch.nn.functional.gelu(z[i]) @ weights.w2[rows[i]].double()
        least = torch.minimum(least, z.abs().amin(1))
        node = 2 * node + 1 + (z > 0)
    if shape.leaf_width:
        first = (tree * 2**shape.levels + node - (2**shape.levels - 1)) * shape.leaf_width
        for i in range(batch):
            rows = (first[i][:, None] + torch.arange(shape.leaf_width, device="cuda")).flatten()
            z = weights.w1[shape.routers + rows].double() @ wide[i]
            y[i] = torch.nn.functional.gelu(z) @ weights.w2[rows].double()
    return y, least


def verdict(y: torch.Tensor, x: torch.Tensor, weights: Weights, shape: Shape, dtype: str) -> str:
    """Whether every element was written and the checked tokens agree with float64."""
    if not bool(torch.isfinite(y).all()):
        return "UNWRITTEN"
    some = torch.randperm(x.shape[0], device="cuda")[:CHECKED]
    some[0] = x.shape[0] - 1
    expected, least = exact(x[some], weights, shape)
    error = (y[some].double() - expected).norm(dim=1) / expected.norm(dim=1).clamp_min(1e-30)
    sure = least > 3e-6
    worst = float(error[sure].max()) if bool(sure.any()) else 0.0
    return f"{'ok' if worst < TOLERANCE[dtype] else 'WRONG'} {worst:.1e}"


def timed(
    prepare: Callable[[Weights, Workload], Any], shape: Shape, batch: int, dtype: str, *, check: bool
) -> tuple[float, str]:
    """Microseconds of a call of what ``prepare`` makes, and the verdict on its output."""
    row = shape.d * (4 if dtype == "fp32" else 2)
    one = 2 * (shape.n + shape.routers + batch) * row
    copies = max(2, min(12, -(-(100 << 20) // one)))
    workload = Workload(shape, batch, dtype, device="cuda")
    bound, found = [], ""
    for copy in range(copies):
        x, weights = data(shape, batch, dtype, copy)
        y = torch.full_like(x, float("nan"))
        given = weights if check else Weights(weights.w1[shape.routers :], weights.w2)
        layer = prepare(given, workload)
        call = layer.bind(x, y)
        if copy == 0:
            call()
            y.fill_(float("nan"))
            call()
            torch.cuda.synchronize()
            found = verdict(y, x, weights, shape, dtype) if check else ""
        bound.append((call, x, y, weights, layer))
    return graph_time([b[0] for b in bound] * (2 if copies < 4 else 1)), found


def variants(name: str, shape: Shape, batch: int, dtype: str) -> list[dict[str, int]]:  # noqa: PLR0911 - one a strategy
    """What is worth trying of a strategy at a shape and batch; nothing where it takes far too long."""
    work = batch * shape.active
    if name == "path":
        return [{}] if work <= 2**21 and batch >= 1024 else []
    if name == "latency":
        return [{}] if batch * shape.levels <= 2**14 and work <= 2**15 else []
    if name == "split":
        if work > 2**21 or (work > 2**18 and dtype != "fp32"):
            return []
        if work > 2**18:
            return [{"ahead": 1}]
        return [{"ahead": a} for a in (1, 2, 3, 4) if a <= shape.levels and (batch == 1 or a < 4)]
    if name == "dense_form":
        tiles = ((256, 2), (256, 1), (128, 2), (128, 1), (64, 1))
        least = 256 if batch > 5000 else 128 if batch >= 1024 else 64
        groups = (1,) if batch < 128 else (1, 2) if batch < 5000 else (2,)
        shared = [{"columns": 128, "groups": 1, "blocks": 2}, {"columns": 64, "groups": 1, "blocks": 3}]
        alone = [
            {"columns": c, "groups": g} for c, g in tiles if g in groups and c >= least and (g == 1 or batch > 128)
        ]
        return alone + (shared if 64 <= batch < 5000 else [])
    if name == "tensor":
        return [{}] if shape.trees == 1 or batch > 1000 else []
    if name == "deep":
        return [] if shape.levels < 13 or batch < 1024 else [{"top": 7}, {"top": 6}]
    return [{}]


def cases(shapes: Sequence[Shape], dtypes: Sequence[str], batches: Sequence[int]) -> Iterator[Case]:
    """Every strategy that takes a shape."""
    for shape in shapes:
        for dtype in dtypes:
            layout = Layout(shape.d, shape.trees, shape.levels, dtype)
            for batch in batches:
                for name, make in STRATEGIES.items():
                    for tuning in variants(name, shape, batch, dtype):
                        if make(layout, Gpu(), batch, **tuning):
                            yield shape, batch, dtype, name, tuning


def leaves() -> Iterator[Case]:
    """The leaf form's strategies."""
    for routers, width in ((7, 32), (6, 64), (5, 128), (3, 512)):
        for dtype in ("bf16", "fp32"):
            for batch in (1, 128, 1024, 16384):
                for name in leaf_plan.STRATEGIES:
                    shape = Shape.leaf(768, 1, routers, width)
                    if (name == "token" and batch > 2000) or (name == "tile" and batch < 1000):
                        continue
                    if name == "split" and batch * width > 2**18:
                        continue
                    tunings: list[dict[str, int]] = [{}]
                    if name == "wide":
                        tunings = [
                            {"tokens": t, "chunk": c, "out": o} for t in (64, 128) for c in (64, 128) for o in (64, 128)
                        ]
                        tunings = [{}] if batch > 2000 else [u for u in tunings if u["tokens"] == 64]
                    for tuning in tunings:
                        layout = Layout(768, 1, routers, dtype, leaf_width=width)
                        if leaf_plan.STRATEGIES[name](layout, Gpu(), batch, **tuning):
                            yield shape, batch, dtype, name, tuning


WIDE = [Shape.tree(d, 1, levels) for d, levels in ((1024, 13), (1600, 13), (4096, 14), (12288, 16))]

PARTS: dict[str, Callable[[], Iterator[Case]]] = {
    "bf16": lambda: cases(FAMILY, ["bf16"], (1, 128, 1024, 16384)),
    "fp16": lambda: cases(FAMILY, ["fp16"], (16384,)),
    "fp32": lambda: cases(FAMILY, ["fp32"], (1, 128, 1024, 16384)),
    "leaf": leaves,
    "wide": lambda: cases(WIDE, ["bf16"], (1, 128, 4096)),
    "large": lambda: cases([FAMILY[i] for i in (4, 8, 9, 10, 11)], ["bf16"], (4096, 65536)),
}


def profiled(shape: Shape, batch: int, dtype: str, name: str, tuning: dict[str, int]) -> None:
    """What each kernel of a call takes, from CUPTI."""
    from torch.profiler import ProfilerActivity, profile

    x, weights = data(shape, batch, dtype, 0)
    call = fff_cuda.prepare(weights, Workload(shape, batch, dtype, device="cuda"), name, **tuning).bind(
        x, torch.empty_like(x)
    )
    for _ in range(3):
        call()
    torch.cuda.synchronize()
    with profile(activities=[ProfilerActivity.CUDA]) as trace:
        for _ in range(5):
            call()
        torch.cuda.synchronize()
    print(f"{shape.id} b{batch} {dtype} {name} {tuning or ''}")
    for event in (one for one in trace.key_averages() if one.self_device_time_total > 0):
        print(f"    {event.self_device_time_total / 5:8.1f} us a call, {event.count} x {event.key[:90]}", flush=True)


PROFILED: list[Case] = [
    (WIDE[3], 4096, "bf16", "deep", {}),
    (FAMILY[4], 16384, "bf16", "dense_form", {}),
    (FAMILY[1], 1024, "bf16", "dense_form", {"columns": 128, "groups": 2}),
    (FAMILY[9], 16384, "bf16", "tensor", {}),
    (FAMILY[11], 16384, "bf16", "tensor", {}),
    (Shape.leaf(768, 1, 3, 512), 128, "bf16", "wide", {}),
]


def planned(shape: Shape, batch: int, dtype: str, name: str, tuning: dict[str, int]) -> Plan:
    """The plan of a case on an H100."""
    layout = Layout(shape.d, shape.trees, shape.levels, dtype, leaf_width=shape.leaf_width)
    module = leaf_plan if shape.leaf_width else tree_plan
    return (
        module.choose(layout, Gpu(), batch) if name == "auto" else module.forced(name, layout, Gpu(), batch, **tuning)
    )


def compiled(job: tuple[str, tuple[tuple[str, int], ...], str]) -> str:
    """One kernel into the cache; the message if it fails."""
    source, macros, arch = job
    try:
        build.cubin(source, dict(macros), arch)
    except build.BuildError as error:
        return str(error)
    return ""


def main() -> None:  # noqa: C901 - a script's options
    """Compile everything, then check and time."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--part", nargs="+", default=list(PARTS))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--profile", action="store_true", help="what each kernel takes, of some cases")
    parser.add_argument("--auto", action="store_true", help="only what the plans choose")
    parser.add_argument("--only", nargs="+", help="strategies")
    parser.add_argument("--seconds", type=float, default=400)
    chosen = parser.parse_args()
    begun = time.monotonic()
    listed = [case for part in chosen.part for case in PARTS[part]() if not chosen.only or case[3] in chosen.only]
    if chosen.auto:
        listed = [(*key, "auto", {}) for key in dict.fromkeys(case[:3] for case in listed)]
    jobs = set()
    for case in listed:
        for step in planned(*case).launches:
            jobs.add((step.source, tuple(sorted(step.macros.items())), "sm_90a" if step.only_90 else "sm_90"))
    with multiprocessing.get_context("spawn").Pool(16) as pool:
        failed = {e for e in pool.imap_unordered(compiled, sorted(jobs)) if e}
    print(f"{len(jobs)} kernels, {time.monotonic() - begun:.0f} s", *failed, sep="\n", flush=True)
    print(torch.cuda.get_device_name(), torch.__version__)
    for case in PROFILED if chosen.profile else ():
        profiled(*case)
    records: list[dict[str, Any]] = []
    best: dict[tuple[Shape, int, str], float] = {}
    for shape, batch, dtype, name, tuning in listed:
        if time.monotonic() - begun > chosen.seconds:
            print("out of time", flush=True)
            break
        key = (shape, batch, dtype)
        if key not in best:
            rivals = [dense_padded, dense_fused] if dtype != "fp32" else [dense_padded]
            best[key] = min(timed(r.prepare, shape, batch, dtype, check=False)[0] for r in rivals)
            if shape.leaf_width and dtype == "bf16":
                us, found = timed(cmm_leaf_grouped.prepare, shape, batch, dtype, check=True)
                print(f"       {us:8.1f}           {found:12} {shape.id} b{batch} {dtype} cmm_leaf_grouped", flush=True)
        try:
            us, found = timed(
                lambda w, k, n=name, t=tuning: fff_cuda.prepare(w, k, n, **t), shape, batch, dtype, check=True
            )
        except (RuntimeError, ValueError) as error:
            print(f"failed: {shape.id} {batch} {dtype} {name} {tuning}: {str(error)[:300]}", flush=True)
            if "CUDA" in str(error):
                break
            continue
        what = planned(shape, batch, dtype, name, tuning).strategy if name == "auto" else f"{name} {tuning or ''}"
        ratio, rival = best[key] / us, best[key]
        print(f"{ratio:6.2f} {us:8.1f} / {rival:7.1f} {found:12} {shape.id} b{batch} {dtype} {what}", flush=True)
        records.append(
            {
                "shape": shape.id,
                "batch": batch,
                "dtype": dtype,
                "strategy": name,
                **tuning,
                "us": us,
                "dense_us": best[key],
                "check": found,
            }
        )
    if chosen.json:
        chosen.json.write_text(json.dumps(records))
    print(f"{time.monotonic() - begun:.0f} s")


if __name__ == "__main__":
    main()

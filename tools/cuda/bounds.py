"""Does a CUDA kernel touch memory beyond its buffers? Each lies at the edge of a mapping, with nothing mapped beside.

``python -m tools.cuda.bounds [--wide | --small]``: what reads or writes past an end, or before a start, faults at once,
at any distance up to 2 MiB, also where compute-sanitizer would take hours: GPT-3's layer of 65535 neurons by 4096
tokens. Each launch runs alone, then ten calls run in a graph, as they are timed. A line for each strategy; exit 1 if
one faults or is wrong, 2 without a GPU. A process for each wide case and each set of small ones: none goes on after a
fault.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from fffbench.implementations import fff_cuda
from fffbench.implementations.cuda import leaf_plan, plan
from fffbench.implementations.cuda.base import Layout, Packed, Plan
from fffbench.implementations.cuda.buffers import Buffers

SIDES = ("end", "start")
BIASES = ((), ("b1", "b2"))
WIDE = tuple((12288, 1, 16, 0, batch, dtype) for dtype in ("bf16", "fp16", "fp32") for batch in (4096, 4095, 1))
SMALL = (
    *((d, 1, levels, 0, 333, dtype) for d, levels in ((328, 9), (768, 12), (256, 14)) for dtype in ("bf16", "fp32")),
    *((328, 9, 3, 0, 333, dtype) for dtype in ("bf16", "fp32")),
    *((77, 3, 5, 0, 33, "bf16"), (768, 70, 1, 0, 65, "bf16"), (264, 2, 9, 0, 65, "fp16")),
    *((328, 1, 3, 33, 333, dtype) for dtype in ("bf16", "fp32")),
    *((768, 1, 7, 32, 4096, "bf16"), (264, 1, 6, 129, 1000, "fp16"), (77, 3, 2, 5, 33, "fp32")),
)
CHECKED = 32  # tokens against float64
NEAR_TIES = 2  # of them that may turn elsewhere
CLOSE = {"fp32": 1e-4, "bf16": 3e-2, "fp16": 5e-3}  # of an output's norm
GRAPH_CALLS, REPLAYS = 10, 20
SECONDS = 300


def allocate(nbytes: int, side: str) -> Any:
    """A byte tensor at the end or start of mapped memory, with unmapped memory beside it (never freed)."""
    import torch
    from cuda.bindings import driver

    from fffbench.implementations.cuda.launch import checked

    what = driver.CUmemAllocationProp()
    what.type = driver.CUmemAllocationType.CU_MEM_ALLOCATION_TYPE_PINNED
    what.location.type = driver.CUmemLocationType.CU_MEM_LOCATION_TYPE_DEVICE
    what.location.id = 0
    least = driver.CUmemAllocationGranularity_flags.CU_MEM_ALLOC_GRANULARITY_MINIMUM
    page = int(checked(driver.cuMemGetAllocationGranularity(what, least)))
    size = max(1, -(-nbytes // page)) * page
    reserved = int(checked(driver.cuMemAddressReserve(size + 2 * page, 0, driver.CUdeviceptr(0), 0))) + page
    checked(driver.cuMemMap(driver.CUdeviceptr(reserved), size, 0, checked(driver.cuMemCreate(size, what, 0)), 0))
    access = driver.CUmemAccessDesc()
    access.location = what.location
    access.flags = driver.CUmemAccess_flags.CU_MEM_ACCESS_FLAGS_PROT_READWRITE
    checked(driver.cuMemSetAccess(driver.CUdeviceptr(reserved), size, [access], 1))
    at = reserved if side == "start" else (reserved + size - nbytes) // 16 * 16  # as rows are aligned

    class Held:
        __cuda_array_interface__ = {"shape": (nbytes,), "typestr": "|u1", "data": (at, False), "version": 3}  # noqa: RUF012

    return torch.as_tensor(Held(), device="cuda")


def guarded(tensor: Any, side: str) -> Any:
    """A copy of ``tensor`` there."""
    import torch

    place = allocate(tensor.numel() * tensor.element_size(), side).view(torch.uint8)
    copy = place.view(tensor.dtype).view(tensor.shape)
    copy.copy_(tensor)
    return copy


class GuardedBuffers(Buffers):
    """What the programs of a layer share, each in memory of its own."""

    def __init__(self, weights: dict[str, Any], side: str) -> None:
        """Copies of the weights."""
        super().__init__({name: guarded(tensor, side) for name, tensor in weights.items()})
        self._side = side
        self._guarded: dict[Packed, Any] = {}

    def packed(self, recipe: Packed) -> Any:
        """A copy that is packed there."""
        if recipe not in self._guarded:
            self._guarded[recipe] = guarded(super().packed(recipe), self._side)
        return self._guarded[recipe]

    def matrix(self, shape: tuple[int, int], stream: int) -> Any:
        """Not shared among batches."""
        return guarded(super().matrix(shape, stream).fill_(float("nan")), self._side)

    def zeros(self, size: int) -> Any:
        """A workspace."""
        return guarded(super().zeros(size), self._side)


def plans(layout: Layout, batch: int) -> Iterator[Plan]:
    """Every strategy that takes it here."""
    from fffbench.implementations.cuda.launch import gpu

    for make in (leaf_plan.STRATEGIES if layout.leaf_width else plan.STRATEGIES).values():
        made = make(layout, gpu(0), batch)
        if made is not None:
            yield made


def expected(x: Any, weights: dict[str, Any], layout: Layout) -> Any:
    """The outputs of a few tokens in float64."""
    from fffbench.operators import formula

    x, w1, w2, b1 = x[:CHECKED].double(), weights["w1"], weights["w2"], weights.get("b1")
    leaves = None
    if layout.leaf_width:
        leaves = formula.leaf_leaves(x, w1, b1, layout.trees, layout.levels)
        rows = formula.leaf_rows(leaves, layout.leaf_width)
    else:
        rows = formula.tree_rows(x, w1, b1, layout.trees, layout.levels)
    total = 0 * x
    if "b2" in weights:
        total = total + (weights["b2"].double() if leaves is None else weights["b2"][leaves].double().sum(1))
    routers = len(w1) - len(w2)
    for row in rows.unbind(1):
        z = (w1[row + routers].double() * x).sum(1) + (0 if b1 is None else b1[row + routers].double())
        total = total + formula.activate(z, layout.activation)[:, None] * w2[row].double()
    return total


def draw(case: tuple[Any, ...], biases: Sequence[str]) -> tuple[Layout, Any, dict[str, Any]]:
    """The layer, its inputs, and its weights by name."""
    import torch

    d, trees, levels, width, batch, dtype = case
    kind = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[dtype]
    nodes = trees * (2**levels - 1)
    generator = torch.Generator("cuda").manual_seed(0)

    def normal(*shape: int, scale: float = 1.0) -> Any:
        return torch.randn(shape, device="cuda", generator=generator).mul_(scale).to(kind)

    n = trees * width << levels if width else nodes
    weights = {"w1": normal(nodes + n if width else n, d, scale=d**-0.5), "w2": normal(n, d)}
    if biases:
        weights |= {"b1": normal(len(weights["w1"])), "b2": normal(*((trees << levels, d) if width else (d,)))}
    aligned = d * weights["w1"].element_size() % 16 == 0
    layout = Layout(d, trees, levels, dtype, aligned, width, b1=bool(biases), b2=bool(biases))
    return layout, normal(batch, d), weights


def alone(program: Any, steps: Sequence[object]) -> str | None:
    """Which launch faults first, each waited for; two calls, as the second finds what the first left."""
    import torch

    for _ in range(2):
        for start, step in zip(program._starts, steps, strict=True):  # noqa: SLF001
            try:
                start(torch.cuda.current_stream().cuda_stream)
                torch.cuda.synchronize()
            except RuntimeError as error:
                name = getattr(step, "entry", None) or f"torch's product into {getattr(step, 'out', '')}"
                return f"FAULT in {name}: {str(error).splitlines()[0]}"
    return None


def replayed(program: Any, y: Any) -> str | None:
    """Whether many calls in a graph, the L2 flushed before each, give what one gave."""
    import torch

    first, graph = y.clone(), torch.cuda.CUDAGraph()
    flush = torch.empty(2**28, dtype=torch.int8, device="cuda")
    try:
        with torch.cuda.graph(graph):
            for _ in range(GRAPH_CALLS):
                flush.zero_()
                program.run()
        y.fill_(float("nan"))
        for _ in range(REPLAYS):
            graph.replay()
        torch.cuda.synchronize()
    except RuntimeError as error:
        return f"FAULT in a graph: {str(error).splitlines()[0]}"
    return None if torch.equal(first, y) else "WRONG: a replayed graph gives another output"


def run(case: dict[str, Any]) -> None:
    """One shape by every strategy; prints a line for each, and exits after the first that faults or is wrong."""
    import torch

    from fffbench.implementations.cuda.launch import Program

    layout, x, weights = draw(case["case"], case["biases"])
    want = expected(x, weights, layout)
    x, buffers = guarded(x, case["side"]), GuardedBuffers(weights, case["side"])
    for made in plans(layout, len(x)):
        y = guarded(torch.full_like(x, float("nan")), case["side"])
        program = Program(made, x, y, buffers)
        failure = alone(program, made.steps)
        if failure is None:
            off = (y[:CHECKED].double() - want).norm(dim=1) > CLOSE[layout.dtype] * want.norm(dim=1)
            if not y.isfinite().all() or int(off.sum()) > NEAR_TIES:
                failure = f"WRONG: {int(off.sum())} of {len(want)} tokens; {int((~y.isfinite()).sum())} not finite"
        failure = failure or replayed(program, y)
        print(f"{made.strategy:10} {case}: {failure or 'ok'}", flush=True)
        if failure:
            sys.exit(1)


def main() -> int:
    """Every case; the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--wide", action="store_true", help="only GPT-3's layer")
    parser.add_argument("--small", action="store_true", help="only small shapes of every strategy")
    parser.add_argument("--cases", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.cases:
        for case in json.loads(chosen.cases):
            run(case)
        return 0
    reason = fff_cuda.machine_reason()
    if reason is not None:
        sys.stderr.write(f"cannot run: {reason}\n")
        return 2
    jobs: list[list[dict[str, Any]]] = []
    for side in SIDES:
        for biases in BIASES:
            if not chosen.small:
                jobs += [[{"case": case, "side": side, "biases": biases}] for case in WIDE]
            if not chosen.wide:
                jobs.append([{"case": case, "side": side, "biases": biases} for case in SMALL])
    failures = 0
    for job in jobs:
        command = [sys.executable, "-m", "tools.cuda.bounds", "--cases", json.dumps(job)]
        environment = {**os.environ, "CUDA_MODULE_LOADING": "EAGER"}
        try:
            failures += subprocess.run(command, check=False, env=environment, timeout=SECONDS).returncode != 0
        except subprocess.TimeoutExpired:
            failures += 1
            print(f"HANGS {job[0]}: no end within {SECONDS} s", flush=True)
    print(f"{failures} of {len(jobs)} processes failed", flush=True)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())

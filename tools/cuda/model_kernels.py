"""Which kernels does a forward pass of BERT-base spend its time in, dense and with trees, as one CUDA graph?

``python -m tools.cuda.model_kernels [--model bert-base] [--batches 1,8,64] [--sequence 128]``: for each batch, as it
is and with its feedforward layers replaced by one tree of 12 levels, without and with compiled layers: the time of a
replay by events, then the kernels of a replay by torch's profiler, the slowest first. bf16, random weights. Exit 2
without a GPU. What an H100 gave is in ``results/gpu-checks/``; ``docs/notebook/models.md`` reads it.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Callable

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

import fffbench
from fffbench.models import build, modes
from fffbench.plan.models import Work

TIMED, PROFILED = 200, 20  # replays
LISTED = 14  # kernels, of some 15 kinds that a pass has
SHAPE = "1x12"
NAME = 76  # characters of a kernel's name


def main() -> int:
    """Print a block for each batch, variant and mode."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="bert-base")
    parser.add_argument("--batches", default="1,8,64")
    parser.add_argument("--sequence", type=int, default=128)
    given = parser.parse_args()
    if not torch.cuda.is_available():
        print("no GPU is here", file=sys.stderr)
        return 2
    for batch in map(int, given.batches.split(",")):
        work = Work(given.model, "encode", batch, given.sequence, "bf16", "cuda", 1)
        for variant in ("dense", "fff"):
            model = build.model_of(work)
            if variant == "fff":
                fffbench.swap(model, SHAPE)
            built = build.ready(model, work)
            with torch.inference_mode():
                for x in built.inputs[:2]:
                    built.call(x)
                for mode in ("graph", "compiled+graph"):
                    if mode.startswith("compiled"):
                        modes.compile_layers(built.layers)
                    call = modes.capture(built.call, built.inputs[0])
                    print(f"== {batch} {variant} {mode} us per forward {seconds_of(call, built.inputs) * 1e6:.1f}")
                    for line in kernels(call, built.inputs):
                        print(line)
    return 0


def seconds_of(call: Callable[[Tensor], Tensor], inputs: list[Tensor]) -> float:
    """The mean time of a replay over inputs that take turns."""
    for x in inputs:
        call(x)
    before, after = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    before.record()
    for index in range(TIMED):
        call(inputs[index % len(inputs)])
    after.record()
    torch.cuda.synchronize()
    return float(before.elapsed_time(after)) / 1e3 / TIMED


def kernels(call: Callable[[Tensor], Tensor], inputs: list[Tensor]) -> list[str]:
    """A line for each kernel: its time in a replay, how many launches, the time of one, its name."""
    with profile(activities=[ProfilerActivity.CUDA]) as profiled:
        for index in range(PROFILED):
            call(inputs[index % len(inputs)])
        torch.cuda.synchronize()
    found: dict[str, list[float]] = defaultdict(list)
    for event in profiled.events() or ():
        if event.device_type.name == "CUDA":
            found[event.name].append(event.device_time_total)
    slowest = sorted(found.items(), key=lambda item: -sum(item[1]))[:LISTED]
    return [
        f"   {sum(times) / PROFILED:9.1f} us {len(times) / PROFILED:6.1f} calls {sum(times) / len(times):8.2f} each"
        f"  {name[:NAME]}"
        for name, times in slowest
    ]


if __name__ == "__main__":
    sys.exit(main())

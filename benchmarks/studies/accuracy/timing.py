"""How long does each of the trained layers take? One thread and all, 1 and 1024 tokens, in fresh processes.

Layers are called as a user of PyTorch calls them, in inference mode, on the inputs that the trained layer has: trees
and leaves by the modules of ``fffbench.nn``, mixtures by torch's grouped product, dense layers by torch's two linear
layers or, where that is faster, by ``addmm`` on weights laid out for it. What decides a token's way is what was
trained; other weights, which decide no time, are drawn. In each process the layers take turns in a new random order,
and each is held against plain formulas first.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.studies.accuracy import arms
from benchmarks.studies.accuracy.arms import ARMS, WIDTH, Arm, Parameters
from benchmarks.studies.accuracy.made import ROOT, made
from fffbench.measure import environment, fingerprint, lock
from fffbench.measure.idle import await_idle
from fffbench.models.makers import Mixture
from fffbench.nn import LeafFFF, TreeFFF
from fffbench.results.accuracy import FORMAT

# the checkout stands last on the path: its ``fffbench`` has no compiled kernels
BEGIN = "import runpy, sys; sys.path.append(sys.argv.pop(1)); runpy.run_module(sys.argv.pop(1), {}, '__main__', True)"
BATCHES = (1, 1024)
FEWEST = 5  # samples of a layer in a process
SAMPLE_SECONDS = 1e-3  # calls are repeated until a sample takes as long
ALLOWED = 1e-4  # of the largest output: sums of at most 512 products in fp32, in another order
Call = Callable[[Tensor], Tensor]


def measure(chosen: Sequence[Arm], out: Path, times_in: Path, processes: int, seconds: float) -> None:
    """Time the layers of ``chosen``, trained in ``out``, and write ``<machine>/<data>.json`` into ``times_in``."""
    began = made()
    environment.clean()
    cores = fingerprint.usable_cores()
    counts = tuple(dict.fromkeys((1, cores)))
    times: dict[tuple[str, int, int], list[float]] = {}
    with lock.machine("benchmarks.studies.accuracy --time"):
        for process in range(processes):
            for threads in counts:
                job = {"arms": [arm.id for arm in chosen], "threads": threads, "seconds": seconds, "process": process}
                command = [sys.executable, "-P", "-c", BEGIN, str(ROOT), __spec__.name, json.dumps(job), str(out)]
                done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
                for name, batch, value in json.loads(done.stdout.splitlines()[-1]):
                    times.setdefault((name, batch, threads), []).append(value)
    machine = fingerprint.machine_id(fingerprint.stable())
    stored = {
        "format": FORMAT,
        "machine": machine,
        "data": out.name,
        "made": began,
        "torch": torch.__version__,
        "times": [
            {"id": name, "batch": batch, "threads": threads, "processes": [float(f"{v:.6g}") for v in values]}
            for (name, batch, threads), values in sorted(times.items())
        ],
    }
    target = times_in / machine / f"{out.name}.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(stored, indent=1) + "\n", encoding="utf-8")
    for (name, batch, threads), values in sorted(times.items()):
        print(f"{name:<24} {batch:>5} tokens  {threads} threads  {1e6 * median(values):9.1f} us")


def layers(arm: Arm, out: Path) -> tuple[list[Call], Tensor, Call]:
    """The ways to compute a trained layer, its inputs, and the formula."""
    torch.manual_seed(0)
    p = {name: tensor.detach() for name, tensor in arms.initial(arm, [0]).items()}
    if arm.form != "dense":
        with np.load(out / "trained" / f"{arm.id}.npz") as kept:
            p |= {name: torch.from_numpy(kept[name].astype(np.float32))[None] for name in kept.files}
    with np.load(out / "trained" / "samples.npz") as kept:
        x = torch.from_numpy(kept["samples"].astype(np.float32) * kept["scale"])
    u = arms.layer_input(p, x[None])[0]
    u = u.repeat(-(-max(BATCHES) // len(u)), 1)
    return _ways(arm, {name: tensor[0].contiguous() for name, tensor in p.items()}), u, lambda u: _formula(arm, p, u)


def _ways(arm: Arm, p: Parameters) -> list[Call]:
    rows = p["w1"].T.contiguous()
    if arm.form == "dense":
        first, last = nn.Linear(WIDTH, arm.n), nn.Linear(arm.n, WIDTH, bias=False)
        first.weight.data, first.bias.data, last.weight.data = rows, p["b1"], p["w2"].T.contiguous()
        return [
            nn.Sequential(first, nn.GELU(), last),
            lambda u: functional.gelu(torch.addmm(p["b1"], u, p["w1"])) @ p["w2"],
        ]
    if arm.form == "tree":
        tree = TreeFFF(WIDTH, arm.levels, arm.trees)
        assert tree.b1 is not None
        tree.w1.data, tree.b1.data, tree.w2.data = rows, p["b1"], p["w2"]
        return [tree]
    if arm.form == "leaf":
        leaf = LeafFFF(WIDTH, arm.levels, arm.width, output_bias=False)
        assert leaf.b1 is not None
        leaf.w1.data = torch.cat([p["router"].T, rows]).contiguous()
        leaf.b1.data, leaf.w2.data = torch.cat([p["router_bias"], p["b1"]]), p["w2"]
        return [leaf]
    return [_mixture(arm, p)]


def _mixture(arm: Arm, p: Parameters) -> Call:
    """The mixture of whole models, whose shares add up to 1: scaled to the trained one's, it would take longer."""
    experts = arm.n // arm.width
    like: Any = SimpleNamespace(d=WIDTH, weight=p["w1"], activation="gelu")
    mixture = Mixture(like, experts, arm.width, arm.top)
    mixture.router.weight.data = p["router"].T.contiguous()
    mixture.w1.data = p["w1"].T.reshape(experts, arm.width, WIDTH).contiguous()
    mixture.w2.data = p["w2"].reshape(experts, arm.width, WIDTH).transpose(1, 2).contiguous()
    return mixture


def _formula(arm: Arm, p: Parameters, u: Tensor) -> Tensor:
    if arm.form != "moe":
        return arms._layer(arm, p, u[None], 1.0, train=False)[0][0]  # noqa: SLF001 - of this package
    z = functional.gelu(u @ p["w1"][0]).view(len(u), -1, arm.width)
    score, chosen = (u @ p["router"][0]).topk(arm.top, -1)
    share = torch.zeros(z.shape[:2]).scatter_(-1, chosen, score.softmax(-1))
    y: Tensor = (z * share[..., None]).flatten(1) @ p["w2"][0]
    return y


def _timed(call: Call, inputs: list[Tensor], seconds: float) -> float:
    """Median of samples, each of as many calls as make a millisecond, inputs in turn."""
    calls, place = 1, 0
    samples: list[float] = []
    end = time.perf_counter() + seconds
    while len(samples) < FEWEST or time.perf_counter() < end:
        began = time.perf_counter_ns()
        for _ in range(calls):
            call(inputs[place % len(inputs)])
            place += 1
        took = (time.perf_counter_ns() - began) * 1e-9
        if took < SAMPLE_SECONDS:
            calls = max(calls + 1, int(calls * SAMPLE_SECONDS / max(took, 1e-9)))
            continue
        samples.append(took / calls)
    return median(samples)


@torch.inference_mode()
def _child(job: dict[str, Any], out: Path) -> list[tuple[str, int, float]]:
    torch.set_num_threads(job["threads"])
    found = []
    chosen = [arm for arm in ARMS if arm.id in job["arms"] and arm.form != "none"]
    random.Random(f"{os.getpid()}/{job['process']}").shuffle(chosen)
    for arm in chosen:
        ways, u, formula = layers(arm, out)
        for batch in BATCHES:
            starts = range(0, len(u) - batch + 1, batch)[:256]
            inputs = [u[start : start + batch] for start in starts]
            expected = formula(inputs[-1])
            for way in ways:
                error = float((way(inputs[-1]) - expected).norm() / expected.norm())
                if not error <= ALLOWED:
                    raise SystemExit(f"{arm.id}, {batch} tokens: differs from the formula by {error:.2g} of its size")
            await_idle()
            found.append((arm.id, batch, min(_timed(way, inputs, job["seconds"]) for way in ways)))
    return found


if __name__ == "__main__":
    print(json.dumps(_child(json.loads(sys.argv[1]), Path(sys.argv[2]))))

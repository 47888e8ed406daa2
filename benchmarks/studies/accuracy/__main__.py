"""Train every arm, or measure the time of every layer: ``nox -s accuracy``, ``nox -s accuracy -- --time``.

    python -m benchmarks.studies.accuracy [--results results] [--arms dense-32,tree-1x9-better]
    python -m benchmarks.studies.accuracy --time [--processes 6] [--seconds 0.05]
    python -m benchmarks.studies.accuracy --routing fffbench/problems/trained.npz

Training takes some six minutes of one core, an arm at a time; what was interrupted goes on with the arms that are
missing, and an arm whose settings or sources have changed is trained again. Everything was fixed before a result was
seen: ``arms`` says which layers and why, ``training`` how. Times are of the same layers, on a machine with nothing else
to do.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.studies.accuracy import arms, timing, training
from benchmarks.studies.accuracy.arms import ARMS, Arm
from benchmarks.studies.accuracy.made import made
from benchmarks.studies.accuracy.training import Settings
from fffbench import sources
from fffbench.results.accuracy import ACCURACY, FORMAT, LAYER_TIMES

DATA = "mnist1d"
ROUTED = "tree-1x9-published"  # of the routing ``trained``: of the two recipes the more accurate one by validation
# What decides where tokens go, of the first member of every conditional layer: times are of what was trained.
ROUTING = {"tree": ("w1", "b1"), "leaf": ("router", "router_bias"), "moe": ("router", "router_bias")}


def main(arguments: list[str] | None = None) -> None:
    """Do what the command line asks."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument("--arms", default=",".join(arm.id for arm in ARMS))
    parser.add_argument("--steps", type=int, default=Settings.steps)
    parser.add_argument("--seeds", type=int, default=len(Settings.seeds))
    parser.add_argument("--samples", type=int, default=Settings.samples)
    parser.add_argument("--routing", type=Path, help="write the file of the routing `trained` instead")
    parser.add_argument("--time", action="store_true", help="measure times instead")
    parser.add_argument("--processes", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=0.05, help="of timed calls of a layer in a process")
    given = parser.parse_args(arguments)
    known = {arm.id: arm for arm in ARMS}
    unknown = [name for name in given.arms.split(",") if name not in known]
    if unknown:
        parser.error(f"arm {unknown[0]!r}: one of {', '.join(known)}")
    chosen = [known[name] for name in given.arms.split(",")]
    out = given.results / ACCURACY / DATA
    out.mkdir(parents=True, exist_ok=True)
    if given.routing:
        kept = [dict(np.load(out / "trained" / f"{name}.npz")) for name in (ROUTED, "samples")]
        _keep(given.routing, **kept[0], **kept[1])
        return
    if given.time:
        timing.measure(chosen, out, given.results / LAYER_TIMES, given.processes, given.seconds)
        return
    torch.set_num_threads(1)
    settings = Settings(steps=given.steps, seeds=tuple(range(given.seeds)), samples=given.samples)
    run(chosen, settings, out)


def run(chosen: list[Arm], settings: Settings, out: Path) -> None:
    """Train the arms that ``out`` does not hold, and write a file for each."""
    digest = _digest()
    stated = json.loads(json.dumps(asdict(settings)))
    left = [arm for arm in chosen if not _there(out / f"{arm.id}.json", stated, digest)]
    if not left:
        print("every arm is there")
        return
    tuning = training.generate(settings.tuning_seeds, settings.samples)
    data = training.generate(settings.seeds, settings.samples)
    samples = data[0].x[0].numpy()
    scale = np.asarray(np.abs(samples).max() / 127)
    _keep(out / "trained" / "samples.npz", samples=np.round(samples / scale).astype(np.int8), scale=scale)
    for arm in left:
        began, since = time.process_time(), made()
        rate, by_rate = training.choose(arm, settings, tuning)
        seeds = list(settings.seeds)
        p = training.train(arm, data[0], seeds, [rate] * len(seeds), settings.steps, settings.batch)
        u = arms.layer_input(p, data[2].x)
        found = {
            "format": FORMAT,
            "data": f"MNIST-1D by mnist1d {version(DATA)}",
            "arm": asdict(arm),
            "id": arm.id,
            "used": arm.used,
            "d": arms.WIDTH,
            "made": since,
            "settings": stated,
            "sources": digest,
            "torch": torch.__version__,
            "rate": rate,
            "validation_by_rate": by_rate,
            "validation": training.accuracy(arm, p, data[1]),
            "test": training.accuracy(arm, p, data[2]),
            "effective_leaves": training.effective_leaves(arm, p, u) if arm.form in ("tree", "leaf") else None,
            "cpu_seconds": round(time.process_time() - began, 1),
        }
        if arm.form in ROUTING:
            kept = ("embed", "embed_bias", *ROUTING[arm.form])
            _keep(out / "trained" / f"{arm.id}.npz", **{name: p[name][0].numpy().astype(np.float16) for name in kept})
        draft = out / f"{arm.id}.draft"
        draft.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        draft.replace(out / f"{arm.id}.json")
        said = f"{arm.id}: rate {rate:g}, test {100 * np.mean(found['test']):.1f} %, {found['cpu_seconds']} s"
        print(said, flush=True)


def _there(path: Path, settings: object, digest: str) -> bool:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(found, dict) and (found.get("settings"), found.get("sources")) == (settings, digest)


def _digest() -> str:
    """Hash of what decides an accuracy."""
    folder = Path(__file__).parent
    return sources.digest([(name, folder / name) for name in ("arms.py", "training.py")])


def _keep(path: Path, **arrays: np.ndarray[Any, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, **arrays)  # type: ignore[arg-type]


if __name__ == "__main__":
    main()

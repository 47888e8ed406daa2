"""Do torch's threads and ours hinder one another in a whole model, and which waiting policy is best?

torch computes on OpenMP's threads, which go on watching for work after each operation; the kernels here have threads of
their own. In a model the two take turns hundreds of times in a forward pass. For every policy (variables of the
environment, set before the interpreter starts), fresh processes in turn time BERT-base as it is, without feedforward
layers, and with trees.

    python -m benchmarks.studies.thread_pools [--processes 4] [--seconds 1] [--batches 1,8] [--out FILE.json]

The rule, fixed beforehand: the suite takes the policy under which the *dense* model is fastest at the batches measured
(by the geometric mean of the medians), so that no baseline is slowed; another policy replaces it only where dense loses
less than 2 % by it and the model with trees gains more than 5 %.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import sys
from pathlib import Path
from statistics import median

from fffbench.measure import environment, fingerprint, lock
from fffbench.models.session import ModelRound
from fffbench.models.worker import ENVIRONMENT
from fffbench.plan.models import ModelCell, Variant, Work

POLICIES = {
    "default": {},
    "passive": {"OMP_WAIT_POLICY": "passive"},
    "active": {"OMP_WAIT_POLICY": "active"},
    "spin-1000": {"GOMP_SPINCOUNT": "1000"},
    "spin-10000": {"GOMP_SPINCOUNT": "10000"},
    "spin-100000": {"GOMP_SPINCOUNT": "100000"},
}
VARIANTS = ("dense", "none", "fff-1x12", "fff-128x5")
DENSE_LOSES, TREES_GAIN = 1.02, 1.05  # of the rule


def main() -> None:
    """Measure, print a line for each policy, and say what the rule chooses."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--batches", default="1,8")
    parser.add_argument("--model", default="bert-base")
    parser.add_argument("--sequence", type=int, default=128)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    environment.clean()
    threads = fingerprint.usable_cores()
    cells = {
        variant: [
            ModelCell(Work(given.model, "encode", int(batch), given.sequence, threads=threads), Variant.parse(variant))
            for batch in given.batches.split(",")
        ]
        for variant in VARIANTS
    }
    with lock.machine("benchmarks.studies.thread_pools"):
        times = measure(cells, given.processes, given.seconds)
    report(times, threads)
    if given.out:
        machine = fingerprint.machine_id(fingerprint.stable())
        stored = {"machine": machine, "threads": threads, "processes": given.processes, "seconds": times}
        given.out.write_text(json.dumps(stored, indent=1) + "\n")


def measure(cells: dict[str, list[ModelCell]], processes: int, seconds: float) -> dict[str, dict[str, list[float]]]:
    """Medians of processes by policy and cell; policies and variants take turns in a random order."""
    times: dict[str, dict[str, list[float]]] = {policy: {} for policy in POLICIES}
    for process in range(processes):
        turns = [(policy, variant) for policy in POLICIES for variant in cells]
        random.Random(process).shuffle(turns)
        workers = {}
        try:
            for policy, variant in turns:
                if policy not in workers:
                    kind = type(policy, (ModelRound,), {"environment": {**ENVIRONMENT, **POLICIES[policy]}})
                    workers[policy] = kind()
                for outcome in workers[policy].measure_models(cells[variant], process, seconds, None):
                    if outcome.failure is not None:
                        print(f"{policy} {outcome.cell}: {outcome.failure}", file=sys.stderr)
                        continue
                    times[policy].setdefault(outcome.cell, []).append(median(outcome.samples))
        finally:
            for worker in workers.values():
                worker.close()
    return times


def report(times: dict[str, dict[str, list[float]]], threads: int) -> None:
    """A line for each policy, then the choice."""
    names = sorted({name for of_policy in times.values() for name in of_policy})
    print(f"milliseconds on {threads} threads, medians over processes")
    for name in names:
        row = "  ".join(f"{policy} {1e3 * median(times[policy].get(name, [math.nan])):.2f}" for policy in times)
        print(f"{name.split('@')[0]:<10} {name.split('-encode-')[1].split('-')[0]:<8} {row}")
    print(f"chosen: {chosen(times)}")


def chosen(times: dict[str, dict[str, list[float]]]) -> str:
    """The policy that the rule takes."""

    def mean(policy: str, start: str) -> float:
        logs = [math.log(median(values)) for name, values in times[policy].items() if name.startswith(f"{start}@")]
        return math.exp(sum(logs) / len(logs)) if logs else math.inf

    best = min(times, key=lambda policy: mean(policy, "dense"))
    for policy in sorted(times, key=lambda policy: mean(policy, "fff-1x12")):
        keeps = mean(policy, "dense") <= DENSE_LOSES * mean(best, "dense")
        if keeps and mean(best, "fff-1x12") >= TREES_GAIN * mean(policy, "fff-1x12"):
            return policy
    return best


if __name__ == "__main__":
    main()

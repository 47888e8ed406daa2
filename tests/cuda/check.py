"""Are the CUDA kernels right on this GPU, and do they stay within their memory and barriers? One summary to commit.

``python tests/cuda/check.py [--out results/gpu-checks] [--only conformance edges memcheck racecheck]
[--implementations fff_cuda ...]`` from a checkout:
every implementation that runs on CUDA, in every dtype, on every edge of the shapes against float64 (``conformance``);
each strategy forced, over more shapes (``edges``: ``test_cuda_gpu.py``); ``compute-sanitizer`` over a small run of each
kernel. Writes ``<machine>.json`` and ``.txt`` after each part, so that a run cut short keeps what it has; names no
host. Exit 0: nothing found; 1: something is wrong. Without a GPU, or without compute-sanitizer, it says so and goes on.
"""

# ruff: noqa: T201 - a script that prints, run from a checkout

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"
REPORTED = 99  # compute-sanitizer's exit status when it found something: Python uses none above 2


@dataclass(frozen=True)
class Check:
    """One part: how it ended, how many cases it ran, how long it took, and what there is to say."""

    name: str
    outcome: str
    cases: int
    seconds: float
    details: tuple[str, ...] = ()


def conformance(names: list[str]) -> Check:
    """Every implementation on CUDA (of ``names``, where there are any), every dtype, every edge workload."""
    from fffbench.implementations.registry import implementations
    from fffbench.measure.conformance import conform, workloads

    start, wrong, reasons, ran = time.perf_counter(), [], Counter[str](), 0
    for name, item in implementations().items():
        for dtype in item.dtypes if "cuda" in item.devices and (not names or name in names) else ():
            for workload in workloads(dtype, "cuda", item.family):
                try:
                    verdict = conform(name, workload)
                except Exception as error:  # noqa: BLE001 - whatever a kernel raises is a finding, and the next one's turn
                    wrong.append(f"{name} at {workload.id}: {type(error).__name__}: {str(error)[:200]}")
                    continue
                if isinstance(verdict, str):
                    reasons[f"{name}: {verdict}"] += 1
                    continue
                ran += 1
                if verdict.failure is not None:
                    wrong.append(f"{name} at {workload.id}: {verdict.failure}")
    left_out = [f"left out {count} times: {reason}" for reason, count in sorted(reasons.items())]
    outcome = FAILED if wrong or not ran else PASSED
    return Check("conformance", outcome, ran, time.perf_counter() - start, (*wrong, *left_out))


def edges(names: list[str]) -> Check:
    """Every strategy forced, over the shapes of ``test_cuda_gpu.py``."""
    del names
    start = time.perf_counter()
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/implementations/test_cuda_gpu.py"]
    done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, check=False)
    summary = (done.stdout.strip().splitlines() or ["no output"])[-1]
    words = summary.replace(",", " ").split()
    passed = int(words[words.index("passed") - 1]) if "passed" in words[1:] else 0
    found = [line[:300] for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    outcome = PASSED if done.returncode == 0 and passed else FAILED
    return Check("edges", outcome, passed, time.perf_counter() - start, (summary, *found))


def sanitizer(tool: str) -> Check:
    """``compute-sanitizer`` with ``tool`` over ``sanitize.py``."""
    start = time.perf_counter()
    program = shutil.which("compute-sanitizer") or shutil.which("compute-sanitizer", path="/usr/local/cuda/bin")
    if program is None:
        return Check(tool, SKIPPED, 0, 0.0, ("compute-sanitizer is not installed here",))
    # torch probes for features that are not there, which is no error of a kernel
    options = ["--tool", tool, "--error-exitcode", str(REPORTED)]
    options += ["--report-api-errors", "no"] if tool == "memcheck" else []
    command = [program, *options, sys.executable, "tests/cuda/sanitize.py"]
    done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, check=False)
    lines = (done.stdout + done.stderr).splitlines()
    ran = sum(line.endswith(" ran") for line in lines)
    said = [line[:300] for line in lines if "SUMMARY" in line]
    if done.returncode:
        said += [
            f"exit {done.returncode}",
            *(line[:300] for line in lines if line.startswith("=========") or "Error" in line),
        ]
    outcome = PASSED if done.returncode == 0 and ran and said else FAILED
    return Check(tool, outcome, ran, time.perf_counter() - start, tuple(said[:60]))


def environment() -> dict[str, str]:
    """This checkout in front, for the parts that are processes of their own."""
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))}


CHECKS: dict[str, Callable[[list[str]], Check]] = {
    "conformance": conformance,
    "edges": edges,
    "memcheck": lambda _: sanitizer("memcheck"),
    "racecheck": lambda _: sanitizer("racecheck"),
}


def text(summary: dict[str, object], checks: list[Check]) -> str:
    """The summary to read."""
    lines = [f"CUDA kernels checked on {summary['gpu']} (compute capability {summary['capability']})"]
    lines += [f"source {summary['source']}, torch {summary['torch']}, CUDA {summary['cuda']}", ""]
    for check in checks:
        lines.append(f"{check.outcome:8} {check.name:12} {check.cases:6} cases  {check.seconds:7.1f} s")
        lines += [f"         {detail}" for detail in check.details]
    return "\n".join(lines) + "\n"


def source() -> str:
    """A digest of the sources that were checked: the same here and in the commit they are part of."""
    import hashlib

    folder = ROOT / "fffbench" / "implementations"
    digest = hashlib.sha256()
    for path in sorted([*folder.glob("*.py"), *folder.glob("cuda/*")]):
        if path.is_file():
            digest.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:12]


def write(folder: Path, summary: dict[str, object], checks: list[Check]) -> None:
    """Both files, anew."""
    folder.mkdir(parents=True, exist_ok=True)
    whole = summary | {"checks": [asdict(check) for check in checks]}
    (folder / f"{summary['machine']}.json").write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")
    (folder / f"{summary['machine']}.txt").write_text(text(summary, checks), encoding="utf-8")


def main(arguments: list[str] | None = None) -> int:
    """Run the parts, write after each."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "gpu-checks")
    parser.add_argument("--only", nargs="+", choices=CHECKS, default=list(CHECKS))
    parser.add_argument("--implementations", nargs="+", default=[], help="of the conformance part (default: all)")
    chosen = parser.parse_args(arguments)

    from fffbench.implementations import fff_cuda

    reason = fff_cuda.machine_reason()
    if reason is not None:
        print(f"no CUDA kernel can be checked here: {reason}")
        return 0
    import torch

    from fffbench.measure import fingerprint

    facts = fingerprint.stable()
    summary: dict[str, object] = {
        "machine": fingerprint.machine_id(facts),
        "gpu": torch.cuda.get_device_name(),
        "capability": ".".join(map(str, torch.cuda.get_device_capability())),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "source": source(),
        "facts": facts,
    }
    checks: list[Check] = []
    for name in chosen.only:
        checks.append(CHECKS[name](chosen.implementations))
        write(chosen.out, summary, checks)
        print(f"{checks[-1].outcome:8} {name}: {checks[-1].cases} cases, {checks[-1].seconds:.0f} s", flush=True)
        for detail in checks[-1].details:
            print(f"         {detail}", flush=True)
    return int(any(check.outcome == FAILED for check in checks))


if __name__ == "__main__":
    sys.exit(main())

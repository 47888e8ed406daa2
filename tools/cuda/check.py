"""Are the CUDA kernels right on this GPU, and do they stay within their memory and barriers? One summary to commit.

``python -m tools.cuda.check [--out results/gpu-checks] [--only conformance edges memcheck racecheck]
[--implementations fff_cuda ...] [--dtypes fp32 ...] [--limit SECONDS]`` from a checkout:
every implementation that runs on CUDA, in every dtype, on every edge of the shapes against float64 (``conformance``);
each strategy forced, over more shapes, without and with biases (``edges``: ``test_cuda_gpu.py`` and
``test_cuda_biases_gpu.py``); ``compute-sanitizer`` over a small run of each kernel. Writes ``<machine>.json`` and
``.txt`` after each part and each implementation, so that a run cut short keeps what it has; a part whose time
(``--limit``) ended says what it left out; names no host. Exit 0: nothing found; 1: something is wrong. Without a GPU,
or without compute-sanitizer, it says so and goes on.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path

ROOT = Path(__file__).parents[2]

DTYPES = ("fp32", "bf16", "fp16", "tf32")  # in this order
PASSED, PARTLY, FAILED, SKIPPED = "passed", "partly", "failed", "skipped"  # partly: nothing wrong, but not all ran
FAMILY_ORDER = ("fff", "cmm", "dense", "faulty", "reference")
EDGES = ("tests/implementations/test_cuda_gpu.py", "tests/implementations/test_cuda_biases_gpu.py")
EDGE_PROCESSES = min(8, os.cpu_count() or 1)  # most of the time is NVRTC and float64 on the host, not the GPU
_RESULT = re.compile(r"\S+::.* (PASSED|SKIPPED|FAILED|ERROR)\b")
_FOUND = re.compile(r"=========\s+(Invalid|Error|Warning|Race|Out-of-range|Misaligned|Barrier|ERROR|Program hit)")
REPORTED = 99  # compute-sanitizer's exit status when it found something: Python uses none above 2


@dataclass(frozen=True)
class Check:
    """One part: how it ended, how many cases it ran, how long it took, and what there is to say."""

    name: str
    outcome: str
    cases: int
    seconds: float
    details: tuple[str, ...] = ()


@dataclass(frozen=True)
class Wanted:
    """Which implementations and dtypes the conformance part takes (empty: all), and seconds each part may take."""

    names: tuple[str, ...] = ()
    dtypes: tuple[str, ...] = ()
    limit: float = math.inf


def conformance(wanted: Wanted) -> Iterator[Check]:
    """Every implementation on CUDA on every edge workload; a dtype over all of them before the next, FFF first.

    The part so far after each implementation, so that a run cut short keeps it.
    """
    from fffbench.implementations.registry import implementations
    from fffbench.measure.conformance import conform, workloads

    start, wrong, reasons, late, ran = time.perf_counter(), [], Counter[str](), Counter[str](), 0
    found = implementations()
    named = [name for name in wanted.names or found if name in found and "cuda" in found[name].devices]
    if not wanted.names:
        named.sort(key=lambda name: (found[name].slow_to_prepare, FAMILY_ORDER.index(found[name].family)))
    pairs = list(product(wanted.dtypes or DTYPES, named))
    # what takes seconds a case comes last: torch.compile, and kernels far below their family's rate
    pairs.sort(key=lambda pair: found[pair[1]].slow_to_prepare or found[pair[1]].roofline_share is not None)
    for dtype, name in pairs:
        item = found[name]
        for workload in workloads(item, dtype, "cuda") if dtype in item.dtypes else ():
            if time.perf_counter() - start > wanted.limit:
                late[f"{name} in {dtype}"] += 1
                continue
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
        details = [f"left out {count} times: {reason}" for reason, count in sorted(reasons.items())]
        details += [f"left out for time: {count} cases of {what}" for what, count in late.items()]
        taken = time.perf_counter() - start
        yield Check("conformance", _outcome(wrong, ran, late.total()), ran, taken, (*wrong, *details))


def _outcome(wrong: Sequence[str], ran: int, late: int) -> str:
    """Failed where something is wrong or nothing ran; partly where the time ended first."""
    if wrong or not ran:
        return FAILED
    return PARTLY if late else PASSED


def edges(wanted: Wanted) -> Iterator[Check]:
    """Every strategy forced, over the shapes of ``EDGES``: several pytests at once, the leaf form first."""
    start = time.perf_counter()
    pytest = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--rootdir", str(ROOT)]
    listed = _run([*pytest, "--collect-only", "-q", *EDGES], math.inf)
    tests = [line for line in listed.lines if line.startswith(EDGES)]
    tests.sort(key=lambda test: "leaf" not in test)  # stable
    ends = start + wanted.limit
    jobs = min(EDGE_PROCESSES, len(tests)) or 1
    with ThreadPoolExecutor(jobs) as pool:
        runs = list(
            pool.map(
                lambda part: _run([*pytest, "-v", *part], ends - time.perf_counter()),
                (tests[i::jobs] for i in range(jobs)),
            )
        )
    lines = [line for run in runs for line in run.lines]
    count = Counter(match[1] for line in lines if (match := _RESULT.match(line)))
    wrong = [line[:300] for line in lines if line.startswith(("FAILED", "ERROR", "E  "))]
    wrong += [f"pytest ended with {run.code}" for run in runs if run.code not in (0, None)]
    left = len(tests) - count.total()
    if left and not wrong and all(run.code is not None for run in runs):
        wrong.append(f"{left} tests gave no result")
    said = f"{count['PASSED']} passed, {count['SKIPPED']} skipped (a strategy that does not take the shape)"
    late = [f"left out for time: {left} of {len(tests)} tests"] if left else []
    if not tests:
        wrong += listed.lines[-5:]
    taken = time.perf_counter() - start
    yield Check("edges", _outcome(wrong, count["PASSED"], left), count["PASSED"], taken, (said, *late, *wrong[:60]))


@dataclass(frozen=True)
class Ran:
    """What a program printed, and its exit status: None when its time ended first."""

    lines: list[str]
    code: int | None


def _run(command: Sequence[str], limit: float) -> Ran:
    """Run ``command`` here for at most ``limit`` seconds; it and what it started are killed then."""
    with tempfile.TemporaryFile("w+", errors="replace") as output:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment(), stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            code = process.wait(None if math.isinf(limit) else max(0.0, limit))
        except subprocess.TimeoutExpired:
            code = None
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        output.seek(0)
        return Ran(output.read().splitlines(), code)


def sanitizer(tool: str, wanted: Wanted) -> Iterator[Check]:
    """``compute-sanitizer`` with ``tool`` over ``sanitize.py``, whose kernels alone it looks at where it can choose."""
    start = time.perf_counter()
    program = shutil.which("compute-sanitizer") or shutil.which("compute-sanitizer", path="/usr/local/cuda/bin")
    if program is None:
        yield Check(tool, SKIPPED, 0, 0.0, ("compute-sanitizer is not installed here",))
        return
    known = " ".join(_run([program, "--help"], 30).lines)
    options = ["--tool", tool, "--error-exitcode", str(REPORTED)]
    # torch probes for features that are not there, which is no error of a kernel
    options += ["--report-api-errors", "no"] if tool == "memcheck" else []
    # torch's own kernels, which draw the data, need no watching: they would take most of the time
    options += next(([name, "kns=fff_"] for name in ("--kernel-name", "--kernel-regex") if name in known), [])
    done = _run([program, *options, sys.executable, "-m", "tools.cuda.sanitize"], wanted.limit)
    ran = [line for line in done.lines if line.endswith(" ran")]
    said = [line[:300] for line in done.lines if "SUMMARY" in line]
    wrong = []
    if done.code:
        wrong = [f"exit {done.code}"]
        wrong += [line[:300] for line in done.lines if line.startswith("=========") or "Error" in line]
    elif done.code is None:  # killed: there is no summary, but what it found it printed at once
        wrong = [line[:300] for line in done.lines if _FOUND.match(line)]
        said = [f"left out for time: what follows {ran[-1] if ran else 'the start'}"]
    elif not said:
        wrong = ["no summary"]
    taken = time.perf_counter() - start
    yield Check(tool, _outcome(wrong, len(ran), done.code is None), len(ran), taken, tuple([*said, *wrong][:60]))


def environment() -> dict[str, str]:
    """This checkout in front, for the parts that are processes of their own; two threads each, printing at once."""
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    return os.environ | {
        "PYTHONPATH": path,
        "PYTHONUNBUFFERED": "1",
        "OMP_NUM_THREADS": "2",
        "OPENBLAS_NUM_THREADS": "2",
    }


CHECKS: dict[str, Callable[[Wanted], Iterator[Check]]] = {
    "conformance": conformance,
    "edges": edges,
    "memcheck": lambda wanted: sanitizer("memcheck", wanted),
    "racecheck": lambda wanted: sanitizer("racecheck", wanted),
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
    parser.add_argument("--dtypes", nargs="+", choices=DTYPES, default=[], help="of the conformance part")
    parser.add_argument("--limit", type=float, default=math.inf, help="seconds for each part; what is left is named")
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
    wanted = Wanted(tuple(chosen.implementations), tuple(chosen.dtypes), chosen.limit)
    for name in chosen.only:
        checks.append(Check(name, FAILED, 0, 0.0, ("it did not end",)))
        for checks[-1] in CHECKS[name](wanted):
            write(chosen.out, summary, checks)
        print(f"{checks[-1].outcome:8} {name}: {checks[-1].cases} cases, {checks[-1].seconds:.0f} s", flush=True)
        for detail in checks[-1].details:
            print(f"         {detail}", flush=True)
    return int(any(check.outcome == FAILED for check in checks))


if __name__ == "__main__":
    sys.exit(main())

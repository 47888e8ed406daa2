"""Do the C++ kernels stay within their memory, within defined behaviour and free of races? Sanitizers say.

``python -m tools.cpu.sanitize [--build DIR]`` builds the kernels privately with AddressSanitizer and
UndefinedBehaviorSanitizer, and with ThreadSanitizer, and runs their tests over edge shapes, every instruction set of
this processor and several thread counts; no torch is imported, its kernels are not ours to judge. First a mistake of
each kind is planted, which must be reported. Exit 0: planted mistakes seen, nothing else found. GCC or Clang on Linux.

Masked loads and stores of the AVX paths are compiler builtins that no sanitizer instruments: what they write is
covered by the tests' guard elements, what they may read by the portable path, which shares their bounds.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
TESTED = ("fff_cpu", "leaf_cpu", "dense_gemv", "dense_gemm", "dense_form")
TESTS = tuple(f"tests/implementations/test_{name}.py" for name in TESTED)
REPORTED = 99  # the exit status by which a sanitizer says that it found something; Python and pytest use none above 5
OPTIONS = f"halt_on_error=1:exitcode={REPORTED}"
MINUTES = 8  # for one run; it takes less than one on 2 cores

PREPARE = """
import numpy as np
from fffbench import _cpu, _cpu_faults
x, w1, w2, y = (np.zeros(shape, np.float32) for shape in ((600, 96), (255, 96), (255, 96), (600, 96)))
at = [a.ctypes.data for a in (x, w1, w2, y)]
"""
# One float past the end of y, by the fault that the tests' own guards are judged with.
OVERRUN = "_cpu_faults.FffCall(*at, 600, 96, 1, 8, isa='portable', fault='write_past_end').run()"
# 32-bit numbers stored at an odd address.
MISALIGNED = "_cpu.path(at[0], at[1], 3, 96, 1, 8, 1, 'portable', 'fp32', at[3] + 1)"
# Two calls write the same y at the same time.
RACE = """
import threading
calls = [_cpu.FffCall(*at, 600, 96, 1, 8, 1, 'walk', 'portable') for _ in range(2)]
threads = [threading.Thread(target=lambda c=c: [c.run() for _ in range(200)]) for c in calls]
[t.start() for t in threads]
[t.join() for t in threads]
"""


@dataclass(frozen=True)
class Run:
    """One build: its sanitizers, the runtime to load first, which tests, and what must be reported."""

    sanitizers: str
    runtime: str
    chosen: str  # pytest's -k
    planted: dict[str, tuple[str, str]]  # name: code, words of the report


RUNS = (
    Run(
        "address,undefined",
        "libasan.so",
        # sanitizers end the process where an allocation fails; the rates would be the sanitizer's
        "not memory_error and not measured_ceilings",
        {
            "a write past the end": (OVERRUN, "AddressSanitizer: heap-buffer-overflow"),
            "a misaligned store": (MISALIGNED, "runtime error: "),
        },
    ),
    Run(
        "thread",
        "libtsan.so",
        # every path that more than one thread takes; the others cost ThreadSanitizer minutes and race with nobody
        "many_trees or two_phase or several_python or same_bits"
        " or (leaf_cpu and (preset or split or every_shape)) or (dense_gemv and every_shape and 15)"
        " or (dense_gemm and every_shape and 130)"
        " or (dense_form and ((every_shape and 130) or several_trees or masked_logits))",
        {"a race": (RACE, "ThreadSanitizer: data race")},
    ),
)


class CheckError(Exception):
    """What went wrong, for the last lines of the output."""


def build(run: Run, folder: Path) -> Path:
    """Build and install the package with ``run``'s sanitizers below ``folder``; where it can be imported from."""
    work = folder / run.sanitizers.replace(",", "-")
    target = work / "install"
    command = [
        sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--upgrade",
        "-C", f"cmake.define.FFFBENCH_SANITIZE={run.sanitizers}", "-C", f"build-dir={work / 'build'}",
        "--target", str(target), str(ROOT),
    ]  # fmt: skip
    if subprocess.run(command, check=False).returncode:
        raise CheckError(f"{run.sanitizers}: the build failed")
    return target


def environment(run: Run, target: Path) -> dict[str, str]:
    """The sanitizer's runtime first, its findings fatal, the private build in front of every other."""
    # the C++ library too: the runtime looks for the throw of exceptions once, when it starts
    libraries = [_found(name) for name in (run.runtime, "libstdc++.so")]
    return os.environ | {
        "LD_PRELOAD": " ".join(libraries),
        "PYTHONPATH": str(target),
        "PYTHONSAFEPATH": "1",  # the sources in the current folder lack the compiled kernels
        "OPENBLAS_NUM_THREADS": "1",  # ThreadSanitizer takes the hand-overs of an uninstrumented BLAS for races
        "PYTHONMALLOC": "malloc",  # every object in an allocation that the sanitizer knows
        "ASAN_OPTIONS": f"{OPTIONS}:detect_leaks=0",  # the interpreter frees little at its end
        "UBSAN_OPTIONS": f"{OPTIONS}:print_stacktrace=1",
        "TSAN_OPTIONS": OPTIONS,
    }


def _found(library: str) -> str:
    """Where the compiler has ``library``."""
    command = [os.environ.get("CXX", "c++"), f"-print-file-name={library}"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def python(arguments: list[str], env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run Python without address randomisation, which ThreadSanitizer's shadow memory does not cope with."""
    command = ["setarch", platform.machine(), "-R", sys.executable, *arguments]
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False, timeout=60 * MINUTES)


def judge(run: Run, target: Path) -> str:
    """Every planted mistake must be reported; then the tests must pass unreported. A line for each."""
    env = environment(run, target)
    kernels = python(["-c", "import fffbench._cpu as kernels; print(kernels.__file__)"], env)
    if not Path(kernels.stdout.strip() or "/").is_relative_to(target):  # an editable install stands in front of it
        other = kernels.stdout.strip() or kernels.stderr[-2000:]
        raise CheckError(f"{run.sanitizers}: not the build in {target} is imported but {other}; `nox -s sanitize` does")
    lines = []
    for name, (code, words) in run.planted.items():
        done = python(["-c", PREPARE + code], env)
        if done.returncode != REPORTED or words not in done.stderr:
            raise CheckError(f"{run.sanitizers}: {name} was planted and not reported\n{done.stdout}{done.stderr}")
        lines.append(f"{run.sanitizers}: {name}, planted, is reported")
    done = python(["-m", "pytest", "-q", "-p", "no:cacheprovider", "--capture=sys", "-k", run.chosen, *TESTS], env)
    if done.returncode:
        raise CheckError(f"{run.sanitizers}: exit {done.returncode}\n{done.stdout[-4000:]}{done.stderr[-8000:]}")
    return "\n".join([*lines, f"{run.sanitizers}: {done.stdout.strip().splitlines()[-1]}"])


def main() -> int:
    """Build one after the other (each uses all cores), run side by side; 1 if anything was found or overlooked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--build", type=Path, help="keep the builds here (default: a temporary folder)")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary, ThreadPoolExecutor() as pool:
        folder = (chosen.build or Path(temporary)).resolve()
        try:
            waiting = [pool.submit(judge, run, build(run, folder)) for run in RUNS]
            for done in waiting:
                print(done.result(), flush=True)
        except CheckError as error:
            print(error, file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

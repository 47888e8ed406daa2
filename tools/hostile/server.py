"""How does a case start in milliseconds? A process that has imported everything forks a child for each.

Cases come as JSON lines on standard input, results leave as JSON lines on what was standard output.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import importlib.util
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from dataclasses import replace
from pathlib import Path

from tools.hostile import ROOT, domains
from tools.hostile.case import Case, Result
from tools.hostile.domains import Domain
from tools.hostile.stage import Stage

# What reading results loads by and by; a module that is not there (any more) is none the worse.
READING = (
    "fffbench.cli",
    "fffbench.claims.judging",
    "fffbench.analysis.headline",
    "fffbench.analysis.speedup",
    "fffbench.report",
    "fffbench.results.store",
    "fffbench.runs.planning",
    "synthetic",
)
KERNELS = (*READING, "torch", "fffbench.ops", "fffbench._cpu")
MOST_SECONDS = 400.0  # of a whole case, all its commands and judges


def main() -> None:
    """Serve cases until standard input closes."""
    preload, place = json.loads(sys.argv[1]), Path(sys.argv[2])
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    sys.path.append(str(tests()))  # ``synthetic`` makes honest result files
    load(preload)
    warm()
    gc.collect()
    gc.freeze()
    print(json.dumps("ready"), file=answers, flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        case = Case(asked["domain"], asked["seed"], asked["index"], asked["spec"])
        print(apart(case, place).to_json(), file=answers, flush=True)


def tests() -> Path:
    """The tests of the checkout that is installed, so that what they write is what it reads; else of this one."""
    spec = importlib.util.find_spec("fffbench")
    installed = Path(spec.origin).parents[1] / "tests" if spec and spec.origin else ROOT
    return installed if (installed / "synthetic.py").exists() else ROOT / "tests"


def load(preload: list[str]) -> None:
    """Import what the children of this server need."""
    if "torch" in preload:
        with contextlib.suppress(ImportError):
            importlib.import_module("fffbench.blaslib").load_openmp()  # before torch
    for name in preload:
        with contextlib.suppress(ModuleNotFoundError):
            importlib.import_module(name)
    for name in ("fffbench.report.drawing", "matplotlib.font_manager", "scipy.stats", "pandas", "pytest"):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)


def warm() -> None:
    """Find out once what no input changes: the digests of our sources, and serial numbers that fit the machines' ids.

    Of a case that reads result files they were nine tenths of the processor time.
    """
    from tools.hostile.material import honest

    importlib.import_module("fffbench.results.current").here()
    with tempfile.TemporaryDirectory() as folder:
        honest(Path(folder))


def apart(case: Case, place: Path) -> Result:
    """Play ``case`` in a forked child, so that nothing it does to its process reaches the next case."""
    answer = place / f"answer-{os.getpid()}"
    answer.unlink(missing_ok=True)
    began = time.monotonic()
    pid = os.fork()
    if pid == 0:
        try:
            os.setpgid(0, 0)
            answer.write_text(played(domains.load(case.domain), case, place).to_json(), encoding="utf-8")
        except BaseException:  # noqa: BLE001 - told as a fault of the campaign
            text = traceback.format_exc(limit=-4)
            answer.write_text(Result(case, {}, [("campaign", text)]).to_json(), encoding="utf-8")
        finally:
            os._exit(0)
    descriptor = os.pidfd_open(pid)
    try:
        ended, _, _ = select.select([descriptor], [], [], MOST_SECONDS)
    finally:
        os.close(descriptor)
    if not ended:
        os.kill(pid, signal.SIGKILL)
    _, _, usage = os.wait4(pid, 0)  # with all that the case started and waited for
    if not answer.exists():
        return Result(case, case.spec or {}, [("campaign", "the case itself died or hung: mend its domain")])
    result = Result.from_json(case, answer.read_text(encoding="utf-8"))
    return replace(result, cpu=usage.ru_utime + usage.ru_stime, wall=time.monotonic() - began)


def played(domain: Domain, case: Case, place: Path) -> Result:
    """Draw ``case`` where it is not given, play it in a folder under ``place``, and remove the folder."""
    began = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix=f"{case.domain}-{case.index}-", dir=place))
    spec = case.spec
    try:
        if spec is None:
            spec = json.loads(json.dumps(domain.draw(case.rng)))
        stage = Stage(folder)
        try:
            domain.play(spec, stage)
        except Exception as error:  # noqa: BLE001 - a domain's own fault must not pass for a case that went well
            stage.fault("campaign", f"{type(error).__name__}: {error} {traceback.format_exc(limit=-3)}"[:600])
        took = stage.seconds or time.monotonic() - began
        return Result(case, spec, stage.faults, took, stage.peak, stage.skipped)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Server:
    """A server process, as the campaign sees it."""

    def __init__(self, preload: tuple[str, ...], place: Path) -> None:
        """Start it; it is ready when ``play`` answers first."""
        code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import tools.hostile.server as s; s.main()"
        self._process = subprocess.Popen(
            [sys.executable, "-c", code, json.dumps(preload), str(place)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=place,
            env={**os.environ, "MPLCONFIGDIR": str(place / "matplotlib"), "TMPDIR": str(place)},
            text=True,
            start_new_session=True,  # Ctrl-C ends the campaign, which ends its servers
        )
        self._answer()

    def play(self, case: Case) -> Result:
        """The result of ``case``."""
        assert self._process.stdin is not None
        asked = {"domain": case.domain, "seed": case.seed, "index": case.index, "spec": case.spec}
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        return Result.from_json(case, self._answer())

    def _answer(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"a server of the campaign went away, exit code {self._process.wait()}")
        return line

    def close(self) -> None:
        """End it with what it started."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(2)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

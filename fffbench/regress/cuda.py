"""How are the CUDA kernels of revisions built, and who measures a block of them?

A build is a folder: the revision's Python and CUDA sources, and beside them the
kernels that NVRTC made of them, in a cache of its own. It is kept under the
hash of its sources and tools, as the C++ builds are (see ``build``).
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import select
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import fffbench
from fffbench.devices.cuda import gpu_names
from fffbench.errors import UserError
from fffbench.parent import end_with_parent
from fffbench.regress import build, planted_cuda, run, sources
from fffbench.regress.build import KEY_DIGITS, LAST_LINES, BuildError
from fffbench.regress.run import Answer, Builds, Request, Say
from fffbench.regress.sources import Revision
from fffbench.regress.suite import PLANTED_PERCENT, Case, Suite

TOOLS = ("torch", "triton", "cuda-core", "cuda-bindings", "nvidia-cuda-nvrtc")
SOURCES, COMPILED = "src", "compiled"  # in the folder of a build
LIMIT_SECONDS = 300.0  # for one block, and for compiling all cases of all sides (20 s on 16 cores)
_NOT_COMPILED = re.compile(r"\bdo(es)? not compile\b")


def reason() -> str | None:
    """Why CUDA kernels cannot be compared here, as a sentence, or None."""
    if not gpu_names():
        return "no NVIDIA device here"
    if find_spec("torch") is None:
        return "needs torch, which drives the CUDA kernels"
    import torch

    return None if torch.cuda.is_available() else "torch sees no CUDA device here"


class Server:
    """One process with torch imported that measures block after block in fresh children; ends with the with block."""

    def __init__(self, module: str = "fffbench.regress.torch_worker") -> None:
        """Start ``module``, which answers requests; it imports torch meanwhile."""
        root = str(Path(str(fffbench.__file__)).parents[1])
        paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the server
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            preexec_fn=partial(end_with_parent, os.getpid()),  # noqa: PLW1509 - two system calls before exec
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        )

    def __call__(self, request: Request) -> Answer:
        """The answer to one request; ``UserError`` where a child crashes or hangs."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            line = b""
        else:
            if not select.select([self._process.stdout], [], [], LIMIT_SECONDS)[0]:
                raise UserError(f"a block took longer than {LIMIT_SECONDS:.0f} s; a kernel may hang")
            line = self._process.stdout.readline()
        answer: Answer = json.loads(line) if line else {"error": "it ended"}
        if "error" in answer:
            raise UserError(f"a worker failed: {answer['error']}: {self.last_lines()[-1]}")
        return answer

    def last_lines(self) -> list[str]:
        """The end of what the processes wrote to standard error."""
        self._errors.seek(0)
        return self._errors.read().decode(errors="replace").strip().split("\n")[-LAST_LINES:]

    def __enter__(self) -> Self:
        """Hold the server for a with block."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it: its children end with it."""
        self._process.kill()
        self._process.communicate()
        self._errors.close()


def planted(base: Revision, percent: float) -> Revision:
    """``base`` with slower CUDA kernels."""
    return planted_cuda.plant(base, percent)


def build_all(
    base: Revision, head: Revision, suite: Suite, workspace: Path, data: Path, server: Server, say: Say
) -> Builds:
    """Build the four sides; ``BuildError`` names the revision that fails."""
    slowed = planted(base, PLANTED_PERCENT)
    sides = {run.BASE: (base, run.BASE), run.HEAD: (head, run.HEAD), run.TWIN: (base, run.TWIN)}
    sides[run.PLANTED] = (slowed, run.PLANTED)
    return Builds(**compile_all(sides, suite.cases, workspace, data, server, say, suite.device))


def compile_all(
    wanted: Mapping[str, tuple[Revision, str]],
    cases: tuple[Case, ...],
    workspace: Path,
    data: Path,
    server: Server,
    say: Say,
    device: str,
) -> dict[str, Path]:
    """Folders of sources by name, of revision and copy each, with every kernel of ``cases`` compiled."""
    folders = {name: workspace / "builds" / key(revision, copy) for name, (revision, copy) in wanted.items()}
    new = [name for name, folder in folders.items() if not (folder / COMPILED).is_file()]
    for name in new:
        sources.write(wanted[name][0], folders[name] / SOURCES)
    if new:
        say(f"compiling the CUDA kernels of {', '.join(new)}")
        request = {
            "compile": True,
            "device": device,
            "data": str(data),
            "sides": [{"name": name, "build": str(folders[name] / SOURCES)} for name in new],
            "cases": [{**case.request, "sides": new} for case in cases],
        }
        for reasons in server(request)["reasons"].values():
            for name, why in reasons.items():
                if _NOT_COMPILED.search(why):
                    raise BuildError(wanted[name][0], [*server.last_lines(), f"error: {why}"])
        for name in new:
            (folders[name] / COMPILED).touch()
    return {name: folder / SOURCES for name, folder in folders.items()}


def key(revision: Revision, copy: str) -> str:
    """What names the build: sources, tools and copy; always of one length."""
    tools = [build.version_of(name) for name in TOOLS]
    return hashlib.sha256("\0".join(["cuda", revision.digest, *tools, sys.version, copy]).encode()).hexdigest()[
        :KEY_DIGITS
    ]

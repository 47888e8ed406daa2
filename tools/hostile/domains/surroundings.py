"""Users' environments: variables, terminals, encodings, limits, a current folder that is gone."""

from __future__ import annotations

import os
import random
import resource
from dataclasses import replace
from pathlib import Path

from tools.hostile.case import Spec
from tools.hostile.server import KERNELS
from tools.hostile.stage import Stage

WEIGHT = 4
PRELOAD = KERNELS

ODD = [
    "",
    "0",
    "-1",
    "x",
    "999999999999",
    "x" * 100_000,
    "\x1b[31m",
    "é",
    "\udcff",
    "a\nb",
    "true",
    "1e400",
    "../..",
    "/dev/zero",
    ":",
]
# name -> values beyond the odd ones
VARIABLES: dict[str, list[str]] = {
    "LANG": ["C", "POSIX", "en_US.UTF-8", "tr_TR.UTF-8"], "LC_ALL": ["C", "POSIX", "xx_XX"], "PYTHONIOENCODING": ["ascii", "latin-1", "utf-16"],
    "PYTHONUTF8": ["0", "1"], "PYTHONWARNINGS": ["error", "always"], "PYTHONOPTIMIZE": ["2"], "PYTHONHASHSEED": ["0"], "COLUMNS": ["1", "0"],
    "LINES": ["0"], "TERM": ["dumb", "xterm-256color"], "NO_COLOR": ["1"], "FORCE_COLOR": ["1"], "HOME": ["/nowhere", "/dev/null"],
    "MPLBACKEND": ["Qt5Agg", "nonsense"], "MPLCONFIGDIR": ["/nowhere", "/dev/null"], "MATPLOTLIBRC": ["/dev/null"], "TMPDIR": ["/nowhere"],
    "OMP_NUM_THREADS": ["abc", "1"], "OMP_PROC_BIND": ["true"], "MKL_NUM_THREADS": ["1"], "FFFBENCH_COMMIT": ["<script>", "x" * 5000],
    "PYTEST_ADDOPTS": ["-k nothing", "--collect-only", "-x --nonsense", "-n 4", "-p no:terminal"], "PYTEST_PLUGINS": ["not_there"],
    "PYTEST_DISABLE_PLUGIN_AUTOLOAD": ["1"], "GITHUB_STEP_SUMMARY": ["/nowhere/x"], "PATH": ["/nowhere"], "GIT_DIR": ["/nowhere"],
    "PYTHONTRACEMALLOC": ["1"], "PYTHONDEVMODE": ["1"], "CI": ["1"], "CUDA_VISIBLE_DEVICES": ["-1", "99"], "TYPER_USE_RICH": ["1"],
    "_FFFBENCH_COMPLETE": ["complete_bash"], "_TYPER_COMPLETE_ARGS": ["x"], "PYTHONPATH": ["/nowhere"], "XDG_CACHE_HOME": ["/dev/null"],
    "PYTHONINTMAXSTRDIGITS": ["640", "0"], "PYTHONNODEBUGRANGES": ["1"], "SHELL": ["/nowhere"], "TORCH_LOGS": ["+all"],
}  # fmt: skip
LIMITS = [
    ["RLIMIT_NOFILE", 8],
    ["RLIMIT_NOFILE", 16],
    ["RLIMIT_NOFILE", 32],
    ["RLIMIT_NPROC", 1],
    ["RLIMIT_STACK", 512 * 1024],
    ["RLIMIT_CORE", 0],
]
COMMANDS = [
    ["claims"],
    ["claims", "--json"],
    ["speedup"],
    ["report"],
    ["list"],
    ["run", "--plan"],
    ["export"],
    ["export"],
    ["--help"],
]
PLACES = ["gone", "é", "a b", "\u202e", "\udcff", "new\nline", "x" * 200, "deep"]


def draw(rng: random.Random) -> Spec:
    """Some variables, a limit, or a place."""
    spec: Spec = {"command": rng.choice(COMMANDS), "real": rng.random() < 0.25, "variables": {}}
    for _ in range(rng.choice([0, 1, 1, 1, 2, 4])):
        name = rng.choice(sorted(VARIABLES))
        spec["variables"][name] = rng.choice([*VARIABLES[name] * 3, *ODD])
    if rng.random() < 0.2:
        spec["limit"] = rng.choice(LIMITS)
    if rng.random() < 0.35 or not spec["variables"]:
        spec["place"] = rng.choice(PLACES)
    return spec


def play(spec: Spec, stage: Stage) -> None:
    """The command answers or refuses in a line; what was measured stays."""
    from tools.hostile import measured
    from tools.hostile.material import honest

    place = stage.folder
    if "place" in spec and spec["place"] != "gone":
        name = "/".join("d" * 40) if spec["place"] == "deep" else spec["place"]
        place = stage.folder / name
        place.mkdir(parents=True)
    results = place / "results"
    honest(results)
    outcomes: list[dict[str, object]] = []
    if spec["command"] == ["export"]:
        outcomes = measured.outcomes(measured.lay(stage, results=results).read_text())
        arguments = [*measured.RUN, "--results", str(results)]
    else:
        arguments = [*spec["command"]]
        if arguments[0] in ("claims", "speedup", "report"):
            arguments += ["--results", str(results)]
    variables = {name: value.replace("\0", "") for name, value in spec["variables"].items()}
    if spec["real"] and spec["command"] != ["export"]:
        if spec.get("place") == "gone":
            return
        # what the interpreter itself refuses is no answer of the product's
        usable = {
            name: value
            for name, value in variables.items()
            if not name.startswith("PYTHON")
            or (name in ("PYTHONIOENCODING", "PYTHONUTF8") and value in VARIABLES[name])
        }
        done = stage.start(*arguments, environment=usable).wait()
        done = replace(done, encoding=usable.get("PYTHONIOENCODING", done.encoding))
        stage.judge(done, arguments)
    else:
        done = stage.command(*arguments, environment=variables, prelude=lambda: _before(spec, place))
    if outcomes:
        gone = measured.lost(results, outcomes)
        if gone:
            stage.fault(
                "lost measurement",
                f"{spec}: {gone[0]} and {len(gone) - 1} more are gone: exit {done.code} {done.said[-150:]}",
            )
        if (
            done.code == 0
            and results.exists()
            and not [p for p in results.glob("matrix/*/*.json") if p.stem not in ("subject", "neighbour")]
        ):
            stage.fault("lost measurement", f"{spec}: exit 0 and no result file")
    if done.code == 130:
        stage.fault("promise", f"{spec}: 130 where nobody interrupted: {done.said[-200:]}")


def _before(spec: Spec, place: Path) -> None:
    if spec.get("place") == "gone":
        here = place / "gone"
        here.mkdir()
        os.chdir(here)
        here.rmdir()
    else:
        os.chdir(place)
    if "limit" in spec:
        name, value = spec["limit"]
        number = getattr(resource, name)
        resource.setrlimit(number, (value, resource.getrlimit(number)[1]))

"""Clocks that stand still, run backwards, jump, or show a year that no record has; and odd time zones."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from typing import Any

from tools.hostile.case import Spec
from tools.hostile.server import KERNELS
from tools.hostile.stage import Stage

WEIGHT = 2
PRELOAD = KERNELS

INSTANTS = [
    0.0,
    1.0,
    -1.0,
    -2e9,
    2**31 - 1.0,
    2.0**31,
    2.0**32,
    4e9,
    253402300799.0,
    253402300800.0,
    1e12,
    951782400.0,
    1e-9,
]
ZONES = [
    "",
    ":",
    "UTC",
    "UTC+99",
    ":/etc/passwd",
    "x" * 5000,
    "\x1b[31m",
    "Nowhere/Land",
    "XXX-24:59:59",
    "<>",
    "é",
    "/dev/zero",
    "/dev/null",
]
READING = [["claims"], ["speedup", "--json"], ["report"], ["list"], ["run", "--plan"]]


def draw(rng: random.Random) -> Spec:
    """Which clock, and which command looks at it."""
    kind = rng.choices(["read", "export", "same second", "zone"], [40, 40, 4, 30])[0]
    spec: Spec = {
        "kind": kind,
        "clock": rng.choice(["fixed", "fixed", "backwards", "jumps", "still"]),
        "at": rng.choice(INSTANTS),
    }
    spec["command"] = rng.choice(READING)
    spec["zone"] = rng.choice(ZONES)
    return spec


def set_clock(kind: str, at: float) -> None:
    """Make Python's wall clock read as ``kind`` says; the monotonic clock stays what it is."""
    real_gmtime, real_localtime, real_strftime, real_time = time.gmtime, time.localtime, time.strftime, time.time
    calls = [0]

    def now() -> float:
        calls[0] += 1
        shift = {"backwards": -1000.0 * calls[0], "jumps": (-1.0) ** calls[0] * 1e8}.get(kind, 0.0)
        return (real_time() if kind == "still" else at) + shift

    def filled(real: Callable[..., Any]) -> Callable[..., Any]:
        return lambda seconds=None: real(now() if seconds is None else seconds)

    time.time = now
    time.time_ns = lambda: int(now() * 1e9)
    time.gmtime = filled(real_gmtime)
    time.localtime = filled(real_localtime)
    time.strftime = lambda form, when=None: real_strftime(form, time.localtime() if when is None else when)


def play(spec: Spec, stage: Stage) -> None:
    """Commands answer; what is written is readable again; nothing that is there is replaced."""
    from tools.hostile import measured
    from tools.hostile.material import honest, snapshot

    honest(stage.results)
    where = ("--results", str(stage.results))
    before = dict(snapshot(stage.results))
    if spec["kind"] == "zone":
        command = spec["command"]
        zone = {"TZ": spec["zone"]}
        stage.command(
            *command,
            *(where if command[0] in ("claims", "speedup", "report") else ()),
            environment=zone,
            prelude=time.tzset,
        )
    elif spec["kind"] == "read":
        command = spec["command"]
        arguments = (*command, *(where if command[0] in ("claims", "speedup", "report") else ()))
        done = stage.command(*arguments, prelude=lambda: set_clock(spec["clock"], spec["at"]))
        if done.code != 0:
            stage.fault("refused", f"{spec}: exit {done.code}: {done.said[-200:]}")
    elif spec["kind"] == "export":
        outcomes = measured.outcomes(measured.lay(stage).read_text())
        done = stage.command(*measured.RUN, *where, prelude=lambda: set_clock(spec["clock"], spec["at"]))
        gone = measured.lost(stage.results, outcomes)
        if gone:
            stage.fault("lost measurement", f"{spec}: {gone[0]} is gone, exit {done.code}")
        if done.code == 0:
            measured.finished(stage)
            _read_back(stage)
    else:
        _same_second(stage)
    after = snapshot(stage.results)
    changed = [path for path, content in before.items() if after.get(path) != content]
    if changed:
        stage.fault("lost measurement", f"{spec}: {changed[0]} was changed or replaced")


def _same_second(stage: Stage) -> None:
    """Two real runs that begin within one second, by the clock: both results stay."""
    from tools.hostile import measured

    where = ("--results", str(stage.results))
    for number in (1, 2):
        done = stage.command(*measured.RUN, *where, prelude=lambda: set_clock("fixed", 1.8e9))
        found = [path for path in stage.results.glob("matrix/*/*.json") if path.stem not in ("subject", "neighbour")]
        if done.code == 0 and len(found) != number:
            stage.fault(
                "lost measurement", f"{number} runs in one second leave {len(found)} result files: {done.said[-200:]}"
            )


def _read_back(stage: Stage) -> None:
    """What was just written is accepted by the commands that read."""
    done = stage.command("speedup", "--json", "--results", str(stage.results))
    if done.code == 0 and "left out" in done.said:
        stage.fault("wrong value", f"a result that was just written is left out: {done.said[-300:]}")
    if done.code == 0:
        json.loads(done.out)

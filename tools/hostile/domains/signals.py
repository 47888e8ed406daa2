"""Signals at random moments, from the first milliseconds on, to commands that read and to runs."""

from __future__ import annotations

import random
import signal
import time

from tools.hostile.case import Spec
from tools.hostile.server import KERNELS
from tools.hostile.stage import Stage

WEIGHT = 1
PRELOAD = KERNELS

NAMES = (
    ["SIGINT"] * 5
    + ["SIGTERM"] * 3
    + ["SIGHUP"] * 2
    + ["SIGALRM", "SIGUSR1", "SIGUSR2", "SIGQUIT", "SIGPIPE", "SIGXCPU", "SIGVTALRM"]
)
COMMANDS = [
    ["list"],
    ["claims"],
    ["speedup", "--json"],
    ["report"],
    ["run", "--plan"],
    ["--help"],
    ["check", "--implementations", "fff_cpu"],
]
# the signal comes after this byte, so not before the first line of ours
PROGRAM = "import os, runpy; os.write(1, b'!'); os.dup2(2, 1); runpy.run_module('fffbench', run_name='__main__', alter_sys=True)"
PATIENCE = 20.0  # seconds in which an order to end is followed


def draw(rng: random.Random) -> Spec:
    """A command, a signal, a moment; sometimes two signals."""
    running = rng.random() < 0.25
    spec: Spec = {
        "command": "run" if running else rng.choice(COMMANDS),
        "signal": rng.choice(NAMES),
        "after": round(
            rng.uniform(0, 8)
            if running
            else rng.choice([rng.uniform(0, 0.1), rng.uniform(0, 0.5), rng.uniform(0, 2.5)]),
            3,
        ),
        "whom": rng.choice(["one", "one", "all"]),
        "ignored": rng.random() < 0.15,
    }
    if rng.random() < 0.3:
        spec["again"] = round(rng.uniform(0, 0.4), 3)
    return spec


def play(spec: Spec, stage: Stage) -> None:
    """It ends soon, without a traceback, with nothing left behind, and says nothing that is not so."""
    from tools.hostile import measured
    from tools.hostile.material import honest, snapshot

    running = spec["command"] == "run"
    number = getattr(signal, spec["signal"])
    if running:
        arguments = (*measured.RUN, "--results", str(stage.results))
    else:
        honest(stage.results)
        arguments = (
            *spec["command"],
            *(("--results", str(stage.results)) if spec["command"][0] in ("claims", "speedup", "report") else ()),
        )
    before = snapshot(stage.results)
    shell = "trap '' INT QUIT; exec \"$@\"" if spec["ignored"] else ""
    process = stage.start(*arguments, program=("-c", PROGRAM), shell=shell)
    started = time.monotonic() + 30
    while not process.said_first() and not process.ended() and time.monotonic() < started:
        time.sleep(0.002)
    end = time.monotonic() + spec["after"]
    while time.monotonic() < end and not process.ended():
        time.sleep(0.002)
    sent = process.send_all(number) if spec["whom"] == "all" else process.send(number)
    if "again" in spec:
        time.sleep(spec["again"])
        process.send(number)
    obeyed = sent and not spec["ignored"] and spec["signal"] != "SIGPIPE"  # which Python ignores
    # what nobody stops takes its own time, a check some minutes on a busy machine
    done = process.wait(PATIENCE if obeyed else 300)
    allowed = {0, 2, 128 + number, *((1,) if arguments[0] == "check" else ())}
    what = f"{' '.join(arguments)[:60]}, {spec['signal']} at {spec['after']} s"
    from tools.hostile.judges import controls, crashed

    if done.hung:
        stage.fault("hang", f"{what}: still there {done.seconds:.0f} s later")
    for name, said in (*crashed(done, (number,)), *controls(done)):
        stage.fault(name, f"{what}: {said}")
    if done.code >= 0 and done.code not in allowed and sent:
        stage.fault("exit code", f"{what}: {done.code}, allowed {sorted(allowed)}: {done.said[-200:]}")
    if done.orphans and sent:
        stage.fault("orphans", f"{what}: {done.orphans}")
    left = [path.name for path in stage.temporary.iterdir() if not path.name.endswith(".lock")]
    if left and spec["whom"] == "one":
        stage.fault("scratch", f"{what}: {left[:3]} stay in the temporary folder")
    if not running and snapshot(stage.results) != before:
        stage.fault("lost measurement", f"{what}: the results changed")
    if running:
        held = measured.held(stage.results)
        if (
            "kept" in done.said
            and "what was measured" in done.said
            and not held
            and not list(stage.results.rglob("*.json"))
        ):
            stage.fault("promise", f"{what}: says that measurements are kept, and there are none: {done.said[-200:]}")

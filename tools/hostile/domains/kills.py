"""Runs killed at random moments, once or several times, alone or with everything they started; then continued."""

from __future__ import annotations

import random
import signal
import time

from tools.hostile.case import Spec
from tools.hostile.server import KERNELS
from tools.hostile.stage import Stage

WEIGHT = 0.5
PRELOAD = KERNELS


def draw(rng: random.Random) -> Spec:
    """When, and whom."""
    kills = [
        {"after": round(rng.uniform(0.05, 9.0), 2), "whom": rng.choice(["all", "run", "run", "worker", "child"])}
        for _ in range(rng.choice([1, 1, 2]))
    ]
    return {"kills": kills}


def play(spec: Spec, stage: Stage) -> None:
    """After each kill everything measured is held; the last run ends well with all of it."""
    from tools.hostile import measured
    from tools.hostile.stage import descendants

    before: list[dict[str, object]] = []
    for kill in spec["kills"]:
        process = stage.start(*measured.RUN, "--results", str(stage.results))
        end = time.monotonic() + kill["after"]
        while time.monotonic() < end and not process.ended():
            time.sleep(0.01)
        if kill["whom"] == "all":
            process.send_all(signal.SIGKILL)
        elif kill["whom"] == "run":
            process.send(signal.SIGKILL)
        else:
            for pid in descendants(process.pid)[: 1 if kill["whom"] == "worker" else None][-1:]:
                process.send_to(pid, signal.SIGKILL)
        done = process.wait()
        if kill["whom"] in ("all", "run"):
            for name, said in crashed_only(done):
                stage.fault(name, said)
            if done.orphans:
                stage.fault("orphans", f"a killed run leaves {done.orphans}")
        else:
            stage.judge(done, measured.RUN)
        _held(stage, before, f"after a kill of {kill['whom']} at {kill['after']} s")
        before = measured.held(stage.results)
    done = stage.start(*measured.RUN, "--results", str(stage.results)).wait()
    stage.judge(done, measured.RUN)
    _held(stage, before, "after the last run")
    if done.code == 0:
        measured.finished(stage)
    else:
        stage.fault("stuck", f"the same command does not finish: exit {done.code}: {done.said[-200:]}")


def crashed_only(done: object) -> list[tuple[str, str]]:
    """Tracebacks of a command that was killed on purpose."""
    from tools.hostile.judges import Done, crashed

    assert isinstance(done, Done)
    return list(crashed(done, (signal.SIGKILL,)))


def _held(stage: Stage, before: list[dict[str, object]], when: str) -> None:
    from tools.hostile import measured

    gone = measured.lost(stage.results, before)
    if gone:
        stage.fault("lost measurement", f"{when}: {gone[0]} and {len(gone) - 1} more are gone")

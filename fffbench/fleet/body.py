"""What does a job do on its node?

It runs the same command that anybody would type there, ``fffbench run``, whose journal makes it resumable. When the
scheduler takes the node away the run is ended in order and the same job waits for its turn again. A job that failed
says why in ``state.json``; it raises nothing, because an exception would be all that the scheduler knows of it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from fffbench.fleet.jobs import ENDED, FAILED, RUNNING, Job, write_json
from fffbench.measure.lock import BUSY
from fffbench.text import message

BUSY_WAIT_SECONDS = 10.0
# A run that SIGTERM ended is about to be preempted or cancelled. A job that ended now would count as complete and not
# be queued again, so it waits for its end; Slurm's KillWait is 30 s by default, a GraceTime some minutes.
PATIENCE_SECONDS = 300.0
ENDING_SECONDS = 25.0  # for a run to end in order; ``signal_delay_s`` is 30 or more
_TAIL = 4000  # bytes of the log in which the last line is looked for


class Body:
    """A job as submitit calls it, and calls ``checkpoint`` of when it must leave its node."""

    def __init__(self, job: Job, arguments: list[str]) -> None:
        """``arguments`` of the class: its budget, effort and axes, as on the command line."""
        self.job = job
        self.arguments = arguments
        self._child: subprocess.Popen[bytes] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the process, which stays on its node."""
        return {**self.__dict__, "_child": None}

    @property
    def command(self) -> list[str]:
        """What is run."""
        chosen = ["--preset", self.job.preset, "--block", self.job.block, "--results", str(self.job.results)]
        return [sys.executable, "-m", "fffbench", "run", *chosen, *self.arguments]

    def __call__(self) -> str:
        """Measure what is not measured yet; return the state's word."""
        if self.job.done():
            return "done"
        while True:
            self._write(RUNNING, "")
            code = self._run()
            said = self._last_line()
            if code == 0:
                return "done"
            if code in (2, 3) and BUSY in said:
                time.sleep(BUSY_WAIT_SECONDS)
                continue
            number = -code if code < 0 else code - 128 if code > 128 else 0
            if number:
                self._write(ENDED, f"by {_named(number)}; what was measured is kept, submit again to continue")
                self._wait_for_the_scheduler()
                return ENDED
            self._write(FAILED, said or f"fffbench run ended with {code}")
            return FAILED

    def checkpoint(self) -> Any:
        """End the run in order; the same job again, to be queued."""
        from submitit.core.utils import DelayedSubmission

        child = self._child
        if child is not None and child.poll() is None:
            child.send_signal(signal.SIGTERM)
            try:
                child.wait(ENDING_SECONDS)
            except subprocess.TimeoutExpired:
                child.kill()  # its journal is on the disk
        self._write(ENDED, "the scheduler took the node away; it continues when it has one again")
        return DelayedSubmission(self)

    def _run(self) -> int:
        self.job.folder.mkdir(parents=True, exist_ok=True)
        with (self.job.folder / "run.log").open("ab") as log:
            self._child = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            return self._child.wait()

    def _last_line(self) -> str:
        log = self.job.folder / "run.log"
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _TAIL))
            lines = file.read().decode("utf-8", "replace").split("\n")
        return message(next((line for line in reversed(lines) if line.strip()), ""), 300)

    def _write(self, state: str, said: str) -> None:
        write_json(self.job.folder / "state.json", {"state": state, "said": said, "id": job_id()})

    def _wait_for_the_scheduler(self, sleep: Callable[[float], None] = time.sleep) -> None:
        if _of_slurm():
            sleep(PATIENCE_SECONDS)


def job_id() -> str:
    """The scheduler's id of the job that this process is, ``12_3`` in an array; empty where no scheduler began it."""
    if not _of_slurm():
        return ""
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    return f"{array}_{task}" if array and task else os.environ.get("SLURM_JOB_ID", "")


def _of_slurm() -> bool:
    """Whether Slurm began this job; a shell within somebody's allocation has Slurm's variables too."""
    return os.environ.get("SUBMITIT_EXECUTOR") == "slurm"


def _named(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"

"""How do jobs reach a cluster, and what does its scheduler say of them?

submitit speaks to the scheduler. The cluster is always named: submitit's own choice takes Slurm wherever ``srun`` is
found. ``local`` and ``debug`` run the jobs here one after the other, because two at once would slow each other.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fffbench.errors import UserError, one_of
from fffbench.fleet.body import Body
from fffbench.fleet.classes import MachineClass
from fffbench.fleet.jobs import Job, write_json
from fffbench.plan.matrix import preset

CLUSTERS = ("slurm", "local", "debug")
LOGS = "logs"  # submitit's scripts, pickles and logs
MOST_TIMEOUTS = 20  # times that a job which reaches its time limit is queued again
QUEUE_SECONDS = 60.0


def submit(
    jobs: Sequence[Job],
    classes: Mapping[str, MachineClass],
    cluster: str,
    folder: Path,
    say: Callable[[str], None],
) -> None:
    """Submit ``jobs``, one array for each class.

    Where the scheduler refuses a class the others go on; ``UserError`` then quotes it.
    """
    if cluster not in CLUSTERS:
        raise one_of("cluster", cluster, CLUSTERS)
    if cluster == "slurm" and shutil.which("sbatch") is None:
        raise UserError("--cluster slurm: no sbatch here; submit where Slurm's commands are, or name local")
    refused = []
    for name in dict.fromkeys(job.class_name for job in jobs):
        own = [job for job in jobs if job.class_name == name]
        try:
            if cluster == "slurm":
                _submit_array(own, classes[name], folder, say)
            else:
                _run_here(own, classes[name], cluster, folder, say)
        except UserError as error:
            refused.append(str(error))
    if refused:
        raise UserError("; ".join(refused))


def _executor(cluster: str, its_class: MachineClass, minutes: int, name: str, folder: Path) -> Any:
    import submitit

    given: dict[str, Any] = {"slurm_max_num_timeout": MOST_TIMEOUTS}
    if its_class.python is not None:
        given |= {"slurm_python": its_class.python, "local_python": its_class.python}
    executor = submitit.AutoExecutor(folder / LOGS / "%j", cluster=cluster, **given)
    wanted = {
        f"slurm_{key}": value
        for key, value in its_class.slurm.model_dump().items()
        if value not in (None, False, [], {}) and key != "time"
    }
    # exclusive gives the whole node, and a task is bound to its own share of it unless it asks not to be
    executor.update_parameters(
        name=f"fffbench-{name}", timeout_min=minutes, **wanted, slurm_srun_args=["--cpu-bind=none"]
    )
    return executor


def _bodies(jobs: Sequence[Job], its_class: MachineClass) -> list[Body]:
    return [Body(job, its_class.arguments) for job in jobs]


def _minutes(jobs: Sequence[Job], its_class: MachineClass) -> int:
    return its_class.minutes(preset(jobs[0].preset).budget_seconds)


def _submit_array(jobs: Sequence[Job], its_class: MachineClass, folder: Path, say: Callable[[str], None]) -> None:
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    name = jobs[0].class_name
    executor = _executor("slurm", its_class, _minutes(jobs, its_class), name, folder)
    try:
        with executor.batch():
            handles = [executor.submit(body) for body in _bodies(jobs, its_class)]
    except (FailedJobError, FailedSubmissionError, subprocess.CalledProcessError) as error:
        lines = [line for line in str(error).splitlines() if line.startswith("sbatch: ")] or [str(error)]
        raise UserError(f"class {name} was not submitted: {'; '.join(lines)}") from error
    for job, handle in zip(jobs, handles, strict=True):
        write_json(job.folder / "submitted.json", {"id": handle.job_id, "cluster": "slurm"})
        say(f"{job.name}: job {handle.job_id}")


def _run_here(
    jobs: Sequence[Job], its_class: MachineClass, cluster: str, folder: Path, say: Callable[[str], None]
) -> None:
    executor = _executor(cluster, its_class, _minutes(jobs, its_class), jobs[0].class_name, folder)
    for job, body in zip(jobs, _bodies(jobs, its_class), strict=True):
        say(f"{job.name}: here")
        write_json(job.folder / "submitted.json", {"id": "", "cluster": cluster})
        handle = executor.submit(body)
        try:
            handle.results()
        except KeyboardInterrupt:
            handle.cancel(check=False)
            raise
        except Exception as error:  # noqa: BLE001 - a job's end is its own; status says what is known of it
            say(f"{job.name}: {str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__}")


def queue(jobs: Sequence[Job]) -> dict[str, tuple[str, str]]:
    """What Slurm knows of its jobs that have not ended: state and reason (or node), by id; empty where it has none.

    ``UserError`` where there are jobs of Slurm's and it cannot be asked.
    """
    ids = {job.read("submitted.json").get("id") for job in jobs if job.read("submitted.json").get("cluster") == "slurm"}
    if not ids:
        return {}
    command = [
        "squeue",
        "--noheader",
        "--array",
        "--format=%i|%T|%R",
        f"--jobs={','.join(sorted({_base(i) for i in ids}))}",
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=QUEUE_SECONDS, check=False)
    except FileNotFoundError as error:
        raise UserError("no squeue here; ask where Slurm's commands are") from error
    except subprocess.TimeoutExpired as error:
        raise UserError(f"squeue said nothing for {QUEUE_SECONDS:.0f} s; is slurmctld running?") from error
    if done.returncode != 0:
        if "Invalid job id" in done.stderr:  # all of them have ended, some time ago
            return {}
        raise UserError(f"squeue: {done.stderr.strip()}")
    found = {}
    for line in done.stdout.splitlines():
        identifier, state, reason = (*line.split("|", 2), "", "")[:3]
        if identifier in ids:
            found[identifier] = (state, reason)
    return found


def _base(identifier: object) -> str:
    return str(identifier).partition("_")[0]

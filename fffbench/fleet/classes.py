"""Which kinds of machine does a cluster have, and how does its scheduler give one out?

``classes.toml`` has one table per class; ``docs/guide/fleet.md`` explains the keys.
"""

from __future__ import annotations

import inspect
import math
import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fffbench.devices import DEVICES, HOST
from fffbench.errors import UserError, one_of
from fffbench.plan import options
from fffbench.plan.matrix import Axes
from fffbench.results.parsing import why
from fffbench.tomlfiles import named, read_toml
from fffbench.units import parse_duration

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
# Beside the budget: start of Python and torch, ceilings, the export, and the process in flight when the budget ends.
OVERHEAD_SECONDS = 15 * 60


class Slurm(BaseModel):
    """What ``sbatch`` is asked for; unset keys are left to the cluster's defaults."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    partition: str | None = None
    constraint: str | None = None
    gres: str | None = None
    gpus_per_node: Annotated[int, Field(ge=1)] | None = None
    cpus_per_task: Annotated[int, Field(ge=1)] | None = None
    exclusive: bool = True  # whoever else computes on the node is in every time
    account: str | None = None
    qos: str | None = None
    nodelist: str | None = None
    exclude: str | None = None
    mem: str | None = None
    time: Annotated[int, Field(ge=1)] | None = None  # minutes; from the budget where not given
    array_parallelism: Annotated[int, Field(ge=1)] = 256  # jobs of this class at once
    signal_delay_s: Annotated[int, Field(ge=30)] = 90  # before the time limit, so that the run ends in order
    setup: list[str] = []  # shell lines before the job, such as ``module load gcc``
    additional_parameters: dict[str, str | int | bool] = {}  # any other option of sbatch


class MachineClass(BaseModel):
    """One kind of machine: its devices, the time for a job, and how it is asked for."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    devices: Annotated[list[str], Field(min_length=1)] = [HOST]
    budget: str | None = None  # of one job, such as "30m"; the preset's own where not given
    processes: Annotated[int, Field(ge=1, le=100)] | None = None  # as ``fffbench run`` takes them, as are
    seconds: Annotated[float, Field(ge=0.01, le=60)] | None = None
    axes: dict[str, str] = {}  # such as {dtypes = "fp32,bf16"}
    machine: str = ""  # how the machine's id should begin; another one is kept under what it is, and named
    python: str | None = None  # the interpreter on the nodes; this one where not given
    slurm: Slurm = Slurm()

    @property
    def budget_seconds(self) -> float | None:
        """The budget in seconds."""
        return None if self.budget is None else parse_duration(self.budget)

    @property
    def arguments(self) -> list[str]:
        """What ``fffbench run`` is given beside preset, block and folder."""
        given = {**self.axes, "budget": self.budget, "processes": self.processes, "seconds": self.seconds}
        return [text for name, value in given.items() if value is not None for text in (f"--{name}", str(value))]

    @property
    def parsed_axes(self) -> Axes:
        """The axes; ``UserError`` for a name or value that ``fffbench run`` does not take."""
        known = inspect.signature(options.axes).parameters
        for name in self.axes:
            if name not in known:
                raise one_of("axis", name, known)
        return options.axes(**self.axes)

    def minutes(self, preset_budget: float | None) -> int:
        """The time limit of a job: as given, else a quarter more than the budget, and what a run does beside it."""
        if self.slurm.time is not None:
            return self.slurm.time
        seconds = self.budget_seconds or preset_budget
        if seconds is None:
            raise UserError("a class without `budget` needs `slurm.time` for a preset without a budget of its own")
        return math.ceil((1.25 * seconds + OVERHEAD_SECONDS) / 60)


def read_classes(path: Path) -> dict[str, MachineClass]:
    """The classes in the file ``path``, by name; ``UserError`` naming the key that cannot be used."""
    with named(f"--classes {path}"):
        value = read_toml(path)
    if not value:
        raise UserError(f"--classes {path}: no class; write a table such as [epyc] for each")
    return {name: _class(path, name, table) for name, table in value.items()}


def _class(path: Path, name: str, table: Any) -> MachineClass:
    if not _NAME.fullmatch(name):
        raise UserError(f"--classes {path}: class {name!r}: lower case letters, digits and dashes, 40 at most")
    if not isinstance(table, dict):
        raise UserError(f"--classes {path}: {name} is no table; write [{name}] and its keys below")
    try:
        found = MachineClass.model_validate(table)
        _ = found.budget_seconds, found.parsed_axes
    except ValidationError as error:
        where, reason = why(error)
        field = where.partition(".")[0]
        allowed = Slurm.model_fields if field == "slurm" else MachineClass.model_fields
        raise UserError(f"--classes {path}: {name}.{where}: {reason}; keys: {', '.join(allowed)}") from error
    except UserError as error:
        raise UserError(f"--classes {path}: {name}: {error}") from error
    unknown = sorted(set(found.devices) - set(DEVICES))
    if unknown:
        raise UserError(f"--classes {path}: {name}.devices: {unknown[0]!r}; allowed: {', '.join(DEVICES)}")
    return found

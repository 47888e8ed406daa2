"""What do honest results look like, and what has become of them?

The honest set has two machines and few cells, so that a command over it takes a fraction of a second.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from synthetic import MACHINE, cell_id, run_json, write_run

from fffbench.plan.workload import Shape
from tools.hostile.stage import Stage

OTHER = "other-cpu-2c-0002"
NEIGHBOUR = "neighbour"  # the run of the other machine
SUBJECT = "subject"  # the run that is attacked


def cells(factor: float = 1.0) -> dict[str, float]:
    """A few cells with plausible times: FFF about 100x over dense at the headline's batch."""
    found: dict[str, float] = {}
    for batch, dense, fff in ((16384, 2.6, 0.02), (1, 3.6e-4, 3.2e-6)):
        found[cell_id("dense_linear", batch=batch)] = dense * factor
        found[cell_id("dense_padded", batch=batch)] = dense * 0.96 * factor
        found[cell_id("fff_cpu", batch=batch)] = fff * factor
    found[cell_id("cmm_gather_bmm")] = 0.4 * factor
    found[cell_id("dense_linear", shape=Shape.dense(768, 3072))] = 1.9 * factor
    found[cell_id("dense_linear", cache="hot", call="torch")] = 2.5 * factor
    found[cell_id("fff_cpu", cache="hot", call="torch", routing="single-path")] = 0.011 * factor
    return found


def subject(**changes: Any) -> dict[str, Any]:
    """The result file that is attacked, as a JSON value."""
    given: dict[str, Any] = {
        "run": SUBJECT,
        "started": "2026-02-03T04:05:06Z",
        "skipped": {cell_id("cmm_masked"): "reason"},
        **changes,
    }
    value: dict[str, Any] = run_json(cells(), **given)
    return value


def honest(results: Path) -> None:
    """Write the neighbour's file and the subject's, both honest."""
    write_run(results, cells=cells(1.7), machine=OTHER, run=NEIGHBOUR)
    write_run(
        results,
        cells=cells(),
        run=SUBJECT,
        started="2026-02-03T04:05:06Z",
        skipped={cell_id("cmm_masked"): "reason"},
    )


def subject_path(results: Path) -> Path:
    """Where the attacked file lies."""
    path: Path = results / "matrix" / MACHINE / f"{SUBJECT}.json"
    return path


def snapshot(folder: Path) -> Mapping[str, str]:
    """What every entry below ``folder`` is: the hash of a file, the target of a link, the kind of anything else."""
    found: dict[str, str] = {}
    for root, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(root) / name
            if name.endswith(".measuring.lock"):
                continue
            found[os.fsencode(path.relative_to(folder)).decode("utf-8", "backslashreplace")] = _content(path)
    return found


def _content(path: Path) -> str:
    mode = os.lstat(path).st_mode
    if stat.S_ISLNK(mode):
        return f"link to {path.readlink()}"
    if not stat.S_ISREG(mode):
        return f"kind {stat.S_IFMT(mode)}"
    return hashlib.sha256(path.read_bytes()).hexdigest()


def baseline(stage: Stage, command: tuple[str, ...]) -> Any:
    """What ``command`` prints over the honest set; kept beside the cases for those that come after."""
    kept = stage.place.parent / f"baseline-{'-'.join(command).replace('--', '')}.json"
    if not kept.exists():
        folder = stage.place / "honest"
        honest(folder)
        done = stage.command(*command, "--results", str(folder))
        if done.code != 0:
            raise RuntimeError(f"the honest set is refused: {done.said}")
        draft = stage.place / "baseline"
        draft.write_bytes(done.out)
        draft.replace(kept)
    return json.loads(kept.read_bytes())

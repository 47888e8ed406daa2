"""asv's history and the regression checks' files: as untrusted as result files, and beside them."""

from __future__ import annotations

import json
import math
import os
import random
from typing import Any

from tools.hostile import mutation
from tools.hostile.case import Spec
from tools.hostile.server import READING
from tools.hostile.stage import Stage

WEIGHT = 10
PRELOAD = READING

FILES = ["commit", "commit", "commit", "benchmarks", "machine", "check", "check"]
ENTRIES = [
    "fifo",
    "folder",
    "link to /proc",
    "link to itself",
    "link to nothing",
    "unreadable folder",
    "file for folder",
]
BULKS = [("rows", 100_000), ("names", 200_000), ("combinations", 4097), ("combinations", 4096), ("samples", 1_000_000)]


def draw(rng: random.Random) -> Spec:
    """One of the files mutated, replaced by something odd, or huge."""
    kind = rng.choices(["mutated", "entry", "bulk"], [88, 10, 2])[0]
    spec: Spec = {"kind": kind, "file": rng.choice(FILES), "page": rng.random() < 0.08}
    if kind == "mutated":
        value = honest_files()[spec["file"]]
        starts: tuple[mutation.Path, ...] = ((),)
        if spec["file"] == "commit":
            starts = ((), ("results",), ("results", "kernels.Optimised.time_pass"), ("params",), ("result_columns",))
        elif spec["file"] == "check":
            starts = ((), ("cases",), ("controls",), ("plan",))
        spec["mutations"] = [mutation.draw(rng, value, starts) for _ in range(rng.choice([1, 1, 1, 2, 5]))]
    elif kind == "entry":
        spec["entry"] = rng.choice(ENTRIES)
    else:
        spec["bulk"], spec["size"] = rng.choice(BULKS)
        spec["file"] = "commit"
    return spec


def honest_files() -> dict[str, Any]:
    """One honest file of each kind."""
    from synthetic import CONTROL, MACHINE, OPTIMISED, asv_json

    commit = asv_json({OPTIMISED: [1e-3, 2e-3], CONTROL: [1e-1, 2e-1]}, index=3)
    benchmarks = {
        name: {"param_names": ["implementation", "batch"], "unit": "seconds", "version": "version-1", "name": name}
        for name in (OPTIMISED, CONTROL)
    }
    case = {"case": "fff_cpu b1", "answer": "none", "ratio": 1.0, "low": 0.98, "high": 1.02, "base_seconds": 1e-5}
    check = {
        "format": 1,
        "machine": MACHINE,
        "started": "2026-02-03T04:05:06+00:00",
        "base": "a (0123456789)",
        "head": "the working tree",
        "answer": "none",
        "reason": "no case is slower",
        "seconds": 300.0,
        "plan": {"margin": 0.03, "tolerance": 0.05, "false_alarm": 0.01, "looks": [8, 16]},
        "cases": [{**case, "blocks": [0.001, -0.002, 0.0005, 0.0]}],
        "controls": [{"name": "pair", "passed": True, "said": "equal", "blocks": [0.0, 0.001]}],
        "skipped": {"fff_cuda": "no GPU"},
    }
    return {
        "commit": commit,
        "benchmarks": benchmarks | {"version": 2},
        "machine": {"machine": MACHINE, "os": "Linux", "version": 1},
        "check": check,
    }


def play(spec: Spec, stage: Stage) -> None:
    """The matrix results keep their figures, what is shown of the history is valid, nothing is read for ever."""
    from synthetic import COMMITS, CONTROL, MACHINE, OPTIMISED, asv_json

    from tools.hostile.domains.result_files import check_page, strict
    from tools.hostile.material import baseline, honest, snapshot

    honest(stage.results)
    asv, regress = stage.results / "asv", stage.results / "regress" / MACHINE
    for folder in (asv / MACHINE, regress):
        folder.mkdir(parents=True)
    paths = {
        "commit": asv / MACHINE / f"{COMMITS[3][:8]}-env.json",
        "benchmarks": asv / "benchmarks.json",
        "machine": asv / MACHINE / "machine.json",
        "check": regress / "20260203T040506Z.json",
    }
    for name, value in honest_files().items():
        paths[name].write_text(json.dumps(value))
    for index in (1, 2, 4):
        value = asv_json({OPTIMISED: [1e-3, 2e-3], CONTROL: [1e-1, 2e-1]}, index=index)
        (asv / MACHINE / f"{COMMITS[index][:8]}-env.json").write_text(json.dumps(value))
    path = paths[spec["file"]]
    if spec["kind"] == "mutated":
        path.write_bytes(mutation.mutated(honest_files()[spec["file"]], spec["mutations"]))
    elif spec["kind"] == "entry":
        _replace(path, spec["entry"])
    else:
        path.write_text(json.dumps(_bulk(spec["bulk"], spec["size"])))
    before = snapshot(stage.results)
    where = ("--results", str(stage.results))
    done = stage.command("speedup", "--json", *where)
    if done.code == 0:
        rows = strict(stage, done.out)
        if rows is not None and rows != baseline(stage, ("speedup", "--json")):
            stage.fault("wrong value", "the figures of the matrix changed with a file of another kind")
    if done.code != 0 and spec["kind"] != "entry":
        stage.fault("containment", f"one file takes everything away: {done.said[-200:]}")
    _history(stage, moved=spec.get("entry") in ("unreadable folder", "file for folder"))
    if spec["page"] and done.code == 0:
        stage.command("report", *where)
        check_page(stage)
    if before != snapshot(stage.results):
        stage.fault("lost measurement", "the results folder changed under a command that reads")


def _history(stage: Stage, *, moved: bool) -> None:
    """What the loaded history says: positive finite times, printable names, the commits nobody touched."""
    from synthetic import COMMITS

    def show() -> int:
        from fffbench.errors import UserError
        from fffbench.results import store

        try:
            found = store.load(stage.results)
        except UserError as error:
            print(f"fffbench: {error}")
            return 2
        points = [[p.commit, p.state, p.value, p.low, p.high, len(p.samples)] for p in found.history]
        print(json.dumps(points))
        return 0

    done = stage.child(show)
    if done.code != 0:
        return
    try:
        points = json.loads(done.out)
    except ValueError:
        stage.fault("wrong value", f"the history cannot be read back: {done.text[-200:]} {done.said[-200:]}")
        return
    for commit, state, value, *_ in points:
        if state == "measured" and not (
            isinstance(value, float | int) and math.isfinite(value) and 1e-12 < value < 1e9
        ):
            stage.fault("wrong value", f"commit {commit[:8]} is shown with {value} s")
            break
    missing = {COMMITS[index] for index in (1, 2, 4)} - {point[0] for point in points}
    if missing and not moved:
        stage.fault("lost measurement", f"commits vanish from the history beside another's file: {min(missing)[:8]}")


def _replace(path: Any, entry: str) -> None:
    if entry in ("unreadable folder", "file for folder"):
        folder = path.parent
        folder.rename(folder.parent / "moved-away")
        if entry == "file for folder":
            folder.write_text("{}")
        else:
            folder.mkdir(mode=0)
        return
    path.unlink()
    if entry == "fifo":
        os.mkfifo(path)
    elif entry == "folder":
        path.mkdir()
    else:
        path.symlink_to({"link to /proc": "/proc/self/environ", "link to itself": path.name}.get(entry, "nothing"))


def _bulk(kind: str, size: int) -> Any:
    value = honest_files()["commit"]
    row = value["results"]["kernels.Optimised.time_pass"]
    if kind == "rows":
        value["results"] |= {f"b.time_{index}": row[:2] for index in range(size)}
    elif kind == "names":
        value["result_columns"] += [f"c{index}" for index in range(size)]
    elif kind == "combinations":
        row[1] = [["'x'"], [str(index) for index in range(size)]]
        row[0] = [1e-3] * size
        del row[2:]
    else:
        row[11] = [[1e-3] * size, [1e-3]]
    return value

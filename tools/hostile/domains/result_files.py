"""Result files: damaged, hostile, huge, linked, doubled; honest ones beside them keep their figures."""

from __future__ import annotations

import json
import os
import random
import socket
from pathlib import Path
from typing import Any

from tools.hostile import mutation, oracle
from tools.hostile.case import Spec
from tools.hostile.server import READING
from tools.hostile.stage import Stage

WEIGHT = 28
PRELOAD = READING

ENTRIES = [
    "link to the file", "link to /proc", "link to itself", "link to nothing", "link to /dev/zero", "fifo", "socket",
    "folder", "empty file", "machine link to /proc", "machine link to itself", "machine file", "deep folders", "matrix link",
    "machine fifo", "unreadable machine", "unreadable file", "device",
]  # fmt: skip
NAMES = [
    "x.json", ".json", ".hidden.json", "X.JSON", "x.json.json", "x.json~", "\udcff.json", "\x1b[31mred.json", "\u202e.json",
    "a\nb.json", "[x](javascript:1).json", "<script>.json", "x" * 250 + ".json", " .json", "|.json", "-.json", "`id`.json",
]  # fmt: skip
BULKS = [
    ("processes", 100), ("processes", 150), ("processes", 500), ("processes", 1100), ("processes", 5000), ("samples", 10_000),
    ("samples", 200_000), ("empty", 100_000), ("empty", 2_000_000), ("objects", 300_000), ("skipped", 100_000),
    ("cells", 3000), ("ceilings", 50_000), ("notes", 100_000), ("stable", 100_000), ("files", 1500), ("keys", 500_000),
]  # fmt: skip
COMMANDS = [["speedup", "--json"]] * 5 + [["claims", "--json"]] * 3 + [["claims"], ["speedup"], ["report"]]


def draw(rng: random.Random) -> Spec:
    """What lies where, and the command that reads it."""
    from tools.hostile.material import subject

    kind = rng.choices(["mutated", "lie", "entry", "twin", "bulk"], [60, 20, 10, 8, 2])[0]
    spec: Spec = {"kind": kind, "command": rng.choice(COMMANDS)}
    if kind in ("mutated", "twin"):
        value = subject()
        starts: list[mutation.Path] = [("fffbench",), ("fffbench", "machine"), ("fffbench", "skipped")]
        for index in range(len(value["benchmarks"])):
            inner: mutation.Path = ("benchmarks", index, "extra_info", "fffbench")
            starts += [inner, inner, (*inner, "check"), (*inner, "processes")]
        starts.append(("benchmarks",))
        count = rng.choice([1, 1, 1, 1, 2, 3, 10]) if kind == "mutated" else rng.choice([0, 1, 1])
        spec["mutations"] = [mutation.draw(rng, value, tuple(starts)) for _ in range(count)]
    if kind == "lie":
        spec["mutations"] = [lie(rng, len(subject()["benchmarks"])) for _ in range(rng.choice([1, 1, 2]))]
    if kind in ("entry", "twin"):
        spec["name"] = rng.choice(NAMES)
    if kind == "entry":
        spec["entry"] = rng.choice(ENTRIES)
    if kind == "bulk":
        spec["bulk"], spec["size"] = rng.choice(BULKS)
        spec["command"] = rng.choice([["speedup", "--json"], ["claims"], ["report"]])
    return spec


EXTREMES = [0.0, 5e-324, 1e-310, 1e-300, 1e-160, 1e-30, 1e-12, 1e-10, 1e-9, 1e5, 1e6, 1e30, 1e160, 1e300, 1.7e308]
DATES = ["0000-01-01", "0001-01-01", "1970-01-01", "2026-02-30", "2026-13-01", "2099-12-31", "9999-12-31", "2026-00-00"]
CHECKS: list[dict[str, float]] = [
    {"error": 1e5, "tolerance": 1e300, "tokens": 0}, {"tokens": 0}, {"tolerance": 1e300}, {"tolerance": 1.0}, {"error": 1e300},
    {"diverged": 10**6, "diverged_cap": 2**50}, {"tolerance": 0.0, "error": 0.0}, {"error": 5e-324, "tolerance": 5e-324},
    {"diverged_cap": 10**9}, {"tolerance": 0.11, "error": 0.1}, {"diverged": 1, "diverged_cap": 1, "tokens": 1},
]  # fmt: skip


def lie(rng: random.Random, cells: int) -> list[Any]:
    """A well-formed file that says what cannot be."""
    start: list[Any] = ["benchmarks", rng.randrange(cells), "extra_info", "fffbench"]
    machine: list[Any] = ["fffbench", "machine"]
    kind = rng.choice(
        ["times", "times", "process", "check", "check", "ceiling", "figure", "date", "identity", "id", "cell"]
    )
    if kind == "times":
        return ["set", [*start, "processes"], [[rng.choice(EXTREMES)] * 5] * 6]
    if kind == "process":
        return ["set", [*start, "processes", rng.randrange(6)], [rng.choice(EXTREMES)] * rng.choice([1, 5])]
    if kind == "check":
        honest: dict[str, float] = {
            "error": 2.5e-06,
            "tolerance": 1e-05,
            "tokens": 256,
            "diverged": 0,
            "diverged_cap": 4,
        }
        return ["set", [*start, "check"], honest | rng.choice(CHECKS)]
    if kind == "ceiling":
        name = rng.choice(["fma_fp32", "dram_read", "dram_copy", "cache", "fma_bf16", "new"])
        return [
            "set",
            [*machine, "ceilings", name],
            {rng.choice(["1", "2", "0", "-1", "x", "9" * 400]): rng.choice(EXTREMES)},
        ]
    if kind == "figure":
        name = rng.choice(["distinct_rows", "prepare_seconds", "extra_bytes", "planned_processes"])
        return ["set", [*start, name], rng.choice([0, 1, 2**52, *EXTREMES])]
    if kind == "date":
        return [
            "set",
            ["fffbench", "started"],
            rng.choice(DATES) + rng.choice(["T00:00:00Z", "T25:61:61Z", "T12:00:00Z"]),
        ]
    if kind == "identity":
        return [
            "set",
            [*machine, "stable", rng.choice(["cpu", "cores", "memory", "os", "gpu 0"])],
            rng.choice(["", "x", "64"]),
        ]
    if kind == "id":
        return [
            "set",
            ["fffbench", rng.choice(["run", "commit", "preset"])],
            rng.choice(["neighbour", "a", "x-dirty", "unknown"]),
        ]
    name = rng.choice(
        ["d768-n4095-t1x12", "d1-n1-t1x1", "d768-n4096-t1x12", "d999999999999-n4095-t1x12", "d768-n8191-t1x13"]
    )
    return [
        "set",
        [*start, "cell"],
        f"fff_cpu@{name}-b{rng.choice([1, 0, 16384, 2**50])}-fp32-uniform-cpu-1th-s0@cold-kernel",
    ]


def play(spec: Spec, stage: Stage) -> None:
    """Read the results; figures come from valid samples, what is left out is named, nothing else changes."""
    from synthetic import MACHINE

    from tools.hostile.material import OTHER, baseline, honest, snapshot, subject, subject_path

    honest(stage.results)
    path = subject_path(stage.results)
    honest_data = path.read_bytes()
    if spec["kind"] in ("mutated", "lie"):
        path.write_bytes(mutation.mutated(subject(), spec["mutations"]))
    elif spec["kind"] == "twin":
        (path.parent / spec["name"]).write_bytes(mutation.mutated(subject(), spec["mutations"]))
    elif spec["kind"] == "entry":
        _place(spec["entry"], path, spec["name"])
    else:
        _bulk(spec["bulk"], spec["size"], path)
    before = snapshot(stage.results)
    command, where = spec["command"], ["--results", str(stage.results)]
    done = stage.command(*command, *where)
    if before != snapshot(stage.results):
        stage.fault("lost measurement", "the results folder changed under a command that reads")
    if command == ["report"]:
        check_page(stage)
    if done.code != 0 or "--json" not in command:
        return
    rows = strict(stage, done.out)
    if rows is None:
        return
    known, _ = oracle.read(stage.results.joinpath("matrix", OTHER, "neighbour.json").read_bytes()) or ({}, set())
    valid, files = dict(known), 0
    for file in sorted(path.parent.glob("*")):
        if file.is_file() and not file.is_symlink() and file.stat().st_size < 50_000_000:
            files += 1
            for record, times in (oracle.read(file.read_bytes()) or ({}, set()))[0].items():
                old = valid.get(record)
                valid[record] = (
                    times if old is None else oracle.Times(min(old.low, times.low), max(old.high, times.high))
                )
    judge = oracle.speedup_faults if command[0] == "speedup" else oracle.claim_faults
    for said in list(judge(rows, valid))[:3]:
        stage.fault("wrong value", said)
    expected = baseline(stage, tuple(command))
    learnt = spec.get("bulk") == "files"  # runs that can be believed: of them the spread of all machines is learnt
    lost = figures(expected, OTHER, intervals=not learnt) - figures(rows, OTHER, intervals=not learnt)
    if lost:
        stage.fault("wrong value", f"the other machine's figures changed or vanished: {sorted(map(str, lost))[:2]}")
    if spec["kind"] in ("mutated", "lie"):
        _named(stage, rows, expected, path, done.said, done.text)
    elif spec["kind"] == "entry" and path.exists() and path.read_bytes() == honest_data:
        gone = figures(expected, MACHINE) - figures(rows, MACHINE)
        if gone and "machine" not in spec["entry"] and "matrix" not in spec["entry"]:
            stage.fault(
                "wrong value", f"an honest file's figures changed beside {spec['entry']}: {sorted(map(str, gone))[:2]}"
            )


def _named(stage: Stage, rows: Any, expected: Any, path: Path, said: str, out: str) -> None:
    """A record that is no longer shown though the file still names its cell must be explained by the file's name."""
    shown, wanted = records(rows), records(expected)
    read = oracle.read(path.read_bytes())
    named = read[1] if read else {record.split("/", 1)[1] for record in wanted}
    vanished = [
        record for record in wanted - shown if record.startswith("subject/") and record.split("/", 1)[1] in named
    ]
    renamed = read is not None and any(not record.startswith("subject/") for record in read[0])
    if vanished and not renamed and path.name not in said and path.name not in out and not _explained(vanished):
        stage.fault("silent", f"{vanished[0]} is not shown any more, and {path.name} is not named: {said[-200:]!r}")


def _explained(vanished: list[str]) -> bool:
    """A baseline gives way to a faster one, or is one of several: its file need not be named."""
    return all("/dense" in record for record in vanished)


def records(rows: Any) -> set[str]:
    """The record ids that rows rest on."""
    found: set[str] = set()
    for row in rows:
        found |= set(row.get("records") or ())
        found |= {row[name] for name in ("record", "baseline_record") if row.get(name)}
    return found


def figures(rows: Any, machine: str, *, intervals: bool = True) -> set[tuple[Any, ...]]:
    """What rows say about one machine: the figures with what identifies them."""
    keys = ("id", "conditions", "implementation", "baseline", "baseline_threads", "batch", "threads", "cache", "call")
    values = ("time", "speedup", *(("low", "high") if intervals else ()), "measured")
    return {
        tuple(json.dumps(row.get(key)) for key in (*keys, *values)) for row in rows if row.get("machine") == machine
    }


def strict(stage: Stage, out: bytes) -> Any:
    """The JSON array in ``out``; a fault where it is none."""

    def refuse(word: str) -> Any:
        raise ValueError(f"{word} is no JSON")

    try:
        rows = json.loads(out, parse_constant=refuse)
    except ValueError as error:
        stage.fault("json", str(error))
        return None
    return rows


def check_page(stage: Stage) -> None:
    """No markup of a file's becomes the page's, and no control character."""
    from html.parser import HTMLParser

    from tools.hostile.judges import bad_character

    class Markup(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            for name, value in attrs:
                if name.startswith("on") or (
                    name in ("href", "src") and (value or "").lower().strip().startswith("javascript")
                ):
                    stage.fault("markup", f"<{tag} {name}={value!r}>"[:200])

    for path in (stage.folder / "reports").rglob("*"):
        if not path.is_file():
            continue
        text = path.read_bytes().decode("utf-8", "replace")
        if path.suffix == ".html":
            Markup().feed(text)
            if "<script>alert" in text:
                stage.fault("markup", "a script from a file is in the page")
        bad = bad_character(text.replace("\r\n", "\n"))
        if bad is not None:
            stage.fault("control characters", f"{path.name} holds {text[bad]!r}: {text[max(0, bad - 60) : bad + 20]!r}")


def _place(entry: str, path: Path, name: str) -> None:
    """An odd entry beside the honest files."""
    spot, machine = path.parent / name, path.parents[1] / "third-cpu-2c-0003"
    targets: dict[str, Path | str] = {
        "link to the file": path,
        "link to /proc": "/proc/self/environ",
        "link to itself": spot.name,
    }
    targets |= {"link to nothing": "nothing", "link to /dev/zero": "/dev/zero"}
    if entry in targets:
        spot.symlink_to(targets[entry])
    elif entry == "fifo":
        os.mkfifo(spot)
    elif entry == "socket":
        os.chdir(spot.parent)
        socket.socket(socket.AF_UNIX).bind("s.json")
    elif entry == "folder":
        spot.mkdir()
    elif entry == "empty file":
        spot.touch()
    elif entry == "machine link to /proc":
        machine.symlink_to("/proc/self")
    elif entry == "machine link to itself":
        machine.symlink_to(machine.name)
    elif entry == "machine file":
        machine.write_text("{}")
    elif entry == "machine fifo":
        os.mkfifo(machine)
    elif entry == "matrix link":
        path.parents[1].rename(path.parents[2] / "moved")
        path.parents[1].symlink_to("moved")
    elif entry == "deep folders":
        (machine / "/".join("d" * 100)).mkdir(parents=True)
    elif entry == "unreadable machine":
        machine.mkdir(mode=0)
    elif entry == "unreadable file":
        spot.write_text("{}")
        spot.chmod(0)
    elif entry == "device":
        try:
            os.mknod(spot, 0o020666, os.makedev(1, 5))  # /dev/zero under another name
        except OSError:
            spot.touch()


def _bulk(kind: str, size: int, path: Path) -> None:
    """A file, or many, of a size that an honest writer could not reach, under 100 MB in all."""
    from tools.hostile.material import subject

    value = subject()
    info = value["benchmarks"][0]["extra_info"]["fffbench"]
    if kind == "processes":
        for benchmark in value["benchmarks"]:
            one = benchmark["extra_info"]["fffbench"]
            one["processes"] = [
                [time * (1 + index % 7 / 1000) for time in one["processes"][0]] for index in range(size)
            ]
    elif kind == "samples":
        info["processes"] = [[info["processes"][0][0] * (1 + index % 11 / 1000) for index in range(size)]] * 2
    elif kind == "empty":
        value["benchmarks"] += [{}] * size
    elif kind == "objects":
        value["benchmarks"] += [{"extra_info": {"fffbench": {}}}] * size
    elif kind == "skipped":
        value["fffbench"]["skipped"] *= size
    elif kind == "cells":
        value["benchmarks"] = value["benchmarks"] * (size // len(value["benchmarks"]))
    elif kind == "ceilings":
        value["fffbench"]["machine"]["ceilings"] |= {f"c{index}": {"1": 1e9} for index in range(size)}
    elif kind == "notes":
        info["notes"] = ["a note"] * size
    elif kind == "stable":
        value["fffbench"]["machine"]["stable"] |= {f"s{index}": "v" for index in range(size)}
    elif kind == "keys":
        value |= {f"k{index}": index for index in range(size)}
    elif kind == "files":
        for index in range(size):
            value["fffbench"]["run"] = f"run-{index}"
            (path.parent / f"run-{index}.json").write_text(json.dumps({**value, "benchmarks": value["benchmarks"][:2]}))
        return
    path.write_text(json.dumps(value))

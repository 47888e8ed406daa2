"""Journals of interrupted runs: cut, damaged, doubled, forged; the same command continues or says why not."""

from __future__ import annotations

import json
import os
import random
from typing import Any

from tools.hostile import mutation
from tools.hostile.case import Spec
from tools.hostile.server import KERNELS
from tools.hostile.stage import Stage

WEIGHT = 2.5
PRELOAD = KERNELS

FILES = [
    "empty",
    "fifo",
    "folder",
    "link to /proc",
    "link to nothing",
    "link to itself",
    "newline",
    "zeros",
    "header only",
]
GARBAGE = ["", " ", "{", "{}", "[]", "null", "1", "x" * 100_000, "\x00" * 512, "\x1b[2J", '{"outcome":{}}', '{"outcome":null}',
           '{"load after":1}', "[" * 100_000, "\u202e", '{"outcome":{"cell":"x"}}', "NaN", "7" * 5000]  # fmt: skip


def draw(rng: random.Random) -> Spec:
    """A few faults in a complete journal."""
    if rng.random() < 0.15:
        return {"file": rng.choice(FILES)}
    if rng.random() < 0.06:
        return {"second": rng.choice(["same", "older", "other plan"]), "faults": []}
    return {"faults": [_fault(rng) for _ in range(rng.choice([1, 1, 1, 2, 3]))]}


def _fault(rng: random.Random) -> list[Any]:
    kind = rng.choice(["cut", "cut", "flip", "flip", "line", "line", "line", "header", "garbage", "garbage", "drop", "double", "swap",
                       "blank", "crlf", "zeros", "samples", "samples"])  # fmt: skip
    line = rng.randrange(1, 5)
    if kind == "cut":
        return ["cut", round(rng.random(), 4)]
    if kind == "flip":
        return ["flip", round(rng.random(), 4), rng.randrange(256)]
    if kind in ("line", "header"):
        return ["json", 0 if kind == "header" else line, rng.randrange(2**32)]
    if kind == "garbage":
        return ["garbage", rng.randrange(6), rng.choice(GARBAGE)]
    if kind == "samples":
        return [
            "samples",
            line,
            rng.choice([[], [0.0], [-1.0], [1e-300], [5e-324], [1e300], ["1"], None, [None], [1e-12] * 9, [True]]),
        ]
    return [kind, line]


def play(spec: Spec, stage: Stage) -> None:
    """Run the command that continues; nothing that is intact in the journal may be lost, nothing damaged exported."""
    from tools.hostile import measured

    machine, name, lines = measured.journal(stage)
    original = set(lines)
    if "file" in spec:
        path = stage.results / "matrix" / machine / name
        path.parent.mkdir(parents=True)
        _special(spec["file"], path, lines[0])
        intact: list[dict[str, Any]] = []
    else:
        data = _damaged(lines, spec["faults"])
        path = measured.lay(stage, data)
        kept = [line for line in data.decode("utf-8", "replace").split("\n") if line in original]
        intact = measured.outcomes("\n".join(kept))
        if "second" in spec:
            _second(spec["second"], path, lines)
    done = stage.command(*measured.RUN, "--results", str(stage.results))
    gone = measured.lost(stage.results, intact)
    if gone:
        stage.fault(
            "lost measurement", f"{len(gone)} of {len(intact)} intact outcomes are gone, {gone[0]}: {done.said[-200:]}"
        )
    for said in measured.invalid(stage.results):
        stage.fault("wrong value", said)
    if done.code == 2 and path.stem not in done.said:
        stage.fault("error line", f"the journal is not named: {done.said[-300:]}")


def _damaged(lines: list[str], faults: list[list[Any]]) -> bytes:
    held: list[bytes] = [line.encode() for line in lines]
    end = b"\n"
    for kind, *rest in faults:
        place = min(rest[0], len(held) - 1) if rest and isinstance(rest[0], int) else 0
        if kind == "json" and held:
            held[place] = _mutated(held[place], rest[1])
        elif kind == "samples" and held:
            held[place] = _with_samples(held[place], rest[1])
        elif kind == "garbage":
            held.insert(rest[0], rest[1].encode("utf-8", "surrogatepass"))
        elif kind == "drop" and len(held) > 1:
            del held[place]
        elif kind == "double":
            held.insert(place, held[place])
        elif kind == "swap":
            held[place], held[-1] = held[-1], held[place]
        elif kind == "blank":
            held.insert(place, b"")
        elif kind == "crlf":
            end = b"\r\n"
    data = b"".join(line + end for line in held)
    for fault in faults:
        if fault[0] in ("cut", "flip"):
            data = mutation.edited(data, fault)
        elif fault[0] == "zeros":
            data += bytes(4096)  # what some file systems leave after a power cut
    return data


def _mutated(line: bytes, seed: int) -> bytes:
    try:
        value = json.loads(line)
    except ValueError:
        return line
    one = mutation.draw(random.Random(seed), value)
    return mutation.mutated(value, [one]).replace(b"\n", b" ")[:5_000_000]


def _with_samples(line: bytes, samples: Any) -> bytes:
    try:
        value = json.loads(line)
        value["outcome"]["samples"] = samples
    except (ValueError, KeyError, TypeError):
        return line
    return json.dumps(value).encode()


def _special(kind: str, path: Any, header: str) -> None:
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind.startswith("link"):
        path.symlink_to({"link to /proc": "/proc/self/environ", "link to itself": path.name}.get(kind, "nothing"))
    else:
        path.write_bytes({"newline": b"\n", "zeros": bytes(4096), "header only": header.encode()}.get(kind, b""))


def _second(kind: str, path: Any, lines: list[str]) -> None:
    """Another journal beside it."""
    other = path.with_name("quick-20200101-000000.journal")
    if kind == "other plan":
        header = json.loads(lines[0]) | {"plan": "0" * 16}
        other.write_text(json.dumps(header) + "\n" + "\n".join(lines[1:]) + "\n")
    else:
        other.write_text("\n".join(lines[:3] if kind == "older" else lines) + "\n")

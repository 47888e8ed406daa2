"""The ledger: a folder of claims with damaged, odd and hostile files; each is refused by name or read as it is."""

from __future__ import annotations

import importlib
import os
import random
from pathlib import Path
from typing import Any

from tools.hostile.case import Spec
from tools.hostile.server import READING
from tools.hostile.stage import Stage

WEIGHT = 8
PRELOAD = READING

LINES = [
    'id = "x"', "published = 1e999", "published = nan", "published = inf", "published = -1", "published = 0", "published = 5e-324",
    "published = true", "published = '78'", "band = 1.0", "band = 1e300", "band = nan", "order = 1e3", f"order = {'9' * 400}",
    f"order = {'9' * 5000}", 'kind = "ratio"', 'kind = "x"', 'kind = "count"', 'kind = "untestable"', 'statement = ""',
    'statement = "\\u001b[31m"', 'statement = "\\u202e"', 'statement = "<script>alert(1)</script>"', f'statement = "{"x" * 1001}"',
    'source = "](javascript:alert(1))"', 'shown = "a\\nb"', 'note = "\\u0000"', "a.b.c = 1", "[conditions.fair]", "[conditions.other]",
    "[workload]", "d = 0", f"d = {2**63}", "levels = 25", "levels = -1", "trees = 0", "batch = 0", "leaf_width = -1", "n = 1",
    "x = [[[[[[[]]]]]]]", f"x = {'[' * 5000}{']' * 5000}", "x = 1979-05-27T07:32:00", "x = 0x10", "= 1", '"" = 1', "a = ", "[", "[[a]]",
    "\x00", "\ufeff", "é = 1", "# \x1b[2J", 'dtype = "fp64"', "threads = 0", 'threads = "any"', "or_batch = [0]", "call = []",
    'baseline = "x"', 'cache = "x"', "chart = 1", f"# {'x' * 200_000}", "x = '''", 'confidence = "sure"',
]  # fmt: skip
ENTRIES = [
    "fifo",
    "folder",
    "link to nothing",
    "link to itself",
    "link to /dev/zero",
    "link to /proc",
    "device",
    "empty",
    "socket",
]
NAMES = [
    "new.toml",
    "\x1b[31m.toml",
    "a\nb.toml",
    "\udcff.toml",
    "\u202e.toml",
    "x" * 250 + ".toml",
    " .toml",
    "UPPER.toml",
    ".toml",
]


def draw(rng: random.Random) -> Spec:
    """Some lines of a claim changed, the bytes changed, or an odd entry among the claims."""
    spec: Spec = {
        "claim": rng.randrange(10**6),
        "kind": rng.choices(["lines", "bytes", "entry", "copy", "none"], [60, 20, 12, 7, 1])[0],
    }
    if spec["kind"] == "lines":
        spec["changes"] = [
            [
                rng.choice(["insert", "replace", "replace", "delete", "double"]),
                round(rng.random(), 4),
                rng.choice(LINES),
            ]
            for _ in range(rng.choice([1, 1, 2, 4]))
        ]
    elif spec["kind"] == "bytes":
        spec["changes"] = [
            [rng.choice(["cut", "flip", "flip", "encode"]), round(rng.random(), 4), rng.randrange(256)]
            for _ in range(rng.choice([1, 2]))
        ]
    else:
        spec["entry"], spec["name"] = rng.choice(ENTRIES), rng.choice(NAMES)
    return spec


def play(spec: Spec, stage: Stage) -> None:
    """Load the folder: all claims, or one line that names the file; within the limits of time and memory."""
    import fffbench
    from tools.hostile.domains.result_files import strict
    from tools.hostile.material import honest as honest_results

    honest = sorted((Path(fffbench.__file__).parent / "claims").glob("*.toml"))
    folder = stage.folder / "claims"
    folder.mkdir()
    for path in honest:
        (folder / path.name).write_bytes(path.read_bytes())
    chosen = folder / honest[spec["claim"] % len(honest)].name
    name = chosen.name
    if spec["kind"] == "lines":
        chosen.write_bytes(_lines(chosen.read_text(encoding="utf-8"), spec["changes"]))
    elif spec["kind"] == "bytes":
        chosen.write_bytes(_bytes(chosen.read_bytes(), spec["changes"]))
    elif spec["kind"] == "entry":
        name = spec["name"]
        _entry(spec["entry"], folder / name)
    elif spec["kind"] == "copy":
        name = spec["name"]
        (folder / name).write_bytes(chosen.read_bytes())
    else:
        for path in folder.iterdir():
            path.unlink()

    def attacked() -> None:
        _ledger().load_claims.__defaults__ = (folder,)  # wherever it is used

    honest_results(stage.results)
    done = stage.command("claims", "--json", "--results", str(stage.results), prelude=attacked)
    if done.code == 2 and spec["kind"] not in ("none", "entry", "copy") and Path(name).stem not in done.said:
        stage.fault("error line", f"{name} is not named: {done.said[-300:]}")
    if done.code == 0:
        for row in strict(stage, done.out) or ():
            if not (0 < row["published"] < 1e300):
                stage.fault("wrong value", f"claim {row['id']} is read with published {row['published']}")
    elif spec["kind"] == "none" and "claim" not in done.said:
        stage.fault("error line", f"an empty ledger is not named: {done.said[-200:]}")


def _ledger() -> Any:
    for module in ("fffbench.claims.ledger", "fffbench.claims.ledger"):
        try:
            return importlib.import_module(module)
        except ModuleNotFoundError:
            continue
    raise RuntimeError("the ledger has moved: tell this domain where it is")


def _lines(text: str, changes: list[list[Any]]) -> bytes:
    lines = text.split("\n")
    for kind, share, line in changes:
        place = min(len(lines) - 1, int(share * len(lines)))
        if kind == "insert":
            lines.insert(place, line)
        elif kind == "replace":
            key = line.split("=")[0].strip()
            same = [index for index, one in enumerate(lines) if one.startswith(f"{key} =")]
            lines[same[0] if same else place] = line
        elif kind == "delete":
            del lines[place]
        else:
            lines.insert(place, lines[place])
        lines = lines or [""]
    return "\n".join(lines).encode("utf-8", "surrogatepass")


def _bytes(data: bytes, changes: list[list[Any]]) -> bytes:
    for kind, share, byte in changes:
        place = int(share * len(data))
        if kind == "cut":
            data = data[:place]
        elif kind == "flip":
            data = data[:place] + bytes([byte]) + data[place + 1 :]
        else:
            data = data.decode("utf-8", "replace").encode("utf-16" if byte % 2 else "utf-8-sig")
    return data


def _entry(kind: str, path: Path) -> None:
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind.startswith("link"):
        targets = {"link to itself": path.name, "link to /dev/zero": "/dev/zero", "link to /proc": "/proc/self/environ"}
        path.symlink_to(targets.get(kind, "nothing"))
    elif kind == "device":
        try:
            os.mknod(path, 0o020666, os.makedev(1, 5))
        except OSError:
            path.touch()
    elif kind == "socket":
        import socket

        os.chdir(path.parent)
        socket.socket(socket.AF_UNIX).bind("s.toml")
    else:
        path.touch()

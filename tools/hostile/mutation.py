"""How is a JSON file made wrong? A mutation is a short list of plain data, so that a case can be kept.

    ["set", path, value]     ["raw", path, text]     ["delete", path]      ["key", path, new name]
    ["repeat", path, times]  ["text", path, length]  ["nest", path, depth] ["digits", path, count]
    ["cut", share]  ["flip", share, byte]  ["insert", share, text]  ["encode", codec]  ["append", text]

``raw`` puts text that is no JSON value of Python's (``NaN``, ``1e999``, ``-0``). Paths are lists of keys.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

Path = tuple[str | int, ...]

STRINGS = [
    "", " ", "x" * 1999, "x" * 2000, "x" * 2001, "\x1b[31m", "\x00", "\u202e", "\u2028", "\ud800", "a\nb", "a\tb", "\ufeff",
    "<script>alert(1)</script>", "](javascript:alert(1))", "[x](http://x)", "{{7*7}}", "'\"&<>", "=1+1", "@x", "../..",
    "/etc/passwd", "é", "日本", "NaN", "null", "1", "-1", "\x7f", "\x85", "%s", "\\", "`", "|", "||", "a|b", "[bold]",
]  # fmt: skip
VALUES: list[Any] = [
    None, True, False, 0, -1, 1, 2, 7, -1.5, 0.1, 2**31, 2**53, 2**63, 2**64, 2**70, 10**300, 10**400, [], {}, [None],
    [[]], [[[]]], {"a": 1}, {"": None}, [1, 2, 3], ["a"], [[1.0]], [[1e-3] * 5] * 6, {"1": 1.0}, {"1": -1.0},
]  # fmt: skip
RAW = [
    "NaN", "Infinity", "-Infinity", "1e999", "-1e999", "1e-999", "5e-324", "1e-310", "1e-300", "1e-30", "1e-12", "1e-10",
    "1e-9", "1e300", "1.7976931348623157e308", "-0", "-0.0", "0.0", "0", "1e5", "999999.9", "1e6", "1E3", "1e0", "00", "01",
    "1.", ".5", "+1", "0x1", "nan", "inf", "True", "'x'", "1_0", "1e", "-", '"\\ud800"', '"\\udc00\\ud800"', '"\\u0000"',
]  # fmt: skip


def places(value: Any, path: Path = ()) -> Iterator[Path]:
    """Paths into ``value``, in order: every key of an object, of a list its first and last."""
    if path:
        yield path
    items: Any = value.items() if isinstance(value, dict) else ()
    if isinstance(value, list):
        items = ((index, value[index]) for index in sorted({0, len(value) - 1}) if value)
    for key, child in items:
        yield from places(child, (*path, key))


def draw(rng: random.Random, value: Any, under: tuple[Path, ...] = ()) -> list[Any]:
    """One mutation of ``value``, mostly below one of the paths ``under``."""
    found = list(places(value))
    if under and rng.random() < 0.9:
        start = rng.choice(under)
        found = [path for path in found if path[: len(start)] == start] or found
    path = list(rng.choice(found))
    kind = rng.choice(
        ["set"] * 6 + ["raw"] * 6 + ["delete"] * 3 + ["string"] * 6 + ["key"] * 2 + ["repeat"] * 2 + ["digits", "nest"]
        + ["text", "cut", "flip", "flip", "insert", "encode", "append"]
    )  # fmt: skip
    if kind == "set":
        return ["set", path, rng.choice(VALUES)]
    if kind == "string":
        return ["set", path, rng.choice(STRINGS)]
    if kind == "raw":
        return ["raw", path, rng.choice(RAW)]
    if kind == "delete":
        return ["delete", path]
    if kind == "key":
        return ["key", path, rng.choice([*STRINGS, "1", "0", "-1", "fma_fp32", "stable"])]
    if kind == "repeat":
        return ["repeat", path, rng.choice([2, 2, 10, 100, 150, 500, 1100])]
    if kind == "digits":
        return ["digits", path, rng.choice([20, 309, 400, 4300, 4301, 100_000])]
    if kind == "nest":
        return ["nest", path, rng.choice([10, 500, 990, 5000, 100_000])]
    if kind == "text":
        return ["text", path, rng.choice([2000, 2001, 10**5, 10**7])]
    if kind == "cut":
        return ["cut", round(rng.random(), 4)]
    if kind == "flip":
        return ["flip", round(rng.random(), 4), rng.randrange(256)]
    if kind == "insert":
        return [
            "insert",
            round(rng.random(), 4),
            rng.choice(["\x00", "\n", ",", "{", "]", '"', "\ufeff", "//", "#", "\u202e"]),
        ]
    if kind == "encode":
        return ["encode", rng.choice(["utf-16", "utf-8-sig", "latin-1", "utf-32", "utf-7"])]
    return ["append", rng.choice(["{}", "\n\n", "x", "\x00" * 100, "]", " " * 100_000])]


def mutated(value: Any, mutations: list[list[Any]]) -> bytes:
    """The bytes of ``value`` with ``mutations`` applied, those of the value before those of the text."""
    value = json.loads(json.dumps(value))
    raws: list[str] = []
    for mutation in mutations:
        kind = mutation[0]
        if kind in ("set", "raw", "delete", "key", "repeat", "text", "nest", "digits"):
            _apply(value, mutation, raws)
    text = json.dumps(value)
    for index, raw in enumerate(raws):
        text = text.replace(json.dumps(f"@@{index}@@"), raw)
    data = text.encode("utf-8")
    for mutation in mutations:
        data = edited(data, mutation)
    return data


def _apply(value: Any, mutation: list[Any], raws: list[str]) -> None:
    kind, path, *rest = mutation
    parent = value
    try:
        for key in path[:-1]:
            parent = parent[key]
        here = parent[path[-1]]
    except (KeyError, IndexError, TypeError):
        return  # an earlier mutation took the place away
    if not isinstance(parent, dict | list):
        return
    key = path[-1]
    if kind == "set":
        parent[key] = rest[0]
    elif kind == "delete":
        del parent[key]
    elif kind == "key" and isinstance(parent, dict):
        parent[rest[0]] = parent.pop(key)
    elif kind == "repeat":
        if isinstance(parent, list):
            parent[key:key] = [here] * rest[0]
        elif isinstance(here, list):
            parent[key] = here * rest[0]
    elif kind == "text":
        parent[key] = "x" * rest[0]
    elif kind in ("raw", "nest", "digits"):
        raws.append(_raw(kind, rest[0]))
        parent[key] = f"@@{len(raws) - 1}@@"


def _raw(kind: str, given: Any) -> str:
    if kind == "raw":
        return str(given)
    count = int(given)
    return "[" * count + "]" * count if kind == "nest" else "7" * count


def edited(data: bytes, mutation: list[Any]) -> bytes:
    """``data`` with one mutation of the text's kind applied; others leave it as it is."""
    kind, *rest = mutation
    if kind == "append":
        return data + str(rest[0]).encode()
    if kind == "encode":
        return data.decode("utf-8", "replace").encode(rest[0], "replace")
    if kind not in ("cut", "flip", "insert"):
        return data
    place = min(len(data) - 1, int(rest[0] * len(data)))
    if kind == "cut":
        return data[: max(1, place)]
    if kind == "flip":
        return data[:place] + bytes([rest[1]]) + data[place + 1 :]
    return data[:place] + str(rest[1]).encode("utf-8", "surrogatepass") + data[place:]

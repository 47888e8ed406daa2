"""Two hundred hostile files beside an honest one: no traceback, no markup, every refusal by file and field."""

from __future__ import annotations

import copy
import json
import random
from html.parser import HTMLParser

from synthetic import MACHINE, cell_id, run_json, write_run

from fffbench.report import render
from fffbench.results import reader
from fffbench.results.store import load

CELLS = {cell_id("dense_linear"): 1.0, cell_id("fff_cpu"): 0.01}
ATTACK = "<script>alert('x')</script><img src=x onerror=alert(1)>\"'&{{7*7}}]]>-->"
HUGE = "x" * 10_000_000
WRONG = (None, True, 7, -1.5, "text", [], {}, [None], {"a": 1}, [[[]]], 2**70)
BAD_TIMES = (float("nan"), float("inf"), -1.0, 0.0, "1.0", None, True, 1e12)
VERSIONS = (2, 99, 2**40)
FAULTS = {"type": 60, "time": 40, "script everywhere": 2, "script": 48, "huge": 10, "version": 10, "cut": 30}


def places(value, wanted, path=()):
    """Every path to a value of type ``wanted``, in order."""
    if isinstance(value, wanted) and path:
        yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in items:
        yield from places(child, wanted, (*path, key))


def put(run, path, value):
    for key in path[:-1]:
        run = run[key]
    run[path[-1]] = value


def written(path):
    """A path as refusals write it: ``benchmarks[1].extra_info``."""
    return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in path).lstrip(".")


def hostile(kind, index, rng):
    """The text of one hostile file, and the field that is wrong in it (empty for a file that is no JSON any more)."""
    run = run_json(
        CELLS,
        run=f"hostile-{kind.replace(' ', '-')}-{index}",
        started=f"2026-02-{1 + list(FAULTS).index(kind):02d}T03:04:{index:02d}Z",
        skipped={cell_id("cmm_masked"): "reason"},
    )
    strings = list(places(run, str))
    field = ""
    if kind == "type":
        path = rng.choice([path for path in places(run, object) if path[0] in ("fffbench", "benchmarks")])
        field = written(path)
        put(run, path, copy.deepcopy(rng.choice(WRONG)))
    elif kind == "time":
        times = rng.choice(run["benchmarks"])["extra_info"]["fffbench"]["processes"]
        times[rng.randrange(6)][0] = rng.choice(BAD_TIMES)
    elif kind == "script everywhere":
        for path in strings:
            put(run, path, ATTACK)
    elif kind == "script":
        path = strings[index % len(strings)]
        field = written(path)
        put(run, path, ATTACK)
    elif kind == "huge":
        # what is read; the rest is pytest-benchmark's own and ignored
        path = rng.choice([path for path in strings if path[0] == "fffbench" or "extra_info" in path])
        field = written(path)
        put(run, path, HUGE)
    elif kind == "version":
        run["fffbench"]["format"] = rng.choice(VERSIONS)
    text = json.dumps(run)
    return (text[: rng.randrange(1, len(text))] if kind == "cut" else text), field


class Markup(HTMLParser):
    """Counts scripts, images and attributes that run something."""

    scripts = images = 0
    handlers = ()

    def handle_starttag(self, tag, attrs):
        self.scripts += tag == "script"
        self.images += tag == "img"
        self.handlers += tuple(name for name, _ in attrs if name.startswith("on"))


def names_what_is_wrong(name, refusal):
    """Whether ``refusal`` is one short line that says where in the file ``name`` the fault lies."""
    if "\n" in refusal.line or len(refusal.line) > 700:
        return False
    if name.startswith("cut"):
        return "JSON" in refusal.reason
    if name.startswith("time"):
        return refusal.field.startswith("benchmarks[") or "is not a JSON number" in refusal.reason
    if name.startswith("version"):
        return refusal.field == "fffbench.format"
    return bool(refusal.field)


def test_two_hundred_hostile_files_are_refused_by_file_and_field_and_none_becomes_markup(tmp_path):
    rng = random.Random(7)
    honest = write_run(tmp_path / "results", cells=CELLS, run="honest")
    fields = {}
    for kind, count in FAULTS.items():
        for index in range(count):
            text, fields[f"{kind}-{index}.json"] = hostile(kind, index, rng)
            (honest.parent / f"{kind}-{index}.json").write_text(text, encoding="utf-8")
    assert len(fields) == 200

    loaded = load(tmp_path / "results")
    assert sum(record.run == "honest" for record in loaded.records) == 2
    refused = {}
    for refusal in loaded.refused:
        refused.setdefault(refusal.path.rsplit("/", 1)[-1], []).append(refusal)
    assert not refused.keys() - fields.keys()
    for kind in ("time", "huge", "version", "cut", "script everywhere"):
        assert all(f"{kind}-{index}.json" in refused for index in range(FAULTS[kind])), kind
    for name, refusals in refused.items():
        for refusal in refusals:
            assert names_what_is_wrong(name, refusal), refusal.line

    page = render(loaded, tmp_path / "out").read_text(encoding="utf-8")
    markup = Markup()
    markup.feed(page)
    assert (markup.scripts, markup.images, markup.handlers) == (2, 0, ())  # the page's own script, and its data
    listed = (tmp_path / "out" / "all.html").read_text(encoding="utf-8")
    for name in refused:
        assert name in listed


def test_a_file_says_the_same_read_at_once_and_part_by_part(tmp_path, monkeypatch):
    rng = random.Random(8)
    texts = [hostile(kind, index, rng)[0] for kind in FAULTS if kind != "huge" for index in range(20)]
    honest = json.dumps(run_json(CELLS, skipped={cell_id("cmm_masked"): "reason"}))
    texts += [honest, json.dumps(run_json({})), honest[:-1] + ',"benchmarks":[]}']
    for twice in ('"family":"dense"', '"format":1', '"tokens":256'):  # of a key that stands there twice the last counts
        name = twice.partition(":")[0]
        texts += [honest.replace(" ", "").replace(twice, f"{name}:{other},{twice}") for other in ("7", '"fff"', "null")]
        texts += [honest.replace(" ", "").replace(twice, f"{twice},{name}:{other}") for other in ("7", '"fff"', "null")]
    machine = tmp_path / "matrix" / MACHINE
    machine.mkdir(parents=True)
    for index, text in enumerate(texts):
        (machine / f"{index}.json").write_text(text, encoding="utf-8")
    files = sorted(machine.iterdir())
    taken = [reader._whole(path.read_bytes(), MACHINE) is not None for path in files]
    assert 20 < sum(taken) < len(files) / 2
    at_once = [reader.read_file(path, tmp_path) for path in files]
    monkeypatch.setattr(reader, "_whole", lambda *_: None)
    assert [reader.read_file(path, tmp_path) for path in files] == at_once

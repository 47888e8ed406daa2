"""Is asv's history read as asv means it, and anything else refused by file and field?"""

from __future__ import annotations

import copy
import json
import random

import pytest
from synthetic import COMMITS, CONTROL, MACHINE, OPTIMISED, asv_json, write_history

from fffbench.results.store import load

NAN = float("nan")


def write(root, value, machine=MACHINE, name="0.json"):
    folder = root / "asv" / machine
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(value if isinstance(value, bytes) else json.dumps(value).encode())


def test_values_intervals_samples_and_parameters_come_back_plain(tmp_path):
    write_history(tmp_path, {OPTIMISED: [[1e-3, 2e-3], [1.1e-3, 2.1e-3]], CONTROL: [[1, 1], [1, 1]]})
    loaded = load(tmp_path)
    assert loaded.refused == ()
    assert len(loaded.history) == 8
    point = next(p for p in loaded.history if p.benchmark == OPTIMISED)
    assert point.params == (("implementation", "fff_cpu"), ("batch", "1"))
    assert (point.machine, point.commit, point.unit) == (MACHINE, COMMITS[0], "seconds")
    assert point.date == "2026-01-01T00:00:00Z"
    assert (point.value, point.low, point.high) == pytest.approx((1e-3, 0.99e-3, 1.01e-3))
    assert point.samples == pytest.approx((1e-3, 1.001e-3))


def test_what_asv_itself_writes_is_read(tmp_path):
    results, runner = pytest.importorskip("asv.results"), pytest.importorskip("asv.runner")
    written = results.Results({"machine": MACHINE}, {}, "0f" * 20, 1767225600000, "3.11", "virtualenv-py3.11", {})
    benchmark = {"name": OPTIMISED, "version": "v", "params": [["'fff_cpu'"], ["1", "128", "16384"]]}
    samples = [0.5 + index / 1000 for index in range(20)]
    result = runner.BenchmarkResult(
        result=[0.5, NAN, None],
        samples=[samples, None, None],
        number=[1, None, None],
        errcode=0,
        stderr="",
        profile=None,
    )
    written.add_result(benchmark, result, record_samples=True)
    written.save(str(tmp_path / "asv"))
    loaded = load(tmp_path)
    assert loaded.refused == ()
    assert [point.state for point in loaded.history] == ["measured", "skipped", "failed"]
    point = loaded.history[0]
    assert point.low < point.value < point.high
    assert point.samples == tuple(samples)


def test_nan_is_a_skipped_benchmark_and_null_a_failed_one(tmp_path):
    write_history(tmp_path, {OPTIMISED: [[NAN, None]]})
    assert [(p.state, p.value) for p in load(tmp_path).history] == [("skipped", None), ("failed", None)]


def test_a_whole_benchmark_that_failed_has_one_null(tmp_path):
    value = asv_json({OPTIMISED: [1, 1]}, index=0)
    value["results"][OPTIMISED] = [None, [["'fff_cpu'"], ["1", "128"]]]
    write(tmp_path, value)
    assert [p.state for p in load(tmp_path).history] == ["failed", "failed"]


def test_an_interval_without_ends_is_no_interval(tmp_path):
    value = asv_json({OPTIMISED: [1, 1]}, index=0)
    value["results"][OPTIMISED][5] = [float("-inf"), 0.9]
    write(tmp_path, value)
    first, second = load(tmp_path).history
    assert (first.low, first.high) == (None, 1.01)
    assert second.low == 0.9


def test_without_benchmarks_json_the_unit_follows_from_the_name(tmp_path):
    write(tmp_path, asv_json({OPTIMISED: [1, 1], "kernels.Optimised.peakmem_pass": [2**30, 2**30]}, index=0))
    assert {p.benchmark.rsplit(".")[-1]: p.unit for p in load(tmp_path).history} == {
        "time_pass": "seconds",
        "peakmem_pass": "bytes",
    }


def test_the_matrix_does_not_read_the_history_nor_the_other_way_round(tmp_path):
    write_history(tmp_path, {OPTIMISED: [[1, 1]]})
    loaded = load(tmp_path)
    assert loaded.records == ()
    assert loaded.machines == {}


def changed(change):
    value = asv_json({OPTIMISED: [1.0, 2.0]}, index=0)
    change(value)
    return value


def put(*path):
    *keys, last, new = path

    def change(value):
        for key in keys:
            value = value[key]
        value[last] = new

    return change


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (put("version", 3), "version"),
        (put("version", 1), "version"),
        (put("version", None), "version"),
        (put("commit_hash", "../../etc"), "commit_hash"),
        (put("commit_hash", 7), "commit_hash"),
        (put("date", "yesterday"), "date"),
        (put("date", 10**30), "date"),
        (put("env_name", ""), "env_name"),
        (put("params", []), "params"),
        (put("params", "machine", "another"), "params.machine"),
        (put("results", []), "results"),
        (put("results", OPTIMISED, 5), f"results.{OPTIMISED}"),
        (put("results", OPTIMISED, 0, [1.0]), f"results.{OPTIMISED}"),
        (put("results", OPTIMISED, 0, ["1", 2]), f"results.{OPTIMISED}"),
        (put("results", OPTIMISED, 0, [-1.0, 2]), f"results.{OPTIMISED}"),
        (put("results", OPTIMISED, 0, [10**400, 2]), f"results.{OPTIMISED}"),
        (put("results", OPTIMISED, 0, [float("inf"), 2]), f"results.{OPTIMISED}"),
        (put("results", OPTIMISED, 0, [True, 2]), f"results.{OPTIMISED}"),
        (put("results", OPTIMISED, 1, [["a"] * 5000] * 9), f"results.{OPTIMISED}"),
        (put("results", OPTIMISED, 1, "x"), f"results.{OPTIMISED}"),
        (put("results", OPTIMISED, 1, [[1]]), f"results.{OPTIMISED}"),
        (put("results", OPTIMISED, 2, 5), f"results.{OPTIMISED}"),
        (put("results", OPTIMISED, 5, [{}, 2]), f"results.{OPTIMISED}"),
        (put("results", OPTIMISED, 11, [[NAN], None]), f"results.{OPTIMISED}"),
        (put("results", OPTIMISED, 11, ["ab", None]), f"results.{OPTIMISED}"),
        (put("result_columns", ["result"]), f"results.{OPTIMISED}"),
        (put("result_columns", [5]), "result_columns"),
    ],
)
def test_a_file_that_is_not_as_asv_writes_it_is_refused_by_file_and_field(tmp_path, change, field):
    write(tmp_path, changed(change), name="bad.json")
    write(tmp_path, asv_json({OPTIMISED: [1.0, 2.0]}, index=1), name="good.json")
    loaded = load(tmp_path)
    assert len(loaded.history) == 2
    (refusal,) = loaded.refused
    assert refusal.path == f"asv/{MACHINE}/bad.json"
    assert refusal.field.startswith(field)
    assert "\n" not in refusal.line


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[1]", b"\xff", b"[" * 100_000, b'{"version": 2, "date": 1' + b"0" * 5000]
)
def test_a_file_that_is_cut_or_foreign_is_refused(tmp_path, content):
    write(tmp_path, content)
    loaded = load(tmp_path)
    assert loaded.history == ()
    assert len(loaded.refused) == 1


def test_the_same_commit_twice_counts_once(tmp_path):
    for name in ("a.json", "b.json"):
        write(tmp_path, asv_json({OPTIMISED: [1.0, 2.0]}, index=0), name=name)
    loaded = load(tmp_path)
    assert len(loaded.history) == 2
    assert "already in asv/" in loaded.refused[0].reason


def test_hostile_benchmarks_json_is_refused_and_the_rest_loads(tmp_path):
    write_history(tmp_path, {OPTIMISED: [[1, 1]]})
    (tmp_path / "asv" / "benchmarks.json").write_text(json.dumps({"version": 2, OPTIMISED: {"unit": 5}, "x": []}))
    loaded = load(tmp_path)
    assert len(loaded.history) == 2
    assert len(loaded.refused) == 2


def test_two_hundred_mangled_files_never_raise(tmp_path):
    rng = random.Random(1)
    text = json.dumps(asv_json({OPTIMISED: [1.0, 2.0], CONTROL: [1.0, 2.0]}, index=0))
    junk = [None, NAN, -1, 1e999, "<script>", [], {}, True, "x" * 10_000, 10**40]

    def mangle(value):
        value = copy.deepcopy(value)
        spot = value
        while True:
            key = rng.choice(list(spot)) if isinstance(spot, dict) else rng.randrange(len(spot))
            if isinstance(spot[key], dict | list) and spot[key] and rng.random() < 0.8:
                spot = spot[key]
            else:
                spot[key] = rng.choice(junk)
                return value

    for index in range(200):
        if index % 4 == 0:
            write(tmp_path, text[: rng.randrange(len(text))].encode(), name=f"{index}.json")
        else:
            write(tmp_path, mangle(json.loads(text)), name=f"{index}.json")
    loaded = load(tmp_path)
    assert loaded.refused
    assert all("\n" not in refusal.line for refusal in loaded.refused)

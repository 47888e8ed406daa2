"""A kind of layer is one file: its tensors, data, reference, operations, label and baselines go everywhere with it."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import plugins
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fffbench.errors import UserError
from fffbench.plan.workload import Shape, Workload, parse_cell
from fffbench.problems import PROBLEMS, Problem, Weights, parse_problem

KINDS = ("dense", "leaf", "moe", "tree")
SHAPES = st.one_of(
    st.builds(Shape.dense, st.integers(1, 5000), st.integers(1, 10**6)),
    st.builds(Shape.tree, st.integers(1, 5000), st.integers(1, 3072), st.integers(1, 12)),
    st.builds(Shape.tree, st.integers(1, 5000), st.integers(1, 9), st.integers(13, 20)),
    st.builds(Shape.leaf, st.integers(1, 5000), st.integers(1, 9), st.integers(0, 15), st.integers(1, 64)),
)
KERNEL = """
"A layer of its own kind, by torch."
from fffbench.implementations.registry import Layer
FAMILY, DEVICES, DTYPES, KINDS = {family!r}, ("cpu",), ("fp32",), ({kind!r},)
def unsupported(workload):
    return None
def prepare(weights, workload):
    def forward(x):
        import torch.nn.functional as F
        {lines}
    return Layer(forward, lambda x, y: lambda: y.copy_(forward(x)))
"""
LINES = {
    "gated": "return (F.silu(x @ weights.wg.T) * (x @ weights.wu.T)) @ weights.wd",
    "pairs": "return F.gelu(x.view(-1, 2, x.shape[1]).flip(1).reshape(x.shape) @ weights.w1.T) @ weights.w2",
}
WRONG = {
    "gated": "return (F.silu(x @ weights.wg.T) * (x @ weights.wg.T)) @ weights.wd",
    "pairs": "return F.gelu(x @ weights.w1.T) @ weights.w2",
}


def test_the_kinds_are_there_and_need_no_torch():
    code = "import sys, fffbench.problems as p; print(sorted(p.PROBLEMS)); print({'torch', 'scipy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [str(list(KINDS)), "set()"]


@settings(deadline=None)  # the first example imports the kinds
@given(SHAPES)
def test_an_id_parses_back_to_its_own_kind(shape):
    assert parse_problem(shape.id) == shape
    assert type(parse_problem(shape.id)) is PROBLEMS[shape.kind]


@settings(deadline=None)  # the first example imports the kinds
@given(SHAPES, SHAPES)
def test_problems_of_all_kinds_have_one_order(one, other):
    assert (one < other) + (other < one) + (one == other) == 1
    assert sorted([one, other]) == sorted([other, one])


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_of_ours_says_everything_of_its_edges(kind):
    for shape in PROBLEMS[kind].edges():
        assert shape.kind == kind
        data = shape.draw("uniform", 0, 3)
        assert {name: array.shape for name, array in data.weights.items()} == {
            name: tensor.shape for name, tensor in shape.tensors().items()
        }
        assert data.x.shape == (3, shape.d)
        assert shape.operations(2) == 2 * shape.operations(1) > 0
        assert 0 < shape.distinct_rows(1, "uniform") <= shape.distinct_rows(99, "uniform") <= shape.rows
        assert shape.distinct_rows(0, "uniform") == 0
        assert set(shape.spoilers()) == set(shape.tensors())
        assert str(shape.n) in shape.label
        assert shape.resized(d=shape.d + 1).d == shape.d + 1


def test_a_dense_layer_sees_the_neurons_of_a_tree_or_of_leaves():
    tree, leaf = Shape.tree(8, 2, 3), Shape.leaf(8, 2, 3, 4)
    assert tree.seen_by("dense") == Shape.dense(8, 14)
    assert leaf.seen_by("dense") == Shape.dense(8, 64)
    assert leaf.seen_by("fff") is leaf
    weights = leaf.draw("uniform", 0, 1).weights
    assert leaf.weights_seen_by("dense", weights)["w1"].shape == (64, 8)
    assert leaf.weights_seen_by("fff", weights)["w1"].shape == (64 + 14, 8)


def test_a_baseline_has_the_kind_that_a_layer_asks_for_and_at_least_its_neurons():
    tree = Shape.tree(8, 1, 3)
    assert Shape.dense(8, 7).replaces(tree)
    assert Shape.dense(8, 9).replaces(tree)
    assert not Shape.dense(8, 6).replaces(tree)
    assert not Shape.dense(9, 7).replaces(tree)
    assert not tree.replaces(tree), "of a tree only the dense layer of its neurons"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("d768-n4094-t1x12", "n=4094 contradicts its tree, which has 4095"),
        ("d768-n0", "both must be at least 1"),
        ("rnn-d8-n8", "unknown kind of layer 'rnn'; allowed: dense, leaf, moe, tree"),
        ("768", "not the id of a layer"),
        ("", "not the id of a layer"),
    ],
)
def test_what_is_no_layer_is_refused_in_one_line(text, said):
    with pytest.raises(UserError, match=said):
        parse_problem(text)


def test_weights_are_asked_for_by_name():
    assert Weights("a", "b").w2 == "b"
    assert Weights(wg="g").tensors == {"wg": "g"}
    with pytest.raises(AttributeError, match="Weights has no 'w9'; it has w1, w2"):
        Weights("a", "b").w9  # noqa: B018


@pytest.fixture
def toys(tmp_path, monkeypatch):
    """Both toy kinds, each with a dense layer and an optimised one."""
    shutil.copy(Path(__file__).parent / "toy_problems.py", tmp_path)
    (tmp_path / "toy_pairs.py").write_text("from toy_problems import Pairs as PROBLEM")
    names = []
    for kind, lines in LINES.items():
        for family in ("dense", "fff"):
            names.append(f"{kind}_{family}")
            (tmp_path / f"{names[-1]}.py").write_text(KERNEL.format(family=family, kind=kind, lines=lines))
        (tmp_path / f"{kind}_wrong.py").write_text(KERNEL.format(family="fff", kind=kind, lines=WRONG[kind]))
    names += [f"{kind}_wrong" for kind in WRONG]
    problems = {"gated": "toy_problems", "pairs": "toy_pairs"}
    plugins.install(tmp_path, {name: name for name in names}, monkeypatch, problems=problems)
    yield tmp_path
    monkeypatch.undo()
    plugins.forget()


def fffbench(*arguments, code=0):
    done = subprocess.run([sys.executable, "-m", "fffbench", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    return done.stdout


def test_a_kind_of_one_file_goes_through_check_run_speedup_and_the_page(toys):
    right = ",".join(f"{kind}_{family}" for kind in LINES for family in ("dense", "fff"))
    checked = json.loads(fffbench("check", "--json", "--implementations", f"{right},gated_wrong,pairs_wrong", code=1))
    assert {row["name"] for row in checked if row["failure"]} == {"gated_wrong", "pairs_wrong"}
    assert all(row["passed"] for row in checked if row["name"] not in ("gated_wrong", "pairs_wrong"))
    results = ("--results", str(toys / "results"))
    small = ("--shape", "gated-d32-n48,pairs-d32-n48", "--batches", "4", "--threads", "1", "--routing", "uniform")
    timing = ("--cache", "cold", "--call", "kernel", "--processes", "2", "--seconds", "0.02")
    fffbench("run", "--implementations", f"{right},gated_wrong,dense_linear", *small, *timing, *results)
    rows = json.loads(fffbench("speedup", "--json", *results))
    for kind in LINES:
        measured = [row for row in rows if row["implementation"] == f"{kind}_fff" and row["speedup"]]
        assert {row["baseline_implementation"] for row in measured} == {f"{kind}_dense"}
        assert all(row["speedup"] > 0 and row["roofline_share"] > 0 and row["tried"] == 1 for row in measured)
        assert all(row["not_measured"] == [] for row in measured)
    assert not any(row["speedup"] for row in rows if row["implementation"] == "gated_wrong")
    fffbench("report", *results, "--out", str(toys / "page"))
    page = "".join(path.read_text() for path in sorted((toys / "page").glob("*.html")))
    assert "gated_fff" in page
    assert "32→48, gated" in page
    skipped = [row for row in rows if row["implementation"] == "gated_wrong" and row["reason"]]
    assert any("differ from the float64 reference" in row["reason"] for row in skipped)


def test_a_batch_of_rows_that_are_computed_together_is_a_multiple(toys):
    shape = parse_problem("pairs-d32-n48")
    assert Workload(shape, 4).batch == 4
    with pytest.raises(UserError, match="batch 3 of pairs-d32-n48: must be a multiple of 2"):
        Workload(shape, 3)
    cell = parse_cell("x@pairs-d32-n48-b4-fp32-uniform-cpu-1th-s0@cold-kernel")
    assert cell.workload.shape == shape
    assert cell.id == "x@pairs-d32-n48-b4-fp32-uniform-cpu-1th-s0@cold-kernel"


def test_a_broken_kind_is_refused_by_name_and_stops_nobody(tmp_path, monkeypatch):
    (tmp_path / "broken.py").write_text("PROBLEM = int")
    plugins.install(tmp_path, {}, monkeypatch, problems={"broken": "broken"})
    try:
        with pytest.raises(UserError, match="its PROBLEM must be a Problem"):
            parse_problem("broken-d1-n1")
        assert set(PROBLEMS.usable()) == set(KINDS)
        assert issubclass(PROBLEMS["tree"], Problem)
    finally:
        monkeypatch.undo()
        plugins.forget()

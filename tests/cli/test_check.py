"""Does `check` say all faults of a kernel in one go, each in a line, and never a traceback?"""

import json
import subprocess
import sys

import plugins
import pytest

from fffbench.cli import implementations
from fffbench.implementations import registry

KERNEL = """
"Somebody's kernel."
FAMILY, DEVICES, DTYPES = "fff", ("cpu",), ("fp32",)


def unsupported(workload):
    return "no leaf blocks" if workload.shape.leaf_width else None


def prepare(weights, workload):
    import torch
    from fffbench.implementations.registry import Layer

    shape, w1, w2 = workload.shape, weights.w1, weights.w2

    def forward(x):
        {first}
        y = torch.zeros_like(x)
        for tree in range({trees}):
            node = torch.zeros(len(x), dtype=torch.long)
            for level in range(shape.levels):
                row = tree * (2**shape.levels - 1) + node
                z = (x * w1[row]).sum(1)
                y += torch.nn.functional.gelu(z)[:, None] * w2[row]
                node = 2 * node + 1 + ({turn}).long()
        return y

    return {layer}
"""
GOOD = {
    "first": "pass",
    "trees": "shape.trees",
    "turn": "z > 0",
    "layer": "Layer(forward, lambda x, y: lambda: y.copy_(forward(x)))",
}
KERNELS = {
    "one_tree": {**GOOD, "trees": "1"},
    "turns_wrong": {**GOOD, "turn": "(z > 0) ^ (level == 3)"},
    "raises_at_one": {**GOOD, "first": "assert len(x) != 1, 'a batch of one\\n is not for me'"},
    "dies_at_three": {**GOOD, "first": "len(x) == 3 and __import__('os')._exit(0)"},
    "a_function": {**GOOD, "layer": "forward"},
    "good": GOOD,
}


@pytest.fixture(scope="module")
def checked(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kernels")
    with pytest.MonkeyPatch.context() as patch:
        for name, parts in KERNELS.items():
            (folder / f"{name}.py").write_text(KERNEL.format(**parts))
        plugins.install(folder, {name: name for name in KERNELS}, patch)
        asked = [sys.executable, "-m", "fffbench", "check", "--json", "--implementations", ",".join(KERNELS)]
        done = subprocess.run(asked, capture_output=True, text=True, cwd=folder, check=False)
    registry._plugins.cache_clear()
    return done, {row["name"]: row for row in json.loads(done.stdout)}


def test_all_cases_with_several_trees_are_named_in_one_go_and_no_others(checked):
    faults = checked[1]["one_tree"]["faults"]
    assert len(faults) > 10
    assert all(" trees" in fault["special"] for fault in faults)
    explained = [fault for fault in faults if fault["failure"].endswith("only the first tree was evaluated")]
    assert len(explained) == len(faults)
    assert all("expected" in fault["failure"] and ", got " in fault["failure"] for fault in faults)


def test_a_wrong_turn_is_said_with_its_level(checked):
    faults = checked[1]["turns_wrong"]["faults"]
    assert any(fault["failure"].endswith("it turned the other way at level 3") for fault in faults)
    shallow = {"1 level", "2 levels", "3 levels", "4 levels"}  # which have no turn at level 3
    assert not any(shallow & set(fault["special"].split(", ")) for fault in faults)


def test_a_case_that_raises_costs_no_other_case(checked):
    row = checked[1]["raises_at_one"]
    assert {fault["special"].split(",")[0] for fault in row["faults"]} == {"batch 1"}
    assert {fault["failure"] for fault in row["faults"]} == {"AssertionError: a batch of one is not for me"}
    assert row["passed"] > 20


def test_a_case_that_ends_its_process_is_a_fault_and_the_cases_after_it_are_tried(checked):
    row = checked[1]["dies_at_three"]
    assert {fault["special"].split(",")[0] for fault in row["faults"]} == {"batch 3"}
    assert {fault["failure"] for fault in row["faults"]} == {"exited without reporting a result"}
    assert len(row["faults"]) > 5
    assert row["passed"] > 20
    assert row["untried"] == 0


def test_what_is_no_layer_is_said_as_such(checked):
    assert all("not a Layer" in fault["failure"] for fault in checked[1]["a_function"]["faults"])


def test_a_right_kernel_beside_them_is_right(checked):
    row = checked[1]["good"]
    assert (row["failure"], row["faults"], row["untried"]) == (None, [], 0)


def test_the_text_has_a_line_for_each_fault_and_no_traceback(checked, capsys):
    done, rows = checked
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    for row in rows.values():
        implementations._say(row)
        first, *others = capsys.readouterr().out.splitlines()
        assert first.startswith(row["name"])
        assert ("WRONG" in first) == bool(row["faults"])
        assert len(others) == len(row["faults"])

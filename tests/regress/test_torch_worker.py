"""Do several revisions' own packages take turns in one block, and is what they refuse or break said?

No GPU here: the whole path (server, forks, each revision's package, turns) runs on the CPU with a torch layer.
"""

import contextlib
import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import fffbench
from fffbench.errors import UserError
from fffbench.plan.workload import Shape, Workload
from fffbench.regress import cuda, run, sources, suite, torch_worker, worker
from fffbench.regress.build import BuildError
from fffbench.regress.suite import Case, Suite

torch = pytest.importorskip("torch")

ROOT = Path(fffbench.__file__).parents[1]
LAYER = "fffbench/implementations/dense_linear.py"
WORK = Workload(Shape.tree(768, 1, 4), 2)  # as many rows as the data that these tests draw
LINEAR = Case("dense_linear fp32 batch 2", "layer", WORK, pool=2, implementation="dense_linear")
ABSENT = Case("not_there fp32 batch 2", "layer", WORK, pool=2, implementation="not_there")
SMALL = Suite(
    "cpu",
    (LINEAR, ABSENT),
    drift=Case("dense by torch", "control", WORK, pool=2),
    twin=replace(LINEAR, name="control pair"),
    planted=replace(LINEAR, name="planted slow-down"),
)


def changed(revision, path, change):
    return replace(
        revision, files=tuple((name, change(content) if name == path else content) for name, content in revision.files)
    )


def speaking(content):
    """The layer says on standard error that it is the head."""
    text = content.replace(
        b"    import torch\n\n    del workload\n",
        b"    import sys, torch\n    sys.stderr.write('the head speaks\\n')\n",
        1,
    )
    assert text != content, "dense_linear begins in another way: mend this test"
    return text


@pytest.fixture(scope="module")
def base():
    return sources.read_working_tree(ROOT, sources.CUDA)


@pytest.fixture
def data(tmp_path, monkeypatch):
    monkeypatch.setattr(suite, "LEVELS", 4)
    folder = tmp_path / "data"
    folder.mkdir()
    rng = np.random.default_rng(1)
    for name, rows in (("x", 4), ("w1", 4095), ("w2", 4095)):
        rng.standard_normal((rows, suite.D), dtype=np.float32).tofile(folder / f"{name}.fp32")
    return folder


def builds(server, base, head, workspace, data):
    slower = changed(base, LAYER, lambda content: content + b"# more work\n")
    wanted = {"base": (base, "base"), "head": (head, "head"), "twin": (base, "twin"), "planted": (slower, "planted")}
    made = cuda.compile_all(wanted, SMALL.cases, workspace, data, server, lambda _: None, "cpu")
    return run.Builds(**made)


def test_the_sources_of_a_revision_are_enough_to_import_its_implementations_and_hold_its_cuda_files(base):
    names = [name for name, _ in base.files]
    assert "fffbench/implementations/cuda/tensor_bottom.cu" in names
    assert "fffbench/implementations/cuda/common.cuh" in names
    assert not any(name.startswith(("fffbench/report", "fffbench/cli", "tests")) for name in names)


def test_each_side_runs_its_own_sources_and_what_one_lacks_is_said(base, data, tmp_path):
    with cuda.Server() as server:
        made = builds(server, base, changed(base, LAYER, speaking), tmp_path, data)
        spoken = server.last_lines().count("the head speaks")
        chosen = [(LINEAR, ("base", "head")), (ABSENT, ("base", "head")), (SMALL.drift, ("base", "head"))]
        answer = server(run._request(SMALL, made, data, chosen, 0))
        assert (spoken, server.last_lines().count("the head speaks")) == (1, 2)  # compiled once, measured once
    times = answer["times"]
    assert set(times) == {LINEAR.name, SMALL.drift.name}
    assert all(time > 0 for sides in times.values() for side in sides.values() for time in side)
    assert {len(side) % 2 for sides in times.values() for side in sides.values()} == {0}
    assert "not_there" in answer["reasons"][ABSENT.name]["base"]


def test_builds_are_kept_and_lie_at_paths_of_equal_length(base, data, tmp_path):
    with cuda.Server() as server:
        first = builds(server, base, base, tmp_path, data)
        assert len({len(str(path)) for path in first.sides().values()}) == 1
        assert len(set(first.sides().values())) == 4

    def refuses(_request):
        raise AssertionError("nothing is to be compiled again")

    assert builds(refuses, base, base, tmp_path, data) == first


def test_a_kernel_that_does_not_compile_names_the_revision_and_shows_the_compilers_words(base, data, tmp_path):
    broken = changed(
        base,
        LAYER,
        lambda content: content.replace(
            b"def prepare(",
            b"class BuildError(Exception):\n    pass\n\n\n"
            b"def prepare(*_):\n"
            b"    raise BuildError('x.cu does not compile') from ValueError('x.cu(7): error: no such')\n"
            b"\n\ndef _unused(",
        ),
    )
    with cuda.Server() as server, pytest.raises(BuildError, match="working tree does not build") as caught:
        builds(server, base, replace(broken, commit=""), tmp_path, data)
    assert any("x.cu(7): error: no such" in line for line in caught.value.lines)


def test_a_revision_that_cannot_be_imported_is_one_line(base, data, tmp_path):
    broken = changed(base, "fffbench/__init__.py", lambda _: b"raise RuntimeError('half an edit')\n")
    with cuda.Server() as server, pytest.raises(UserError, match="a worker failed") as caught:
        builds(server, base, broken, tmp_path, data)
    assert "\n" not in str(caught.value)


def test_the_drawn_data_serve_both_dtypes(tmp_path):
    folder = suite.write_data(tmp_path, tokens=8)
    halves = np.fromfile(folder / "x.bf16", np.int16)
    whole = torch.from_numpy(np.fromfile(folder / "x.fp32", np.float32))
    assert torch.equal(torch.from_numpy(halves).view(torch.bfloat16), whole.to(torch.bfloat16))


def test_a_request_is_plain_json(base, tmp_path):
    made = run.Builds(*(tmp_path / name for name in "abcd"))
    json.dumps(run._request(SMALL, made, tmp_path, [(LINEAR, ("base", "head"))], 0))


class Gpu:
    """Stands in for torch.cuda: time passes by the calls that a graph holds, a millisecond each."""

    def __init__(self):
        self.now, self.recording, self.launched = 0.0, None, []

    def launch(self, name):
        (self.launched if self.recording is None else self.recording).append(name)

    def capture(self, held, stream):
        assert stream is not None
        return contextlib.closing(Recording(self, held))

    def install(self, monkeypatch):
        gpu = self

        class Stream:
            def wait_stream(self, _other):
                pass

        class Event:
            def __init__(self, *, enable_timing):
                assert enable_timing

            def record(self):
                self.at = gpu.now

            def elapsed_time(self, later):
                return later.at - self.at

        class Graph(list):
            replays = 0

            def replay(self):
                self.replays += 1
                gpu.now += len(self)

        for name, value in {
            "Stream": Stream,
            "Event": Event,
            "CUDAGraph": Graph,
            "graph": self.capture,
            "stream": lambda _: contextlib.nullcontext(),
            "current_stream": Stream,
            "synchronize": lambda: None,
        }.items():
            monkeypatch.setattr(torch.cuda, name, value)


class Recording:
    def __init__(self, gpu, held):
        self.gpu = gpu
        gpu.recording = held

    def close(self):
        self.gpu.recording = None


def test_a_turn_on_a_gpu_is_one_graph_of_the_calls_in_rotation_timed_at_its_second_replay(monkeypatch):
    gpu = Gpu()
    gpu.install(monkeypatch)
    turns = torch_worker.Graphs([partial(gpu.launch, "a"), partial(gpu.launch, "b")])
    assert gpu.launched == ["a", "b"]  # warmed up, outside any graph
    assert turns.run(5) == pytest.approx(5e-3)
    (graph,) = turns._graphs.values()
    assert list(graph) == ["a", "b", "a", "b", "a"]
    assert graph.replays == 2
    assert turns.run(5) == pytest.approx(5e-3)
    assert (len(turns._graphs), graph.replays) == (1, 4)  # captured once


class Clocked:
    """Stands in for a child: its calls take the seconds given, by a clock that all children share."""

    def __init__(self, seconds, log):
        self.seconds, self.log = seconds, log

    def turn(self, _index, count):
        self.log.append(self)
        return count * self.seconds


def test_turns_go_a_b_b_a_then_b_a_a_b_without_leads_and_give_the_true_ratio():
    log = []
    base, head = Clocked(1e-4, log), Clocked(1.1e-4, log)
    times = worker.take_turns([base, head], 0, seconds=0.0, lead_seconds=0.0)
    order = "".join("a" if child is base else "b" for child in log)
    assert order.endswith("abba" + "baab" + "abba")
    assert np.median(times[1]) / np.median(times[0]) == pytest.approx(1.1)

"""Which sources make a build, what is planted into them, and what is said when they do not compile?"""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from fffbench.errors import UserError
from fffbench.regress import build, planted, sources
from fffbench.regress.sources import CUDA, Revision

ROOT = Path(__file__).parents[2]
BINDINGS = b"""#include "call.hpp"
template <class Call, class A> void run_on(Call& call, A x, A w1, A w2, A y) { call.run_on(x, w1, w2, y); }
void bind() { def("run", &FffCall::run); def("run_on", run_on<FffCall>); def("run_on", &GemvCall::run_on); }
"""


@pytest.fixture
def checkout(tmp_path):
    root = tmp_path / "checkout"
    cpu = root / "fffbench" / "implementations" / "cpu"
    cpu.mkdir(parents=True)
    (root / "CMakeLists.txt").write_text("project(x)\n")
    (cpu / "bindings.cpp").write_bytes(BINDINGS)
    (cpu / "ladder.py").write_text("not compiled\n")
    (root / "README.md").write_text("words\n")
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    for command in (["init", "-q"], ["add", "."], [*identity, "commit", "-q", "-m", "one"]):
        subprocess.run(["git", *command], cwd=root, check=True)
    return root


def test_a_clean_working_tree_is_its_own_head(checkout):
    assert sources.read_working_tree(checkout).files == sources.read_revision(checkout, "HEAD").files


def test_only_what_is_compiled_decides(checkout):
    before = sources.read_working_tree(checkout).digest
    (checkout / "README.md").write_text("other words\n")
    (checkout / "fffbench/implementations/cpu/notes.py").write_text("changed\n")
    assert sources.read_working_tree(checkout).digest == before
    (checkout / "fffbench/implementations/cpu/new.hpp").write_text("// new\n")
    assert sources.read_working_tree(checkout).digest != before


@pytest.mark.parametrize("name", ["no-such-branch", "--upload-pack=x", ""])
def test_an_unknown_revision_is_named(checkout, name):
    with pytest.raises(UserError, match="unknown to git"):
        sources.read_revision(checkout, name)


def test_a_revision_without_kernels_is_refused(checkout):
    subprocess.run(["git", "rm", "-rq", "fffbench"], cwd=checkout, check=True)
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    subprocess.run(["git", *identity, "commit", "-qm", "two"], cwd=checkout, check=True)
    with pytest.raises(UserError, match="no kernels"):
        sources.read_revision(checkout, "HEAD")


def test_a_folder_of_sources_is_a_revision_called_by_its_own_name(checkout, tmp_path):
    exported = tmp_path / "old"
    subprocess.run(["git", "worktree", "add", "-q", "--detach", str(exported)], cwd=checkout, check=True)
    found = sources.read(checkout, str(exported))
    assert found.files == sources.read_revision(checkout, "HEAD").files
    assert found.shown == "old"


def test_what_git_knows_by_a_name_comes_before_a_folder_of_that_name(checkout, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    subprocess.run(["git", "branch", "old"], cwd=checkout, check=True)
    (tmp_path / "old").mkdir()
    assert sources.read(checkout, "old").commit


def test_a_folder_without_kernels_is_refused(checkout, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="folder 'empty' has no kernels"):
        sources.read(checkout, str(tmp_path / "empty"))


def test_where_no_git_is_folders_can_be_compared(checkout, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))  # no git in it
    monkeypatch.chdir(checkout)
    assert sources.repository(".") == checkout
    with pytest.raises(UserError, match="folders of sources"):
        sources.repository("main")
    assert sources.read(checkout, ".").files == sources.read(checkout, None).files


def test_the_cuda_side_has_its_own_deciding_sources(checkout):
    with pytest.raises(UserError, match="no kernels"):
        sources.read_revision(checkout, "HEAD", sources.CUDA)
    assert sources.CUDA.holds("fffbench/implementations/cuda/path.cu")
    assert not sources.CUDA.holds("fffbench/implementations/cpu/call.cpp")
    assert not sources.CUDA.holds("fffbench/report/html.py")


def test_calls_are_planted_and_the_rest_is_left_alone(checkout):
    revision = sources.read_working_tree(checkout)
    text = dict(planted.plant(revision, 10).files)[planted.PLACES[1]].decode()
    assert text.count("planted::slower([&] { call.run_on(x, w1, w2, y); })") == 1
    assert text.count("&planted::run_on<GemvCall") == 1
    assert text.count("&planted::run<FffCall>") == 1
    assert "SHARE = 0.1;" in text
    assert dict(planted.plant(revision, 10).files)["CMakeLists.txt"] == dict(revision.files)["CMakeLists.txt"]


def test_every_op_of_this_tree_is_planted_in_one_place():
    own = Revision("x", "", tuple((p, (ROOT / p).read_bytes()) for p in planted.PLACES if (ROOT / p).is_file()))
    before, after = dict(own.files), dict(planted.plant(own, 10).files)
    assert list(before) == [planted.PLACES[0]]
    for called in (b"call.run()", b"call.run_on(tensors...)"):
        assert b"planted::slower([&] { " + called + b"; });" in after[planted.PLACES[0]]
    ops = (ROOT / "fffbench/implementations/cpu/ops").rglob("*.cpp")
    bound = [text for text in (path.read_text() for path in ops) if 'def("run_on"' in text]
    assert len(bound) >= 4
    assert all('def("run_on", run_on<' in text for text in bound)


def test_nothing_to_plant_into_is_said():
    with pytest.raises(UserError, match="planted"):
        planted.plant(Revision("x", "", ((planted.PLACES[0], b"#include <a>\n"),)), 10)


def test_builds_lie_at_paths_of_equal_length_and_copies_apart(checkout):
    revision = sources.read_working_tree(checkout)
    keys = {build.key(revision, copy) for copy in ("base", "twin")} | {build.key(planted.plant(revision, 5), "base")}
    assert len(keys) == 3
    assert {len(key) for key in keys} == {build.KEY_DIGITS}


def test_a_build_that_fails_names_the_revision_and_shows_the_compilers_last_lines(checkout, tmp_path):
    (checkout / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.18)\nmessage(FATAL_ERROR no_such_thing)\n"
    )
    with pytest.raises(build.BuildError, match="working tree does not build") as caught:
        build.build(sources.read_working_tree(checkout), "head", tmp_path / "work")
    assert any("no_such_thing" in line for line in caught.value.lines)
    assert not any(str(tmp_path) in line for line in caught.value.lines)


def test_an_empty_name_is_not_the_current_folder(checkout, monkeypatch):
    monkeypatch.chdir(checkout)
    with pytest.raises(UserError, match="unknown to git"):
        sources.read(checkout, "")
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(UserError, match="folders of sources"):
        sources.repository("")


def test_a_name_longer_than_any_file_is_unknown_too(checkout):
    with pytest.raises(UserError, match="unknown to git"):
        sources.read(checkout, "x" * 5000)


def test_gits_own_words_are_passed_on(checkout, tmp_path, monkeypatch):
    monkeypatch.chdir(checkout)
    (checkout / ".git" / "HEAD").write_text("no head\n")
    with pytest.raises(UserError, match="not a git repository"):
        sources.repository("main")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="git cannot be run: No such file"):
        sources.repository("main")


def test_the_checkout_of_another_owner_is_named_so(checkout, monkeypatch):
    monkeypatch.chdir(checkout)
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")  # git's own switch to test this
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", "/dev/null")
    with pytest.raises(UserError, match="dubious ownership"):
        sources.repository("main")


def test_a_shallow_checkout_says_what_brings_the_rest(checkout, tmp_path):
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    subprocess.run(["git", *identity, "commit", "-q", "--allow-empty", "-m", "two"], cwd=checkout, check=True)
    shallow = tmp_path / "shallow"
    subprocess.run(["git", "clone", "-q", "--depth=1", f"file://{checkout}", str(shallow)], check=True)
    with pytest.raises(UserError, match="fetch --unshallow"):
        sources.read(shallow, "HEAD~1")


def test_the_time_budget_ends_a_build(checkout, tmp_path):
    (checkout / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.18)\nexecute_process(COMMAND sleep 100)\n"
    )
    begin = time.monotonic()
    with pytest.raises(UserError, match="the time budget ended while working tree was being built"):
        build.build(sources.read_working_tree(checkout), "head", tmp_path / "work", begin + 0.5)
    assert time.monotonic() - begin < 20


def test_a_revision_holds_every_module_that_importing_its_kernels_brings():
    loaded = (
        "import sys, pathlib, fffbench.implementations.registry, fffbench.implementations.fff_cuda\n"
        "import fffbench.implementations._plugin, fffbench.implementations.cuda.launch\n"
        "root = pathlib.Path(fffbench.__file__).parent.parent\n"
        "files = [m.__file__ for n, m in sys.modules.items() if n.split('.')[0] == 'fffbench']\n"
        "print(*(pathlib.Path(f).relative_to(root) for f in files if f and f.endswith('.py')))"
    )
    found = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True).stdout.split()
    assert len(found) > 20
    assert [path for path in found if not CUDA.holds(path)] == []

"""Which sources make a build, what is planted into them, and what is said when they do not compile?"""

import subprocess

import pytest

from fffbench.errors import UserError
from fffbench.regress import build, planted, sources
from fffbench.regress.sources import Revision

BINDINGS = b"""#include "call.hpp"
void bind() { def("run", &FffCall::run); def("run_on", &FffCall::run_on); def("run_on", &GemvCall::run_on); }
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
    (checkout / "fffbench/implementations/cpu/ladder.py").write_text("changed\n")
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


def test_both_layers_are_planted_and_the_rest_is_left_alone(checkout):
    revision = sources.read_working_tree(checkout)
    text = dict(planted.plant(revision, 10).files)[planted.BINDINGS].decode()
    assert text.count("&planted::slower<&") == 3
    assert "SHARE = 0.1;" in text
    assert dict(planted.plant(revision, 10).files)["CMakeLists.txt"] == dict(revision.files)["CMakeLists.txt"]


def test_nothing_to_plant_into_is_said():
    with pytest.raises(UserError, match="planted"):
        planted.plant(Revision("x", "", ((planted.BINDINGS, b"#include <a>\n"),)), 10)


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

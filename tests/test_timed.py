"""Documentation, formatting and a moved file change no digest of what is timed; a changed statement or clock does."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from fffbench import extensions, sources, timed
from fffbench.implementations.registry import implementations
from fffbench.results import current

PACKAGE = Path(__file__).resolve().parents[1] / "fffbench"  # of the checkout: what is installed has no C++ sources
WALK, GEMM = "implementations/cpu/ops/tree/walk.hpp", "implementations/cpu/ops/gemm/gemm.hpp"
CPU, DENSE, CUDA = "implementations/fff_cpu.py", "implementations/dense_linear.py", "implementations/cuda/latency.cu"

pytestmark = pytest.mark.skipif(not (PACKAGE / "implementations" / "cpu").is_dir(), reason="needs the checkout")


@pytest.fixture(scope="module")
def tree():
    return timed.read_tree(PACKAGE)


@pytest.fixture(scope="module")
def before(tree):
    return timed.digests(tree)


def where(tree, ending):
    """The file that ends so, wherever it lies now."""
    [path] = [path for path in tree if path.endswith("/" + ending)]
    return path


def changed(tree, before, **edits):
    """What has another digest after the files that end so (``__`` for a dot) were edited by functions of their text."""
    after = dict(tree)
    for name, edit in edits.items():
        path = where(tree, name.replace("__", "."))
        text = after[path].decode()
        after[path] = edit(text).encode()
        assert after[path] != tree[path], "the edit changed nothing"
    now = timed.digests(after)
    return {name for name in before if now.get(name) != before[name]}


def test_the_protocol_of_these_sources_has_a_version(tree):
    found = timed.protocol(tree)
    assert found in timed.PROTOCOLS, (
        f"what decides a time was changed: enter {found!r} in fffbench/timed.py, under a new version where a time may "
        "come out otherwise, or under the version of now with the reason why it cannot"
    )
    version, reason = timed.PROTOCOLS[found]
    assert version == max(version for version, _ in timed.PROTOCOLS.values())
    assert reason.strip()


def test_the_modules_of_the_protocol_are_there(tree):
    assert set(timed.PROTOCOL_MODULES) <= set(tree)
    assert any(Path(path).stem in timed.PROTOCOL_STEMS for path in tree if path.endswith(timed.COMPILED))


def test_every_implementation_of_ours_has_a_digest_and_no_two_modules_have_one(before):
    for name, item in implementations().items():
        if not item.foreign:
            assert timed.of(name, before) is not None, name
    assert len(set(before.values())) == len(before)


@pytest.mark.parametrize(
    ("name", "edit"),
    [
        ("fff_cpu__py", lambda text: text.replace('"""Plan the call;', '"""Another sentence;', 1)),
        ("fff_cpu__py", lambda text: "# a comment\n" + text + "\n\n# and another\n"),
        ("fff_cpu__py", lambda text: text.replace("if TYPE_CHECKING:", "if TYPE_CHECKING:\n    import os", 1)),
        ("torchlib__py", lambda text: re.sub(r'^"""', '"""So: ', text)),
        ("walk__hpp", lambda text: "// a comment\n/* and another */\n" + text),
        ("walk__hpp", lambda text: text.replace("\n", "\n\n")),
        ("walk__hpp", lambda text: '#include "another.hpp"\n#include <vector>\n' + text),
        ("latency__cu", lambda text: "// a comment\n" + text),
        ("op__hpp", lambda text: text.replace("Compute y from x", "Compute what is asked for")),
        ("clock__py", lambda text: text.replace("The last.", "Another sentence.")),
        ("record__py", lambda text: text + "\nANYTHING = 1\n"),
        ("registry__py", lambda text: text + "\nANYTHING = 1\n"),
    ],
)
def test_what_nobody_times_changes_no_digest(tree, before, name, edit):
    # the kernels' own digest, which says whether they were built from these files, is of the sentences as well
    assert changed(tree, before, **{name: edit}) <= {timed.KERNELS}


def test_a_moved_file_and_another_include_change_no_digest(tree, before):
    after = {path.replace("cpu/runtime/", "cpu/runtime/deeper/"): text for path, text in tree.items()}
    assert set(after) != set(tree)
    assert timed.digests(after) == before


PYTHON, CPP, DEVICE = "\nX = 1\n", "\ninline int one() { return 1; }\n", "\n__device__ int one() { return 1; }\n"


@pytest.mark.parametrize(
    ("name", "added", "some", "others"),
    [
        ("fff_cpu__py", PYTHON, {"fff_cpu"}, {"dense_gemm", "dense_linear"}),
        ("torchlib__py", PYTHON, {"dense_padded", "fff_cpu", "dense_gemm"}, {"cmm_sparse", "fff_cuda"}),
        ("walk__hpp", CPP, {"fff_cpu"}, {"dense_gemm", "dense_blas1"}),
        ("gemm__hpp", CPP, {"fff_cpu", "dense_gemm"}, {"dense_gemv"}),
        ("gelu__hpp", CPP, {"fff_cpu", "dense_gemm", "models"}, {"dense_linear"}),
        ("latency__cu", DEVICE, {"fff_cuda"}, {"fff_triton", "fff_cpu"}),
        ("common__cuh", DEVICE, {"fff_cuda", "cmm_cuda_naive"}, {"fff_triton"}),
    ],
)
def test_a_change_of_what_is_timed_changes_the_digests_of_those_that_need_it(tree, before, name, added, some, others):
    found = changed(tree, before, **{name: lambda text: text + added})
    assert some <= found
    assert not others & found


def test_what_is_loaded_from_a_library_is_found_by_a_module_beside_the_rooms(tree, before):
    after = timed.digests({**tree, "blaslib.py": tree["blaslib.py"] + PYTHON.encode()})
    found = {name for name in before if after[name] != before[name]}
    assert {"dense_blas3", "cmm_blas1"} <= found
    assert not {"fff_cpu", "dense_linear"} & found


def test_another_flag_of_the_compiler_changes_what_is_compiled_and_nothing_else(tree, before):
    text = tree[timed.BUILD].decode()
    after = timed.digests({**tree, timed.BUILD: text.replace("-O3", "-O2").encode()})
    found = {name for name in before if after[name] != before[name]}
    assert found == timed.by_kernels(tree)
    commented = timed.digests({**tree, timed.BUILD: ("# -O1 is slower\n" + text).encode()})
    assert commented == before


@pytest.mark.parametrize("name", ["clock__py", "worker__py"])
def test_another_clock_changes_every_digest_until_it_is_entered(tree, before, monkeypatch, name):
    path = "devices/clock.py" if name == "clock__py" else "measure/worker.py"
    after = {**tree, path: tree[path] + b"\nMOST_SAMPLES = 4\n"}
    found = timed.digests(after)
    timed_ones = set(before) - {timed.KERNELS}
    assert {one for one in before if found[one] != before[one]} == timed_ones
    version, _ = timed.PROTOCOLS[timed.protocol(tree)]
    monkeypatch.setitem(timed.PROTOCOLS, timed.protocol(after), (version, "a test"))
    assert timed.digests(after) == before
    monkeypatch.setitem(timed.PROTOCOLS, timed.protocol(after), (version + 1, "a test"))
    found = timed.digests(after)
    assert {one for one in before if found[one] != before[one]} == timed_ones


def test_tokens_are_what_is_run():
    text = (
        '"""Doc."""\nimport os\n\n\ndef f(x):  # why\n    """Doc."""\n    from a import b\n\n    return f"{x!r} {b}"\n'
    )
    assert timed.tokens("a.py", text.encode()) == [
        "def", "f", "(", "x", ")", ":", "\n", "INDENT", "return", 'f"{x!r} {b}"', "\n", "DEDENT",
    ]  # fmt: skip
    cpp = "#pragma once\n#include <a>\n#define A \\\n  1\nint x = 1'000; // no\nauto s = \"//yes\"; char c = '\"';\n"
    assert timed.tokens("a.hpp", cpp.encode()) == [
        "#", "define", "A", "1", "\n", "int", "x", "=", "1'000", ";", "auto", "s", "=", '"//yes"', ";", "char", "c",
        "=", "'\"'", ";",
    ]  # fmt: skip


def test_a_statement_that_moved_is_another_source(tree):
    one, two = b"def f():\n    a()\n    b()\n", b"def f():\n    b()\n    a()\n"
    assert timed.content_digest("a.py", one) != timed.content_digest("a.py", two)
    inside, outside = b"if x:\n    a()\n    b()\n", b"if x:\n    a()\nb()\n"
    assert timed.content_digest("a.py", inside) != timed.content_digest("a.py", outside)


def test_somebody_elses_implementation_is_all_files_of_its_package(tmp_path):
    def digest(version="1", **files):
        for name, text in files.items():
            (tmp_path / name.replace("__", ".")).write_text(text)
        return timed.foreign_digest(sorted(tmp_path.iterdir()), version)

    first = digest(a__py="x = 1\n", b__so="binary")
    assert digest(a__py='"""Documented."""\n\nx = 1  # so\n') == first
    assert digest("2") != first
    assert digest(b__so="other") != first
    assert timed.foreign_digest([], "1") is None


def test_what_is_timed_here_is_known_without_importing_any_implementation():
    code = (
        "import sys\nfrom fffbench.results.current import current\n"
        "print(current('dense_linear'), current('fff_cuda'))\n"
        "print(sorted({'torch', 'triton', 'cuda', 'fffbench.implementations'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    digests, loaded = done.stdout.splitlines()
    assert digests == f"{current.current('dense_linear')} {current.current('fff_cuda')}"
    assert "None" not in digests
    assert ast.literal_eval(loaded) == []
    assert current.current("nobody") is None


@pytest.fixture
def installed(tmp_path, tree, monkeypatch):
    """A package as a wheel installs it: no C++ sources, a stamp; ``current.here`` looks at it."""
    package = tmp_path / "site" / "fffbench"
    for path, text in tree.items():
        if path.endswith((".py", ".cu", ".cuh")):
            (package / path).parent.mkdir(parents=True, exist_ok=True)
            (package / path).write_bytes(text)
    shipped, compiled = sources._digests(package)
    stamp = {"commit": "a" * 40, "dirty": False, "shipped": shipped, "compiled": compiled, "timed": timed.digests(tree)}
    (package / sources.STAMP).write_text(json.dumps(stamp))
    monkeypatch.setattr(sources, "__file__", str(package / "sources.py"))
    current.here.cache_clear()
    yield package
    current.here.cache_clear()


def test_an_installed_package_has_the_digests_of_its_build(installed, before):
    assert current.here() == before


def test_an_installed_package_that_was_edited_knows_none(installed):
    (installed / "units.py").write_text("X = 1\n")
    assert current.here() == {}


def test_kernels_that_were_built_from_other_sources_are_of_unknown_ones(installed, tree, before):
    for path, text in tree.items():
        if path.endswith(timed.COMPILED):
            (installed / path).parent.mkdir(parents=True, exist_ok=True)
            (installed / path).write_bytes(text + (b"int other;\n" if path.endswith("gelu.hpp") else b""))
    found = current.here()
    assert "fff_cpu" not in found
    assert found["dense_linear"] == before["dense_linear"]


def test_the_files_of_a_package_that_is_not_there_are_none():
    assert extensions.files_of("no_such_package_here.module") == set()

"""No stored text says in whose folder, under which account or on which host it was written."""

import getpass
import platform
import tempfile
from pathlib import Path

import pytest

from fffbench import anonymity
from fffbench.anonymity import neutral
from fffbench.measure import environment
from fffbench.results.record import Machine


@pytest.fixture
def somebody(monkeypatch, tmp_path):
    """An account with a name, a home, and a host of its own."""
    anonymity._names.cache_clear()
    monkeypatch.setattr(getpass, "getuser", lambda: "jdoe")
    monkeypatch.setattr(platform, "node", lambda: "cluster-node-17")
    monkeypatch.setenv("HOME", "/home/jdoe")
    folder = tmp_path / "acme-secret"
    folder.mkdir()
    monkeypatch.chdir(folder)
    yield folder
    anonymity._names.cache_clear()


@pytest.mark.parametrize(
    ("said", "stored"),
    [
        ("No such file: '/home/jdoe/models/a.bin'", "No such file: 'HOME/models/a.bin'"),
        ("see /data/acme/projects/x.so: bad", "see .../x.so: bad"),
        ("file:///mnt/nas/acme/report", ".../report"),
        ("jdoe has no access on cluster-node-17", "USER has no access on HOST"),
        ("/proc/self/task and /usr/lib/libm.so stay", "/proc/self/task and /usr/lib/libm.so stay"),
        ("3/4 of 16 tokens, bf16/fp32, d/n = 5", "3/4 of 16 tokens, bf16/fp32, d/n = 5"),
        ("LD_PRELOAD=/opt/acme/lib/libjemalloc.so", "LD_PRELOAD=.../libjemalloc.so"),
        ("(/srv/a b/c)", "(.../a b/c)"),
    ],
)
def test_what_is_said_is_stored_without_names(somebody, said, stored):
    assert neutral(said) == stored


def test_the_current_folder_the_temporary_one_and_the_packages_have_words(somebody):
    import numpy as np

    text = neutral(f"{somebody}/mine.py, {tempfile.gettempdir()}-x/y/z and {np.__file__}")
    assert "acme" not in text
    assert text.startswith("FOLDER/mine.py, ")
    assert text.endswith("numpy/__init__.py")
    assert str(Path(np.__file__).parents[1]) not in text


def test_it_is_the_same_twice_and_leaves_common_accounts_in_their_sentences(monkeypatch):
    anonymity._names.cache_clear()
    monkeypatch.setattr(getpass, "getuser", lambda: "root")
    monkeypatch.setattr(platform, "node", lambda: "localhost")
    once = neutral("the root of /a/b/c is root")
    assert once == neutral(once) == "the root of .../c is root"
    anonymity._names.cache_clear()


def inherited_of(text):
    """What a run stores of a variable that a shell set."""
    name, _, value = text.partition("=")
    return environment._shown({name: value})


@pytest.mark.parametrize("stored", [neutral, inherited_of])
def test_bytes_that_are_no_text_are_stored_as_their_escapes(stored):
    text = stored("OMP_NUM_THREADS=\udcff")
    assert text == "OMP_NUM_THREADS=\\udcff"
    text.encode()
    Machine(id="a", stable={}, observed={"variables removed": text})

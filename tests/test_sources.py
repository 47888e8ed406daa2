"""Every install knows its commit and whether it was changed, and takes neither from somebody else's repository."""

import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from fffbench import sources

ROOT = Path(__file__).parents[1]
BUILT_FROM = ("fffbench", "buildtools", "pyproject.toml", "CMakeLists.txt", "README.md", "LICENSE", ".gitignore")
IDENTITY = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false")

pytestmark = pytest.mark.skipif(not (ROOT / "buildtools").is_dir(), reason="needs the checkout")


def git(folder, *arguments):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    command = ["git", *IDENTITY, "-C", str(folder), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout.strip()


def append(path, text):
    path.write_text(path.read_text() + text)


def commit(folder, message):
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "--allow-empty", "-m", message)
    return git(folder, "rev-parse", "HEAD")


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A repository of this project with one commit."""
    pytest.importorskip("scikit_build_core")
    folder = tmp_path_factory.mktemp("checkout") / "p"
    folder.mkdir()
    unwanted = shutil.ignore_patterns("__pycache__", "*.so", sources.STAMP)
    for name in BUILT_FROM:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=unwanted)
        else:
            shutil.copy(ROOT / name, folder / name)
    git(folder, "init", "-q", "-b", "main")
    commit(folder, "one")
    return folder


@pytest.fixture
def checkout(original, tmp_path):
    return Path(shutil.copytree(original, tmp_path / "checkout"))


@pytest.fixture(autouse=True)
def _no_commit_named(monkeypatch):
    monkeypatch.delenv("FFFBENCH_COMMIT", raising=False)


def built(folder, target, what="wheel"):
    """What the project's own backend builds in ``folder``, as pip and build have it; without the kernels."""
    call = f"import sys; sys.path.insert(0, 'buildtools'); import backend; print(backend.build_{what}(sys.argv[1]))"
    target.mkdir(exist_ok=True)
    done = subprocess.run(
        [sys.executable, "-c", call, str(target)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "FFFBENCH_KERNELS": "OFF"},
    )
    assert done.returncode == 0, done.stderr
    return target / done.stdout.strip().splitlines()[-1]


def installed(wheel, target):
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(target)
    return target / "fffbench"


def test_a_wheel_of_a_clean_checkout_keeps_its_commit(checkout, tmp_path):
    package = installed(built(checkout, tmp_path / "dist"), tmp_path / "site")
    found = sources.current(package)
    assert (found.commit, found.dirty) == (git(checkout, "rev-parse", "HEAD"), False)
    assert not (checkout / "fffbench" / sources.STAMP).exists(), "only an editable install leaves its stamp"
    (package / "units.py").write_text("# edited in place\n")
    assert sources.current(package).dirty is True


def test_a_wheel_of_a_changed_checkout_says_so(checkout, tmp_path):
    append(checkout / "fffbench" / "units.py", "# changed\n")
    found = sources.current(installed(built(checkout, tmp_path / "dist"), tmp_path / "site"))
    assert (found.commit, found.dirty) == (git(checkout, "rev-parse", "HEAD"), True)
    assert found.shown == found.commit[:10] + "-dirty"


def test_an_sdist_keeps_the_commit_and_its_wheels_do_even_inside_another_repository(checkout, tmp_path):
    sdist = built(checkout, tmp_path / "dist", "sdist")
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    git(foreign, "init", "-q", "-b", "secret-branch")
    theirs = commit(foreign, "theirs")
    with tarfile.open(sdist) as archive:
        archive.extractall(foreign, filter="data")
    [unpacked] = [path for path in foreign.iterdir() if path.name.startswith("fffbench-")]
    found = sources.current(installed(built(unpacked, tmp_path / "dist2"), foreign / "site"))
    assert (found.commit, found.dirty) == (git(checkout, "rev-parse", "HEAD"), False)
    assert found.commit != theirs
    append(unpacked / "fffbench" / "implementations" / "cpu" / "runtime" / "pool.cpp", "// changed\n")
    assert sources.current(installed(built(unpacked, tmp_path / "dist3"), foreign / "site3")).dirty is True


def test_an_editable_install_follows_its_checkout_and_knows_stale_kernels(checkout):
    package = checkout / "fffbench"
    assert sources.current(package).dirty is None, "kernels of no known build"
    sources.write_stamp(checkout)  # what build_editable ends with
    assert sources.current(package).dirty is False
    append(package / "units.py", "# changed\n")
    assert sources.current(package).dirty is True
    head = commit(checkout, "two")
    assert (sources.current(package).commit, sources.current(package).dirty) == (head, False)
    append(package / "implementations" / "cpu" / "runtime" / "pool.cpp", "// changed, committed, not built\n")
    commit(checkout, "three")
    assert sources.current(package).dirty is True


def test_an_untracked_file_in_the_package_is_a_change_and_one_beside_it_is_none(checkout):
    sources.write_stamp(checkout)
    (checkout / "notes.txt").write_text("mine")
    assert sources.current(checkout / "fffbench").dirty is False
    (checkout / "fffbench" / "implementations" / "fff_mine.py").write_text("")
    assert sources.current(checkout / "fffbench").dirty is True


def test_naming_a_commit_hides_no_change_and_replaces_no_known_one(checkout, tmp_path):
    sources.write_stamp(checkout)
    package, head = checkout / "fffbench", git(checkout, "rev-parse", "HEAD")
    assert sources.current(package, named="abcdef1234").commit == head
    append(package / "units.py", "# changed\n")
    assert sources.current(package, named=head).dirty is True
    copied = Path(shutil.copytree(package, tmp_path / "copied" / "fffbench"))
    (copied / sources.STAMP).unlink()
    found = sources.current(copied, named="abcdef1234")
    assert (found.commit, found.dirty) == ("abcdef1234", None), "named by hand: nobody checked it"
    assert sources.current(copied, named="abcdef1234-dirty").dirty is True
    with pytest.raises(ValueError, match="hexadecimal"):
        sources.current(copied, named="main")


def test_neither_a_hook_nor_a_vendoring_repository_lends_its_commit(checkout, tmp_path, monkeypatch):
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    git(foreign, "init", "-q")
    theirs = commit(foreign, "theirs")
    monkeypatch.setenv("GIT_DIR", str(foreign / ".git"))  # as git sets it for its hooks
    assert sources.current(checkout / "fffbench").commit != theirs
    shutil.copytree(checkout / "fffbench", foreign / "fffbench")
    assert sources.current(foreign / "fffbench").commit == sources.UNKNOWN
    (foreign / "pyproject.toml").write_text('[project]\nname = "theirs"\n')
    assert sources.current(foreign / "fffbench").commit == sources.UNKNOWN


@pytest.mark.parametrize("damage", ["", "[]", '{"commit": 1}', json.dumps(dict.fromkeys(("commit", "dirty"), "x"))])
def test_a_damaged_stamp_is_no_stamp(checkout, tmp_path, damage):
    copied = Path(shutil.copytree(checkout / "fffbench", tmp_path / "copied" / "fffbench"))
    (copied / sources.STAMP).write_text(damage)
    assert sources.current(copied).commit == sources.UNKNOWN

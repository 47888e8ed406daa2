"""The regression gate: bases that are none, checkouts that are odd, options at their ends; never an answer for nothing."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from pathlib import Path

from tools.hostile import ROOT
from tools.hostile.case import Spec
from tools.hostile.server import READING
from tools.hostile.stage import Stage

WEIGHT = 3
PRELOAD = READING

BASES = [
    "", " ", "\t", "-", "--", ".", "..", "/", "~", "HEAD", "HEAD~1", "HEAD~99", "HEAD^{tree}", "HEAD:", "HEAD..HEAD", "HEAD...HEAD", "^HEAD",
    "@", "@{1}", ":/x", "--all", "--upload-pack=x", "-x", "origin/main", "main", "refs/heads/main", "0" * 40, "f" * 40, "x" * 5000, "\x1b[31m",
    "a\nb", "\udcff", "é", "*", "HEAD\\", "$(id)", "empty", "file", "nowhere/x", "/dev/null", "/proc/self", "link",
]  # fmt: skip
ROOM = [
    "repository",
    "repository",
    "no git",
    "bare",
    "broken head",
    "no commit",
    "other owner",
    "no git program",
    "subfolder",
    "locked",
    "detached",
]
OPTIONS = [
    ["--budget", "0"], ["--budget", ""], ["--budget", "1s"], ["--budget", "9" * 400], ["--budget", "1e9h"], ["--margin", "nan"],
    ["--margin", "inf"], ["--margin", "0"], ["--margin", "1"], ["--margin", "-1"], ["--tolerance", "nan"], ["--tolerance", "0"],
    ["--margin", "0.1", "--tolerance", "0.05"], ["--only", ""], ["--only", ","], ["--only", "nothing-has-this"], ["--only", "x" * 100_000],
    ["--devices", ""], ["--devices", "cuda"], ["--devices", "cpu,cpu"], ["--results", ""], ["--results", "/dev/null"], ["--markdown", ""],
    ["--markdown", "/dev/full"], ["--markdown", "/nowhere/x"], ["--markdown", "."], ["--json"], ["--budget", "5m"],
]  # fmt: skip


def draw(rng: random.Random) -> Spec:
    """Arguments in a place."""
    arguments = [rng.choice(BASES) for _ in range(rng.choice([1, 1, 1, 2, 0, 3]))]
    for _ in range(rng.choice([0, 0, 1, 1, 2])):
        arguments += rng.choice(OPTIONS)
    return {"room": rng.choice(ROOM), "arguments": arguments, "home": rng.choice(["here", "here", "missing", "file"])}


def play(spec: Spec, stage: Stage) -> None:
    """There is nothing to build here: whatever is asked, it is no answer about speed."""
    repository = stage.folder / "repository"
    _repository(spec["room"], repository)
    for name in ("empty", "link"):
        (repository / name).mkdir() if name == "empty" else (repository / name).symlink_to("empty")
    (repository / "file").touch()
    (stage.home / "file").touch()
    home = {"here": stage.home, "missing": stage.home / "missing", "file": stage.home / "file"}[spec["home"]]
    environment = {"HOME": str(home), "GIT_CEILING_DIRECTORIES": str(stage.folder), "GIT_CONFIG_NOSYSTEM": "1"}
    if spec["room"] == "no git program":
        environment["PATH"] = str(stage.home)
    here = repository / "sub" if spec["room"] == "subfolder" else repository
    here.mkdir(exist_ok=True)
    arguments = [argument.replace("\0", "") for argument in spec["arguments"]]
    done = stage.command("regress", *arguments, environment=environment, prelude=lambda: os.chdir(here), seconds=60)
    asks_help = any(argument in ("--help", "-h") for argument in arguments)
    if done.code in (0, 1) and not asks_help:
        stage.fault("silent wrong value", f"{spec}: exit {done.code} where nothing can be compared: {done.said[-200:]}")


def _repository(room: str, folder: Path) -> None:
    """A checkout of a few files without kernels, in the state that ``room`` says."""
    folder.mkdir()
    if room == "no git":
        return

    def git(*arguments: str) -> None:
        author = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "init.defaultBranch=trunk"]
        subprocess.run(["git", "-C", str(folder), *author, *arguments], capture_output=True, check=True)

    git("init", "--quiet", *(["--bare"] if room == "bare" else []))
    if room in ("bare", "no commit"):
        return
    shutil.copy(ROOT / "pyproject.toml", folder)
    git("add", ".")
    git("commit", "--quiet", "-m", "one")
    (folder / "x").touch()
    git("add", ".")
    git("commit", "--quiet", "-m", "two")
    if room == "broken head":
        (folder / ".git" / "HEAD").write_text("ref: \x1b[31m\n")
    elif room == "other owner":
        for path in (folder, folder / ".git"):
            os.chown(path, 12345, 12345)
    elif room == "locked":
        (folder / ".git" / "index.lock").touch()
    elif room == "detached":
        git("checkout", "--quiet", "--detach")

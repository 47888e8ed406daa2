"""Disks that are full, small, read-only or gone, and output that nobody takes."""

from __future__ import annotations

import ctypes
import fcntl
import os
import random
import resource
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from tools.hostile.case import Spec
from tools.hostile.judges import Done
from tools.hostile.server import KERNELS
from tools.hostile.stage import LARGEST_FILE, Stage, fresh_streams

WEIGHT = 2.5
PRELOAD = KERNELS

READING = [
    ["claims"],
    ["speedup", "--json"],
    ["speedup"],
    ["report"],
    ["list"],
    ["--help"],
    ["run", "--plan"],
    ["list", "--json"],
]
STREAMS = [
    'exec "$@" >/dev/full', 'exec "$@" 2>/dev/full', 'exec "$@" >/dev/full 2>&1', 'exec "$@" >&-', 'exec "$@" 2>&-', 'exec "$@" >&- 2>&-',
    'exec "$@" <&-', 'exec "$@" <&- >&- 2>&-', '"$@" | head -c 1 >/dev/null', '"$@" | true', '"$@" 2>&1 | true',
]  # fmt: skip
CLONE_NEWNS, CLONE_NEWUSER = 0x20000, 0x1000_0000
MS_REC, MS_PRIVATE, MS_RDONLY, MS_BIND, MS_REMOUNT = 0x4000, 1 << 18, 1, 4096, 32


def draw(rng: random.Random) -> Spec:
    """Where the room ends."""
    kind = rng.choices(
        ["stream", "report limit", "export limit", "small disk", "read only", "vanished", "temporary"],
        [30, 18, 22, 10, 8, 4, 8],
    )[0]
    spec: Spec = {"kind": kind}
    if kind == "stream":
        spec |= {"shell": rng.choice(STREAMS), "command": rng.choice(READING)}
    elif kind in ("report limit", "export limit"):
        spec["bytes"] = rng.choice([0, 1, 100, 1000, rng.randrange(20_000), rng.randrange(400_000)])
    elif kind == "small disk":
        spec |= {"kib": rng.choice([4, 8, 12, 16, 20, 24, 32]), "what": rng.choice(["export", "report"])}
    elif kind == "read only":
        spec["command"] = rng.choice(["report", "run", "claims"])
    elif kind == "vanished":
        spec |= {"what": rng.choice(["results", "machine", "journal", "results"]), "after": round(rng.uniform(2, 7), 1)}
    else:
        spec |= {
            "tmp": rng.choice(["missing", "file", "empty", "full", "relative", "long"]),
            "command": rng.choice([["run"], ["report"], ["claims"]]),
        }
    return spec


def play(spec: Spec, stage: Stage) -> None:
    """One line about it; what was there stays; with room again the same command succeeds."""
    play_one = {
        "stream": _stream, "report limit": _report, "export limit": _export, "small disk": _small, "read only": _read_only,
        "vanished": _vanished, "temporary": _temporary,
    }[spec["kind"]]  # fmt: skip
    play_one(spec, stage)


def _stream(spec: Spec, stage: Stage) -> None:
    from tools.hostile.judges import controls, crashed
    from tools.hostile.material import honest

    honest(stage.results)
    done = stage.start(*spec["command"], shell=spec["shell"]).wait()
    if done.hung:
        stage.fault("hang", f"{spec}: {done.seconds:.0f} s")
    for name, said in (*crashed(done, (13,)), *controls(done)):
        stage.fault(name, f"{spec}: {said}")
    # 120: Python's own, where neither stream takes the error
    if done.code not in (0, 1, 2, 141, 120 if "2>" in spec["shell"] else 2) and "|" not in spec["shell"]:
        stage.fault("exit code", f"{spec}: {done.code}: {done.said[-200:]}")
    lost = "/dev/full" in spec["shell"].split("2>")[0]
    if lost and done.code == 0:
        stage.fault("silent", f"{spec}: the output is lost and the exit code is 0")


def _report(spec: Spec, stage: Stage) -> None:
    from tools.hostile.material import honest, snapshot

    honest(stage.results)
    before = snapshot(stage.results)

    def prelude() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (spec["bytes"], LARGEST_FILE))

    done = _with_pipes(stage, ("report",), prelude)
    if done.code == 0 and spec["bytes"] < 10_000:
        stage.fault("silent", f"{spec}: exit 0")
    if snapshot(stage.results) != before:
        stage.fault("lost measurement", f"{spec}: the results changed")


def _with_pipes(stage: Stage, arguments: tuple[str, ...], prelude: Callable[[], None]) -> Done:
    """A command whose output is captured by pipes, because the files that capture it are limited too."""
    (out_read, out_write), (err_read, err_write) = os.pipe(), os.pipe()
    for descriptor in (out_write, err_write):  # a megabyte fits without a reader
        fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, 1 << 20)

    def before() -> None:
        os.dup2(out_write, 1)
        os.dup2(err_write, 2)
        for descriptor in (out_read, out_write, err_read, err_write):
            os.close(descriptor)
        fresh_streams()
        prelude()

    done = stage.command(*arguments, prelude=before, judged=False)
    texts = []
    for reading, writing in ((out_read, out_write), (err_read, err_write)):
        os.close(writing)
        with os.fdopen(reading, "rb") as pipe:
            texts.append(pipe.read())
    done = replace(done, out=texts[0], err=texts[1])
    stage.judge(done, arguments)
    return done


def _export(spec: Spec, stage: Stage) -> None:
    from tools.hostile import measured

    path = measured.lay(stage)
    outcomes = measured.outcomes(path.read_text())

    def prelude() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (spec["bytes"], LARGEST_FILE))

    arguments = (*measured.RUN, "--results", str(stage.results))
    done = _with_pipes(stage, arguments, prelude)
    _nothing_lost(stage, outcomes, f"{spec}, exit {done.code}: {done.said[-150:]}")
    again = stage.command(*arguments)
    _nothing_lost(stage, outcomes, f"{spec}, with room again, exit {again.code}: {again.said[-150:]}")
    if again.code == 0:
        measured.finished(stage)
    else:
        stage.fault("stuck", f"{spec}: with room again exit {again.code}: {again.said[-200:]}")


def _nothing_lost(stage: Stage, outcomes: list[dict[str, object]], when: str) -> None:
    from tools.hostile import measured

    gone = measured.lost(stage.results, outcomes)
    if gone:
        stage.fault("lost measurement", f"{when}: {gone[0]} and {len(gone) - 1} more are gone")


def mounted(target: Path, kib: int) -> str:
    """A small file system at ``target``, in a mount namespace of this case; the reason where that is not allowed."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS):  # not root: as the root of a user namespace, which most systems allow everybody
        user, group = os.getuid(), os.getgid()
        if libc.unshare(CLONE_NEWUSER | CLONE_NEWNS):
            return os.strerror(ctypes.get_errno())
        for name, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
            Path(f"/proc/self/{name}").write_text(text)
    libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None)
    if libc.mount(b"tmpfs", os.fsencode(target), b"tmpfs", 0, f"size={kib}k".encode()):
        return os.strerror(ctypes.get_errno())
    return ""


def _small(spec: Spec, stage: Stage) -> None:
    from tools.hostile import measured
    from tools.hostile.material import honest

    measured.journal(stage)  # made where there is room
    disk = stage.folder / "disk"
    disk.mkdir()
    reason = mounted(disk, spec["kib"])
    if reason:
        stage.skipped = f"cannot mount a small file system: {reason}"
        return
    if spec["what"] == "report":
        honest(stage.results)
        stage.command("report", "--out", str(disk / "reports"))
        return
    try:
        path = measured.lay(stage, results=disk)
    except OSError:
        return  # not even the journal fits
    outcomes = measured.outcomes(path.read_text())
    stage.command(*measured.RUN, "--results", str(disk))
    gone = measured.lost(disk, outcomes)
    if gone:
        stage.fault("lost measurement", f"{spec}: {gone[0]} and {len(gone) - 1} more are gone")
    libc = ctypes.CDLL(None)
    libc.mount(b"tmpfs", os.fsencode(disk), b"tmpfs", MS_REMOUNT, b"size=8m")
    again = stage.command(*measured.RUN, "--results", str(disk))
    gone = measured.lost(disk, outcomes)
    if gone or again.code != 0:
        stage.fault("stuck", f"{spec}: with room again exit {again.code}, {len(gone)} lost: {again.said[-200:]}")


def _read_only(spec: Spec, stage: Stage) -> None:
    from tools.hostile import measured
    from tools.hostile.material import honest

    honest(stage.results)
    measured.lay(stage)
    reason = mounted(stage.home, 64)
    libc = ctypes.CDLL(None, use_errno=True)
    place = os.fsencode(stage.folder)
    if (
        reason
        or libc.mount(place, place, None, MS_BIND, None)
        or libc.mount(b"none", place, None, MS_BIND | MS_REMOUNT | MS_RDONLY, None)
    ):
        stage.skipped = f"cannot mount read-only: {reason}"
        return
    os.chdir("/")
    where = ("--results", str(stage.results))
    arguments = (*measured.RUN, *where) if spec["command"] == "run" else (spec["command"], *where)
    done = stage.command(*arguments)
    if done.code != (0 if spec["command"] == "claims" else 2):
        stage.fault("exit code", f"{spec}: {done.code}: {done.said[-200:]}")


def _vanished(spec: Spec, stage: Stage) -> None:
    """The folder goes away under a real run: said in one line, and never as the user's interruption."""
    from tools.hostile import measured

    process = stage.start(*measured.RUN, "--results", str(stage.results))
    end = time.monotonic() + spec["after"]
    while time.monotonic() < end and not process.ended():
        time.sleep(0.02)
    if process.ended():
        process.wait()
        return
    targets = {
        "results": [stage.results],
        "machine": list(stage.results.glob("matrix/*")),
        "journal": list(stage.results.glob("matrix/*/*.journal")),
    }
    for target in targets[spec["what"]]:
        if target.is_dir():
            shutil.rmtree(target, ignore_errors=True)
        else:
            target.unlink(missing_ok=True)
    done = process.wait()
    stage.judge(done, measured.RUN)
    if done.code in (130, 143):
        stage.fault("promise", f"{spec}: exit {done.code} where nobody interrupted: {done.said[-200:]}")
    if done.code == 0 and not list(stage.results.rglob("*.json")):
        stage.fault("lost measurement", f"{spec}: exit 0 and no result: {done.said[-200:]}")
    if done.code != 0 and "is kept" in done.said and not measured.held(stage.results):
        stage.fault("promise", f"{spec}: says that something is kept: {done.said[-200:]}")


def _temporary(spec: Spec, stage: Stage) -> None:
    from tools.hostile import measured
    from tools.hostile.material import honest

    honest(stage.results)
    (stage.folder / "a-file").touch()
    value = {
        "missing": str(stage.folder / "nowhere"), "file": str(stage.folder / "a-file"), "empty": "", "full": "/dev/full",
        "relative": "nowhere", "long": "/tmp/" + "x" * 5000,
    }[spec["tmp"]]  # fmt: skip
    arguments = (
        (*measured.RUN, "--results", str(stage.results)) if spec["command"] == ["run"] else tuple(spec["command"])
    )
    if spec["command"] == ["run"]:
        measured.lay(stage)
    stage.command(*arguments, environment={"TMPDIR": value})

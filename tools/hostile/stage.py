"""Where does a case take place?

A folder of its own with a temporary folder in it (so a private measuring lock), children with limits of time and
memory, and captured output. The command line is the real one, ``fffbench.cli.main``, run in a forked child of a
process that has everything imported: a command takes milliseconds. Real processes where signals or kills matter.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from tools.hostile.case import GIB, MOST_SECONDS
from tools.hostile.judges import EXITS, OTHER_EXITS, Done, judge

ADDRESS_SPACE = 6 * GIB  # beyond what the child was born with: the machine survives what the memory judge will name
LARGEST_FILE = 2 * GIB
MOST_OUTPUT = 64 * 2**20  # of a command that is read back
FRESH = 64 * 2**20  # a fresh command before it reads a result; a forked child is born with its parent's pages instead
PR_SET_PDEATHSIG = 1
STOOD_STILL = 2.0  # seconds from one look of 20 ms to the next: nothing ran meanwhile
GRACE_SECONDS = 5.0  # in which what a command started may end after it


class Stage:
    """The place of one case, with the faults found so far."""

    def __init__(self, place: Path) -> None:
        """Prepare the folder ``place``, which exists and is empty."""
        self.place = place
        self.folder = place / "work"
        self.temporary = place / "tmp"
        self.home = place / "home"
        for path in (self.folder, self.temporary, self.home):
            path.mkdir()
        self.faults: list[tuple[str, str]] = []
        self.seconds = 0.0
        self.peak = 0
        self.skipped = ""
        self._runs = 0

    @property
    def results(self) -> Path:
        """Where a case keeps its results."""
        return self.folder / "results"

    def fault(self, judge_name: str, sentence: str) -> None:
        """Note a fault."""
        self.faults.append((judge_name, sentence[:600]))

    def command(
        self,
        *arguments: str,
        environment: Mapping[str, str | None] | None = None,
        prelude: Callable[[], None] | None = None,
        seconds: float = MOST_SECONDS,
        judged: bool = True,
        taken: int = 0,
    ) -> Done:
        """Run ``fffbench arguments`` in a forked child; the general judges look at it unless not ``judged``.

        ``taken``: bytes that somebody else's code takes in a child of it, within the limit that it has there.
        """

        def main() -> int:
            if prelude is not None:
                prelude()
            sys.argv = ["fffbench", *arguments]
            from fffbench import cli

            try:
                cli.main()
            except SystemExit as leaving:
                return _code_of(leaving)
            return 0

        done = self.child(main, environment=environment, seconds=seconds)
        done = replace(done, most_bytes=done.most_bytes + taken)
        if judged:
            self.judge(done, arguments)
        return done

    def judge(self, done: Done, arguments: Sequence[str], signals: Sequence[int] = ()) -> None:
        """Let the general judges look at what a command with ``arguments`` did."""
        command = arguments[0] if arguments else ""
        exits = EXITS.get(command, OTHER_EXITS)
        for name, sentence in judge(done, exits, signals=signals):
            self.fault(name, f"{' '.join(map(repr, arguments))[:100]}: {sentence}")

    def child(
        self,
        function: Callable[[], int],
        *,
        environment: Mapping[str, str | None] | None = None,
        seconds: float = MOST_SECONDS,
    ) -> Done:
        """Run ``function`` in a forked child with limits; its result is the exit code."""
        out, err = self._streams()
        began = time.monotonic()
        sys.stdout.flush()
        sys.stderr.flush()
        inherited = max(0, _status("RssAnon") - FRESH)  # a file's pages are not inherited but mapped again
        pid = os.fork()
        if pid == 0:
            self._be_child(function, out, err, self._environment(environment), seconds)
        return self._wait(pid, out, err, began, seconds, inherited)

    def start(
        self,
        *arguments: str,
        environment: Mapping[str, str | None] | None = None,
        program: Sequence[str] = ("-m", "fffbench"),
        shell: str = "",
    ) -> Process:
        """Start ``fffbench arguments`` as a process of its own; ``shell`` are redirections and limits before it.

        ``shell`` is a line for sh that runs the command as ``"$@"``, such as ``exec "$@" >/dev/full``.
        """
        out, err = self._streams()
        with out.open("wb") as out_file, err.open("wb") as err_file:
            process = subprocess.Popen(
                [*(("sh", "-c", shell, "sh") if shell else ()), sys.executable, "-P", *program, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=out_file,
                stderr=err_file,
                cwd=self.folder,
                env=self._environment(environment),
                start_new_session=True,
                preexec_fn=_default_signals,  # noqa: PLW1509 - no thread runs here
            )
        return Process(self, process.pid, out, err, process)

    def _streams(self) -> tuple[Path, Path]:
        self._runs += 1
        return self.place / f"out-{self._runs}", self.place / f"err-{self._runs}"

    def _environment(self, changes: Mapping[str, str | None] | None) -> dict[str, str]:
        environment = {
            name: value
            for name, value in os.environ.items()
            if name in ("PATH", "LD_LIBRARY_PATH", "VIRTUAL_ENV", "PYTHONHASHSEED")
        }
        environment |= {
            "TMPDIR": str(self.temporary),
            "HOME": str(self.home),
            "LANG": "C.UTF-8",
            "COLUMNS": "200",
            "MPLCONFIGDIR": str(self.place.parent / "matplotlib"),
        }
        for name, value in (changes or {}).items():
            if value is None:
                environment.pop(name, None)
            else:
                environment[name] = value
        return environment

    def _be_child(
        self, function: Callable[[], int], out: Path, err: Path, environment: dict[str, str], seconds: float
    ) -> None:
        code = 1
        try:
            os.setsid()
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            _default_signals()
            signal.signal(signal.SIGINT, signal.default_int_handler)
            _limit(seconds)
            for descriptor, path in ((1, out), (2, err)):
                file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
                os.dup2(file, descriptor)
                os.close(file)
            null = os.open(os.devnull, os.O_RDONLY)
            os.dup2(null, 0)
            os.close(null)
            fresh_streams()
            os.chdir(self.folder)
            os.environ.clear()
            os.environ.update(environment)
            tempfile.tempdir = None
            code = function()
        except BaseException:  # noqa: BLE001 - what Python itself would do with it
            traceback.print_exc()
        finally:
            try:
                sys.stdout.flush()
                sys.stderr.flush()
            except (OSError, ValueError):
                code = 120  # as Python's own shutdown
            os._exit(code & 0xFF)

    def _wait(self, pid: int, out: Path, err: Path, began: float, seconds: float, inherited: int) -> Done:
        usage, status, hung, stood = _reap(pid, began + seconds)
        took = time.monotonic() - began - stood
        orphans = _end_group(pid)
        peak = max(0, usage.ru_maxrss * 1024 - inherited)
        self.seconds = max(self.seconds, took)
        self.peak = max(self.peak, peak)
        code = os.waitstatus_to_exitcode(status)
        return Done(code, _read(out), _read(err), took, peak, hung, seconds, orphans)


class Process:
    """A command that runs as a process of its own."""

    def __init__(self, stage: Stage, pid: int, out: Path, err: Path, popen: subprocess.Popen[bytes]) -> None:
        """Remember where its output goes."""
        self._stage, self.pid, self._out, self._err = stage, pid, out, err
        self._began = time.monotonic()
        self._popen = popen

    def send(self, number: int) -> bool:
        """Send it a signal; False where it has ended already."""
        if self.ended():
            return False
        os.kill(self.pid, number)
        return True

    def send_all(self, number: int) -> bool:
        """Send the signal to everything it started too, as a terminal or a dying machine does."""
        if self.ended():
            return False
        os.killpg(self.pid, number)
        return True

    def send_to(self, pid: int, number: int) -> None:
        """Send a signal to something that it started."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)

    def said_first(self) -> bool:
        """Whether anything is on its standard output yet."""
        return self._out.stat().st_size > 0

    def ended(self) -> bool:
        """Whether it has ended; it can still be waited for."""
        done = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        return done is not None

    def wait(self, seconds: float = MOST_SECONDS) -> Done:
        """Wait until it has ended, ``seconds`` from now at most."""
        began = time.monotonic()
        usage, status, hung, stood = _reap(self.pid, began + seconds)
        self._popen.returncode = os.waitstatus_to_exitcode(status)
        took = time.monotonic() - began - stood
        orphans = _end_group(self.pid)
        self._stage.seconds = max(self._stage.seconds, took)
        self._stage.peak = max(self._stage.peak, usage.ru_maxrss * 1024)
        return Done(
            os.waitstatus_to_exitcode(status), _read(self._out), _read(self._err), took, 0, hung, seconds, orphans
        )  # torch's own pages are no file set's


def fresh_streams() -> None:
    """Standard output and errors as a fresh interpreter has them, whatever this one has made of its own."""
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", buffering=1, closefd=False)  # noqa: SIM115


def _default_signals() -> None:
    """As a terminal gives them: a campaign in the background may have inherited some that are ignored."""
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


def _code_of(leaving: SystemExit) -> int:
    if leaving.code is None:
        return 0
    if isinstance(leaving.code, int):
        return leaving.code
    print(leaving.code, file=sys.stderr)
    return 1


def _status(name: str) -> int:
    """Bytes that this process's ``name`` line in /proc says."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


def _limit(seconds: float) -> None:
    born = _status("VmSize")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (born + ADDRESS_SPACE, born + ADDRESS_SPACE))
    resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST_FILE, LARGEST_FILE))
    cpu = int(2 * seconds) + 10
    resource.setrlimit(resource.RLIMIT_CPU, (cpu, cpu))


def _reap(pid: int, deadline: float) -> tuple[resource.struct_rusage, int, bool, float]:
    """Wait for ``pid`` until ``deadline``, then kill it; usage, status, whether it had to be killed.

    And for how long this campaign stood still (stopped, or the machine asleep), which moves the deadline.
    """
    pause, stood = 0.001, 0.0
    while True:
        before = time.monotonic()
        found, status, usage = os.wait4(pid, os.WNOHANG)
        if found:
            return usage, status, False, stood
        if before > deadline + stood:
            break
        time.sleep(pause)
        late = time.monotonic() - before
        stood += late if late > STOOD_STILL else 0.0
        pause = min(pause * 1.5, 0.02)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    _, status, usage = os.wait4(pid, 0)
    return usage, status, True, stood


def descendants(pid: int) -> list[int]:
    """What ``pid`` started and what that started, oldest first."""
    found: list[int] = []
    for thread in Path(f"/proc/{pid}/task").glob("*"):
        with contextlib.suppress(OSError):
            for child in map(int, (thread / "children").read_text().split()):
                found += [child, *descendants(child)]
    return found


def _members(session: int) -> Iterator[tuple[int, str]]:
    """The live processes of a session."""
    for path in Path("/proc").iterdir():
        if not path.name.isdigit():
            continue
        try:
            stat = (path / "stat").read_text()
        except OSError:
            continue
        name, rest = stat[stat.index("(") + 1 : stat.rindex(")")], stat[stat.rindex(")") + 2 :].split()
        if int(rest[3]) == session and rest[0] not in "ZX":
            with contextlib.suppress(OSError):
                name += (
                    " " + (path / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")[-80:].strip()
                )
            yield int(path.name), name


def _end_group(session: int) -> tuple[str, ...]:
    """Processes of the session that outlive their command by more than a moment; they are killed."""
    deadline = time.monotonic() + GRACE_SECONDS
    while left := list(_members(session)):
        if time.monotonic() > deadline:
            break
        time.sleep(0.02)
    for pid, _ in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return tuple(name for _, name in left)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MOST_OUTPUT)
    except OSError:
        return b""

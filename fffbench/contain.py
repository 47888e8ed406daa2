"""How is code that nobody here has read kept from outliving, outgrowing or silencing the process that runs it?

For processes that import a third party's module. Linux only, like the measuring itself: elsewhere the limits that the
system lacks are left out.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36  # prctl's: orphaned descendants become children of this process
SIGNALS = {signal.SIGKILL: "killed (out of memory?)", signal.SIGSEGV: "crashed (segmentation fault)"}
KILLING_ROUNDS = 100  # a process that forks while it is being killed is followed this many times


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends, so that ``end_descendants`` finds it."""
    _prctl(PR_SET_CHILD_SUBREAPER, 1)


def _prctl(option: int, value: int) -> None:
    with contextlib.suppress(AttributeError, OSError):  # no prctl: not Linux
        ctypes.CDLL(None).prctl(option, value)


def descendants() -> list[int]:
    """The ids of all living processes below this one.

    A process whose first thread has ended looks dead while others run or end, and is the parent of what it forked.
    """
    parents: dict[int, int] = {}
    dead: set[int] = set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended meanwhile
            continue
        parents[int(path.parent.name)] = int(fields[1])
        if fields[0] == "Z" and int(fields[17]) <= 1:  # with more threads only its first one has ended
            dead.add(int(path.parent.name))
    found, fresh = [], {os.getpid()}
    while fresh:
        fresh = {child for child, parent in parents.items() if parent in fresh}
        found += sorted(fresh - dead)
    return found


def end_descendants() -> int:
    """Kill every process below this one, also what it forks meanwhile, and reap them; how many there were."""
    killed: set[int] = set()
    for _ in range(KILLING_ROUNDS):
        alive = descendants()
        if not alive:
            break
        for child in alive:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(child, signal.SIGKILL)
        killed.update(alive)
        _reap()
    _reap()
    return len(killed)


def _reap() -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG) != (0, 0):
            pass


def limit_memory(size: int) -> None:
    """Allow this process ``size`` bytes of private memory; an allocation beyond fails in it."""
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_DATA, (size, size))


def prefer_as_victim() -> None:
    """Have the system kill this process first when memory runs out."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


def silence() -> None:
    """Nothing to read from standard input, and nothing said on standard output: it goes to standard error."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)


def death(code: int) -> str:
    """How a process ended, in words, given its exit code (negative: its signal)."""
    if code < 0:
        try:
            name = signal.Signals(-code)
        except ValueError:  # a real-time signal
            return f"ended by signal {-code}"
        return SIGNALS.get(name, f"ended by {name.name}")
    return f"ended with exit code {code}" if code else "exited without reporting a result"


def one_line(text: object, most: int = 300) -> str:
    """Foreign text as one printable line of bounded length."""
    words = " ".join(str(text)[: 4 * most].split())
    return "".join(letter if letter.isprintable() else "?" for letter in words)[:most]

"""In which order are the cases played, and what is printed at the end?"""

from __future__ import annotations

import queue
import random
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from tools.hostile import corpus, domains
from tools.hostile.case import Case, Result
from tools.hostile.server import Server

SHOWN_SECONDS = 10.0  # between two lines of progress
MOST_LISTED = 200  # wrong cases listed by name


def cases(seed: int, count: int, chosen: Sequence[str], *, kept: bool = True) -> Iterator[Case]:
    """The corpus of the ``chosen`` domains, then ``count`` cases drawn by weight, all domains mixed."""
    if kept:
        yield from (case for case in corpus.read() if case.domain in chosen)
    weights = {name: domains.load(name).WEIGHT for name in chosen}
    total = sum(weights.values())
    drawn = [
        Case(name, seed, index)
        for name, weight in weights.items()
        for index in range(max(1, round(count * weight / total)))
    ]
    random.Random(seed).shuffle(drawn)
    yield from drawn


class Campaign:
    """Plays cases in ``jobs`` servers at a time until they or the time are over."""

    def __init__(self, wanted: Iterable[Case], jobs: int, seconds: float | None, say: Callable[[str], None]) -> None:
        """Put the cases into a queue."""
        self._queue: queue.SimpleQueue[Case] = queue.SimpleQueue()
        self.planned = 0
        for case in wanted:
            self._queue.put(case)
            self.planned += 1
        self._jobs, self._say = jobs, say
        self._end = None if seconds is None else time.monotonic() + seconds
        self._lock = threading.Lock()
        self._shown = self._began = time.monotonic()
        self.results: list[Result] = []
        self.broken: list[str] = []

    def run(self) -> list[Result]:
        """Play them all; the results in the order in which they came."""
        with tempfile.TemporaryDirectory(prefix="fffbench-hostile-") as place:
            threads = [threading.Thread(target=self._work, args=(Path(place),)) for _ in range(self._jobs)]
            try:
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
            except KeyboardInterrupt:
                self._end = 0.0
                for thread in threads:
                    thread.join()
        return self.results

    def _work(self, place: Path) -> None:
        servers: dict[tuple[str, ...], Server] = {}
        try:
            while self._end is None or time.monotonic() < self._end:
                try:
                    case = self._queue.get_nowait()
                except queue.Empty:
                    return
                preload = tuple(domains.load(case.domain).PRELOAD)
                if preload not in servers:
                    servers[preload] = Server(preload, place)
                self._note(servers[preload].play(case))
        except Exception as error:  # noqa: BLE001 - a campaign that lost a server has not passed
            self.broken.append(f"{type(error).__name__}: {error}")
        finally:
            for server in servers.values():
                server.close()

    def _note(self, result: Result) -> None:
        with self._lock:
            self.results.append(result)
            if result.wrong:
                name, said = result.faults[0]
                self._say(f"wrong: {result.case.id}: {name}: {said[:160]}")
            if time.monotonic() - self._shown >= SHOWN_SECONDS:
                self._shown = time.monotonic()
                wrong = sum(one.wrong for one in self.results)
                took = self._shown - self._began
                self._say(f"{len(self.results)}/{self.planned} cases, {wrong} wrong, {took:.0f} s")


def table(results: Sequence[Result], planned: int) -> str:
    """One line per domain, then the wrong cases with the command that repeats each."""
    lines = [
        (
            f"{'domain':<16}{'cases':>7}{'wrong':>7}{'not here':>10}{'slowest':>10}{'peak memory':>13}"
            f"{'CPU, wall of a case':>22}"
        )
    ]
    groups: dict[str, list[Result]] = {}
    for result in results:
        groups.setdefault(result.case.domain, []).append(result)
    for name, group in sorted(groups.items()):
        lines.append(_line(name, group))
    lines.append(_line("all", list(results)))
    if len(results) < planned:
        lines.append(f"the time was over before {planned - len(results)} of {planned} cases were played")
    wrong = [result for result in results if result.wrong]
    for result in sorted(wrong, key=lambda one: (one.case.domain, one.case.index))[:MOST_LISTED]:
        lines.append(f"\n{reproduction(result)}")
        lines += [f"    {name}: {said}" for name, said in result.faults[:4]]
    if len(wrong) > MOST_LISTED:
        lines.append(f"\nand {len(wrong) - MOST_LISTED} more")
    return "\n".join(lines)


def reproduction(result: Result) -> str:
    """The command that repeats a case."""
    return f"python -m tools.hostile --case {result.case.id}{' --kept' if result.case.spec is not None else ''}"


def _line(name: str, group: Sequence[Result]) -> str:
    wrong, skipped = sum(one.wrong for one in group), sum(bool(one.skipped) for one in group)
    slowest = max((one.seconds for one in group), default=0.0)
    peak = max((one.peak for one in group), default=0) / 2**20
    cpu, wall = (sum(getattr(one, what) for one in group) / max(1, len(group)) for what in ("cpu", "wall"))
    counts = f"{name:<16}{len(group):>7}{wrong:>7}{skipped:>10}"
    return f"{counts}{slowest:>8.1f} s{peak:>9.0f} MiB{cpu:>11.2f} s{wall:>7.2f} s"


def printed(text: str) -> None:
    """One line of progress."""
    print(text, file=sys.stderr, flush=True)

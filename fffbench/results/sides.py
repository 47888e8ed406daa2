"""Which results does a word name: a folder, a file, a run, or a machine?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from fffbench.errors import UserError, one_of
from fffbench.results.store import Results, load, load_file

LONGEST = 4096  # characters of a path


def side(word: str, stored: Callable[[], Results]) -> Results:
    """The results that ``word`` names; ``stored`` gives those in which runs and machines are looked up.

    A folder or file that is there comes first, then a run's id, then a machine's id or a part of one machine's alone.
    """
    if not word.strip():
        raise UserError("a side is empty; name a folder of results, a result file, a run or a machine")
    path = Path(word)
    if len(word) <= LONGEST and "\0" not in word:
        try:
            there = (path.is_dir(), path.is_file())
        except OSError:  # a name too long for the file system
            there = (False, False)
        if there[0]:
            return _not_empty(load(path), f"folder {word!r}")
        if there[1]:
            found = load_file(path)
            if found.refused and not found.records:
                raise UserError(f"{found.refused[0].line}; a side is a result file as `fffbench run` writes it")
            return _not_empty(found, f"file {word!r}")
    results = stored()
    if word in results.runs:
        return _of(results, run=word)
    machines = [name for name in results.machines if word == name] or [n for n in results.machines if word in n]
    if len(machines) == 1:
        return _of(results, machine=machines[0])
    if machines:
        raise UserError(
            f"{word!r} is part of {len(machines)} machines: {', '.join(sorted(machines))}; give more of one"
        )
    raise one_of("folder, file, run or machine", word, sorted(results.machines) + sorted(results.runs))


def _of(results: Results, *, run: str | None = None, machine: str | None = None) -> Results:
    records = tuple(
        record for record in results.records if record.run == (run or record.run) and machine in (None, record.machine)
    )
    return _not_empty(replace(results, records=records), str(run or machine))


def _not_empty(results: Results, what: str) -> Results:
    if not results.records:
        raise UserError(f"{what} has no measured cell, so there is nothing to compare")
    return results

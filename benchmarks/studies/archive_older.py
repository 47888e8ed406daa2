"""Which result files are of older sources alone? Moves them to ``results/archive/``, compressed.

    python -m benchmarks.studies.archive_older [--results DIR] [--dry-run]

A file with at least one cell of an implementation of this package whose sources are those of now stays. What is moved
is still read, and where no file of now is there for a device it is what the page shows of it
(``fffbench/results/superseded.py``). Run it after measuring, from the commit that was measured.
"""

from __future__ import annotations

import argparse
import gzip
from collections.abc import Callable, Iterator
from pathlib import Path

from fffbench import timed
from fffbench.errors import UserError
from fffbench.results.current import current, here, read_table
from fffbench.results.listing import json_files
from fffbench.results.models import ROOM, load_models
from fffbench.results.packed import OLD
from fffbench.results.parsing import PACKED
from fffbench.results.reader import read_file
from fffbench.results.store import MATRIX

CHECKOUT = Path(__file__).resolve().parents[2]


def older(results: Path, now: Callable[[str], str | None] = current) -> list[Path]:
    """The files in the rooms of layers and of whole models that have no cell of the sources of now.

    One that cannot be read, or has no cell, stays where it is.
    """
    return [*_layers(results, now), *_models(results, now)]


def _layers(results: Path, now: Callable[[str], str | None]) -> Iterator[Path]:
    table, _ = read_table(results)
    for path in json_files(results, MATRIX)[0]:
        content = read_file(path, results)
        if content.run is None or not content.records:
            continue
        found = [
            (record.cell.implementation, record.timed_sources)
            if record.timed_sources != timed.UNKNOWN
            else (record.cell.implementation, table.of(content.run, record.cell.implementation))
            for record in content.records
        ]
        if not any(said != timed.UNKNOWN and said == now(name) for name, said in found):
            yield path


def _models(results: Path, now: Callable[[str], str | None]) -> Iterator[Path]:
    loaded = load_models(results)
    kept = {record.run for record in loaded.records if record.timed_sources == now(timed.MODELS)}
    runs = {record.run for record in loaded.records} | {record.run for record in loaded.superseded}
    for path in json_files(results, ROOM)[0]:
        if path.stem in runs - kept:
            yield path


def move(results: Path, path: Path) -> Path:
    """Put the file where it belongs in the archive, as ``.json.gz``; ``UserError`` where another one is there.

    Compressed they have a fifth of the size; the same file gives the same bytes (no date is stored).
    """
    target = results / OLD / path.relative_to(results).with_name(f"{path.name}{PACKED}")
    for there in (target, target.with_suffix("")):
        if there.exists():
            raise UserError(f"{there}: is there already; nothing is written over it")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(gzip.compress(path.read_bytes(), mtime=0))
    path.unlink()
    return target


def main() -> None:
    """Move the files, or name them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--results", type=Path, default=CHECKOUT / "results")
    parser.add_argument("--dry-run", action="store_true", help="name the files and leave them where they are")
    given = parser.parse_args()
    if timed.KERNELS not in here():
        parser.error("the kernels here were built from other sources than those beside them: build them first")
    found = older(given.results)
    for path in found:
        print(path if given.dry_run else move(given.results, path))
    print(f"{len(found)} files of older sources")


if __name__ == "__main__":
    main()

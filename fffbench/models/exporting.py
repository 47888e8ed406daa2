"""How does the journal of a run over whole models become a result file?"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from fffbench.errors import UserError
from fffbench.measure.outcome import NEVER
from fffbench.models.journal import Header, read_journal
from fffbench.models.outcome import ModelOutcome
from fffbench.results import names as run_names
from fffbench.results.models import FORMAT, ModelInfo
from fffbench.results.record import OUT_OF_BUDGET

DIGITS = 6  # of a stored number


def export(journal: Path) -> Path:
    """Turn a finished journal into ``<run>.json``; the journal is then removed."""
    header, outcomes = read_journal(journal)
    grouped: dict[str, list[ModelOutcome]] = {name: [] for name in header.cells}
    for one in outcomes:
        grouped[one.cell].append(one)
    cells, skipped = [], list(header.skipped)
    for name, group in grouped.items():
        reason = _reason(group)
        if reason is None:
            cells.append(_info(name, group, header).model_dump())
        else:
            skipped.append((name, reason))
    if not cells:
        reasons = [reason for name, reason in skipped if name in grouped]
        if not outcomes:
            journal.unlink()
        raise UserError(
            f"no cell was measured, so there is no result file: {next(iter(reasons), 'nothing was planned')}"
        )
    stored = {
        "fffbench": header.run.model_dump(),
        "models_format": FORMAT,
        "cells": cells,
        "skipped": [{"cell": name, "reason": reason} for name, reason in skipped],
    }
    draft = journal.with_suffix(".draft")
    with draft.open("w", encoding="utf-8") as file:
        json.dump(_rounded(stored), file, separators=(",", ":"))
        file.flush()
        os.fsync(file.fileno())
    target = run_names.publish(draft, journal.with_suffix(".json"))
    journal.unlink()
    return target


def _reason(group: list[ModelOutcome]) -> str | None:
    """Why a cell has no time, or None where it has one."""
    own = [one for one in group if one.failure is not None and one.retry == NEVER]
    if own:
        return own[0].failure
    good = [one for one in group if one.failure is None]
    if good:
        return None
    return group[-1].failure if group else OUT_OF_BUDGET


def _info(name: str, group: list[ModelOutcome], header: Header) -> ModelInfo:
    planned = header.processes
    good = sorted((one for one in group if one.failure is None), key=lambda one: one.process)
    checks = [one.check for one in good if one.check is not None]
    worst = max(checks, key=lambda check: check.error)
    check = worst.model_copy(
        update={
            "tokens": sum(check.tokens for check in checks),
            "near": sum(check.near for check in checks),
            "turned": sum(check.turned for check in checks),
            "mode_median": max(check.mode_median for check in checks),
            "mode_beyond": max(check.mode_beyond for check in checks),
        }
    )
    notes = list(dict.fromkeys(note for one in good for note in one.notes))
    if len(good) < planned:
        notes.append(f"{len(good)} of {planned} processes: the rest was out of the time budget, or lost")
    return ModelInfo(
        cell=name,
        processes=[list(one.samples) for one in good],
        check=check,
        routing=list(good[0].routing),
        weights_bytes=good[0].weights_bytes,
        peak_bytes=max(one.peak_bytes for one in good),
        build_seconds=min(one.build_seconds for one in good),
        prepare_seconds=min(one.prepare_seconds for one in good),
        joules=[one.joules for one in good if one.joules is not None],
        planned_processes=planned,
        notes=notes,
        timed_sources=header.timed_sources,
    )


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}")
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list) else value

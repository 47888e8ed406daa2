"""What did the calibration find? Tables for docs/guide/regression.md, between markers, by command."""

from __future__ import annotations

import json
import re
from pathlib import Path
from statistics import median
from typing import Any

from scipy.stats import beta

from benchmarks.studies import asv_rates
from benchmarks.studies.simulate import OURS
from fffbench.analysis.history import history
from fffbench.analysis.regression import NONE, REGRESSION
from fffbench.devices import HOST, cuda
from fffbench.errors import UserError
from fffbench.results.asv import read_history

BRANCH = "slowed_branch"  # in the folder of calibrations: what slowed_commit keeps
DOCS = "docs/guide/regression.md"
NOTHING = "Nothing has been calibrated yet.\n"
_BLOCK = re.compile(r"(<!-- calibration:begin[^>]*-->\n).*?(<!-- calibration:end -->)", re.DOTALL)

Study = dict[str, Any]
DEVICES = {HOST: "", cuda.NAME: ", CUDA kernels"}


def write(root: Path, folder: Path) -> list[str]:
    """Write the tables of every study in ``folder`` into the file at ``root``; its name if that changed it."""
    studies = [_read(path) for path in sorted(folder.glob("*.json"))]
    with_asv = [asv_rates.load(path) for path in sorted((folder / "asv").glob("*.json"))]
    path = root / DOCS
    before = path.read_text(encoding="utf-8")
    if len(_BLOCK.findall(before)) != 1:
        raise UserError(f"{DOCS} needs one pair of lines '<!-- calibration:begin -->' and '<!-- calibration:end -->'")
    text = f"{short(studies, with_asv)}\n{full(studies, with_asv, folder / BRANCH)}" if studies else NOTHING
    after = _BLOCK.sub(lambda match: match[1] + text + match[2], before)
    if after != before:
        path.write_text(after, encoding="utf-8")
    return [DOCS] if after != before else []


def _read(path: Path) -> Study:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path.name} is no JSON") from error
    if not isinstance(found, dict) or found.get("format") != 1:
        raise UserError(f"{path.name} is no calibration of format 1")
    return found


def by_device(study: Study) -> list[tuple[str, list[Study]]]:
    """The runs of a study for each device that has any."""
    found = [(device, [item for item in study["runs"] if item.get("device", HOST) == device]) for device in DEVICES]
    return [(device, runs) for device, runs in found if runs]


def full(studies: list[Study], with_asv: list[Study], branch: Path) -> str:
    """Everything: simulation, this check as measured, asv as measured, and its history of a slowed branch."""
    parts = [_simulated(study) for study in studies if study["simulation"]]
    for study in studies:
        for device, runs in by_device(study):
            parts += [_measured(f"{study['machine']}{DEVICES[device]}", runs), _by_case(runs)]
    parts += [_asv(study) for study in with_asv]
    return "\n".join(parts + ([_branch(branch)] if branch.is_dir() else []))


def _branch(folder: Path) -> str:
    """What the page's history says of the branch that asv measured in ``folder``."""
    said = json.loads((folder / "branch.json").read_text(encoding="utf-8"))
    series = history(read_history(folder).points)
    named = [item for item in series if any(step.commit == said["slow"] for step in item.steps)]
    moved = [item.name for item in series if item.control and item.steps]
    other = [item.name for item in series for step in item.steps if step.commit != said["slow"]]
    lines = [
        "### A slow commit in the middle of a branch",
        "",
        (
            f"`nox -s slowed_commit`, {len(said['commits'])} commits; in number "
            f"{said['commits'].index(said['slow']) + 1}, `{said['slow'][:8]}`, a kernel does its work twice. "
            "The page of the history says:"
        ),
        "",
        *(f"- `{item.name}`: {item.sentence}." for item in named),
        f"- other steps: {', '.join(other) or 'none'}; controls that moved: {', '.join(moved) or 'none'}.",
    ]
    return "\n".join(lines) + "\n"


def short(studies: list[Study], with_asv: list[Study]) -> str:
    """What was measured of each tool, and how long it takes."""
    lines = ["| rule, measured | false alarms | runs with any | +10 % found | +20 % found |", "|---|--:|--:|--:|--:|"]
    for study in studies:
        for device, runs in by_device(study):
            cells = [
                _of(*_alarms(runs, 0)),
                _of(*_runs_alarmed(runs)),
                _of(*_alarms(runs, 10)),
                _of(*_alarms(runs, 20)),
            ]
            lines.append(f"| `fffbench regress`, {study['machine']}{DEVICES[device]} | {' | '.join(cells)} |")
    for study in with_asv:
        rates = {(r.rule, r.factor, r.planted): r for r in asv_rates.rates(study["pairs"])}
        for rule, factor in dict.fromkeys((rule, factor) for rule, factor, _ in rates):
            same, ten, twenty = (rates.get((rule, factor, percent)) for percent in (0, 10, 20))
            cells = [
                _of(same.alarms, same.comparisons) if same else "",
                _of(same.suites_alarmed, same.suites) if same else "",
                *(_of(rate.alarms, rate.comparisons) if rate else "" for rate in (ten, twenty)),
            ]
            lines.append(f"| `{rule} --factor {factor:g}`, {study['machine']} | {' | '.join(cells)} |")
    lines += ["", *(_sentence(study) for study in studies)]
    return "\n".join(lines) + "\n"


def _alarms(runs: list[Study], percent: int) -> tuple[int, int]:
    total, slower, _ = counts(runs, percent)
    return slower, total


def _runs_alarmed(runs: list[Study]) -> tuple[int, int]:
    """Runs with nothing planted that called any case slower, and all such runs."""
    same = [item for item in runs if item["planted"] == 0]
    return sum(REGRESSION in item["cases"].values() for item in same), len(same)


def _of(count: int, total: int) -> str:
    return f"{count} of {total} ({100 * count / total:.0f} %)" if total else ""


def _asv(study: Study) -> str:
    """The rules of asv on the pairs of one machine."""
    pairs = study["pairs"]
    seconds = [pair["seconds"] for pair in pairs]
    same = [pair for pair in pairs if pair["planted"] == asv_rates.SAME]
    lines = [
        f"### asv, measured on {study['machine']}",
        "",
        (
            f"{len(pairs)} runs of `asv continuous` over the {len(pairs[0]['base'])} C++ kernels of the asv suite, "
            f"{median(seconds):.0f} s each once built; asv called {sum(pair['regression'] for pair in same)} of the "
            f"{len(same)} with nothing planted a regression. Below those are judged both ways, and `asv compare` "
            "judges bases and heads of different runs, all combinations of them: such comparisons are not independent."
        ),
        "",
        "| rule | factor | planted | slower, by benchmark | 95 % interval | suites with any |",
        "|---|--:|--:|--:|---|--:|",
    ]
    for rate in asv_rates.rates(pairs):
        independent = rate.rule == asv_rates.CONTINUOUS and rate.planted
        low, high = interval(rate.alarms, rate.comparisons)
        bounds = f"{_percent(low)} to {_percent(high)}" if independent else ""
        lines.append(
            f"| {rate.rule} | {rate.factor:g} | {f'+{rate.planted} %' if rate.planted else 'nothing'} | "
            f"{_of(rate.alarms, rate.comparisons)} | {bounds} | {_of(rate.suites_alarmed, rate.suites)} |"
        )
    return "\n".join(lines) + "\n"


def _share(rate: dict[str, Any]) -> str:
    return _percent(rate["alarms"] / rate["trials"])


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def _simulated(study: Study) -> str:
    lines = [
        f"### Simulation: {study['trials']} suites of each kind",
        "",
        "| noise | rule | a false alarm in the suite | +5 % | +10 % | +20 % | blocks at +0 and +5 % |",
        "|---|---|--:|--:|--:|--:|--:|",
    ]
    rates = {(rate["model"], rate["rule"], rate["effect"]): rate for rate in study["simulation"]}
    for model, rule in dict.fromkeys((model, rule) for model, rule, _ in rates):
        shares = " | ".join(_share(rates[model, rule, effect]) for effect in (0.0, 0.05, 0.1, 0.2))
        blocks = [rates[model, rule, effect]["blocks"] for effect in (0.0, 0.05)]
        used = f"{blocks[0]:.1f}, {blocks[1]:.1f}" if rule == OURS else ""
        lines.append(f"| {model} | {rule} | {shares} | {used} |")
    return "\n".join(lines) + "\n"


def counts(runs: list[dict[str, Any]], percent: int) -> tuple[int, int, int]:
    """Comparisons with ``percent`` planted, how many said regression, how many none."""
    answers = [answer for item in runs if item["planted"] == percent for answer in item["cases"].values()]
    return len(answers), answers.count(REGRESSION), answers.count(NONE)


def interval(successes: int, trials: int, level: float = 0.95) -> tuple[float, float]:
    """The exact (Clopper-Pearson) interval of a share."""
    tail = (1 - level) / 2
    low = float(beta.ppf(tail, successes, trials - successes + 1)) if successes else 0.0
    high = float(beta.isf(tail, successes + 1, trials - successes)) if successes < trials else 1.0
    return low, high


def _measured(title: str, runs: list[Study]) -> str:
    lines = [
        f"### Measured on {title}",
        "",
        (
            "| planted | head / base | comparisons | regression | 95 % interval | none | inconclusive | runs "
            "| control failed | s |"
        ),
        "|--:|--:|--:|--:|---|--:|--:|--:|--:|---|",
    ]
    for percent in sorted({item["planted"] for item in runs}):
        these = [item for item in runs if item["planted"] == percent]
        total, slower, none = counts(runs, percent)
        low, high = interval(slower, total)
        failed = sum(not all(item["controls"].values()) for item in these)
        seconds = [item["seconds"] for item in these]
        ratio = median(value for item in these for value in item["ratios"].values())
        what = f"+{percent} %" if percent else "nothing: two builds of the same sources"
        lines.append(
            f"| {what} | {ratio:.3f} | {total} | {slower} | {_percent(low)} to {_percent(high)} | {none} "
            f"| {total - slower - none} | {len(these)} | {failed} | {median(seconds):.0f}, at most {max(seconds):.0f} |"
        )
    return "\n".join(lines) + "\n"


def _by_case(runs: list[Study]) -> str:
    percents = sorted({item["planted"] for item in runs} - {0})
    shown = ", ".join(f"+{percent}" for percent in percents)
    lines = [
        (
            f"| kernel | standard deviation of a block | regressions with nothing planted | found at {shown} % "
            "| head / base there |"
        ),
        "|---|--:|--:|---|---|",
    ]
    for case in dict.fromkeys(case for item in runs for case in item["cases"]):
        found = {}
        for percent in (0, *percents):
            answers = [item["cases"].get(case) for item in runs if item["planted"] == percent]
            found[percent] = f"{answers.count(REGRESSION)} of {len(answers)}"
        spread = median(item["spread"][case] for item in runs if case in item["spread"])
        ratios = [
            [item["ratios"][case] for item in runs if item["planted"] == percent and case in item["ratios"]]
            for percent in percents
        ]
        lines.append(
            f"| {case} | {_percent(spread)} | {found[0]} | {', '.join(found[percent] for percent in percents)} "
            f"| {', '.join(f'{median(these):.3f}' if these else '' for these in ratios)} |"
        )
    return "\n".join(lines) + "\n"


def _sentence(study: Study) -> str:
    parts = []
    for device, runs in by_device(study):
        seconds = [item["seconds"] for item in runs]
        parts.append(
            f"A run of `fffbench regress` on {study['machine']}{DEVICES[device]} takes {median(seconds):.0f} s once "
            f"built; the longest took {max(seconds):.0f} s."
        )
    return " ".join(parts)

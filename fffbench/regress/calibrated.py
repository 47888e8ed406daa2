"""What did the calibration find? Tables for docs/regression.md and the README, between markers, by command."""

from __future__ import annotations

import json
import re
from pathlib import Path
from statistics import median
from typing import Any

from scipy.stats import beta

from fffbench.analysis.regression import NONE, REGRESSION
from fffbench.errors import UserError
from fffbench.regress.simulate import OURS

DOCS, README = "docs/regression.md", "README.md"
_BLOCK = re.compile(r"(<!-- calibration:begin[^>]*-->\n).*?(<!-- calibration:end -->)", re.DOTALL)

Study = dict[str, Any]


def write(root: Path, folder: Path) -> list[str]:
    """Write the tables of every study in ``folder`` into the files at ``root`` that exist; those that changed."""
    studies = [_read(path) for path in sorted(folder.glob("*.json"))]
    changed = []
    for name, text in ((DOCS, full(studies)), (README, short(studies))):
        path = root / name
        if not path.exists():
            continue
        before = path.read_text(encoding="utf-8")
        if len(_BLOCK.findall(before)) != 1:
            raise UserError(
                f"{name} needs one pair of lines '<!-- calibration:begin -->' and '<!-- calibration:end -->'"
            )
        begin, end = _BLOCK.findall(before)[0]
        found = _BLOCK.search(before)
        assert found is not None
        after = before[: found.start()] + begin + text + end + before[found.end() :]
        if after != before:
            path.write_text(after, encoding="utf-8")
            changed.append(name)
    return changed


def _read(path: Path) -> Study:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path.name} is no JSON") from error
    if not isinstance(found, dict) or found.get("format") != 1:
        raise UserError(f"{path.name} is no calibration of format 1")
    return found


def full(studies: list[Study]) -> str:
    """Both parts of every study."""
    if not studies:
        return "Nothing has been calibrated yet.\n"
    return "\n".join(part for study in studies for part in (_simulated(study), _measured(study), _by_case(study)))


def short(studies: list[Study]) -> str:
    """Every rule under the noise model "shared", from the newest simulation, and what the machines measured."""
    if not studies:
        return "Nothing has been calibrated yet.\n"
    rates = {(rate["rule"], rate["effect"]): rate for rate in studies[-1]["simulation"] if rate["model"] == "shared"}
    lines = ["| rule (simulated, noise of a shared runner) | a false alarm in the suite | +5 % | +10 % | +20 % |"]
    lines.append("|---|--:|--:|--:|--:|")
    for rule in dict.fromkeys(rule for rule, _ in rates):
        shares = " | ".join(_share(rates[rule, effect]) for effect in (0.0, 0.05, 0.1, 0.2))
        lines += [f"| {rule} | {shares} |"]
    lines += ["", *(_sentence(study) for study in studies)]
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


def _measured(study: Study) -> str:
    lines = [
        f"### Measured on {study['machine']}",
        "",
        "| planted | comparisons | regression | 95 % interval | none | inconclusive | runs | control failed | s |",
        "|--:|--:|--:|---|--:|--:|--:|--:|---|",
    ]
    for percent in sorted({item["planted"] for item in study["runs"]}):
        runs = [item for item in study["runs"] if item["planted"] == percent]
        total, slower, none = counts(study["runs"], percent)
        low, high = interval(slower, total)
        failed = sum(not all(item["controls"].values()) for item in runs)
        seconds = [item["seconds"] for item in runs]
        what = f"+{percent} %" if percent else "nothing: two builds of the same sources"
        lines.append(
            f"| {what} | {total} | {slower} | {_percent(low)} to {_percent(high)} | {none} | {total - slower - none} | "
            f"{len(runs)} | {failed} | {median(seconds):.0f}, at most {max(seconds):.0f} |"
        )
    return "\n".join(lines) + "\n"


def _by_case(study: Study) -> str:
    lines = [
        "| kernel | standard deviation of a block | regressions with nothing planted | found at +5, +10, +20 % |",
        "|---|--:|--:|---|",
    ]
    percents = sorted({item["planted"] for item in study["runs"]})
    for case in dict.fromkeys(case for item in study["runs"] for case in item["cases"]):
        found = {}
        for percent in percents:
            answers = [item["cases"].get(case) for item in study["runs"] if item["planted"] == percent]
            found[percent] = f"{answers.count(REGRESSION)} of {len(answers)}"
        spread = median(item["spread"][case] for item in study["runs"] if case in item["spread"])
        others = ", ".join(found[percent] for percent in percents if percent)
        lines.append(f"| {case} | {_percent(spread)} | {found.get(0, '')} | {others} |")
    return "\n".join(lines) + "\n"


def _sentence(study: Study) -> str:
    parts = []
    for percent in sorted({item["planted"] for item in study["runs"]}):
        total, slower, _ = counts(study["runs"], percent)
        if percent == 0:
            parts.append(f"{slower} false alarms in {total} comparisons of two builds of the same sources")
        else:
            parts.append(f"{slower} of {total} planted slow-downs of {percent} % found")
    seconds = [item["seconds"] for item in study["runs"]]
    length = (
        f"; a run takes {median(seconds):.0f} s once built, the longest took {max(seconds):.0f} s" if seconds else ""
    )
    return f"`fffbench regress` measured on {study['machine']}: {', '.join(parts) or 'nothing yet'}{length}."

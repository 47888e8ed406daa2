"""The campaign: ``python -m tools.hostile [--cases N] [--minutes M] [--seed S] [--domains A,B]``.

``--case domain:seed:index`` plays one and shows it. Exit 0 when nothing is wrong, 1 otherwise, 2 for a mistake here.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from tools.hostile import corpus, domains
from tools.hostile.campaign import Campaign, cases, printed, table
from tools.hostile.case import Case


def main() -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m tools.hostile", description=__doc__)
    parser.add_argument("--cases", type=int, default=5000, help="how many are drawn, after the corpus")
    parser.add_argument("--minutes", type=float, default=None, help="stop when this time is over")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--domains", default=None, help=f"comma-separated, of {', '.join(domains.names())}")
    # a case waits for half of its time (0.39 s of processor in 0.87 s): with two a core 1501 took 338 s on two cores
    parser.add_argument("--jobs", type=int, default=2 * len(os.sched_getaffinity(0)), help="cases at a time")
    parser.add_argument("--case", default=None, help="play this one only and show everything")
    parser.add_argument("--kept", action="store_true", help="with --case: the corpus's input instead of a drawn one")
    parser.add_argument("--no-corpus", action="store_true", help="neither run nor grow the corpus")
    parser.add_argument("--report", type=Path, default=None, help="also write the table to this file")
    given = parser.parse_args()
    chosen = given.domains.split(",") if given.domains else domains.names()
    try:
        for name in chosen:
            domains.load(name)
        wanted = [_one(given.case, kept=given.kept)] if given.case else None
    except ValueError as error:
        parser.error(str(error))
    if wanted is None:
        wanted = list(cases(given.seed, given.cases, chosen, kept=not given.no_corpus))
    campaign = Campaign(wanted, given.jobs, 60 * given.minutes if given.minutes else None, printed)
    results = campaign.run()
    if given.case:
        for result in results:
            print(json.dumps(result.spec, indent=1)[:4000])
    text = table(results, campaign.planned)
    print(text)
    if given.report:
        given.report.write_text(text + "\n", encoding="utf-8")
    if not given.no_corpus and not given.case and (added := corpus.grow(results)):
        print(f"{added} new cases are in {corpus.FOLDER}")
    for fault in campaign.broken:
        print(f"the campaign itself broke: {fault}")
    return 1 if campaign.broken or any(result.wrong for result in results) else 0


def _one(text: str, *, kept: bool) -> Case:
    case = Case.parse(text)
    domains.load(case.domain)
    if not kept:
        return case
    found = [one for one in corpus.read() if one.id == case.id]
    if not found:
        raise ValueError(f"{text} is not in the corpus")
    return found[0]


if __name__ == "__main__":
    sys.exit(main())

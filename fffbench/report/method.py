"""How did the numbers come about, in words? Every sentence about a rule is rendered from beside the rule."""

from __future__ import annotations

from dataclasses import dataclass

from fffbench.analysis import ceilings, change_points, evidence, rivals, thin
from fffbench.analysis.baselines import BASELINE_MEANING, THREADS_MEANING
from fffbench.analysis.headline import DEPLOYED, type_name
from fffbench.claims import rule
from fffbench.plan.workload import CACHE_MEANING, CALL_MEANING, PROCESS_MEANING, ROUTING_MEANING

Terms = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Method:
    """The sentences of the section on method that are about rules."""

    baselines: Terms = tuple(BASELINE_MEANING.items())
    threads: Terms = tuple(THREADS_MEANING.items())
    caches: Terms = tuple(CACHE_MEANING.items())
    calls: Terms = tuple(CALL_MEANING.items())
    routings: Terms = tuple(ROUTING_MEANING.items())
    verdicts: Terms = tuple(rule.MEANING.items())
    processes: str = PROCESS_MEANING
    evidence: str = evidence.RULE
    provisional: str = thin.PROVISIONAL
    rivals: str = rivals.RIVALS
    ceilings: str = ceilings.MEANING
    steps: str = change_points.MEANING
    deployed: str = ", ".join(map(type_name, DEPLOYED))


def row_terms() -> Terms:
    """What the columns of a row mean, for the README."""

    def listed(terms: Terms) -> str:
        return ". ".join(f"`{name}`: {text}" for name, text in terms)

    method = Method()
    return (
        ("time", "mean over runs of the median over fresh processes of each process's median; seconds per call"),
        ("speed-up", "`116x [112, 121]`: the mean over runs, and the 95 % interval of the next run's value"),
        ("baseline", listed(method.baselines)),
        ("threads", listed(method.threads)),
        ("routing", listed(method.routings)),
        ("cache", listed(method.caches)),
        ("call", listed(method.calls)),
        ("error, % of bound", "worst token against float64; roofline bound over measured time"),
        ("provisional", thin.PROVISIONAL.removeprefix("provisional: ")),
    )

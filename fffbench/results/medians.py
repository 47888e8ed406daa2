"""What is one number per fresh process, and on which host was each process?

A machine id stands for a kind of machine; two hosts of it have the same id. Which host measured is an anonymous word of
the record (never its name), empty where nobody knows; processes of unknown hosts count as those of one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import median


class Medians(tuple[float, ...]):  # noqa: SLOT001 - a tuple with attributes cannot have slots
    """The median of each process, in seconds; ``host`` measured all of them, or ``hosts`` has the host of each."""

    host: str = ""
    hosts: tuple[str, ...] = ()  # only of several
    estimate: object = None  # what ``analysis.stats`` made of them, which a report asks for again and again

    @classmethod
    def of(cls, processes: Iterable[Sequence[float]], hosts: Sequence[str] = ()) -> Medians:
        """The medians of samples by process; ``hosts`` names the host of each process, or nothing."""
        return cls.on(map(median, processes), hosts)

    @classmethod
    def on(cls, medians: Iterable[float], hosts: Sequence[str]) -> Medians:
        """``medians`` of processes on ``hosts``."""
        found = cls(medians)
        if len(set(hosts)) > 1:
            found.hosts = tuple(hosts)
        elif any(hosts):
            found.host = hosts[0]
        return found

    @property
    def places(self) -> tuple[str, ...]:
        """The host of each process."""
        return self.hosts or (self.host,) * len(self)

    def by_host(self) -> dict[str, list[float]]:
        """The medians of each host."""
        found: dict[str, list[float]] = {}
        for host, value in zip(self.places, self, strict=True):
            found.setdefault(host, []).append(value)
        return found


def beside(above: Medians, below: Medians) -> tuple[Medians, Medians]:
    """The processes of both sides on the hosts that measured both; all of them where there is no such host."""
    if not above.hosts and not below.hosts:
        return above, below
    common = set(above.places) & set(below.places)
    if not common:
        return above, below
    return _on(above, common), _on(below, common)


def _on(side: Medians, hosts: set[str]) -> Medians:
    kept = [(value, host) for value, host in zip(side, side.places, strict=True) if host in hosts]
    return Medians.on((value for value, _ in kept), [host for _, host in kept])

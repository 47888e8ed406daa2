"""Where can a source be read? The addresses that a claim's words name: arXiv, an anthology, a repository, an issue."""

from __future__ import annotations

import re

from fffbench.report.view import Source

_PLACES = (
    (re.compile(r"arXiv:(\d{4}\.\d{5})"), "https://arxiv.org/abs/{0}"),
    (re.compile(r"UltraFastBERT issue (\d+)"), "https://github.com/pbelcak/UltraFastBERT/issues/{0}"),
    (re.compile(r"ACL (\d{4}) short paper (\d+)"), "https://aclanthology.org/{0}.acl-short.{1}/"),
    (re.compile(r"repository ([\w.-]+/[\w.-]+)"), "https://github.com/{0}"),
)


def source(text: str) -> Source:
    """``text`` with the address of the first place that it names, if it names one."""
    found = [(match.start(), place.format(*match.groups())) for rule, place in _PLACES if (match := rule.search(text))]
    return Source(text, min(found)[1] if found else "")

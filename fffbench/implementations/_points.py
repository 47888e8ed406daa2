"""Which entry points have other packages registered, and whose metadata cannot be read?

``importlib.metadata.entry_points`` stops at the first package with a damaged ``entry_points.txt``, whoever's it is.
"""

from __future__ import annotations

from importlib.metadata import EntryPoint, distributions

from fffbench import contain

GROUP = "fffbench.implementations"


def registered() -> tuple[list[EntryPoint], dict[str, str]]:
    """The entry points of our group, and by package why its metadata cannot be read; of two of a name the first."""
    found: list[EntryPoint] = []
    unreadable: dict[str, str] = {}
    seen: set[str] = set()
    for package in distributions():
        name = "a package without a name"
        try:
            if GROUP not in (package.read_text("entry_points.txt") or ""):
                continue
            name = contain.one_line(package.name or name)
            if name not in seen:
                seen.add(name)
                found += [point for point in package.entry_points if point.group == GROUP]
        except Exception as error:  # noqa: BLE001 - whatever a parser of foreign text raises
            unreadable[name] = f"its metadata cannot be read: {contain.one_line(f'{type(error).__name__}: {error}')}"
    return found, unreadable

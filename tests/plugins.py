"""Somebody else's packages, as an installer leaves them: modules, and metadata that names their entry points."""

import os
import sys

from fffbench import extensions
from fffbench.implementations import registry


def install(folder, entry_points, monkeypatch, **others):
    """Register ``entry_points`` (name to value) of modules in ``folder`` for this process and those it starts.

    They are implementations; ``devices`` and ``problems`` are the other groups.

    ``folder`` comes onto the import path; the metadata is written beside it.
    """
    metadata = folder / "theirs-1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1\n")
    text = ""
    for group, points in {"implementations": entry_points, **others}.items():
        lines = [f"{name} = {value}" for name, value in points.items()]
        text += "\n".join((f"[fffbench.{group}]", *lines, ""))
    (metadata / "entry_points.txt").write_text(text)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH")))))
    monkeypatch.setattr(sys, "path", [str(folder), *sys.path])
    forget()


def forget():
    """Ask anew what is registered."""
    for known in (registry._plugins, extensions._points, extensions._loaded, extensions._fault):
        known.cache_clear()

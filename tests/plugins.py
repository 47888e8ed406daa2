"""Somebody else's packages, as an installer leaves them: modules, and metadata that names their entry points."""

import os
import sys

from fffbench.implementations import registry


def install(folder, entry_points, monkeypatch):
    """Register ``entry_points`` (name to value) of modules in ``folder`` for this process and those it starts.

    ``folder`` comes onto the import path; the metadata is written beside it.
    """
    metadata = folder / "theirs-1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1\n")
    lines = [f"{name} = {value}" for name, value in entry_points.items()]
    (metadata / "entry_points.txt").write_text("\n".join(("[fffbench.implementations]", *lines, "")))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH")))))
    monkeypatch.setattr(sys, "path", [str(folder), *sys.path])
    registry._plugins.cache_clear()

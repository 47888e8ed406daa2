"""What under a folder of results could not be used, of what the page reads beside the layers?

``store.load`` names what it refuses itself: layers, history, checks, jobs.
"""

from __future__ import annotations

from pathlib import Path

from fffbench.results.accuracy import read_layer_times, read_trained
from fffbench.results.listing import Refusal
from fffbench.results.models import load_models
from fffbench.results.snapshots import read_snapshots


def beside_layers(root: Path) -> tuple[Refusal, ...]:
    """Refused parts of whole models, trained layers and their times, and published versions."""
    _, trained = read_trained(root)
    _, times = read_layer_times(root)
    _, snapshots = read_snapshots(root)
    return (*load_models(root).refused, *trained, *times, *snapshots)

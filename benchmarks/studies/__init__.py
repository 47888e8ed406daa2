"""Studies about the tool itself, in no wheel: run from a checkout as ``python -m benchmarks.studies.<name>``.

``agreement``: our clock against others'. ``calibrate``: how often ``regress`` and asv are wrong. ``slowed_commit``:
does a slow commit stand out. ``kernel_ladder``: the time of each kernel strategy. ``many_machines``: merging and
rendering the results of 500 machines. ``readme``: the generated part of README.md.

A checkout's own ``fffbench`` lacks the compiled kernels, and ``python -m`` puts the current folder first on the import
path: it goes last, so that an installed package is what is studied.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]  # of the checkout
sys.path[:] = [*(entry for entry in sys.path if Path(entry or ".").resolve() != ROOT), str(ROOT)]

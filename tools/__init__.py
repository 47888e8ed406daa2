"""Tools about the project, in no wheel: run from a checkout as ``python -m tools.<name>``.

A checkout's own ``fffbench`` lacks the compiled kernels, and ``python -m`` puts the current folder first on the import
path: it goes last, so that an installed package is what a tool works on.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]  # of the checkout
sys.path[:] = [*(entry for entry in sys.path if Path(entry or ".").resolve() != ROOT), str(ROOT)]

"""What happens to the product when everything around it is hostile?

``python -m tools.hostile`` draws thousands of seeded cases in domains (one file each under ``domains/``), plays each
with limits of time and memory, and judges what the product did. A case is ``domain:seed:index`` and is reproducible
alone by ``--case``. Cases that were ever found wrong are kept in ``corpus/`` and come first.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]  # of the checkout

# The checkout's own ``fffbench`` has no compiled kernels: what is installed is what is attacked.
sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != ROOT]

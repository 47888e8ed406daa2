"""What happens to the product when everything around it is hostile?

``python -m tools.hostile`` draws thousands of seeded cases in domains (one file each under ``domains/``), plays each
with limits of time and memory, and judges what the product did. A case is ``domain:seed:index`` and is reproducible
alone by ``--case``. Cases that were ever found wrong are kept in ``corpus/`` and come first.
"""

from __future__ import annotations

from tools import ROOT

__all__ = ["ROOT"]

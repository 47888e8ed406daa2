"""Every cell of a preset, as pytest-benchmark sees it. The test lives in the package, for ``fffbench run``."""

from fffbench.suite.test_cells import test_cell

__all__ = ["test_cell"]

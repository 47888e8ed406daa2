"""Every cell of a preset, as pytest-benchmark sees it. The tests live in the package, for ``fffbench run``."""

from fffbench.suite.test_cells import test_cell, test_skipped_cell

__all__ = ["test_cell", "test_skipped_cell"]

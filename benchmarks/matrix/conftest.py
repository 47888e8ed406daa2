"""The matrix suite under pytest: ``pytest benchmarks/matrix --preset quick``. See ``fffbench.suite.matrix``."""

import importlib.util
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]

# `python -m pytest` puts the current folder first on the import path; a checkout's sources lack the compiled kernels
# that the installed package has.
if "fffbench" not in sys.modules and importlib.util.find_spec("fffbench._cpu") is None:
    sys.modules.pop("fffbench", None)
    sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != CHECKOUT]
    importlib.invalidate_caches()
    if importlib.util.find_spec("fffbench") is None:
        sys.path.append(str(CHECKOUT))  # nothing is installed: the plugin says so

from fffbench.suite.matrix import (  # noqa: E402
    measured,
    pytest_addoption,
    pytest_benchmark_generate_commit_info,
    pytest_benchmark_update_json,
    pytest_benchmark_update_machine_info,
    pytest_configure,
    pytest_generate_tests,
    pytest_report_header,
    pytest_sessionfinish,
)

__all__ = [
    "measured",
    "pytest_addoption",
    "pytest_benchmark_generate_commit_info",
    "pytest_benchmark_update_json",
    "pytest_benchmark_update_machine_info",
    "pytest_configure",
    "pytest_generate_tests",
    "pytest_report_header",
    "pytest_sessionfinish",
]

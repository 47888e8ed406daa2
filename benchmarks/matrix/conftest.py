"""The matrix suite under pytest: ``pytest benchmarks/matrix --preset quick``. See ``fffbench.suite``."""

from fffbench.suite import (
    pytest_addoption,
    pytest_benchmark_generate_commit_info,
    pytest_benchmark_update_json,
    pytest_benchmark_update_machine_info,
    pytest_generate_tests,
)

__all__ = [
    "pytest_addoption",
    "pytest_benchmark_generate_commit_info",
    "pytest_benchmark_update_json",
    "pytest_benchmark_update_machine_info",
    "pytest_generate_tests",
]

"""The two suites: ``history`` (asv, a few figures per commit) and ``matrix`` (pytest-benchmark, every cell)."""

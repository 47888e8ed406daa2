"""Tools about the project, in no wheel: run from a checkout as ``python -m tools.<name>``."""

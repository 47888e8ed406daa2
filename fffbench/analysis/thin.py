"""When is a figure provisional, and in which words? For every reader; it imports nothing, as the command line does."""

from __future__ import annotations

FULL_PROCESSES = 6  # 6 against 6 is where Mann-Whitney inversion no longer needs the full range for 95 %
FULL_RUNS = 2  # one run says nothing of the next
PROVISIONAL = (
    f"provisional: fewer than {FULL_RUNS} runs with both sides, fewer than {FULL_PROCESSES} processes of a side in "
    "all of them, or a dense layer not tried that may be faster"
)


def thin(runs: int, processes: int) -> bool:
    """Whether that is too little evidence to call a figure settled."""
    return runs < FULL_RUNS or processes < FULL_PROCESSES


def few(runs: int, processes: int) -> str:
    """How thin the evidence is, in words; empty where there is enough."""
    if not thin(runs, processes):
        return ""
    if not runs:
        return "no run with both sides"
    said = [f"{runs} run"] if runs < FULL_RUNS else []
    return ", ".join([*said, *([counted(processes)] if processes < FULL_PROCESSES else [])])


def counted(processes: int) -> str:
    """``1 process`` or ``3 processes``."""
    return f"{processes} process{'es' * (processes != 1)}"

"""``fffbench`` and ``python -m fffbench``: the command line, quiet from its first moment when interrupted.

Importing the command line takes a third of a second. Ctrl-C in it ends the process at once: there is nothing to keep.
"""

from __future__ import annotations

import os
import signal
import sys

os.environ["PYDANTIC_DISABLE_PLUGINS"] = "__all__"  # it imports what any package registers, a kernel's too
_BEFORE = signal.getsignal(signal.SIGINT)


def _leave(*_: object) -> None:
    os.write(2, b"interrupted\n")
    os._exit(128 + signal.SIGINT)


if _BEFORE is signal.default_int_handler:  # a background leaves it ignored
    signal.signal(signal.SIGINT, _leave)


def occupy_closed_streams() -> None:
    """Let what a caller closed (``>&-``) lead to nowhere: the next file opened would get the number, and the output."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, os.O_RDWR)
            if nowhere != number:
                os.dup2(nowhere, number)
                os.close(nowhere)
            setattr(sys, name, open(number, "w" if number else "r", closefd=False))  # noqa: SIM115 - it stays open


def main() -> None:
    """Import the command line and run it."""
    occupy_closed_streams()
    from fffbench import cli

    signal.signal(signal.SIGINT, _BEFORE)
    cli.main()


if __name__ == "__main__":
    main()

"""What does each command do, and how does it fail?

Every mistake of the user's is one line on standard error and exit code 2;
Ctrl-C is 130, ``kill`` 143 while a run measures. Commands import what they need when they run, so ``--help`` and
the reading commands never load torch.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys

import typer

from fffbench.cli import measuring, reading, regress
from fffbench.cli.stopped import Stopped
from fffbench.errors import UserError

EXIT_USAGE = 2
EXIT_INTERRUPTED = 130  # as shells report it

app = typer.Typer(
    name="fffbench",
    help="How fast are fast feedforward networks, really, on my hardware?",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
measuring.add_to(app)
reading.add_to(app)
regress.add_to(app)

# Typer carries its own copy of click and exports only the leaves of its errors: this is their common base.
_ClickError: type[Exception] = typer.BadParameter.__mro__[2]


def main() -> None:
    """Run the command line and leave with its exit code."""
    for stream in (sys.stdout, sys.stderr):  # a path that the terminal cannot show is no reason to fail
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command; return its exit code."""
    try:
        code = typer.main.get_command(app).main(arguments, prog_name="fffbench", standalone_mode=False)
    except UserError as error:
        return _fail(str(error))
    except _ClickError as error:
        return _fail(_one_line(error.format_message() if hasattr(error, "format_message") else str(error)))
    except Stopped as stop:
        _say(str(stop))
        return stop.code
    except (KeyboardInterrupt, typer.Abort):
        code = EXIT_INTERRUPTED
    except BrokenPipeError:  # the reader of our output has gone: not an error of ours, but nothing can be printed
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _fail(f"{where}{error.strerror or error}; it must be readable, writable and have space left")
    if code == EXIT_INTERRUPTED:  # click makes an exit code of Ctrl-C
        _say("interrupted")
    return code if isinstance(code, int) else 0


def _fail(message: str) -> int:
    _say(f"fffbench: {_one_line(message)}")
    return EXIT_USAGE


def _say(line: str) -> None:
    with contextlib.suppress(OSError):  # the terminal may be gone: that is what SIGHUP says
        print(line, file=sys.stderr, flush=True)


def _one_line(text: str) -> str:
    return " ".join(text.split())


__all__ = ["app", "main", "run"]

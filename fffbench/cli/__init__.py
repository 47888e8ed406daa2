"""What does each command do, and how does it fail?

Every mistake of the user's is one line on standard error and exit code 2;
Ctrl-C is 130, ``kill`` 143. Commands import what they need when they run, so ``--help`` and
the reading commands never load torch.
"""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import typer

from fffbench.cli import measuring, reading, regress
from fffbench.cli.ending import EXIT_INTERRUPTED, EXIT_TERMINATED, Terminated
from fffbench.errors import UserError
from fffbench.text import message

EXIT_USAGE = 2
MEASURING = ("run", "regress")  # what keeps its measurements when it is interrupted

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


def main(arguments: list[str] | None = None) -> int:
    """Run one command on the process's own streams, which take any text from here on; return its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # None where the descriptor is closed
            # a terminal that knows ASCII only is no reason to lose a result: what it cannot show is escaped
            stream.reconfigure(errors="backslashreplace")
    return run(sys.argv[1:] if arguments is None else arguments)


def run(arguments: list[str]) -> int:
    """Run one command; return its exit code."""
    try:
        code = typer.main.get_command(app).main(arguments, prog_name="fffbench", standalone_mode=False)
    except UserError as error:
        return _fail(str(error))
    except _ClickError as error:
        return _fail(error.format_message() if hasattr(error, "format_message") else str(error))
    except (KeyboardInterrupt, typer.Abort):
        code = EXIT_INTERRUPTED
    except Terminated:
        code = EXIT_TERMINATED
    except BrokenPipeError:  # the reader of our output has gone: not an error of ours, but nothing can be printed
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except ModuleNotFoundError as error:
        return _fail(_missing(error, arguments))
    except OSError as error:
        return _fail(_system(error))
    if code in (EXIT_INTERRUPTED, EXIT_TERMINATED):
        measuring_command = bool(arguments) and arguments[0] in MEASURING
        kept = "; what was measured is kept, and the same command continues" if measuring_command else ""
        print(f"interrupted{kept}", file=sys.stderr)
    return code if isinstance(code, int) else 0


def _missing(error: ModuleNotFoundError, arguments: list[str]) -> str:
    """What to install where a command needs what a plain installation has not."""
    command = arguments[0] if arguments else "fffbench"
    module = (error.name or "").partition(".")[0]
    if module == "fffbench":
        raise error  # the package itself is broken
    extra = "regress" if command == "regress" else "measure"
    return (
        f"{command} needs the Python module {module!r}, which the extra `{extra}` brings: "
        f"python -m pip install 'fffbench[{extra}]'"
    )


def _system(error: OSError) -> str:
    try:
        Path.cwd()
    except OSError as gone:
        return f"the current folder cannot be used: {gone.strerror}; change to one that exists"
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{error.strerror or error}; it must be readable, writable and have space left"


def _fail(text: str) -> int:
    print(f"fffbench: {message(text)}", file=sys.stderr)
    return EXIT_USAGE


__all__ = ["app", "main", "run"]

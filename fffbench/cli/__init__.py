"""What does each command do, and how does it fail?

Every mistake of the user's is one line on standard error and exit code 2;
Ctrl-C is 130, ``kill`` 143 while a run measures. Commands import what they need when they run, so ``--help`` and
the reading commands never load torch.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

import fffbench
from fffbench import extensions
from fffbench.cli import (
    claims,
    compare,
    duel,
    fleet,
    implementations,
    measuring,
    merge,
    models,
    new,
    notices,
    profile,
    reading,
    regress,
    speedup,
    todo,
)
from fffbench.cli.stopped import Stopped
from fffbench.errors import UserError, one_of
from fffbench.text import message

EXIT_USAGE = 2
_NO_COMMAND = re.compile(r"No such command '(.*?)'")
NO_COMPLETION = ""  # no variable has that name; a shell's leftover of the usual one ended every command with exit 1
EXIT_INTERRUPTED = 130  # as shells report it

app = typer.Typer(
    name="fffbench",
    help="How fast are fast feedforward networks, really, on my hardware?",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
COMMANDS: dict[str, Callable[..., None]] = {
    "list": implementations.list_implementations,
    "check": implementations.check,
    "run": measuring.run,
    "report": reading.report,
    "claims": claims.claims,
    "speedup": speedup.speedup,
    "todo": todo.todo,
    "compare": compare.compare,
    "new": new.new,
    "duel": duel.duel,
    "profile": profile.profile,
    "regress": regress.regress,
    "merge": merge.merge,
    "models": models.show,
}
for _name, _command in COMMANDS.items():
    app.command(_name)(_command)
app.add_typer(fleet.fleet_app, name="fleet")


def _show_version(wanted: bool) -> None:  # noqa: FBT001 - typer calls it
    if wanted:
        print(f"fffbench {fffbench.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="print the version and stop")
    ] = False,
) -> None:
    """Take the options of the whole program."""


# Typer carries its own copy of click and exports only the leaves of its errors: this is their common base.
_ClickError: type[Exception] = typer.BadParameter.__mro__[2]


def main() -> None:
    """Run the command line and leave with its exit code."""
    # a terminal that knows ASCII only is no reason to lose a result: what it cannot show is escaped
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command; return its exit code."""
    notices.take()  # of a command before, which failed
    extensions.left_out.clear()
    try:
        code = typer.main.get_command(app).main(
            arguments or ["--help"], prog_name="fffbench", standalone_mode=False, complete_var=NO_COMPLETION
        )
        _flush()
    except UserError as error:
        return _fail(str(error))
    except _ClickError as error:
        return _fail(_nearest(error.format_message() if hasattr(error, "format_message") else str(error), arguments))
    except Stopped as stop:
        _say(str(stop))
        return stop.code
    except (KeyboardInterrupt, typer.Abort):
        code = EXIT_INTERRUPTED
    except (BrokenPipeError, SystemExit) as error:
        # the reader of our output has gone: not an error of ours, but nothing can be printed; typer's answer is to exit
        if not isinstance(error, BrokenPipeError) and not isinstance(error.__context__, BrokenPipeError):
            raise
        _give_up_output()
        return 0
    except (ModuleNotFoundError, OSError) as error:
        _give_up_output()
        return _fail(_missing(error, arguments) if isinstance(error, ModuleNotFoundError) else _system(error))
    if code == EXIT_INTERRUPTED:  # click makes an exit code of Ctrl-C
        _say("interrupted")
    for line in (*map(notices.left_out, extensions.left_out), *notices.take()):
        _say(line)
    return code if isinstance(code, int) else 0


def _nearest(text: str, arguments: list[str]) -> str:
    """``text``, of an unknown command with the one that was meant."""
    found = _NO_COMMAND.match(text)
    group: Any = typer.main.get_command(app)
    inner = group.commands.get(arguments[0]) if arguments else None
    group = inner if hasattr(inner, "commands") else group
    return str(one_of("command", found[1], group.commands)) if found else text


def _flush() -> None:
    """Write what is buffered while a full disk or a reader that has gone can still be answered in a line."""
    if sys.stdout is not None:
        sys.stdout.flush()


def _give_up_output() -> None:
    """Let the interpreter's last flush, which would print an exception of its own, find nothing or somewhere to go."""
    try:
        _flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _missing(error: ModuleNotFoundError, arguments: list[str]) -> str:
    """What to install where a command needs what a plain installation has not."""
    command = arguments[0] if arguments else "fffbench"
    module = (error.name or "").partition(".")[0]
    if module == "fffbench":
        raise error  # the package itself is broken
    extra = "regress" if command == "regress" else "fleet" if module == "submitit" else "measure"
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
    _say(f"fffbench: {message(text)}")
    return EXIT_USAGE


def _say(line: str) -> None:
    with contextlib.suppress(OSError):  # the terminal may be gone: that is what SIGHUP says
        print(line, file=sys.stderr, flush=True)


__all__ = ["app", "main", "run"]

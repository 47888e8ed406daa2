"""Where does the command line begin? ``fffbench`` and ``python -m fffbench`` both start here.

Importing the commands takes a third of a second, in which Ctrl-C must be as quiet as later; so nothing is imported
before it is caught.
"""

from __future__ import annotations

import sys

EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells report it


def main() -> None:
    """Run the command line and leave with its exit code."""
    try:
        from fffbench import cli

        code = cli.main(sys.argv[1:])
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        code = EXIT_INTERRUPTED
    sys.exit(code)


if __name__ == "__main__":
    main()

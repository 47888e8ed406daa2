"""``python -m fffbench``: the command line where its script is not on the path."""

from fffbench.cli import main

if __name__ == "__main__":
    main()

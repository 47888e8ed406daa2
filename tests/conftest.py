"""Being here puts this folder on the import path, so that tests in subfolders can import ``synthetic``.

Subprocesses of the tests import the installed package, as the tests do, and not the sources in the current folder,
which lack the compiled kernels. They have a temporary folder of their own: the lock that keeps two runs from measuring
at once lies there, and the runs of two test sessions (or of a test and of a user) do not count their time.

Tests that take a time, or judge one, are marked ``alone`` by where they lie: ``nox -s tests`` runs the others on all
cores first, then these one by one, for beside other work a clock's cross-check or a thread count cannot hold.

``tools`` and ``benchmarks`` are in no wheel: the checkout stands last on the import path, behind what is installed.
"""

import atexit
import os
import signal
import sys
import tempfile
from pathlib import Path

import pytest

os.environ["PYTHONSAFEPATH"] = "1"
_TEMPORARY = tempfile.TemporaryDirectory(prefix="fffbench-tests-")
atexit.register(_TEMPORARY.cleanup)
os.environ["TMPDIR"] = _TEMPORARY.name
Path(_TEMPORARY.name).chmod(0o711)  # another user's process can pass, as through /tmp
sys.path.append(str(Path(__file__).resolve().parents[1]))

# ``nohup`` and a shell's background leave signals ignored, and children inherit that; what has a handler is default
# again in a child, and the suite itself goes on as it was asked to.
for _number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, lambda *_: None)

ALONE = ("additions/", "measure/", "regress/", "suite/", "judges/test_cheats.py", "judges/test_regress.py")
ALONE += ("cli/test_plugins.py", "cli/test_new.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what measures by where it lies."""
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here) and item.path.relative_to(here).as_posix().startswith(ALONE):
            item.add_marker(pytest.mark.alone)

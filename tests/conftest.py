"""Being here puts this folder on the import path, so that tests in subfolders can import ``synthetic``.

Subprocesses of the tests import the installed package, as the tests do, and not the sources in the current folder,
which lack the compiled kernels. They have a temporary folder of their own: the lock that keeps two runs from measuring
at once lies there, and the runs of two test sessions (or of a test and of a user) do not count their time.

``tools`` and ``benchmarks`` are in no wheel: the checkout stands last on the import path, behind what is installed.
"""

import atexit
import os
import signal
import sys
import tempfile
from pathlib import Path

os.environ["PYTHONSAFEPATH"] = "1"
_TEMPORARY = tempfile.TemporaryDirectory(prefix="fffbench-tests-")
atexit.register(_TEMPORARY.cleanup)
os.environ["TMPDIR"] = _TEMPORARY.name
sys.path.append(str(Path(__file__).resolve().parents[1]))

# ``nohup`` and a shell's background leave signals ignored, and children inherit that; what has a handler is default
# again in a child, and the suite itself goes on as it was asked to.
for _number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, lambda *_: None)

"""Being here puts this folder on the import path, so that tests in subfolders can import ``synthetic``.

Subprocesses of the tests import the installed package, as the tests do, and not the sources in the current folder,
which lack the compiled kernels.
"""

import os

os.environ["PYTHONSAFEPATH"] = "1"

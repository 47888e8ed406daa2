"""How does a process end when the one that started it does, however that one ends?

Standard library only, so that the workers of ``regress``, which import nothing else of the package, can use it.
"""

from __future__ import annotations

import ctypes
import os
import signal

PR_SET_PDEATHSIG = 1  # prctl's: the signal to get when the parent ends


def end_with_parent(parent: int) -> None:
    """Be killed when the process ``parent``, which started this one, ends; now, where it has ended already.

    The setting survives ``exec`` but is not inherited: a child that is forked calls this for itself.
    """
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it was quicker
        os._exit(1)

"""A file system that is soon full, for tests of what is lost then."""

import contextlib
import subprocess

import pytest


@contextlib.contextmanager
def small(folder):
    """A real file system of 16 KiB, mounted at ``folder``; the test is skipped where none can be mounted."""
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(folder)], capture_output=True, text=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"cannot mount a small file system here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)

"""Is the garbage collector off inside and as before afterwards?"""

from __future__ import annotations

import gc

import pytest

from fffbench.collector import collector_paused


@pytest.mark.parametrize("running", [True, False])
def test_the_collector_is_off_inside_and_as_before_after_an_error(running):
    before = gc.isenabled()
    (gc.enable if running else gc.disable)()
    seen = []

    @collector_paused()
    def fails():
        seen.append(gc.isenabled())
        raise KeyError

    try:
        with pytest.raises(KeyError):
            fails()
        assert (seen, gc.isenabled()) == ([False], running)
    finally:
        (gc.enable if before else gc.disable)()

"""Does the stub say what the compiled module holds?"""

import shutil

import pytest

from fffbench import _cpu

pytest.importorskip("nanobind.stubgen")
from tools.cpu import stubs

pytestmark = pytest.mark.skipif(shutil.which("ruff", path=stubs.PATH) is None, reason="needs ruff")


def test_the_stub_is_what_the_generator_makes_of_the_module():
    assert stubs.STUB.read_text() == stubs.stub(), "python -m tools.cpu.stubs writes it anew"


def test_a_binding_that_the_stub_lacks_is_found(monkeypatch):
    monkeypatch.setattr(_cpu, "NEW_LIMIT", 3, raising=False)
    assert "NEW_LIMIT" in stubs.stub()

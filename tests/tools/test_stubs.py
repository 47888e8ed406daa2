"""Do the stubs say what the compiled modules hold?"""

import shutil

import pytest

pytest.importorskip("fffbench._cpu_faults")
from tools.cpu import stubs

pytestmark = pytest.mark.skipif(
    shutil.which("ruff", path=stubs.PATH) is None, reason="needs ruff, which lays stubs out"
)


@pytest.mark.parametrize("name", stubs.MODULES)
def test_a_stub_is_what_the_generator_makes_of_the_module(name):
    written = (stubs.ROOT / "fffbench" / f"{name}.pyi").read_text()
    assert written == stubs.stub(name), "python -m tools.cpu.stubs writes it anew"


def test_a_binding_that_the_stub_lacks_is_found(monkeypatch):
    module = __import__("fffbench._cpu", fromlist=["_cpu"])
    monkeypatch.setattr(module, "NEW_LIMIT", 3, raising=False)
    assert "NEW_LIMIT" in stubs.stub("_cpu")

"""Does asv measure every optimised kernel that is registered, without a list of its own?"""

import importlib.util
from pathlib import Path

from fffbench.implementations import registry

KERNELS = Path(__file__).parents[2] / "benchmarks" / "history" / "kernels.py"


def loaded():
    spec = importlib.util.spec_from_file_location("history_kernels", KERNELS)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_list_of_asv_is_the_registrys():
    own = {item.name: item.devices for item in registry.implementations().values() if not item.foreign}
    for family in ("fff", "dense", "cmm"):
        names = [name for name, item in registry.implementations().items() if item.family == family and name in own]
        assert loaded().registered(family) == {name: own[name] for name in sorted(names)}
    assert loaded().Optimised.params[0] == sorted(loaded().registered("fff"))


def test_a_kernel_that_is_added_is_measured_without_a_change_there(tmp_path, monkeypatch):
    module = loaded()
    monkeypatch.setattr(module, "IMPLEMENTATIONS", tmp_path)
    (tmp_path / "fff_new.py").write_text('"New."\nimport nothing_here\nFAMILY, DEVICES = "fff", ("cuda", "cpu")\n')
    (tmp_path / "dense_new.py").write_text('FAMILY = "dense"\nDEVICES = ("cpu",)\n')
    assert module.registered("fff") == {"fff_new": ("cuda", "cpu")}

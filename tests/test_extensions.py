"""A package that adds a device, a kind of layer or of claim is part of the judge; a broken one ends no command."""

import plugins
import pytest

from fffbench import extensions
from fffbench.claims import kinds as claim_kinds
from fffbench.devices import DEVICES
from fffbench.errors import UserError
from fffbench.problems import PROBLEMS


@pytest.mark.parametrize("known", [DEVICES, PROBLEMS, claim_kinds.KINDS], ids=["device", "problem", "kind of claim"])
@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import sys\nsys.exit(0)", "SystemExit: 0"),
        ("raise BaseException('so\\nthere')", "BaseException: so there"),
        ("raise GeneratorExit", "GeneratorExit"),
        ("import nothing_of_that_name", "ModuleNotFoundError"),
        ("DEVICE = PROBLEM = KIND = 5", "must be a"),
        ("", "AttributeError"),
    ],
)
def test_one_that_breaks_in_any_way_is_refused_by_name_and_the_rest_is_there(
    known, source, said, tmp_path, monkeypatch, capsys
):
    (tmp_path / "theirs.py").write_text(f"print('hello from an import')\n{source}\n")
    group = known._group.partition(".")[2]
    plugins.install(tmp_path, {}, monkeypatch, **{group: {"zoo": "theirs"}})
    monkeypatch.delitem(extensions.sys.modules, "theirs", raising=False)
    try:
        assert "zoo" in known
        with pytest.raises(UserError, match="'zoo'") as refused:
            known["zoo"]
        assert said in str(refused.value)
        assert "\n" not in str(refused.value)
        assert set(known.usable()) == set(known.own)
        assert capsys.readouterr().out == ""
    finally:
        plugins.forget()
        monkeypatch.delitem(extensions.sys.modules, "theirs", raising=False)

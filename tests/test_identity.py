"""A machine keeps its id while its memory is reported a little differently, and the committed ones keep theirs."""

import json
from pathlib import Path

import pytest

from fffbench import identity

MATRIX = Path(__file__).parents[1] / "results" / "matrix"
FACTS = {
    "cpu": "AMD EPYC", "vendor": "AuthenticAMD", "model": "family 25 model 17 stepping 1", "architecture": "zen4",
    "instruction sets": "avx2 fma avx512f avx512_bf16", "cores": "2", "virtualised": "yes", "system": "Linux",
    "caches": "L1 32 KiB, L2 1024 KiB, L3 32768 KiB", "memory": "24 GiB",
}  # fmt: skip


@pytest.mark.parametrize("memory", ["24 GiB", "23 GiB", "25 GiB", None])
def test_memory_moves_no_id_and_the_physical_cores_do_not_either(memory):
    facts = {name: value for name, value in FACTS.items() if name != "memory"}
    changed = facts | ({"memory": memory} if memory else {}) | {"physical cores": "1"}
    assert identity.machine_id(changed) == identity.machine_id(FACTS) == "amd-epyc-zen4-2c-df65"


def test_forty_two_mebibytes_less_leave_the_id(monkeypatch):
    psutil = pytest.importorskip("psutil")
    from fffbench.measure import fingerprint

    class Memory:
        def __init__(self, total):
            self.total = total

    found = set()
    for total in (23.5 * 2**30 + 21 * 2**20, 23.5 * 2**30 - 21 * 2**20):
        monkeypatch.setattr(psutil, "virtual_memory", lambda total=total: Memory(int(total)))
        facts = fingerprint.stable()
        found.add((facts["memory"], fingerprint.machine_id(facts)))
    assert len({memory for memory, _ in found}) == 2, "the edge of the rounding was crossed"
    assert len({machine for _, machine in found}) == 1


@pytest.mark.skipif(not MATRIX.is_dir(), reason="needs the committed results")
def test_every_committed_machine_still_gets_the_id_of_its_folder():
    folders = [folder for folder in MATRIX.iterdir() if folder.is_dir()]
    assert folders
    for folder in folders:
        for path in sorted(folder.glob("*.json"))[:1]:
            facts = json.loads(path.read_text())["fffbench"]["machine"]["stable"]
            assert identity.machine_id(facts) == folder.name
            assert identity.belongs(folder.name, facts)


def test_an_id_belongs_to_its_facts_and_to_no_others():
    assert identity.belongs("amd-epyc-zen4-2c-df65", FACTS)
    other = FACTS | {"cores": "4"}
    assert not identity.belongs("amd-epyc-zen4-2c-df65", other)
    assert identity.belongs(identity.machine_id(other), other)
    assert not identity.belongs("amd-epyc-zen4-2c-df65", {})


def test_another_accelerator_is_another_machine():
    gpus = [FACTS, FACTS | {"gpu 0": "NVIDIA H100"}, FACTS | {"gpu 0": "NVIDIA H200"}]
    assert len({identity.machine_id(facts) for facts in gpus}) == len(gpus)

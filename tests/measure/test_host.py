"""A host is known by a word that nobody can read anything from."""

import pytest

from fffbench.measure import host

KEY = "3d1219c7c4c5404aaa1f6d2a48adfda4"


def machine(folder, key=KEY, cards=(("eth0", "02:00:00:00:00:01", True),)):
    (folder / "etc").mkdir(parents=True)
    (folder / "etc" / "machine-id").write_text(f"{key}\n")
    for name, address, physical in cards:
        card = folder / "sys" / "class" / "net" / name
        card.mkdir(parents=True)
        (card / "address").write_text(f"{address}\n")
        if physical:
            (card / "device").mkdir()
    return folder


def test_the_word_is_the_same_each_time_and_another_on_another_machine(tmp_path):
    here = machine(tmp_path / "a")
    word = host.anonymous(here)
    assert host.anonymous(here) == word
    others = [
        machine(tmp_path / "b", key=KEY[::-1]),
        machine(tmp_path / "c", cards=[("eth0", "02:00:00:00:00:02", True)]),  # booted from the same image
    ]
    assert len({word, *map(host.anonymous, others)}) == 3


def test_it_says_nothing_of_the_machine(tmp_path):
    word = host.anonymous(machine(tmp_path / "a"))
    assert len(word) == host.DIGITS
    assert set(word) <= set("0123456789abcdef")
    assert word not in KEY


def test_bridges_and_containers_come_and_go_and_change_nothing(tmp_path):
    cards = [("eth0", "02:00:00:00:00:01", True), ("docker0", "02:42:00:00:00:07", False)]
    assert host.anonymous(machine(tmp_path / "a")) == host.anonymous(machine(tmp_path / "b", cards=cards))


@pytest.mark.parametrize("key", ["", "uninitialized", "0" * 32, "not a key"])
def test_without_a_random_key_nobody_can_tell(tmp_path, key):
    assert host.anonymous(machine(tmp_path / "a", key=key)) == ""
    assert host.anonymous(tmp_path / "nowhere") == ""

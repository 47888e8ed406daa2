"""The fingerprint: stable, readable, and silent about who owns the machine."""

import getpass
import platform
import re

from fffbench.measure import fingerprint


def test_the_machine_id_is_the_same_each_time_and_fits_a_folder_name():
    first, second = fingerprint.stable(), fingerprint.stable()
    assert first == second
    assert re.fullmatch(r"[a-z0-9][a-z0-9-]{0,79}", fingerprint.machine_id(first))


def test_neither_host_nor_user_nor_path_is_recorded():
    text = repr((fingerprint.stable(), fingerprint.observed(), fingerprint.machine_id(fingerprint.stable())))
    assert platform.node() not in text or len(platform.node()) < 3
    assert not re.search(rf"\b{re.escape(getpass.getuser())}\b", text)
    assert "/home/" not in text
    assert "/root" not in text


def test_another_core_count_is_another_machine():
    facts = fingerprint.stable()
    assert fingerprint.machine_id(facts) != fingerprint.machine_id({**facts, "cores": "4711"})


def test_marketing_words_and_clock_speeds_stay_out_of_the_id():
    facts = {"cpu": "Intel(R) Xeon(R) Platinum 8468V CPU @ 2.40GHz", "architecture": "sapphirerapids", "cores": "16"}
    assert re.fullmatch(r"intel-xeon-platinum-8468v-sapphirerapids-16c-[0-9a-f]{4}", fingerprint.machine_id(facts))

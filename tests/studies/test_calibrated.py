"""Are the published error rates those of the stored studies, and are asv's counted by asv's own rule?"""

import itertools
import shutil
from pathlib import Path

import pytest

from benchmarks.studies import asv_rates, calibrate, calibrated
from fffbench.errors import UserError

ROOT = Path(__file__).parents[2]
CALIBRATION = ROOT / "results" / "calibration"
FAST = [1.0 + 0.001 * (index % 7) for index in range(40)]
SLOW = [1.2 * sample for sample in FAST]
BIT_SLOWER = [1.07 * sample for sample in FAST]


def pair(planted, base, head):
    return {"planted": planted, "base": {"k": base}, "head": {"k": head}, "regression": head is SLOW, "seconds": 1.0}


@pytest.fixture
def docs(tmp_path):
    """A copy of the file that holds the tables."""
    (tmp_path / calibrated.DOCS).parent.mkdir(parents=True)
    shutil.copy(ROOT / calibrated.DOCS, tmp_path / calibrated.DOCS)
    return tmp_path / calibrated.DOCS


def test_the_tables_of_the_docs_are_those_of_the_results(docs, tmp_path):
    pytest.importorskip("asv")
    assert calibrated.write(tmp_path, CALIBRATION) == [], "stale: python -m benchmarks.studies.calibrate --tables"


def test_a_figure_changed_by_hand_is_put_right(docs, tmp_path):
    pytest.importorskip("asv")
    text = docs.read_text(encoding="utf-8")
    docs.write_text(text.replace("0 of 210", "1 of 210"), encoding="utf-8")
    assert calibrated.write(tmp_path, CALIBRATION) == [calibrated.DOCS]
    assert docs.read_text(encoding="utf-8") == text


@pytest.mark.parametrize(
    ("head", "factor", "said"), [(SLOW, 1.1, True), (BIT_SLOWER, 1.1, False), (BIT_SLOWER, 1.05, True)]
)
def test_the_rule_is_asvs(head, factor, said):
    pytest.importorskip("asv")
    assert asv_rates.slower(FAST, head, factor) is said
    assert asv_rates.slower(head, FAST, factor) is False


def test_alarms_are_counted_by_benchmark_and_by_suite_for_either_rule():
    pytest.importorskip("asv")
    pairs = [pair(0, FAST, FAST), pair(0, FAST, SLOW), pair(20, FAST, SLOW)]
    found = {(rate.rule, rate.planted): rate for rate in asv_rates.rates(pairs) if rate.factor == 1.1}
    same = found[asv_rates.CONTINUOUS, 0]  # both ways: one of four
    assert (same.alarms, same.comparisons, same.suites_alarmed, same.suites) == (1, 4, 1, 4)
    planted = found[asv_rates.COMPARE, 20]  # the head of one run against the bases of the others
    assert (planted.alarms, planted.comparisons) == (2, 2)
    assert (found[asv_rates.COMPARE, 0].alarms, found[asv_rates.COMPARE, 0].comparisons) == (0, 6)


def test_pairs_come_back_as_they_were_stored(tmp_path):
    state = {"format": 1, "machine": "m", "pairs": [pair(0, FAST, SLOW), pair(10, FAST, FAST)]}
    asv_rates.store(tmp_path / "m.json", state)
    assert asv_rates.load(tmp_path / "m.json") == state


@pytest.mark.parametrize("text", ["{", "[]", '{"format": 2}'])
def test_a_foreign_file_is_refused_by_name(tmp_path, text):
    (tmp_path / "m.json").write_text(text)
    with pytest.raises(UserError, match=r"m\.json"):
        asv_rates.load(tmp_path / "m.json")


def test_the_kinds_take_turns_until_there_are_enough():
    pairs, wanted = [], {0: 4, 10: 2}
    while (kind := asv_rates._next(pairs, wanted)) is not None:
        pairs.append(pair(kind, FAST, FAST))
    kinds = [one["planted"] for one in pairs]
    assert sorted(kinds) == [0, 0, 0, 0, 10, 10]
    assert all(len(list(group)) <= 2 for _, group in itertools.groupby(kinds))


def test_runs_of_both_devices_of_one_machine_get_tables_of_their_own():
    item = {
        "planted": 0,
        "cases": {"k": "none"},
        "ratios": {"k": 1.0},
        "spread": {"k": 0.01},
        "controls": {"drift": True},
        "seconds": 2.0,
    }
    study = {"machine": "m", "simulation": [], "trials": 0, "runs": [item, {**item, "device": "cuda"}]}
    text = calibrated.full([study], [], Path("nowhere"))
    assert "### Measured on m\n" in text
    assert "### Measured on m, CUDA kernels\n" in text
    assert len(calibrate.of_device(study["runs"], "cpu")) == 1


def test_a_calibration_of_cuda_kernels_without_a_gpu_says_why(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(calibrate.cuda, "reason", lambda: "no NVIDIA device here")
    assert calibrate.main(["--device", "cuda", "--results", str(tmp_path)]) == 2
    assert capsys.readouterr().err.strip() == "fffbench: --device cuda: no NVIDIA device here"

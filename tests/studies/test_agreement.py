"""Is a clock that disagrees found out, and is what was compared written down?"""

import json
from pathlib import Path

import pytest

from benchmarks.studies import agreement, agreement_gpu
from benchmarks.studies.agreement_gpu import Reading

ROOT = Path(__file__).parents[2]
GPU_CELL = agreement_gpu.CELLS[0].id
CPU_CELL = agreement.CELLS[0].id


def run(monkeypatch, tmp_path, readings, device="cuda"):
    monkeypatch.setattr(agreement.cuda, "gpu_names", lambda: ["a GPU"])
    monkeypatch.setattr(agreement.agreement_gpu, "readings", lambda: iter(readings))
    monkeypatch.setattr(agreement, "by_torch", lambda: iter(readings))
    out = tmp_path / "agreement" / "machine.json"
    code = agreement.main(["--device", device, "--out", str(out)])
    return code, json.loads(out.read_text())


def test_clocks_within_five_percent_agree_and_the_table_says_so(monkeypatch, tmp_path):
    code, table = run(monkeypatch, tmp_path, [Reading(GPU_CELL, "CUPTI", 1.02e-4, 1e-4, 0.02)])
    assert code == 0
    assert table["largest"] == 0.02
    assert table["readings"][0]["clock"] == "CUPTI"
    assert table["machine"]


@pytest.mark.parametrize("difference", [0.06, -0.06])
def test_a_clock_that_is_six_percent_off_fails_in_either_direction(monkeypatch, tmp_path, difference):
    good, bad = Reading(GPU_CELL, "CUPTI", 1e-4, 1e-4, 0.0), Reading(GPU_CELL, "CUPTI", 1e-4, 1e-4, difference)
    assert run(monkeypatch, tmp_path, [good, bad])[0] == 1


def test_on_the_cpu_what_is_under_a_millisecond_is_not_judged(monkeypatch, tmp_path):
    readings = [Reading(CPU_CELL, "t", 1e-4, 1e-4, 0.5), Reading(CPU_CELL, "t", 2e-3, 2e-3, 0.01)]
    assert run(monkeypatch, tmp_path, readings, "cpu")[0] == 0


def test_a_comparison_of_nothing_is_no_agreement(monkeypatch, tmp_path):
    code, table = run(monkeypatch, tmp_path, [])
    assert code == 1
    assert table["largest"] is None


def test_without_a_gpu_it_says_so_and_is_content(monkeypatch, capsys):
    monkeypatch.setattr(agreement.cuda, "gpu_names", list)
    assert agreement.main(["--device", "cuda"]) == 0
    assert "no NVIDIA GPU" in capsys.readouterr().out


def test_cupti_takes_each_call_from_its_first_kernel_to_its_last_and_leaves_the_flush_out(monkeypatch):
    flush, call = [(0, 50)], [(60, 80), (85, 100)]  # nanoseconds; 40 from the first kernel's start to the last's end
    repeated = [(a + 1000 * i, b + 1000 * i) for i in range(agreement_gpu.PROFILED_CALLS) for a, b in (*flush, *call)]
    recorded = iter([flush, call, repeated])
    monkeypatch.setattr(agreement_gpu, "_recorded", lambda work: next(recorded))
    monkeypatch.setattr(agreement_gpu.cuda, "_flusher", lambda: lambda: None)
    assert agreement_gpu.cupti(lambda: None) == pytest.approx(40e-9)


def test_cupti_refuses_a_record_that_lacks_a_kernel(monkeypatch):
    recorded = iter([[(0, 50)], [(60, 80)], [(0, 50)] * 39])
    monkeypatch.setattr(agreement_gpu, "_recorded", lambda work: next(recorded))
    monkeypatch.setattr(agreement_gpu.cuda, "_flusher", lambda: lambda: None)
    with pytest.raises(RuntimeError, match="recorded 39 activities"):
        agreement_gpu.cupti(lambda: None)


@pytest.mark.parametrize("path", sorted((ROOT / "results" / "agreement").glob("*.json")), ids=lambda path: path.stem)
def test_a_committed_comparison_is_within_what_is_allowed_and_the_one_the_docs_print(path):
    written = json.loads(path.read_text(encoding="utf-8"))
    assert written["largest"] <= agreement.ALLOWED
    assert len({row["cell"] for row in written["readings"]}) >= 5
    assert agreement.table(written) in (ROOT / "docs" / "notebook" / "kernels-cuda.md").read_text(encoding="utf-8")

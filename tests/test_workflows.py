"""Do the workflows call sessions that exist? (`nox -s lint` runs actionlint over them.)"""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
yaml = pytest.importorskip("yaml")


def jobs_of(path):
    return yaml.safe_load(path.read_text())["jobs"]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_every_job_has_a_machine_a_limit_and_steps(path):
    for job in jobs_of(path).values():
        assert job["runs-on"]
        assert job["timeout-minutes"] > 0
        assert all(("run" in step) != ("uses" in step) for step in job["steps"])


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_every_nox_session_called_exists(path):
    sessions = set(re.findall(r"^def (\w+)\(session", (ROOT / "noxfile.py").read_text(), re.MULTILINE))
    called = set(re.findall(r"nox -s (\w+)", path.read_text()))
    for job in jobs_of(path).values():
        called |= set(job.get("strategy", {}).get("matrix", {}).get("session", []))
    assert called
    assert called <= sessions


def test_the_pull_request_job_has_both_revisions_and_tells_a_regression_from_an_open_question():
    text = (ROOT / ".github/workflows/regress.yml").read_text()
    assert "fetch-depth: 0" in text
    assert '"$code" -eq 3' in text


def test_no_workflow_compares_with_an_empty_base():
    text = (ROOT / ".github/workflows/regress.yml").read_text()
    assert "BASE: ${{ github.event.pull_request.base.sha || inputs.base }}" in text
    inputs = yaml.safe_load(text)[True]["workflow_dispatch"]["inputs"]  # YAML 1.1 reads `on` as true
    assert inputs["base"]["required"]
    assert inputs["base"]["default"]


def test_asv_finds_its_branch_in_a_checkout_of_another():
    steps = [step.get("run", "") for step in jobs_of(ROOT / ".github/workflows/history.yml")["measure"]["steps"]]
    made = next(index for index, text in enumerate(steps) if "git branch main origin/main" in text)
    assert made < min(index for index, text in enumerate(steps) if "nox -s asv" in text)

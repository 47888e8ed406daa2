"""Do the workflows call sessions that exist? (`nox -s lint` runs actionlint over them.)"""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
SOURCES = (".cpp", ".hpp", ".cu", ".cuh")
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
    if path.stem == "kernel":  # of other repositories' kernels: it calls the command line
        return
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


def matches(name, patterns):
    """Whether a pull request that changes ``name`` is one of ``paths``, by the rules of GitHub's filters."""
    return any(
        re.fullmatch(
            "".join({"**": ".*", "*": "[^/]*"}.get(part, re.escape(part)) for part in re.split(r"(\*+)", one)), name
        )
        for one in patterns
    )


@pytest.fixture(scope="module")
def guarded():
    return yaml.safe_load((ROOT / ".github/workflows/regress.yml").read_text())[True]["pull_request"]["paths"]


def test_a_kernel_of_any_kind_that_changes_is_compared(guarded):
    package = [path.relative_to(ROOT) for path in (ROOT / "fffbench").rglob("*") if path.is_file()]
    sources = [path for path in package if path.suffix in SOURCES]
    assert {path.suffix for path in sources} == set(SOURCES)
    kernels = [path for path in package if path.parts[1] in ("implementations", "operators") and path.suffix == ".py"]
    assert len(kernels) > 20
    for path in (*sources, *kernels, Path("CMakeLists.txt"), Path("buildtools/backend.py")):
        assert matches(str(path), guarded), path


@pytest.mark.parametrize("name", ["fffbench/cpu/runtime/call.hpp", "fffbench/ops/tree/kernel.cu", "elsewhere/new.cpp"])
def test_a_source_that_moves_is_compared_still(guarded, name):
    assert matches(name, guarded)


@pytest.mark.parametrize("name", ["README.md", "fffbench/report/html.py", "results/matrix/m/run.json"])
def test_what_is_no_kernel_starts_no_comparison(guarded, name):
    assert not matches(name, guarded)


def test_the_reusable_workflow_hands_every_input_to_the_action_and_the_action_takes_no_other():
    workflow = yaml.safe_load((ROOT / ".github/workflows/kernel.yml").read_text())
    action = yaml.safe_load((ROOT / ".github/actions/kernel/action.yml").read_text())
    [step] = [step for step in workflow["jobs"]["guard"]["steps"] if "actions/kernel" in step.get("uses", "")]
    assert set(step["with"]) == set(action["inputs"])
    asked = workflow[True]["workflow_call"]["inputs"]
    for name in set(asked) - {"runner", "fffbench", "ref"}:
        assert step["with"][name] == f"${{{{ inputs.{name} }}}}"
        assert asked[name].get("default") == action["inputs"][name].get("default")


@pytest.mark.parametrize(
    "path", [".github/workflows/regress.yml", ".github/actions/kernel/action.yml", "fffbench/scaffold/workflow.yml.in"]
)
def test_an_open_question_is_asked_once_more_and_then_left_to_a_person_and_a_table_is_commented(path):
    text = (ROOT / path).read_text()
    assert text.count("::warning::twice inconclusive") == 1
    assert "--again" in text or text.count("nox -s regress") == 2
    assert "gh pr comment" in text
    assert "--edit-last" in text  # one comment, however many pushes


@pytest.mark.parametrize("path", [".github/actions/kernel/action.yml", ".github/workflows/kernel.yml"])
def test_no_text_of_a_pull_request_stands_in_a_script(path):
    """What is put into a script is run by it; inputs reach a script through its environment alone."""
    document = yaml.safe_load((ROOT / path).read_text())
    steps = document["runs"]["steps"] if "runs" in document else document["jobs"]["guard"]["steps"]
    for step in steps:
        assert "${{" not in step.get("run", "")


def test_asvs_pages_lead_back_to_the_report_that_is_published_beside_them():
    text = (ROOT / "asv.conf.json").read_text()
    steps = [step.get("run", "") for step in jobs_of(ROOT / ".github/workflows/history.yml")["measure"]["steps"]]
    assert '"project_url": "../index.html"' in text
    copied = next(index for index, text in enumerate(steps) if "cp -r .asv/html pages/asv" in text)
    assert copied < next(index for index, text in enumerate(steps) if "nox -s report -- --out pages" in text)

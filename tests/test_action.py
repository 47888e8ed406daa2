"""Do the steps of the action for other people's kernels do what they say? Each runs here as GitHub runs it.

Its shell (``bash --noprofile --norc -eo pipefail``), its environment (inputs put in, ``GITHUB_OUTPUT`` a file), the
conditions of its steps. `pip` and `gh` are stand-ins that note what they are asked; `fffbench` is one for every way in
which a comparison can end, and the real one in a test of minutes.
"""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from fffbench import scaffold

yaml = pytest.importorskip("yaml")

ROOT = Path(__file__).parents[1]
ACTION = ROOT / ".github" / "actions" / "kernel"
SHELL = ["bash", "--noprofile", "--norc", "-eo", "pipefail"]  # what `shell: bash` is on a runner
NOTES = '#!/bin/bash\nprintf "%s\\n" "$(basename "$0") $*" >> "$NOTES"\n'
EXPRESSION = re.compile(r"\$\{\{ *(.+?) *\}\}")


class Job:
    """What a runner keeps between the steps of one job."""

    def __init__(self, folder, **inputs):
        action = yaml.safe_load((ACTION / "action.yml").read_text())
        self.steps, self.outputs_of_action = action["runs"]["steps"], action["outputs"]
        given = {name.replace("_", "-"): value for name, value in inputs.items()}
        assert set(given) <= set(action["inputs"])
        assert all(name in given for name, one in action["inputs"].items() if one.get("required"))
        self.values = {
            f"inputs.{name}": given.get(name, one.get("default", "")) for name, one in action["inputs"].items()
        }
        self.values |= {
            "github.token": "a-token", "github.repository": "owner/theirs", "github.event_name": "pull_request",
            "github.event.pull_request.number": "7",
        }  # fmt: skip
        self.folder, self.bin, self.ran = folder, folder / "bin", []
        self.bin.mkdir()
        self.notes = folder / "notes"
        self.notes.write_text("")
        for name in ("gh", "python"):
            self.program(name, NOTES)

    def program(self, name, text):
        path = self.bin / name
        path.write_text(text)
        path.chmod(path.stat().st_mode | stat.S_IXUSR)

    def value(self, text):
        """An expression: names, and `or` of names."""
        found = next((v for name in text.split(" || ") if (v := self.values.get(name.strip(), ""))), "")
        assert all(re.fullmatch(r"[\w.-]+", name.strip()) for name in text.split(" || ")), text
        return found

    def filled(self, text):
        return EXPRESSION.sub(lambda match: self.value(match[1]), str(text))

    def due(self, step, failed):
        """Whether GitHub runs this step: the only condition in use is that of the comment."""
        condition = step.get("if")
        if condition is None:
            return not failed
        expected = "always() && github.event_name == 'pull_request' && hashFiles('kernel.md') != ''"
        assert condition == expected, "another condition: teach it to this test"
        return self.values["github.event_name"] == "pull_request" and (self.folder / "kernel.md").is_file()

    def run(self, *, only=None):
        """Whether all steps passed."""
        failed = False
        for step in self.steps:
            name = step["name"]
            if not self.due(step, failed) or (only and name not in only):
                continue
            output = self.folder / "output"
            output.write_text("")
            environment = {
                "PATH": f"{self.bin}{os.pathsep}{os.environ['PATH']}", "HOME": str(self.folder),
                "GITHUB_OUTPUT": str(output), "GITHUB_ACTION_PATH": str(ACTION), "NOTES": str(self.notes),
                "GITHUB_STEP_SUMMARY": str(self.folder / "summary.md"), "TMPDIR": str(self.folder),
                **{key: self.filled(value) for key, value in step.get("env", {}).items()},
            }  # fmt: skip
            assert step["shell"] == "bash"
            assert "${{" not in step["run"]
            script = self.folder / "step.sh"
            script.write_text(step["run"])
            done = subprocess.run(
                [*SHELL, str(script)], cwd=self.folder, env=environment, capture_output=True, text=True, check=False
            )
            self.ran.append((name, done))
            failed |= done.returncode != 0
            for line in output.read_text().splitlines():
                key, _, value = line.partition("=")
                self.values[f"steps.{step['id']}.outputs.{key}"] = value
        return not failed

    @property
    def answer(self):
        return self.filled(self.outputs_of_action["answer"]["value"])

    def said(self, step):
        return next(done.stdout + done.stderr for name, done in self.ran if name == step)


@pytest.fixture
def job(tmp_path):
    return Job(tmp_path, implementation="fff_mine", base="base", head="head")


def ending(code, *, check=0):
    """An ``fffbench`` whose comparison ends with ``code`` and whose check ends with ``check``."""
    return (
        NOTES
        + f"""
if [ "$1" = check ]; then exit {check}; fi
while [ "$1" != --markdown ]; do shift; done
[ {code} = 2 ] || echo "| a table |" >> "$2"
exit {code}
"""
    )


@pytest.mark.parametrize(
    ("code", "answer", "passes"),
    [(0, "right", True), (1, "slower", False), (3, "inconclusive", True), (2, "failed", False), (130, "failed", False)],
)
def test_each_ending_of_a_comparison_is_an_answer_and_a_table_is_commented(job, code, answer, passes):
    job.program("fffbench", ending(code))
    assert job.run() == passes
    assert job.answer == answer
    asked = job.notes.read_text().splitlines()
    compared = "fffbench duel fff_mine@base fff_mine@head --device cpu --batch 1,128 --dtype fp32 --budget 5m --again"
    assert f"{compared} --markdown kernel.md" in asked
    commented = "gh pr comment 7 --body-file kernel.md --edit-last --create-if-none" in asked
    assert commented == (code != 2)
    assert ("::warning::twice inconclusive" in job.said("Is it slower?")) == (code == 3)


@pytest.mark.parametrize(("check", "answer"), [(1, "wrong"), (2, "failed")])
def test_a_kernel_that_is_wrong_or_not_there_is_compared_with_nothing(job, check, answer):
    job.program("fffbench", ending(0, check=check))
    assert not job.run()
    assert job.answer == answer
    assert "duel" not in job.notes.read_text()
    assert "gh" not in job.notes.read_text().split()


def test_without_the_right_to_comment_the_answer_stands(job):
    job.program("fffbench", ending(0))
    job.program("gh", "#!/bin/bash\nexit 1\n")
    assert job.run()
    assert "::notice::no right to comment here" in job.said("Comment on the pull request")


def test_outside_a_pull_request_nothing_is_commented(job):
    job.program("fffbench", ending(1))
    job.values["github.event_name"] = "push"
    assert not job.run()
    assert "gh pr" not in job.notes.read_text()


@pytest.mark.parametrize(("device", "extras"), [("cpu", "measure"), ("cuda", "measure,cuda,triton")])
def test_what_is_installed_is_this_revision_with_what_the_device_needs_and_the_kernel(tmp_path, device, extras):
    job = Job(tmp_path, implementation="fff_mine", base="base", head="head", device=device)
    job.program("fffbench", ending(0))
    assert job.run()
    ours, theirs = [line for line in job.notes.read_text().splitlines() if line.startswith("python ")]
    path, asked = re.fullmatch(r"python -m pip install --quiet (.*)\[([\w,]+)\]", ours).groups()
    assert Path(path).resolve() == ROOT
    assert (asked, theirs) == (extras, f"python -m pip install --quiet {tmp_path}/head")
    text = (ROOT / "pyproject.toml").read_text()
    assert all(re.search(rf"^{extra} = \[", text, re.MULTILINE) for extra in extras.split(","))


def test_no_input_is_run_as_a_command(tmp_path):
    odd = "fff_mine; touch stolen; $(touch stolen) `touch stolen`"
    job = Job(tmp_path, implementation=odd, base=odd, head="head", batch=odd)
    job.program("fffbench", ending(0))
    job.run()
    assert not (tmp_path / "stolen").exists()
    assert f"fffbench duel {odd}@{odd} {odd}@head" in job.notes.read_text()


@pytest.mark.slow
def test_two_versions_of_a_new_kernel_are_checked_and_compared_by_the_real_command(tmp_path):
    job = Job(tmp_path, implementation="fff_mine", base="base", head="head", batch="16", budget="20s")
    for name in ("base", "head"):
        scaffold.write("fff_mine", tmp_path / name)
    # in place of `pip install ./head`, which needs an environment of its own
    text = f'#!/bin/bash\nPYTHONPATH="{tmp_path}/head" exec {sys.executable} -m fffbench "$@"\n'
    job.program("fffbench", text)
    points = tmp_path / "head" / "fff_mine-0.1.0.dist-info"
    points.mkdir()
    (points / "METADATA").write_text("Metadata-Version: 2.1\nName: fff_mine\nVersion: 0.1.0\n")
    (points / "entry_points.txt").write_text("[fffbench.implementations]\nfff_mine = fff_mine\n")
    passed = job.run()
    assert job.answer in ("right", "inconclusive", "slower"), job.ran
    assert passed == (job.answer != "slower")
    assert "A fff\\_mine&#64;base, B fff\\_mine&#64;head" in (tmp_path / "kernel.md").read_text()

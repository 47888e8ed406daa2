"""Implementations of another package, planted for one test: a folder for PYTHONPATH, and runs over them."""

import os
import subprocess
import sys
import textwrap

MODULE = """
    '''A planted kernel.'''
    import os, signal, time
    from fffbench.implementations.registry import Layer
    FAMILY, DEVICES, DTYPES = "fff", ("cpu",), ("fp32",)

    def unsupported(workload):
        return None

    def prepare(weights, workload):
        from fffbench.implementations import fff_cpu
        inner = fff_cpu.prepare(weights, workload)

        def forward(x):
            {body}
            return inner.forward(x)

        def bind(x, y):
            call = inner.bind(x, y)

            def run():
                {body}
                call()

            return run

        return Layer(forward, bind, inner.resident, {notes})
"""
SMALL = (
    *("--batches", "4", "--levels", "4", "--d", "32", "--threads", "1", "--seconds", "0.02", "--processes", "2"),
    *("--cache", "hot", "--call", "kernel", "--routing", "uniform"),
)


def plant(site, bodies, notes="()"):
    """Write a module for each name in ``bodies``, a statement that runs before every call; an environment with them."""
    info = site / "planted-1.0.dist-info"
    info.mkdir(parents=True, exist_ok=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: planted\nVersion: 1.0\n")
    points = "\n".join(f"fff_{name} = planted_{name}" for name in bodies)
    (info / "entry_points.txt").write_text(f"[fffbench.implementations]\n{points}\n")
    for name, body in bodies.items():
        text = textwrap.dedent(MODULE.format(body=body, notes=notes))
        (site / f"planted_{name}.py").write_text(text)
    return {**os.environ, "PYTHONPATH": str(site)}


def command(results, *more):
    """The command line of a small run into ``results``."""
    return [sys.executable, "-m", "fffbench", "run", "--results", str(results), *SMALL, *more]


def run(results, environment, *more):
    """A small run, ended."""
    return subprocess.run(command(results, *more), capture_output=True, text=True, env=environment, check=False)

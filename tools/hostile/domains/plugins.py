"""Other people's packages: imports that exit, hang, print or fork, wrong declarations, kernels that lie or die."""

from __future__ import annotations

import json
import random
import sys

from tools.hostile.case import MOST_SECONDS, Spec
from tools.hostile.server import KERNELS
from tools.hostile.stage import Stage

WEIGHT = 5
PRELOAD = KERNELS
CHECK_SECONDS = 300.0

# what stands before an otherwise honest module
MEMORY_TAKEN = 3 * 2**30  # bytes, by a plugin itself, within the limit of the child that imports it
IMPORTS = {
    "exit 0": "import sys; sys.exit(0)", "exit 3": "raise SystemExit(3)", "exit text": "raise SystemExit('bye\\x1b[31m')",
    "hard exit": "import os; os._exit(0)", "raise": "raise ValueError('two\\nlines \\x1b[2J')", "base": "raise BaseException('x')",
    "interrupt": "raise KeyboardInterrupt", "generator": "raise GeneratorExit", "sleep": "import time; time.sleep(300)",
    "spin": "while True: pass", "print": "print('NOISE ' * 1000)", "err": "import sys; sys.stderr.write('NOISE\\n')",
    "close": "import os; os.close(1)", "fork": "import os, time; os.fork() or time.sleep(200)", "abort": "import os; os.abort()",
    "segv": "import ctypes; ctypes.string_at(0)", "memory": f"x = bytearray({MEMORY_TAKEN})", "recursion": "def f(): f()\nf()",
    "kill": "import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "chdir": "import os; os.chdir('/')", "syntax": "def (:",
    "thread": "import threading, time; threading.Thread(target=time.sleep, args=(200,)).start()", "missing": "import not_there_at_all",
    "torch": "import torch",
    "unicode": "raise UnicodeDecodeError('utf-8', b'\\xff', 0, 1, 'x')", "huge": "raise ValueError('x' * 10**6)",
    "surrogate": "raise ValueError('\\udcff')",
    "excepthook": "import sys; sys.excepthook = None; raise RuntimeError",
    "patch": "import fffbench.implementations.registry as r; r.FAMILIES = ('mine',)", "path": "import sys; sys.path.clear()",
    "exit handler": "import atexit, os; atexit.register(os._exit, 0)", "stdin": "input()", "warn": "import warnings; warnings.warn('x')",
    "bad repr": "class E(Exception):\n    def __str__(self): raise ValueError\nraise E",
}  # fmt: skip
# what takes the place of a declaration
DECLARATIONS = {
    "FAMILY": ["None", "7", "'x'", "['fff']", "'faulty'", "'fff\\n'", "b'fff'", "{}"],
    "DEVICES": ["None", "7", "'cpu'", "()", "('cpu', 7)", "('tpu',)", "{'cpu'}", "iter(('cpu',))", "('cpu',) * 1000"],
    "DTYPES": ["None", "7", "'fp32'", "()", "('fp64',)", "('fp32', None)", "[['fp32']]", "('\\x1b',)"],
    "unsupported": ["None", "7", "lambda: None", "lambda w: 7", "lambda w: 1 / 0", "lambda w: ''", "lambda w: 'a\\nb\\x1b[31m'",
                     "lambda w: exit(0)", "lambda w: 'x' * 10**6", "lambda w: ['x']", "lambda w: (_ for _ in ()).throw(KeyboardInterrupt)"],
    "prepare": ["None", "7", "'x'"],
    "VARIANTS": ["None", "7", "[]", "{'': None}", "{7: 7}", "{'a b': None}", "{'x': 'y'}"],
    "SLOW_TO_PREPARE": ["'no'", "None", "1e9"],
    "ROOFLINE_SHARE": ["'x'", "-1.0", "0.0", "float('nan')", "10**400"],
    "__doc__": ["None", "7", "''", "'\\x1b[31mred'", "'x' * 10**6", "'\\n\\n'", "'\\u202ex'"],
}  # fmt: skip
# a verdict of its own, in every open file
FORGED = """import os
for file in range(3, 64):
    try:
        os.set_blocking(file, False)
        os.write(file, b'{"event": "verdict", "error": 1e-9, "failure": null}')
    except OSError:
        pass
"""
KERNELS_BODIES = {
    "right": "y.copy_(right(x))", "off": "y.copy_(right(x) + 1e-2)", "zeros": "y.zero_()", "nan": "y.fill_(float('nan'))", "nothing": "pass",
    "half": "y[: len(y) // 2].copy_(right(x)[: len(y) // 2])", "raise": "raise ValueError('a\\nb')", "exit": "import os; os._exit(0)",
    "sys exit": "import sys; sys.exit(0)", "segv": "import ctypes; ctypes.string_at(0)", "input": "x.zero_(); y.copy_(right(x))",
    "interrupt": "raise KeyboardInterrupt", "noise": "print('NOISE'); y.copy_(right(x))", "hang": "import time; time.sleep(300)",
    "first": "state.append(1); (len(state) == 1) and y.copy_(right(x))", "big": "if len(x) > 60: y.copy_(right(x))",
    "memory": "torch.empty(2**45)", "forge": f"exec({FORGED!r}); y.zero_()",
}  # fmt: skip
WRONG = {
    "off",
    "zeros",
    "nan",
    "nothing",
    "half",
    "first",
    "big",
    "raise",
    "exit",
    "sys exit",
    "segv",
    "interrupt",
    "hang",
    "memory",
    "input",
    "forge",
}
MODULE = """'''A kernel of somebody else.'''
{first}
from fffbench.implementations.registry import Layer
FAMILY, DEVICES, DTYPES = "fff", ("cpu",), ("fp32",)
state = []

def unsupported(workload):
    return None if workload.shape.trees and not workload.shape.leaf_width and workload.shape.levels < 8 else "small trees only"

def prepare(weights, workload):
    import torch  # not at the import of the module, as the contract asks
    import fffbench
    trees = workload.shape.trees
    def right(x):
        with torch.no_grad():
            return fffbench.fff(x.contiguous(), weights.w1, weights.w2, trees=trees)
    def compute(x, y):
        {body}
    def forward(x):
        y = torch.empty_like(x)
        compute(x, y)
        return y
    return Layer(forward, lambda x, y: lambda: compute(x, y))
{last}
"""
ENTRY_POINTS = ["fff_hostile = hostile_plugin", "fff_cpu = hostile_plugin", "FFF = hostile_plugin", "fff_x = hostile_plugin:nothing",
                 "fff_x = hostile_plugin:prepare", "= hostile_plugin", "fff_x =", "x" * 300 + " = hostile_plugin", "faulty_x = hostile_plugin",
                 "fff_hostile = hostile_plugin\nfff_hostile = hostile_plugin", "fff_\udcff = hostile_plugin", "[", "fff_x = not.there",
                 "fff_x = os", "fff_x = hostile_plugin:FAMILY.upper", "\x1b[31m = hostile_plugin", "dense = hostile_plugin"]  # fmt: skip


def draw(rng: random.Random) -> Spec:
    """One package with one thing wrong, and the command it meets."""
    kind = rng.choices(["import", "declaration", "kernel", "entry"], [45, 35, 8, 12])[0]
    spec: Spec = {
        "kind": kind,
        "command": rng.choice(["list", "list --json", "plan", "plan", "list", "list --json", "plan", "plan", "check"]),
    }
    if kind == "import":
        spec["first"] = rng.choice(sorted(IMPORTS))
    elif kind == "declaration":
        name = rng.choice(sorted(DECLARATIONS))
        spec["last"] = f"{name} = {rng.choice(DECLARATIONS[name])}" if rng.random() < 0.85 else f"del {name}"
    elif kind == "kernel":
        spec["body"], spec["command"] = rng.choice(sorted(KERNELS_BODIES)), "check"
    else:
        spec["entry"] = rng.choice(ENTRY_POINTS)
    return spec


def play(spec: Spec, stage: Stage) -> None:
    """What is not the plugin's goes on as without it; a wrong kernel is never called right."""
    site = stage.place / "site"
    info = site / "hostile-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: hostile\nVersion: 1.0\n")
    entry = spec.get("entry", "fff_hostile = hostile_plugin")
    (info / "entry_points.txt").write_bytes(f"[fffbench.implementations]\n{entry}\n".encode("utf-8", "surrogateescape"))
    first = IMPORTS.get(spec.get("first", ""), "")
    body = KERNELS_BODIES[spec.get("body", "right")]
    module = MODULE.format(first=first, body=body, last=spec.get("last", ""))
    (site / "hostile_plugin.py").write_bytes(module.encode("utf-8", "surrogatepass"))
    arguments = {
        "list": ("list",),
        "list --json": ("list", "--json"),
        "plan": ("run", "--plan", "--implementations", "fff_cpu,dense_linear", "--levels", "3", "--d", "8"),
        "check": ("check", "--implementations", "fff_hostile", "--dtypes", "fp32"),
    }[spec["command"]]

    def registered() -> None:
        sys.path.insert(0, str(site))

    # a check tries some eighty shapes, and a kernel that hangs at one is ended by the check's own limit
    limit = CHECK_SECONDS if spec["command"] == "check" else MOST_SECONDS
    taken = MEMORY_TAKEN if spec.get("first") == "memory" else 0
    done = stage.command(
        *arguments, environment={"PYTHONPATH": str(site)}, prelude=registered, seconds=limit, taken=taken
    )
    if done.hung:
        return
    if spec["command"] == "check":
        _checked(spec, stage, done.text, done.code)
    elif done.code != 0:
        stage.fault(
            "containment", f"{spec}: a plugin's fault stops {arguments[0]}: exit {done.code}, {done.said[-200:]!r}"
        )
    elif spec["command"].startswith("list"):
        names = _names(done.text, as_json="--json" in arguments, stage=stage)
        missing = {"fff_cpu", "dense_linear", "cmm_masked", "reference"} - names
        if missing:
            stage.fault("containment", f"{spec}: {sorted(missing)} are not listed any more")
    elif "fff_cpu" not in done.text:
        stage.fault("containment", f"{spec}: the plan lost the project's own kernels")


def _checked(spec: Spec, stage: Stage, text: str, code: int) -> None:
    wrong = spec.get("body") in WRONG
    if code == 0 and wrong:
        stage.fault("wrong value", f"the kernel {spec['body']!r} passes the check: {text[-200:]!r}")
    if spec.get("body") == "right" and code != 0:
        stage.fault("refused", f"an honest kernel does not pass: {text[-200:]!r}")
    if spec["kind"] == "import" and code == 0 and "right" not in text:
        stage.fault("silent wrong value", f"{spec}: exit 0 and nothing was checked: {text[-200:]!r}")


def _names(text: str, *, as_json: bool, stage: Stage) -> set[str]:
    if not as_json:
        return {line.split()[0] for line in text.splitlines() if line and not line.startswith(" ")}
    try:
        return {row["name"] for row in json.loads(text)}
    except (ValueError, TypeError, KeyError) as error:
        stage.fault("json", f"list --json: {error}: {text[:100]!r}")
        return set()

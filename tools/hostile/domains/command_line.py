"""Arguments: every option of every command, with values that no user should have to think about."""

from __future__ import annotations

import json
import os
import random
from typing import Any

import typer

from tools.hostile.case import Spec
from tools.hostile.server import KERNELS
from tools.hostile.stage import Stage

WEIGHT = 24
PRELOAD = KERNELS  # a plan and a list ask every implementation

NUMBERS = [
    "0", "1", "2", "7", "-1", "-0", "+3", "1.5", "1e3", "1e400", "nan", "inf", "-inf", "0x10", "1_000", " 4 ", "٣", "①",
    "9" * 30, "9" * 400, "9" * 5000, "9" * 200_000, "0" * 5000 + "1", str(2**31), str(2**63), str(2**64), "1048576",
    "1048577", "16777216", "1e-5000", "1.7976931348623157e308", "0.0000001", "100", "101", "60", "61",
]  # fmt: skip
WORDS = [
    "", " ", ",", ",,", "a,,b", "fff_cpu", "dense_linear", "fff_cpu,fff_cpu", "family:", "family:fff", "family:x",
    "FFF_CPU", "fff_cpu ", "../../etc/passwd", "%s%n", "{}", "{0}", "$HOME", "`id`", "'; --", '"', "\\", "-", "--", "---",
    "--help", "-h", "-1", "@file", "x" * 300, "x" * 100_000, "é" * 500, "日本語", "😀", "a\nb", "a\tb", "a\rb", "\x1b[31mred",
    "\x07", "\u202eabc", "\ufeff", "\udcff", "\udc80abc", "a\u2028b", "none", "None", "null", "all", "true", "cpu,cuda",
    "cuda", "tpu", "fp64", "fp32,bf16", "quick", "paper", "nothing", "uniform", "zipf", "cold,warm,hot", "kernel,graph",
    "10m", "1h", "0s", "-5m", "1e3m", "9" * 400 + "h", "1.5.5s", "5 m", "NaNs", "٣s", "<script>", "[bold]", "[/]", "&lt;",
]  # fmt: skip
PATHS = [
    "", ".", "..", "/", "/dev/null", "/dev/full", "/dev/zero", "/proc", "/proc/self/mem", "/sys", "results", "results/",
    "nowhere", "nowhere/deep/er", "a" * 300, "a/" * 1500, "file", "file/below", "link", "loop", "\udcff\udcfe", "é\u202e",
    "new\nline", "\x1b[2J", "~", "~nobody", "$HOME", "-", "--", "results,other", "C:\\results", "file://x", "\ufeffresults",
    "[bold]x[/bold]", "x" * 254, "fifo",
]  # fmt: skip
# option -> lowest, highest, or the words
ALLOWED: dict[str, tuple[int, int, list[str]]] = {
    "--preset": (0, 0, ["quick", "paper", "width", "batch", "leaf", "fidelity", "full", "family", "headline", "wide"]),
    "--d": (1, 2**20, []),
    "--batches": (0, 2**20, []),
    "--levels": (1, 24, []),
    "--trees": (1, 2**20, []),
    "--dtypes": (0, 0, ["fp32", "tf32", "bf16", "fp16"]),
    "--routing": (0, 0, ["uniform", "single-path", "zipf"]),
    "--threads": (1, 2, []),
    "--devices": (0, 0, ["cpu", "cuda"]),
    "--cache": (0, 0, ["cold", "warm", "hot"]),
    "--call": (0, 0, ["kernel", "torch", "graph"]),
    "--implementations": (0, 0, ["fff_cpu", "dense_linear", "family:fff", "family:dense", "family:cmm", "faulty_blas"]),
    "--processes": (1, 100, []),
    "--seconds": (1, 60, []),
    "--budget": (1, 2**40, []),
}
SINGLE = ("--preset", "--processes", "--seconds", "--budget")
LISTS = ("1,2,4,8", ",".join(map(str, range(1, 400))), ",".join(map(str, range(1, 5000))), ",".join(["1"] * 3000))


def commands() -> dict[str, dict[str, Any]]:
    """Every command with its options (flag -> takes a value) and the number of its arguments."""
    from fffbench.cli import app

    found: dict[str, dict[str, Any]] = {}
    group: Any = typer.main.get_command(app)
    waiting = list(group.commands.items())
    while waiting:
        name, command = waiting.pop(0)
        waiting += [(f"{name} {inner}", below) for inner, below in getattr(command, "commands", {}).items()]
        options = [item for item in command.params if item.param_type_name == "option"]
        arguments = [item for item in command.params if item.param_type_name == "argument"]
        found[name] = {
            "options": {item.opts[-1]: (None if item.is_flag else _kind(item)) for item in options},
            "arguments": len(arguments),
        }
    return found


def _kind(option: Any) -> str:
    return "path" if option.opts[-1] in ("--results", "--out", "--markdown") else "word"


def draw(rng: random.Random) -> Spec:
    """A command with a handful of options, one or two of them hostile."""
    known = commands()
    if rng.random() < 0.04:
        return {"argv": [rng.choice(WORDS) for _ in range(rng.randrange(4))], "surroundings": "empty"}
    name = rng.choice(sorted(known))
    if rng.random() < 0.3:
        name = rng.choice(["run", "run", "run", "speedup", "claims", "check"])
    if name == "run" and rng.random() < 0.6:
        return {"argv": _plan(rng), "surroundings": "empty"}
    argv = name.split()
    options = known[name]["options"]
    argv += [_argument(rng) for _ in range(known[name]["arguments"]) if rng.random() < 0.8]
    if name in ("duel", "profile"):  # an implementation that exists would be measured, for minutes
        argv = [word if word not in ("fff_cpu", "dense_linear") else f"{word}@nowhere" for word in argv]
    for _ in range(rng.choice([0, 1, 1, 1, 2, 2, 3, 5]) if options else 0):
        option = rng.choice(sorted(options))
        argv += _given(rng, option, options[option])
    if rng.random() < 0.06:
        argv.insert(rng.randrange(len(argv) + 1), rng.choice(WORDS))
    if rng.random() < 0.03:
        argv.append(rng.choice(["--unknown", "--d=", "-x", "--res", "--json=1", "--results", "--jso", "--no-json"]))
    if rng.random() < 0.02:
        argv += ["--results", "results"] * 2000
    return {"argv": argv, "surroundings": rng.choice(["results", "results", "results", "empty", "odd"])}


def _plan(rng: random.Random) -> list[str]:
    """A plan whose values are all allowed, but for one at most; alone or in their product they may be absurd."""
    argv = ["run", "--plan"]
    for option in rng.sample(sorted(ALLOWED), rng.randrange(1, 8)):
        low, high, words = ALLOWED[option]
        if words:
            values = rng.sample(words, rng.randrange(1, len(words) + 1))
        else:
            count = rng.choice([1, 1, 2, 3, 10, 100, 1000])
            values = [str(rng.choice([low, high, rng.randint(low, high), 2 ** rng.randrange(8)])) for _ in range(count)]
        if option in SINGLE:
            values = values[:1]
        argv.append(f"{option}={','.join(values)}")
    if rng.random() < 0.6:
        option, number = rng.choice(sorted(ALLOWED)), rng.choice(NUMBERS)
        argv.append(f"{option}={number}")
    return argv


def _argument(rng: random.Random) -> str:
    # no revision that exists: comparing two takes minutes, and builds
    return rng.choice([*WORDS, *PATHS, "HEAD~999999", "HEAD^{tree}", "--output=x", "-", ":/", "@{-1}", "a..b"])


def _given(rng: random.Random, option: str, kind: str | None) -> list[str]:
    if kind is None:
        return [option]
    pool = PATHS if kind == "path" else WORDS
    if option in ("--out", "--markdown"):  # what it names is written
        pool = [path for path in PATHS if path not in ("/", "/sys", "..")]
    elif kind == "word" and rng.random() < 0.5:
        pool = [*NUMBERS, *LISTS]
    elif rng.random() < 0.1:
        pool = [*NUMBERS, *WORDS, *PATHS]
    value = rng.choice(pool)
    if kind == "word" and rng.random() < 0.2:
        value = ",".join([value, *(rng.choice(pool) for _ in range(rng.randrange(1, 4)))])
    return [f"{option}={value}"] if rng.random() < 0.5 else [option, value]


def play(spec: Spec, stage: Stage) -> None:
    """Run it; nothing that was there may change, except what the command says it writes."""
    from tools.hostile.material import honest, snapshot

    if spec["surroundings"] != "empty":
        honest(stage.results)
    if spec["surroundings"] == "odd":
        (stage.folder / "file").write_text("no folder")
        (stage.folder / "link").symlink_to("results")
        (stage.folder / "loop").symlink_to("loop")
        os.mkfifo(stage.folder / "fifo")
    argv = [argument.replace("\0", "") for argument in spec["argv"]]
    if argv[:1] == ["run"] and "--plan" not in argv:
        argv[1:1] = ["--plan"]
    if argv[:1] == ["check"]:  # a full check takes minutes; what comes later on the line wins
        argv[1:1] = ["--implementations", "dense_blas1", "--dtypes", "bf16"]
    before = snapshot(stage.results)
    done = stage.command(*argv)
    changed = [path for path, content in before.items() if snapshot(stage.results).get(path) != content]
    if changed:
        stage.fault("lost measurement", f"{argv}: changed {changed}")
    if len(done.err) > 20_000 or (done.code == 2 and len(done.out) > 20_000):
        stage.fault("echo", f"{argv!r:.200}: {len(done.err)} bytes of errors")
    if done.code == 0 and "--json" in argv and "--help" not in argv and not done.hung:
        _check_json(stage, argv, done.out)


def _check_json(stage: Stage, argv: list[str], out: bytes) -> None:
    def refuse(word: str) -> None:
        raise ValueError(f"{word} is no JSON")

    try:
        value = json.loads(out, parse_constant=refuse)
    except ValueError as error:
        stage.fault("json", f"{argv!r:.200}: {error}")
        return
    if not isinstance(value, list):
        stage.fault("json", f"{argv!r:.200}: not an array")

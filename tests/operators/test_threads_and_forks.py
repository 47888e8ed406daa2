"""The kernels' workers: a forked child computes, and an interpreter ends, whatever other threads are about."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest.importorskip("fffbench._cpu", reason="the C++ kernels are not built")

SETUP = """
import os, signal, sys, threading, time
import numpy as np
import fffbench
rng = np.random.default_rng(0)
x, w1, w2 = (rng.standard_normal((n, 256), dtype=np.float32) for n in (64, 511, 511))
def compute():
    while True:
        fffbench.fff(x, w1, w2, threads=2)
"""


def run(script, *args):
    return subprocess.run(
        [sys.executable, "-c", SETUP + script, *args], capture_output=True, text=True, timeout=120, check=False
    )


def test_a_child_forked_while_another_thread_computes_computes_too():
    done = run("""
threading.Thread(target=compute, daemon=True).start()
time.sleep(0.05)
right = fffbench.fff(x, w1, w2, threads=2)
for _ in range(25):
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        y = fffbench.fff(x, w1, w2, threads=2)
        os._exit(0 if (y == right).all() else 1)
    _, status = os.waitpid(child, 0)
    if status:
        print("status", status, flush=True)
        os._exit(1)
os._exit(0)
""")
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_child_forked_while_another_thread_imports_for_its_first_call_computes_too():
    done = run("""
threading.Thread(target=compute, daemon=True).start()
while "fffbench.ops" not in sys.modules:
    time.sleep(0)
child = os.fork()
if child == 0:
    signal.alarm(60)
    fffbench.fff(x, w1, w2, threads=2)
    os._exit(0)
_, status = os.waitpid(child, 0)
os._exit(status != 0)
""")
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_forked_child_with_threads_of_its_own_computes():
    done = run("""
threading.Thread(target=compute, daemon=True).start()
time.sleep(0.05)
child = os.fork()
if child == 0:
    signal.alarm(60)
    right = fffbench.fff(x, w1, w2, threads=2)
    wrong = []
    def some():
        for _ in range(20):
            wrong.append((fffbench.fff(x, w1, w2, threads=2) != right).any())
    threads = [threading.Thread(target=some) for _ in range(3)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    os._exit(any(wrong) or len(wrong) != 60)
_, status = os.waitpid(child, 0)
os._exit(status != 0)
""")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "call",
    [
        "fffbench.path(half[0], half[1], threads=2)",
        "fffbench.path(strided, full[1])",
        "fffbench.fff(*half)",
        "fffbench.fff(*shallow)",
        "torch.autograd.grad(fffbench.fff(*wanting), wanting[0], ones)[0]",
    ],
)
def test_what_is_left_to_torch_ends_in_a_forked_child(call):
    pytest.importorskip("torch")
    done = run(f"""
import torch
torch.set_num_threads(2)
full = [torch.from_numpy(a).clone() for a in (np.tile(x, (16, 1)), w1, w2)]
half, shallow = [t.half() for t in full], [t[:1023 if t.shape[0] > 600 else 7].bfloat16() for t in full]
wanting = [t.clone().requires_grad_() for t in full]
ones, strided = torch.ones_like(full[0]), full[0].T.contiguous().T
{call}
child = os.fork()
if child == 0:
    signal.alarm(60)
    {call}
    os._exit(torch.get_num_threads() != 2)
_, status = os.waitpid(child, 0)
os._exit(status != 0)
""")
    assert done.returncode == 0, done.stdout + done.stderr


# numpy arrays only: a daemon thread in any operation of torch, such as x @ w, aborts an ending interpreter by itself
@pytest.mark.parametrize("call", ["fffbench.fff(x, w1, w2, threads=2)", "fffbench.path(x, w1, threads=1)"])
def test_an_interpreter_that_ends_while_daemon_threads_compute_ends_quietly(call):
    script = f"""
def endless():
    while True: {call}
for _ in range(3): threading.Thread(target=endless, daemon=True).start()
time.sleep(0.05)
"""
    running = [
        subprocess.Popen([sys.executable, "-c", SETUP + script], stderr=subprocess.PIPE, text=True) for _ in range(6)
    ]
    ended = [(process.communicate(timeout=120)[1], process.returncode) for process in running]
    assert ended == [("", 0)] * len(running)


def test_a_kernel_called_after_the_interpreters_last_exit_handlers_still_answers():
    done = run("""
import atexit
from fffbench import _cpu
_cpu._close()
assert np.isfinite(fffbench.fff(x, w1, w2, threads=2)).all()
print("answered")
""")
    assert (done.returncode, done.stdout) == (0, "answered\n"), done.stderr

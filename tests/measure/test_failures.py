"""Is a failure the cell's own, or of the machine at that moment?"""

import errno
import os
import signal

import pytest

from fffbench.measure.failures import death, retry_after
from fffbench.measure.outcome import NEVER, NEXT_RUN, NOW, outcome_from_json, plain


def raised(error, cause=None):
    try:
        try:
            if cause is not None:
                raise cause
        finally:
            raise error
    except Exception as caught:  # noqa: BLE001
        return caught


@pytest.mark.parametrize(
    ("error", "retry"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), NOW),
        (OSError(errno.EDQUOT, os.strerror(errno.EDQUOT)), NOW),
        (FileNotFoundError(errno.ENOENT, "gone", "/tmp/scratch/r.npz"), NOW),
        (FileNotFoundError(errno.ENOENT, "gone", "/usr/lib/libkernel.so"), NEVER),
        (RuntimeError("InductorError: OSError: [Errno 28] No space left on device"), NOW),
        (RuntimeError("can't start new thread"), NOW),
        (MemoryError(), NEXT_RUN),
        (ValueError("shapes do not match"), NEVER),
        (ZeroDivisionError(), NEVER),
    ],
)
def test_a_full_disk_and_a_lost_file_of_the_run_pass_and_a_kernels_own_error_does_not(error, retry):
    assert retry_after(raised(error), "/tmp/scratch") == retry
    assert retry_after(raised(RuntimeError("wrapped"), error), "/tmp/scratch") == retry


@pytest.mark.parametrize(
    ("code", "word", "retry"),
    [
        (-signal.SIGKILL, "killed", NOW),
        (-signal.SIGTERM, "SIGTERM", NOW),
        (-signal.SIGHUP, "SIGHUP", NOW),
        (-signal.SIGSEGV, "segmentation fault", NEVER),
        (-signal.SIGABRT, "SIGABRT", NEVER),
        (-35, "signal 35", NOW),
        (3, "exit code 3", NEVER),
    ],
)
def test_a_process_that_was_ended_from_outside_is_tried_again_and_one_that_crashed_is_not(code, word, retry):
    reason, when = death(code)
    assert word in reason
    assert when == retry


GOOD = {"cell": "c", "process": 0, "samples": [1e-3], "notes": ["n"], "wall": 1.0}


@pytest.mark.parametrize(
    "wrong",
    [
        {"samples": []},
        {"samples": [0.0]},
        {"samples": [-1.0]},
        {"samples": [float("nan")]},
        {"samples": [float("inf")]},
        {"samples": ["1"]},
        {"samples": 1.0},
        {"process": -1},
        {"process": 10**30},
        {"process": True},
        {"cell": 7},
        {"cell": "c" * 400},
        {"wall": None},
        {"error": float("inf")},
        {"retry": "always"},
        {"retry": 10**5000},
        {"a key of the future": 1},
        {"failure": 3},
        {"failure": ""},
        {"failure": "it has samples nevertheless"},
        {"samples": [], "failure": ""},
    ],
)
def test_an_outcome_that_cannot_be_stored_is_refused_in_one_line(wrong):
    assert outcome_from_json(GOOD).samples == (1e-3,)
    with pytest.raises(ValueError) as refused:
        outcome_from_json({**GOOD, **wrong})
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 300


@pytest.mark.parametrize("entry", [None, [], "text", 3])
def test_what_is_no_object_is_no_outcome(entry):
    with pytest.raises(ValueError, match="object"):
        outcome_from_json(entry)


def test_a_note_is_one_line_of_text_that_every_file_takes():
    note = plain("two\nlines \x1b[31mred\udc80 " + "x" * 5000)
    assert note.startswith("two lines [31mred")
    assert len(note) == 2000
    note.encode()
    assert outcome_from_json({**GOOD, "notes": ["a\x00b\udc80"]}).notes[0].isprintable()

"""What can a speed-up be over, and at which number of threads? Each name with the sentence that describes it."""

from __future__ import annotations

from collections.abc import Iterable

from fffbench.analysis.rows import Timed

BASELINE_MEANING = {
    "published": "a plain torch linear of the same width, the paper's native fused row",
    "same-primitive": "the dense layer built from the same operation",
    "bert": "the fastest dense layer of width 3072",
    "best-dense": (
        "the fastest correct dense layer with at least as many neurons that was measured on that machine at the same "
        "batch, data type, device, cache protocol and call; padding, tiling and any GELU within tolerance are allowed "
        "to it"
    ),
    "best-dense-tf32": "the same in fp32 with TF32, beside an FFF in strict fp32 on a GPU, where one was measured",
}
BASELINES = tuple(BASELINE_MEANING)
WITH_TF32 = "best-dense-tf32"
THREADS_MEANING = {
    "same": "both sides on the same number of threads",
    "fastest": (
        "each side on the number of threads that is fastest for it, known only where both sides were measured on all "
        "threads of the machine and on the same numbers of threads"
    ),
}
BASELINE_THREADS = tuple(THREADS_MEANING)
PUBLISHED = "dense_linear"  # the paper's "native fused" row
BERT_WIDTH = 3072
PUBLISHED_WIDTH = 4095
SAME_PRIMITIVE = {
    "cmm_gather_bmm": "dense_bmm",
    "cmm_masked": "dense_linear",
    "cmm_sparse": "dense_linear",
    "cmm_leaf_gather": "dense_bmm",
    "cmm_blas1": "dense_blas1",
    "cmm_blas2": "dense_blas2",
    "cmm_cuda_naive": "dense_cuda_naive",
}

ONE_THREAD = ("cmm_blas1",)  # one thread runs its loop, however many are allowed: one is its fastest count


def candidates_of(baseline: str, subject: Timed, dense: Iterable[Timed]) -> list[Timed]:
    """Which of the ``dense`` records in the subject's context can serve as ``baseline``."""
    cell = subject.record.cell
    own = cell.workload.shape.n

    def fits(name: str, n: int) -> bool:
        if baseline == "published":
            return name == PUBLISHED and n == own
        if baseline == "same-primitive":
            return name == SAME_PRIMITIVE[cell.implementation] and n == own
        return n == BERT_WIDTH if baseline == "bert" else n >= own

    return [item for item in dense if fits(item.record.cell.implementation, item.record.cell.workload.shape.n)]

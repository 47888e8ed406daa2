"""BLAS layers: which library they found, that it runs at the threads asked for, and what they say without one."""

import ctypes
import subprocess
import sys

import pytest

from fffbench import blaslib
from fffbench.implementations.registry import implementation
from fffbench.measure.conformance import conform
from fffbench.measure.processes import Round
from fffbench.plan.workload import Cell, Protocol, Shape, Workload

torch = pytest.importorskip("torch")
NAMES = ["dense_blas1", "dense_blas2", "dense_blas3", "cmm_blas1", "cmm_blas2"]
WORK = Workload(Shape.tree(100, 2, 5), 65)


@pytest.fixture
def blas():
    if blaslib.find() is None:
        pytest.skip("no BLAS here")
    return blaslib.find()


@pytest.fixture
def another_blas(monkeypatch):
    """Pretend that a different library is the one found."""

    def use(library):
        monkeypatch.setattr(blaslib, "find", lambda: library)

    return use


def layer_of(name, work=WORK):
    from fffbench.measure import inputs

    return implementation(name).prepare(inputs.make_weights(work, work.draw(work.batch)), work)


def test_the_blas_is_named_with_version_and_kernels(blas):
    product, version, kernels = blas.name.split(" ", 2)
    assert product in {"MKL", "OpenBLAS", "BLIS"} or ".so" in product
    assert version[0].isdigit()
    assert kernels.startswith("(")
    assert kernels.endswith(" threading)")


def test_its_functions_are_called_with_integers_of_the_right_width(blas):
    integer = ctypes.c_int64 if blas.wide else ctypes.c_int32
    dot = ctypes.CFUNCTYPE(ctypes.c_float, integer, *(ctypes.c_void_p, integer) * 2)(blas.address("sdot"))
    x = torch.arange(5, dtype=torch.float32)
    assert dot(5, x.data_ptr(), 1, x.data_ptr(), 1) == 30


@pytest.mark.parametrize("rows", [1, 2, 5])
def test_a_product_is_row_major(blas, rows):
    a, b = torch.randn(rows, 3), torch.randn(3, 4)
    c = torch.full((rows, 4), float("nan"))
    blas.product(rows, 3, 4)(a.data_ptr(), b.data_ptr(), c.data_ptr())
    assert torch.allclose(c, a @ b, atol=1e-6)


def test_a_function_that_the_blas_lacks_has_no_address(blas):
    assert blas.address("sgemv_of_the_future") == 0


@pytest.mark.parametrize("threads", [1, 2])
def test_it_is_set_to_the_threads_of_the_workload(blas, threads):
    from threadpoolctl import threadpool_info

    blaslib.use(threads)
    assert {item["num_threads"] for item in threadpool_info() if item["user_api"] == "blas"} == {threads}


@pytest.mark.parametrize("name", NAMES)
def test_a_record_names_the_blas_and_its_threads(blas, name):
    assert blas.note(1) in layer_of(name).notes


def test_level_2_says_whether_the_blas_has_batched_calls(blas):
    batched = blas.address("sgemv_batch") and blas.address("saxpy_batch")
    [how] = [note for note in layer_of("cmm_blas2").notes if "gemv" in note]
    assert ("one by one" not in how) == bool(batched)


@pytest.mark.parametrize("name", NAMES)
def test_numpys_own_blas_computes_the_same_where_mkl_is_found_first(another_blas, name):
    found = blaslib._of_numpy()
    if found is None:
        pytest.skip("numpy here carries no BLAS")
    another_blas(found)
    assert conform(name, WORK).failure is None


@pytest.mark.parametrize("name", NAMES)
def test_without_a_blas_the_reason_is_a_sentence(another_blas, name):
    another_blas(None)
    assert "no CBLAS here" in implementation(name).unsupported(WORK)


def test_the_loops_work_with_32_bit_integers_too():
    """Spelled as in a library with 32-bit counts: callbacks in this test stand in for one."""
    from fffbench import _cpu

    seen = []

    def dot(n, x, _x_step, y, _y_step):
        seen.append(n)
        return sum(x[i] * y[i] for i in range(n))

    def axpy(n, alpha, x, _x_step, y, _y_step):
        for i in range(n):
            y[i] += alpha * x[i]

    integer, vector = ctypes.c_int32, ctypes.POINTER(ctypes.c_float)
    dot_at = ctypes.CFUNCTYPE(ctypes.c_float, integer, vector, integer, vector, integer)(dot)
    axpy_at = ctypes.CFUNCTYPE(None, integer, ctypes.c_float, vector, integer, vector, integer)(axpy)
    x, w1, w2 = torch.ones(1, 3), torch.tensor([[1.0, 0, 0], [9, 9, 9], [0, 0, -1]]), torch.eye(3)
    y = torch.full((1, 3), float("nan"))
    at = [ctypes.cast(function, ctypes.c_void_p).value for function in (dot_at, axpy_at)]
    addresses = {name: tensor.data_ptr() for name, tensor in {"x": x, "w1": w1, "w2": w2, "y": y}.items()}
    _cpu.blas_tree1(wide=False, dot=at[0], axpy=at[1], **addresses, batch=1, d=3, trees=1, levels=2)
    assert seen == [3, 3]
    assert torch.allclose(y, torch.nn.functional.gelu(torch.tensor([[1.0, 0, -1]])))


PRODUCT_OF_TWO_THREADS = """
import sys
from fffbench import blaslib
if sys.argv[1] == "its own first":
    blaslib.load_openmp()
import torch
blas = blaslib.use(2)
a, b = torch.randn(512, 256), torch.randn(768, 256)
c = torch.full((512, 768), float("nan"))
blas.product(512, 256, 768, transposed=True)(a.data_ptr(), b.data_ptr(), c.data_ptr())
print(torch.allclose(c.double(), a.double() @ b.double().T, atol=1e-3), blas.name)
"""


@pytest.mark.parametrize(("order", "threading"), [("its own first", "intel"), ("torch's first", "gnu")])
def test_mkl_takes_the_openmp_that_came_first_and_two_threads_compute_rightly(order, threading):
    if None in blaslib._mkl_paths():
        pytest.skip("the mkl wheel is not installed")
    # -P: from a checkout, the current folder holds the sources without the compiled kernels
    command = [sys.executable, "-P", "-c", PRODUCT_OF_TWO_THREADS, order]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert said.startswith("True MKL")
    assert f"{threading} threading" in said


def test_an_openmp_that_cannot_be_loaded_is_no_reason_to_stop(monkeypatch, tmp_path):
    (tmp_path / "libiomp5.so").write_text("not a library")
    monkeypatch.setattr(blaslib, "_mkl_paths", lambda: (tmp_path / "libiomp5.so", tmp_path / "libmkl_rt.so"))
    blaslib.load_openmp()
    assert blaslib._mkl() is None


def test_a_measuring_process_has_mkls_own_threads():
    if None in blaslib._mkl_paths():
        pytest.skip("the mkl wheel is not installed")
    cell = Cell("dense_blas3", Workload(Shape.dense(64, 63), 65, threads=2), Protocol("hot", "kernel"))
    with Round() as round_:
        [outcome] = round_.measure([cell], 0, [None], seconds=0.01, limit=60)
    assert outcome.failure is None
    assert any("intel threading), 2 threads" in note for note in outcome.notes)

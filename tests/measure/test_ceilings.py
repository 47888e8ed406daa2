"""A peak is that of the fastest unit, so no product of a library is above it."""

import pytest

from fffbench.devices import cpu, products

pytest.importorskip("torch")


@pytest.fixture
def short(monkeypatch):
    """Ceilings in two seconds instead of six a thread count."""
    monkeypatch.setattr(cpu, "SECONDS", 0.005)
    monkeypatch.setattr(cpu, "REPEATS", 1)
    monkeypatch.setattr(products, "LAST_SIDE", 512)
    monkeypatch.setattr(products, "REPEATS", 2)


def test_every_dtype_has_a_peak_at_every_thread_count(short):
    found = cpu.DEVICE.ceilings([1])
    for dtype in ("fp32", "bf16", "fp16"):
        assert found[f"peak_{dtype}"]["1"] >= found[f"peak_{'fp32'}"]["1"] > 0
        assert found[f"peak_{dtype}"]["1"] >= found.get(f"fma_{dtype}", {}).get("1", 0.0)
    assert found["dram_read"]["1"] > 0


def test_a_matrix_unit_that_the_vector_loop_does_not_use_makes_the_peak(short, monkeypatch):
    """AMX: the vectors' bf16 stays under their fp32, the unit is five times as fast; fp16 has no unit here."""
    monkeypatch.setattr(products, "rates", lambda: {"fp32": 4.0e11, "bf16": 2.0e12, "fp16": 1.0e9})
    monkeypatch.setattr("fffbench._cpu.fma_rate", lambda _c, _i, dtype, _s: {"fp32": 4.2e11, "bf16": 2.1e11}[dtype])
    found = cpu.DEVICE.ceilings([2])
    assert found["fma_bf16"]["2"] == 2.1e11
    assert found["peak_bf16"]["2"] == 2.0e12
    assert found["peak_fp32"]["2"] == 4.2e11
    assert found["peak_fp16"]["2"] == 4.2e11, "halves can be converted and multiplied in fp32"


def test_a_side_grows_until_a_product_is_long_and_a_missing_product_is_left_out(monkeypatch):
    sides = []

    def made(side):
        sides.append(side)
        yield lambda: None

    taken = {256: 0.001, 512: 0.004, 1024: 0.02, 2048: 0.15}
    monkeypatch.setattr(products, "_seconds", lambda _: taken[sides[-1]])
    assert products._fastest(made) == pytest.approx(max(2 * side**3 / taken[side] for side in taken))
    assert sides == [256, 512, 1024, 2048]
    monkeypatch.setattr(products, "_fastest", lambda _: (_ for _ in ()).throw(RuntimeError("not implemented")))
    assert products.rates() == {}

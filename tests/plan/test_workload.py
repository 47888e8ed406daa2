"""Workloads: their counts, and ids that parse back."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fffbench.devices import DEVICES
from fffbench.errors import UserError
from fffbench.plan import workload as w

SHAPES = st.one_of(
    st.builds(w.Shape.dense, st.integers(1, 5000), st.integers(1, 10**6)),
    st.builds(w.Shape.tree, st.integers(1, 5000), st.integers(1, 3072), st.integers(1, 12)),
    st.builds(w.Shape.tree, st.integers(1, 5000), st.integers(1, 9), st.integers(13, 20)),
    st.builds(w.Shape.leaf, st.integers(1, 5000), st.integers(1, 9), st.integers(0, 15), st.integers(1, 64)),
)


def bytes_of(work, distinct_rows=None, *, conditional):
    return work.bytes("fff" if conditional else "dense", distinct_rows)


def operations_of(work, *, conditional):
    return work.operations("fff" if conditional else "dense")


def possible(shape, batch, dtype, routing, *rest):
    """A workload; uniform where the shape cannot be routed so: more turns than zipf could force, another tree."""
    return w.Workload(shape, batch, dtype, "uniform" if shape.refuses(routing) else routing, *rest)


CELLS = st.builds(
    w.Cell,
    st.from_regex(r"[a-z][a-z0-9_]{0,20}", fullmatch=True),
    st.builds(
        possible,
        SHAPES,
        st.integers(0, 65536),
        st.sampled_from(w.DTYPES),
        st.sampled_from(w.ROUTINGS),
        st.integers(1, 256),
        st.sampled_from(tuple(DEVICES)),
        st.integers(0, 9),
    ),
    st.builds(w.Protocol, st.sampled_from(w.CACHES), st.sampled_from(w.CALLS)),
)


@settings(deadline=None)  # the first example imports the kinds
@given(CELLS)
def test_every_cell_id_parses_back_to_its_cell(cell):
    assert w.parse_cell(cell.id) == cell


def test_the_published_shape_has_4095_neurons_of_which_a_token_evaluates_12():
    shape = w.Shape.tree(768, 1, 12)
    assert (shape.n, shape.active, shape.leaves, shape.ceiling) == (4095, 12, 2048, 341.25)


def test_useful_operations_of_the_published_batch_are_the_papers_206_and_0_6_gflop():
    work = w.Workload(w.Shape.tree(768, 1, 12), 16384)
    assert operations_of(work, conditional=False) == 4 * 768 * 4095 * 16384
    assert operations_of(work, conditional=True) == 4 * 768 * 12 * 16384


def test_one_token_reads_its_path_and_a_large_batch_reads_nearly_every_row():
    shape = w.Shape.tree(768, 1, 12)
    assert shape.distinct_rows(1, "uniform") == 12
    assert 4000 < shape.distinct_rows(16384, "uniform") < 4095
    assert bytes_of(w.Workload(shape, 1), conditional=True) == 4 * 768 * (2 + 2 * 12)
    assert bytes_of(w.Workload(shape, 1), conditional=False) == 4 * 768 * (2 + 2 * 4095)


def test_measured_distinct_rows_replace_the_expectation():
    work = w.Workload(w.Shape.tree(8, 1, 3), 5)
    assert bytes_of(work, 4, conditional=True) == 4 * 8 * (10 + 8)


def test_a_router_of_the_leaf_form_moves_one_row_and_a_leaf_neuron_two():
    shape = w.Shape.leaf(8, 2, 3, 4)  # two trees of 7 routers and 8 leaves of 4
    one = w.Workload(shape, 1)
    rows = 2 * (3 + 2 * 4)
    assert bytes_of(one, conditional=True) == 4 * 8 * (2 + rows)
    assert bytes_of(w.Workload(shape, 50, routing="single-path"), conditional=True) == 4 * 8 * (100 + rows)
    everything = 2 * (7 + 2 * 32)
    assert bytes_of(w.Workload(shape, 10**6), conditional=True) == pytest.approx(4 * 8 * (2 * 10**6 + everything))


def test_the_dense_layer_of_a_leaf_shape_has_its_neurons_and_no_routers():
    shape = w.Shape.leaf(8, 2, 3, 4)
    assert bytes_of(w.Workload(shape, 1), conditional=False) == 4 * 8 * (2 + 2 * 64)
    assert operations_of(w.Workload(shape, 1), conditional=False) == 4 * 8 * 64


def test_a_router_costs_half_the_operations_of_a_neuron():
    shape = w.Shape.leaf(8, 2, 3, 4)
    assert operations_of(w.Workload(shape, 5), conditional=True) == 5 * 8 * 2 * (2 * 3 + 4 * 4)


def test_an_empty_batch_needs_nothing():
    work = w.Workload(w.Shape.tree(768, 1, 12), 0)
    assert operations_of(work, conditional=True) == 0
    assert bytes_of(work, conditional=True) == 0
    assert bytes_of(work, conditional=False) == 0


@pytest.mark.parametrize(
    "text",
    [
        "",
        "fff_cpu",
        "fff_cpu@d768-n4094-t1x12-b1-fp32-uniform-cpu-1th-s0@cold-kernel",  # n contradicts the tree
        "fff_cpu@d768-n4095-t1x12-b1-fp99-uniform-cpu-1th-s0@cold-kernel",
        "fff_cpu@d768-n4095-t1x12-b1-fp32-uniform-cpu-0th-s0@cold-kernel",
        "fff_cpu@d768-n4095-t1x99-b1-fp32-uniform-cpu-1th-s0@cold-kernel",
        "fff_cpu@d768-n4095-t1x12-b1-fp32-uniform-cpu-1th-s0@tepid-kernel",
        "x" * 10**6,
    ],
)
def test_a_text_that_is_no_cell_id_is_refused_in_one_line(text):
    with pytest.raises(UserError) as refused:
        w.parse_cell(text)
    assert len(str(refused.value)) < 400
    assert "\n" not in str(refused.value)

"""Is an id the only way to write a cell, and is all other text refused in one line?"""

from hypothesis import given
from hypothesis import strategies as st
from synthetic import cell_id

from fffbench.errors import UserError
from fffbench.plan import workload as w
from fffbench.plan.presets import presets, shape_of

REAL = st.sampled_from(
    [
        cell_id("fff_cpu"),
        cell_id("dense_linear", shape=w.Shape.dense(768, 3072)),
        cell_id("fff_cuda", device="cuda"),
        cell_id("cmm_leaf_gather", shape=w.Shape.leaf(64, 2, 3, 8), routing="zipf", batch=1, threads=2),
    ]
)
SHAPES = sorted({shape for preset in presets().values() for block in preset.blocks for shape in block.shapes})


def outcome(read, text):
    """What ``read`` makes of the text: a value, or the error that refuses it."""
    try:
        return read(text)
    except UserError as error:
        return error


@st.composite
def almost(draw):
    """A real id with a few characters replaced, put in or left out."""
    text = list(draw(REAL))
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, len(text)))
        piece = draw(st.sampled_from(["", "0", "1", "9", "-", "@", "l4", "t2x3", "fp16", "\n", "٣"]))
        text[place : place + draw(st.integers(0, 2))] = list(piece)
    return "".join(text)


@given(st.one_of(almost(), st.text(max_size=400)))
def test_text_is_the_id_of_the_cell_that_it_parses_to_or_is_refused_in_one_line(text):
    found = outcome(w.parse_cell, text)
    if isinstance(found, UserError):
        assert "\n" not in str(found)
        assert len(str(found)) < 500
    else:
        assert found.id == text


@given(st.sampled_from(SHAPES))
def test_the_shape_of_every_preset_is_written_as_it_reads(shape):
    assert shape_of(shape.id) == shape


@given(st.text(max_size=60))
def test_text_that_is_no_shape_is_refused(text):
    found = outcome(shape_of, text)
    assert "not a shape" in str(found) if isinstance(found, UserError) else found.id == text

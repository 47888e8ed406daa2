"""A CSV file has every value as Python's own writer writes it, and no text in it is a formula or a second line."""

import csv
import io

from hypothesis import given
from hypothesis import strategies as st

from fffbench.report.csv_files import FORMULA_STARTS, floats, write_rows
from fffbench.text import plain

FLOATS = st.floats() | st.floats(1e-12, 1e-3) | st.integers(-400, 400).map(lambda exponent: float(f"1.5e{exponent}"))
TEXTS = st.text() | st.sampled_from([*FORMULA_STARTS, "=1+1", 'a "b"', "a,b", "a\nb", "", "plain"])
VALUES = {
    "float": FLOATS,
    "some": st.none() | FLOATS,
    "text": TEXTS,
    "count": st.integers(),
    "any": st.none() | FLOATS | TEXTS | st.integers() | st.booleans() | st.lists(TEXTS | FLOATS).map(tuple),
}


@given(st.lists(FLOATS))
def test_floats_are_written_as_repr_writes_them(values):
    assert floats(values) == list(map(repr, values))


@given(st.lists(st.fixed_dictionaries(VALUES), max_size=5))
def test_rows_are_written_as_the_csv_module_writes_them(tmp_path_factory, rows):
    def field(value):
        if isinstance(value, tuple):
            value = " ".join(map(str, value))
        if isinstance(value, str):
            text = plain(value)
            return f"'{text}" if text.startswith(FORMULA_STARTS) else text
        return value

    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(VALUES)
    writer.writerows([field(value) for value in row.values()] for row in rows)
    path = tmp_path_factory.mktemp("csv") / "rows.csv"
    write_rows(path, (row.values() for row in rows), list(VALUES))
    found = path.read_bytes().decode("utf-8", "surrogatepass")
    assert list(csv.reader(io.StringIO(found))) == list(csv.reader(io.StringIO(out.getvalue())))


def test_thousands_of_rows_are_all_there_in_their_order(tmp_path):
    rows = [(index, index / 7, f"row {index}") for index in range(7001)]
    write_rows(tmp_path / "rows.csv", rows, ["a", "b", "c"])
    with (tmp_path / "rows.csv").open(encoding="utf-8", newline="") as file:
        head, *found = csv.reader(file)
    assert head == ["a", "b", "c"]
    assert [(int(a), float(b), c) for a, b, c in found] == rows

"""Are the figures of a published version read back as they were written, and a stranger's file refused in one line?"""

import json

import pytest

from fffbench.results.snapshots import Figure, Snapshot, read_snapshots, write_snapshot


def snapshot(version="0.2.0", date="2026-11-27", **figure):
    one = Figure(
        key="layer|m|cpu|strict fp32|batch 1", what="a layer", **{"value": 2.5, "low": 2.0, "high": 3.0} | figure
    )
    return Snapshot(format=1, version=version, date=date, figures=[one])


def test_what_is_written_is_read_and_the_newest_comes_first(tmp_path):
    for one in (snapshot("0.1.0", "2026-10-01"), snapshot("0.10.0", "2026-11-27", high=None, verdict="exceeded")):
        write_snapshot(tmp_path, one)
    found, refused = read_snapshots(tmp_path)
    assert [one.version for one in found] == ["0.10.0", "0.1.0"]
    assert refused == []
    assert found[0] == snapshot("0.10.0", "2026-11-27", high=None, verdict="exceeded")


def test_nothing_published_is_nothing(tmp_path):
    assert read_snapshots(tmp_path) == ([], [])
    assert read_snapshots(None) == ([], [])


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"format": 2}, "format"),
        ({"version": "0.3.0"}, "version"),
        ({"version": "../x"}, "version"),
        ({"date": "yesterday"}, "date"),
        ({"figures": [{"key": "a", "what": "b", "value": "much"}]}, "figures[0].value"),
        ({"figures": None}, "figures"),
    ],
)
def test_a_file_that_is_none_is_refused_by_its_field(tmp_path, change, field):
    path = write_snapshot(tmp_path, snapshot())
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    found, [refusal] = read_snapshots(tmp_path)
    assert found == []
    assert (refusal.path, refusal.field) == ("published/0.2.0.json", field)


def test_what_is_no_json_or_no_plain_file_is_refused(tmp_path):
    folder = tmp_path / "published"
    folder.mkdir()
    (folder / "a.json").write_text("{")
    (folder / "b.json").symlink_to("/etc/hostname")
    found, refused = read_snapshots(tmp_path)
    assert found == []
    assert [one.path for one in refused] == ["published/a.json", "published/b.json"]

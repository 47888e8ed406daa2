"""Results from elsewhere: any order, any number of times, any split and any packing give the same folder and page."""

import functools
import io
import json
import os
import stat
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic import cell_id, quick_cells, run_json

from fffbench.errors import UserError
from fffbench.report import render
from fffbench.results.merge import ConflictError, merge
from fffbench.results.store import load

MACHINES = ("test-cpu-2c-0001", "test-cpu-4c-0002", "test-cpu-8c-0003")
CELLS = {cell_id("dense_linear"): 1.0, cell_id("fff_cpu"): 0.01}
PACKINGS = ("folder", "tar", "tar.gz", "tar.bz2", "tar.xz", "zip")
MERGE = [sys.executable, "-m", "fffbench", "merge"]


@functools.cache
def files():
    """Twelve runs of three machines, by place."""
    found = {}
    for index in range(12):
        machine = MACHINES[index % 3]
        run = f"quick-20260102-0304{index:02d}-{index:06x}"
        value = run_json(CELLS, machine=machine, run=run, started=f"2026-01-02T03:04:{index:02d}Z")
        found[f"matrix/{machine}/{run}.json"] = json.dumps(value).encode()
    return found


def pack(content, place, how):
    """Write ``content`` (bytes by path) as a folder or an archive at ``place``; return where it lies."""
    if how == "folder":
        for path, data in content.items():
            (place / path).parent.mkdir(parents=True, exist_ok=True)
            (place / path).write_bytes(data)
        place.mkdir(parents=True, exist_ok=True)
        return place
    archive = place.with_name(f"{place.name}.{how}")
    if how == "zip":
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as out:
            for path, data in content.items():
                out.writestr(path, data)
        return archive
    with tarfile.open(archive, f"w:{how.partition('.')[2]}") as out:
        for path, data in content.items():
            entry = tarfile.TarInfo(path)
            entry.size = len(data)
            out.addfile(entry, io.BytesIO(data))
    return archive


def tree(folder):
    """The bytes of every file under ``folder``, by path."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def here(tmp_path):
    return tmp_path / "results"


@st.composite
def plans(draw):
    """Sources (which files, packed how, below which folder), and the merges that take them in, some repeatedly."""
    places = sorted(files())
    owners = draw(st.lists(st.integers(0, 3), min_size=len(places), max_size=len(places)))
    extra = draw(st.lists(st.tuples(st.integers(0, 3), st.sampled_from(places)), max_size=6))  # some lie in two sources
    sources = []
    for index in range(4):
        held = {place for place, owner in zip(places, owners, strict=True) if owner == index}
        held |= {place for owner, place in extra if owner == index}
        sources.append((sorted(held), draw(st.sampled_from(PACKINGS)), draw(st.sampled_from(("", "results/", "a/b/")))))
    order = draw(st.permutations(range(4))) + draw(st.lists(st.integers(0, 3), max_size=4))
    cuts = draw(st.sets(st.integers(1, len(order) - 1)))
    return sources, [group for group in _cut(order, sorted(cuts)) if group]


def _cut(order, cuts):
    return [order[start:end] for start, end in zip([0, *cuts], [*cuts, len(order)], strict=True)]


def merged(plan, root):
    """The folder into which the plan's sources were merged as it says."""
    sources, merges = plan
    packs = [
        pack({below + place: files()[place] for place in held}, root / f"source-{index}", how)
        for index, (held, how, below) in enumerate(sources)
    ]
    for group in merges:
        merge([packs[index] for index in group], root / "results")
    return root / "results"


@settings(max_examples=25, deadline=None)
@given(plans())
def test_any_order_any_number_of_times_and_any_split_give_the_same_folder(plan):
    with tempfile.TemporaryDirectory() as folder:
        assert tree(merged(plan, Path(folder))) == files()


def pages(folder, out):
    """The bytes of the page, the archive and every table of a folder of results."""
    render(load(folder), out)
    return tree(out)


@functools.cache
def whole_pages():
    """The page of all files, written where they belong without any merge."""
    with tempfile.TemporaryDirectory() as folder:
        return pages(pack(files(), Path(folder) / "results", "folder"), Path(folder) / "reports")


@settings(max_examples=3, deadline=None)
@given(plans())
def test_any_order_any_number_of_times_and_any_split_give_the_same_bytes_on_the_page(plan):
    with tempfile.TemporaryDirectory() as folder:
        assert pages(merged(plan, Path(folder)), Path(folder) / "reports") == whole_pages()
    assert all(machine.encode() in whole_pages()["cells.csv"] for machine in MACHINES)


@settings(max_examples=25, deadline=None)
@given(plans(), st.sets(st.sampled_from(sorted(files())), min_size=1), st.data())
def test_every_planted_conflict_is_named_and_nothing_is_written(plan, changed, data):
    sources, merges = plan
    order = [index for group in merges for index in group]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        packs = [
            pack({place: files()[place] for place in held}, root / f"source-{index}", how)
            for index, (held, how, _) in enumerate(sources)
        ]
        other = {place: files()[place].replace(b'"quick"', b'"paper"', 1) for place in changed}
        packs.append(pack(other, root / "changed", data.draw(st.sampled_from(PACKINGS))))
        order.insert(data.draw(st.integers(0, len(order))), len(packs) - 1)
        with pytest.raises(ConflictError) as error:
            merge([packs[index] for index in order], root / "results")
        assert error.value.places == tuple(sorted(changed))
        assert all(place in str(error.value) for place in changed)
        assert not (root / "results").exists()


def test_two_ways_of_merging_give_the_same_bytes_on_the_page(tmp_path):
    content = {}
    for index, machine in enumerate(MACHINES):
        value = run_json(quick_cells(1.0 + index), machine=machine, run=f"quick-2026010{index}-030405-aaaaaa")
        content[f"matrix/{machine}/{value['fffbench']['run']}.json"] = json.dumps(value).encode()
    places = sorted(content)
    parts = [pack({place: content[place]}, tmp_path / f"part{index}", "zip") for index, place in enumerate(places)]
    whole = pack(content, tmp_path / "whole", "tar.gz")
    for part in [parts[2], parts[0], parts[2], parts[1]]:
        merge([part], tmp_path / "one" / "results")
    merge([whole, *parts], tmp_path / "other" / "results")
    pages = []
    for name in ("one", "other"):
        render(load(tmp_path / name / "results"), tmp_path / name / "reports")
        pages.append(tree(tmp_path / name / "reports"))
    assert pages[0] == pages[1]
    assert all(machine.encode() in pages[0]["cells.csv"] for machine in MACHINES)


def test_a_conflict_with_what_is_there_leaves_the_folder_as_it_was(tmp_path, here):
    place = min(files())
    merge([pack(files(), tmp_path / "first", "tar")], here)
    before = tree(here)
    changed = {place: files()[place] + b" ", "matrix/test-cpu-2c-0001/new.json": files()[place]}
    with pytest.raises(ConflictError, match="nothing was merged"):
        merge([pack(changed, tmp_path / "second", "zip")], here)
    assert tree(here) == before


def test_two_contents_within_one_tar_are_a_conflict(tmp_path, here):
    place = min(files())
    archive = tmp_path / "twice.tar"
    with tarfile.open(archive, "w") as out:
        for data in (files()[place], files()[place] + b"\n"):
            entry = tarfile.TarInfo(place)
            entry.size = len(data)
            out.addfile(entry, io.BytesIO(data))
    with pytest.raises(ConflictError) as error:
        merge([archive], here)
    assert error.value.places == (place,)


@pytest.mark.parametrize(
    "path",
    [
        "../matrix/test-cpu-2c-0001/x.json",
        "/tmp/matrix/test-cpu-2c-0001/x.json",
        "a/../../matrix/test-cpu-2c-0001/x.json",
        "..\\..\\matrix\\test-cpu-2c-0001\\x.json",
        "matrix/../x.json",
        "matrix/Test CPU/x.json",
        "matrix/test-cpu-2c-0001/a\nb.json",
        "archive/matrix/test-cpu-2c-0001/x.json",
    ],
)
@pytest.mark.parametrize("how", ["tar", "zip"])
def test_a_path_that_leads_elsewhere_is_left_out_by_name(tmp_path, here, how, path):
    good = max(files())
    merged = merge([pack({path: files()[good], good: files()[good]}, tmp_path / "evil", how)], here)
    assert merged.added == [good]
    assert len(merged.refused) == 1
    assert "evil" in merged.refused[0].path
    assert set(tree(tmp_path)) == {f"evil.{how}", f"results/{good}"}


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_in_a_tar_are_left_out_by_name(tmp_path, here, kind):
    place = min(files())
    entry = tarfile.TarInfo(place)
    entry.type, entry.linkname = kind, "/etc/passwd"
    archive = tmp_path / "links.tar"
    with tarfile.open(archive, "w") as out:
        out.addfile(entry)
    merged = merge([archive], here)
    assert merged.added == []
    assert place in merged.refused[0].path
    assert "link" in merged.refused[0].reason


def test_a_link_in_a_zip_and_one_in_a_folder_are_left_out_by_name(tmp_path, here):
    place = min(files())
    archive = tmp_path / "links.zip"
    entry = zipfile.ZipInfo(place)
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(archive, "w") as out:
        out.writestr(entry, "/etc/passwd")
    folder = tmp_path / "folder"
    (folder / place).parent.mkdir(parents=True)
    (folder / place).symlink_to(pack(files(), tmp_path / "elsewhere", "folder") / place)
    (folder / "matrix" / "linked").symlink_to(tmp_path / "elsewhere")
    merged = merge([archive, folder], here)
    assert merged.added == []
    assert len(merged.refused) == 3
    assert all("link" in refusal.reason for refusal in merged.refused)


def test_a_link_in_the_folder_of_results_is_not_followed(tmp_path, here):
    (here / "matrix").mkdir(parents=True)
    (here / "matrix" / MACHINES[0]).symlink_to(tmp_path)
    with pytest.raises(UserError, match="link"):
        merge([pack(files(), tmp_path / "source", "tar")], here)
    assert set(tree(tmp_path)) == {"source.tar"}


@pytest.mark.parametrize("how", ["tar.gz", "tar.bz2", "tar.xz", "zip"])
def test_an_archive_that_expands_without_end_is_refused_in_little_memory(tmp_path, here, how):
    bomb = {f"matrix/test-cpu-2c-0001/x{index}.json": bytes(60 * 2**20) for index in range(2)}
    archive = pack(bomb, tmp_path / "bomb", how)
    assert archive.stat().st_size < 2**18
    with pytest.raises(UserError, match="expands to more than 200 times its size"):
        merge([archive], here)
    assert not here.exists()


def test_a_header_of_any_size_is_not_read(tmp_path, here):
    entry = tarfile.TarInfo("x")
    entry.type, entry.size = tarfile.XHDTYPE, 8 * 2**20
    archive = tmp_path / "header.tar"
    archive.write_bytes(entry.tobuf() + bytes(8 * 2**20))
    with pytest.raises(UserError, match="a header of"):
        merge([archive], here)


@pytest.mark.parametrize("how", PACKINGS[1:])
def test_a_damaged_archive_is_one_line_and_nothing_is_merged(tmp_path, here, how):
    archive = pack(files(), tmp_path / "cut", how)
    whole = archive.read_bytes()
    for length in (0, 1, len(whole) // 3, len(whole) * 2 // 3):
        archive.write_bytes(whole[:length])
        with pytest.raises(UserError, match="nothing was merged"):
            merge([archive], here)
        assert not here.exists()


@pytest.mark.parametrize(
    ("data", "reason"),
    [(b"{}", "not a result file"), (b"{", "cannot be read"), (b'{"fffbench": {"format": 99}}', "newer")],
)
def test_what_is_no_result_file_is_left_out_and_the_rest_counts(tmp_path, here, data, reason):
    bad = f"matrix/{MACHINES[0]}/other.json"
    merged = merge([pack({**files(), bad: data}, tmp_path / "mixed", "tar")], here)
    assert tree(here) == files()
    assert [reason in refusal.line for refusal in merged.refused] == [True]


def test_a_file_in_the_folder_of_another_machine_is_left_out(tmp_path, here):
    place = min(files())
    merged = merge([pack({place.replace(MACHINES[0], MACHINES[1]): files()[place]}, tmp_path / "x", "zip")], here)
    assert merged.added == []
    assert "another machine" in merged.refused[0].reason


def test_journals_drafts_and_everything_else_stay_where_they_are(tmp_path, here):
    others = {f"matrix/{MACHINES[0]}/run.journal": b"{}", f"matrix/{MACHINES[0]}/.x.json": b"", "README.md": b"text"}
    assert merge([pack({**files(), **others}, tmp_path / "all", "folder")], here).refused == []
    assert tree(here) == files()


@pytest.mark.parametrize("named", ["", "matrix", f"matrix/{MACHINES[0]}"])
def test_a_folder_of_results_may_be_named_at_any_level(tmp_path, here, named):
    merge([pack(files(), tmp_path / "source", "folder") / named], here)
    assert tree(here) == {place: data for place, data in files().items() if named in place}


def test_merging_a_folder_into_itself_changes_nothing(tmp_path):
    folder = pack(files(), tmp_path / "results", "folder")
    assert merge([folder, folder], folder).added == []
    assert tree(folder) == files()


def test_a_merge_that_was_killed_is_done_again(tmp_path, here, monkeypatch):
    source = pack(files(), tmp_path / "source", "tar")
    given_names, give = [], os.link

    def dies(draft, place):
        if len(given_names) == 5:
            raise KeyboardInterrupt
        given_names.append(place)
        give(draft, place)

    monkeypatch.setattr("fffbench.results.names.os.link", dies)
    with pytest.raises(KeyboardInterrupt):
        merge([source], here)
    assert len(tree(here)) == 5
    monkeypatch.undo()
    assert len(merge([source], here).present) == 5
    assert tree(here) == files()


def test_the_command_adds_says_so_and_fails_in_one_line(tmp_path):
    source = pack(files(), tmp_path / "source", "tar.gz")
    to = ["--results", str(tmp_path / "results")]
    done = subprocess.run([*MERGE, str(source), *to], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "12 added, 0 there already, 0 left out" in done.stdout
    done = subprocess.run([*MERGE, str(tmp_path / "none"), *to], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1

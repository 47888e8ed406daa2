"""Presets are files: what one may say, what a family stands for, and which files are refused."""

import pytest

from fffbench.errors import UserError
from fffbench.implementations.registry import implementations
from fffbench.plan.candidates import CANDIDATES, NEVER_BEST
from fffbench.plan.presets import FOLDER, Block, family_of, presets, read_presets, resolve

FAMILIES = {name: item.family for name, item in implementations().items()}
BLOCK = '[[block]]\nimplementations = ["family:fff"]\n'


def test_every_file_is_a_preset_in_the_order_that_it_gives_itself():
    assert set(presets()) == {path.stem for path in FOLDER.glob("*.toml")}
    assert [*presets()][:: len(presets()) - 1] == ["quick", "full"]


def test_a_preset_is_one_file(tmp_path):
    (tmp_path / "mine.toml").write_text(
        'summary = "a leaf of mine"\nsample_seconds = 0.1\n[lists]\nnarrow = ["d64-n128-t1x4l8"]\n'
        f'{BLOCK}shapes = "narrow"\nbatches = [3]\nthreads = [1, "all"]\n'
    )
    mine = read_presets(tmp_path)["mine"]
    [block] = mine.blocks
    assert (mine.summary, mine.sample_seconds, mine.processes, mine.budget_seconds) == ("a leaf of mine", 0.1, 6, None)
    assert (block.shapes[0].leaf_width, block.batches, block.threads) == (8, (3,), (1, "all"))
    assert block.caches == Block(()).caches


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("summary", "mine.toml"),
        (BLOCK, "summary"),
        (f'summary = "x"\n{BLOCK}colour = "red"', "block.0.colour"),
        (f'summary = "x"\n{BLOCK}dtypes = ["fp33"]', "value in dtypes 'fp33'; did you mean 'fp32'? allowed: fp32"),
        (f'summary = "x"\n{BLOCK}shapes = ["big"]', "not a shape: 'big'; one looks like d768-n4095-t1x12"),
        (f'summary = "x"\n{BLOCK}shapes = ["d768-n4094-t1x12"]', "not a shape"),
        (f'summary = "x"\n{BLOCK}threads = "many"', "list in threads 'many'"),
        (f'summary = "x"\n{BLOCK}batches = [1.5]', "block.0.batches"),
        ('summary = "x"\nincludes = ["nobody"]', "preset in includes 'nobody'"),
    ],
)
def test_a_file_that_is_no_preset_is_refused_in_one_line_with_its_name_and_key(tmp_path, text, said):
    (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(UserError) as refused:
        read_presets(tmp_path)
    assert str(refused.value).startswith("preset mine.toml: ")
    assert said in str(refused.value)


def test_this_packages_implementations_are_named_after_their_family():
    own = {name: item for name, item in implementations().items() if item.module is not None}
    assert {name: family_of(name) for name in own} == {name: item.family for name, item in own.items()}


def test_dense_layers_of_this_package_are_candidates_or_never_the_best():
    own = {name for name, family in FAMILIES.items() if family == "dense"}
    assert own == {item.name for item in CANDIDATES} | set(NEVER_BEST)


def test_the_dense_family_is_what_can_be_the_fastest_with_other_peoples_layers():
    found = resolve("family:dense", FAMILIES | {"gemm_of_theirs": "dense"})
    assert set(found) == {item.name for item in CANDIDATES} | {"gemm_of_theirs"}


def test_a_block_leaves_out_of_a_family_what_it_names():
    block = Block(("family:dense", "dense_bmm"), without=("dense_linear",))
    assert "dense_linear" not in block.resolve(FAMILIES)
    assert "dense_bmm" in block.resolve(FAMILIES)
    asked = {"dense_bmm": True, "dense_linear": False, "dense_blas1": False, "dense_gemm": True, "family:dense": True}
    assert {name: block.asks(name) for name in asked} == asked
    assert not block.asks("family:fff")


@pytest.mark.parametrize("name", presets())
def test_a_preset_names_no_implementation_that_is_not_there(name):
    for block in presets()[name].blocks:
        assert block.resolve(FAMILIES)
        assert set(block.without) <= set(FAMILIES)

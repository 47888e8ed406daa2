"""A prepared model is judged layer by layer: rounding may turn a token elsewhere, and no fault gets through."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("fffbench._cpu", reason="the C++ kernels are not built")

import recorded_graph  # noqa: E402
from recorded_graph import Capture  # noqa: E402

from fffbench.models import judging, measuring, modes, preparing  # noqa: E402
from fffbench.plan.models import ModelCell, Variant, Work  # noqa: E402

BERT = Work("bert-tiny", "encode", 2, 16)
WORKS = [
    BERT,
    Work("bert-tiny", "encode", 2, 16, "bf16"),
    Work("ultrafastbert-tiny", "encode", 2, 16),
    Work("gpt2-tiny", "decode", 3, 16),
    Work("llama-tiny", "prefill", 2, 16, "bf16"),
    Work("llama-tiny", "decode", 1, 16),
]


@pytest.fixture(autouse=True)
def without_a_gpu(monkeypatch):
    monkeypatch.setattr(modes, "record", recorded_graph.record)
    Capture.count = 0


@pytest.fixture
def only_traced(monkeypatch):
    """``torch.compile`` without its C++ compiler: the same tracing, and what was traced runs as it is."""
    right = torch.nn.Module.compile
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self, **how: right(self, backend="eager", **how))
    yield
    torch._dynamo.reset()


def prepared(work, text, mode="graph", spoil=None):
    made = measuring.make(work, Variant.parse(text))
    if spoil is not None:
        spoil(made)
    with torch.inference_mode():
        checked = measuring._checked(ModelCell(work, Variant.parse(text)), made)
        return checked, preparing.prepare(mode, checked.built, made.swapped, checked.seen, work.dtype)


@pytest.mark.parametrize("work", WORKS, ids=lambda work: work.id)
@pytest.mark.parametrize("text", ["dense", "none", "fff-1x4", "masked-4x2", "small-16", "moe-4x16-top2"])
def test_a_graph_of_a_right_model_passes_and_computes_what_it_is_given(work, text):
    checked, (call, _, verdict, alike) = prepared(work, text)
    layers = 0 if text in ("dense", "none") else work.architecture.layers
    assert (verdict.layers, verdict.tokens) == (layers, layers * min(judging.TOKENS, work.new_tokens))
    assert alike.beyond == 0
    with torch.inference_mode():
        first, *more = checked.built.inputs  # of one token each, two may be the same
        differs = next(x for x in more if not torch.equal(x, first))
        one, other = (call(x).clone() for x in (first, differs))
        assert judging.alike([(one, checked.built.call(checked.built.inputs[0]))], work.dtype, "graph").beyond <= 1
    assert not torch.equal(one, other)


@pytest.mark.usefixtures("only_traced")
@pytest.mark.parametrize("mode", ["compiled", "compiled-graph"])
@pytest.mark.parametrize("work", [BERT, Work("gpt2-tiny", "decode", 3, 16)], ids=lambda work: work.id)
def test_compiled_layers_that_are_right_pass(work, mode):
    checked, (_, _, verdict, alike) = prepared(work, "fff-1x4", mode)
    assert (verdict.layers, alike.beyond) == (work.architecture.layers, 0)
    assert all(layer._compiled_call_impl is not None for layer in checked.built.layers)


def test_where_another_rounding_turns_every_token_elsewhere_the_model_is_right_all_the_same():
    """As on a GPU, where attention has another kernel in a graph than without one."""

    def spoil(made):
        for layer in made.model.encoder.layer:
            dense = layer.attention.output.dense
            dense.forward = lambda x, right=dense.forward: right(x) * (1.04 if Capture.active else 1)

    work = Work("bert-tiny", "encode", 16, 64, "bf16")
    checked, (call, _, verdict, alike) = prepared(work, "fff-32x5", spoil=spoil)
    assert verdict.layers == 2
    assert alike.beyond == 0
    x = checked.built.inputs[0]
    with torch.inference_mode(), pytest.raises(judging.WrongError):  # outputs of the whole model do not show it
        judging.alike([(call(x), checked.built.call(x))], work.dtype, "graph")


def in_the_last_layer(wrong):
    """Let the last replaced layer do something else in a capture, or in compiled code; right(x) is what it should."""

    def spoil(made):
        module = made.swapped.replacements[-1]
        module.right, module.kept = module.forward, {}

        def forward(x):
            if Capture.active or torch.compiler.is_compiling():
                return wrong(module, x)
            module.kept["y"] = module.right(x).clone()
            return module.kept["y"]

        module.forward = forward

    return spoil


def other_weight(module, x):
    return torch.ops.fffbench.tree.default(x, module.w1, module.w2 * 1.05, module.b1, module.b2, module.shape.trees)


FAULTS = {
    "skips": lambda _, x: x,
    "returns what it returned before": lambda module, x: module.kept["y"] + 0 * x,
    "has another weight": other_weight,
    "returns nothing that was computed": lambda _, x: torch.full_like(x, float("nan")),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_layer_that_is_wrong_in_a_graph_alone_is_named(fault):
    with pytest.raises(judging.WrongError, match="layer 1"):
        prepared(BERT, "fff-1x4", spoil=in_the_last_layer(FAULTS[fault]))


@pytest.mark.usefixtures("only_traced")
@pytest.mark.parametrize("fault", ["skips", "has another weight"])
def test_a_layer_that_is_wrong_in_compiled_code_alone_is_named(fault):
    with pytest.raises(judging.WrongError, match="layer 1"):
        prepared(BERT, "fff-1x4", "compiled", in_the_last_layer(FAULTS[fault]))


@pytest.mark.parametrize("wrong_in", [1, 2])
def test_a_fault_in_one_of_the_two_graphs_alone_is_found(wrong_in):
    def only_then(module, x):
        return module.kept["y"] + 0 * x if Capture.count == wrong_in else module.right(x)

    with pytest.raises(judging.WrongError, match="what is timed differs in" if wrong_in == 1 else "layer 1"):
        prepared(BERT, "fff-1x4", spoil=in_the_last_layer(only_then))


def test_a_layer_that_is_wrong_outside_the_replaced_ones_is_found():
    def spoil(made):
        dense = made.model.encoder.layer[1].attention.output.dense
        dense.forward = lambda x, right=dense.forward: right(x) * (3 if Capture.active else 1)

    for text in ("dense", "fff-1x4"):
        with pytest.raises(judging.WrongError, match=r"graph: .* of the tokens differ from those of the same model"):
            prepared(BERT, text, spoil=spoil)


def test_a_graph_that_does_not_compute_again_is_found(monkeypatch):
    def stale(call, static):
        return (lambda: None), call(static)

    monkeypatch.setattr(modes, "record", stale)
    for text in ("dense", "fff-1x4"):
        with pytest.raises(judging.WrongError):
            prepared(BERT, text)


def test_results_may_differ_by_as_much_as_two_runs_of_the_same_do():
    y = torch.randn(64, 32)
    other = y + 0.2 * torch.randn(64, 32)
    judging.no_less_alike((other, y), (y + 0.2 * torch.randn(64, 32), y), "fp32", "graph")
    with pytest.raises(judging.WrongError, match="graph: what is timed differs in 100 % of the tokens"):
        judging.no_less_alike((other, y), (y, y), "fp32", "graph")

"""Real CUDA graphs of BERT-base pass their check in every mode, and a layer that is wrong in a graph alone is named."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")

from fffbench.models import judging, measuring  # noqa: E402
from fffbench.plan.models import ModelCell, Variant, Work  # noqa: E402

ENCODE = Work("bert-base", "encode", 1, 128, "bf16", "cuda")
DECODE = Work("llama-3-8b-layer", "decode", 1, 512, "bf16", "cuda")


def measured(work, text, modes, spoil=None):
    made = measuring.make(work, Variant.parse(text))
    if spoil is not None:
        spoil(made)
    try:
        return [measuring.measure(ModelCell(work, Variant.parse(text), mode), 0, made, 0.02) for mode in modes]
    finally:
        torch._dynamo.reset()
        del made
        measuring.forget(work)


@pytest.mark.parametrize(
    "text", ["dense", "none", "fff-1x12", "fff-128x5", "masked-1x12", "small-16", "moe-32x96-top4"]
)
def test_a_graph_of_bert_base_is_right(text):
    eager, graph = measured(ENCODE, text, ["eager", "graph"])
    assert graph.check.tokens == 2 * eager.check.tokens
    assert graph.check.mode_beyond <= judging.BEYOND


@pytest.mark.parametrize("text", ["fff-1x12", "fff-128x5"])
def test_compiled_layers_are_right_with_and_without_a_graph(text):
    for one in measured(ENCODE, text, ["eager", "compiled", "compiled-graph"]):
        assert one.samples
        assert one.check.mode_beyond <= judging.BEYOND


@pytest.mark.parametrize("text", ["dense", "fff-1x15", "small-16"])
def test_a_graph_of_a_decode_with_a_cache_is_right(text):
    assert all(one.samples for one in measured(DECODE, text, ["eager", "graph"]))


FAULTS = {
    "skips": lambda _, x: x,
    "returns what it returned before": lambda module, x: module.kept["y"] + 0 * x,
    "has another weight": lambda module, x: 1.05 * module.right(x),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_layer_that_is_wrong_in_a_graph_alone_is_named(fault):
    def spoil(made):
        module = made.swapped.replacements[-1]
        module.right, module.kept = module.forward, {}

        def forward(x):
            if torch.cuda.is_current_stream_capturing():
                return FAULTS[fault](module, x)
            module.kept["y"] = module.right(x).clone()
            return module.kept["y"]

        module.forward = forward

    with pytest.raises(judging.WrongError, match="layer 11"):
        measured(ENCODE, "fff-1x12", ["eager", "graph"], spoil)

"""Every replaced layer is held against float64 on what it is given inside the model, and a planted fault is found."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("fffbench._cpu", reason="the C++ kernels are not built")

from fffbench import swapping  # noqa: E402
from fffbench.models import build, judging, makers, measuring, modes  # noqa: E402
from fffbench.plan.architectures import ARCHITECTURES  # noqa: E402
from fffbench.plan.models import ModelCell, Variant, Work  # noqa: E402

WORKS = [
    Work("bert-tiny", "encode", 2, 16),
    Work("bert-tiny", "encode", 2, 16, "bf16"),
    Work("ultrafastbert-tiny", "encode", 2, 16),
    Work("gpt2-tiny", "prefill", 2, 16),
    Work("gpt2-tiny", "decode", 3, 16),
    Work("llama-tiny", "prefill", 2, 16),
    Work("llama-tiny", "decode", 3, 16, "bf16"),
]
VARIANTS = ["fff-1x4", "fff-4x2", "masked-1x4", "small-16", "moe-4x16-top1", "moe-4x16-top2"]


def of(work, text):
    return measuring.make(work, Variant.parse(text))


def judged(work, text, spoil=None):
    made = of(work, text)
    if spoil is not None:
        spoil(made)
    return measuring._checked(ModelCell(work, Variant.parse(text)), made)


@pytest.mark.parametrize("work", WORKS, ids=lambda work: work.id)
@pytest.mark.parametrize("text", VARIANTS)
def test_a_right_layer_passes_in_every_model(work, text):
    checked = judged(work, text)
    check, routing = checked.check, checked.routing
    assert check.layers == work.architecture.layers
    assert check.tokens == check.layers * min(judging.TOKENS, work.new_tokens)
    assert 0 < check.error <= 1
    trees = Variant.parse(text).is_tree
    assert len(routing) == (check.layers if trees else 0)
    for layer in routing:
        visits = {int(tokens): leaves for tokens, leaves in layer.visits.items()}
        assert sum(visits.values()) == layer.leaves
        assert sum(tokens * leaves for tokens, leaves in visits.items()) == layer.tokens * Variant.parse(text).trees


@pytest.mark.parametrize("work", [work for work in WORKS if work.dtype == "fp32"], ids=lambda work: work.id)
def test_trees_in_a_quantised_model_are_the_ones_that_are_checked(work):
    checked = judged(work, "int8-fff-1x4")
    assert (checked.check.layers, len(checked.routing)) == (work.architecture.layers, work.architecture.layers)


def shifted(name):
    def spoil(made):
        """Let the last replaced layer compute with other weights than those that it shows."""
        module = made.swapped.replacements[-1]
        right = module.forward
        tensor = dict(module.named_parameters())[name]

        def wrong(x):
            kept = tensor.data.clone()
            tensor.data[0] *= 1.05
            try:
                return right(x)
            finally:
                tensor.data.copy_(kept)

        module.forward = wrong

    return spoil


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("fff-1x4", "w1"),
        ("fff-1x4", "w2"),
        ("fff-1x4", "b1"),
        ("fff-4x2", "b2"),
        ("masked-1x4", "tree.w2"),
        ("small-16", "fc1.bias"),
        ("moe-4x16-top1", "w1"),
        ("moe-4x16-top2", "router.weight"),
    ],
)
def test_a_layer_that_computes_with_other_weights_is_named(text, name):
    with pytest.raises(judging.WrongError, match=r"layer 1, token \d+: .* times as far from the float64 reference"):
        judged(Work("bert-tiny", "encode", 2, 16), text, shifted(name))


def test_an_output_that_is_not_finite_is_refused():
    def spoil(made):
        made.swapped.replacements[0].forward = lambda x: x * float("nan")

    with pytest.raises(judging.WrongError, match="layer 0: an output is not finite"):
        judged(Work("bert-tiny", "encode", 2, 16), "small-16", spoil)


def test_a_replaced_layer_that_the_model_does_not_call_is_refused():
    def spoil(made):
        made.model.encoder.layer[0].feed_forward_chunk = lambda x: x

    with pytest.raises(judging.WrongError, match="1 of 2 replaced layers were called"):
        judged(Work("bert-tiny", "encode", 2, 16), "fff-1x4", spoil)


def test_a_swap_that_touches_other_layers_is_refused(monkeypatch):
    right = makers.put

    def put(model, variant, work):
        model, swapped, notes = right(model, variant, work)
        model.encoder.layer[0].attention.self.query = torch.nn.Linear(32, 32)
        return model, swapped, notes

    monkeypatch.setattr(makers, "put", put)
    with pytest.raises(judging.WrongError, match=r"attention\.self\.query\.weight is outside the feedforward layers"):
        of(Work("bert-tiny", "encode", 1, 8), "fff-1x4")


@pytest.mark.parametrize(("biases", "has"), [((), False), (("b1", "b2"), True)])
def test_trees_have_an_input_bias_on_a_device_whose_kernels_say_that_they_add_one(monkeypatch, biases, has):
    kernel = makers.implementation(makers.device("cuda").kernel).module
    monkeypatch.setattr(kernel, "BIASES", biases, raising=False)
    layer = next(iter(swapping._found(build.model_of(Work("bert-tiny", "encode", 1, 8)))))
    variant, work = Variant.parse("fff-1x4"), Work("bert-tiny", "encode", 1, 8, device="cuda")
    assert (makers.maker_of(variant, work)(layer).b1 is not None) == has
    assert makers.maker_of(Variant.parse("masked-1x4"), work)(layer).tree.b1 is not None
    assert makers.maker_of(variant, Work("bert-tiny", "encode", 1, 8))(layer).b1 is not None


def test_without_feedforward_layers_nothing_of_them_is_left():
    made = of(Work("gpt2-tiny", "decode", 1, 8), "none")
    assert not [name for name, _ in made.model.named_parameters() if ".mlp." in name]


@pytest.mark.parametrize("text", ["int8", "int8-fff-1x4"])
def test_quantised_linear_layers_are_all_of_them_and_take_a_quarter(text):
    work = Work("gpt2-tiny", "decode", 1, 8)
    made = of(work, text)
    assert not [m for m in made.model.modules() if isinstance(m, torch.nn.Linear) or type(m).__name__ == "Conv1D"]
    assert (
        makers.weights_bytes(made.model) < makers.weights_bytes(of(work, text.removeprefix("int8-")).model)
        or text == "int8"
    )
    assert makers.weights_bytes(made.model) < makers.weights_bytes(of(work, "dense").model)


def test_a_decode_repeats_the_same_work_and_changes_nothing_before_the_new_token():
    work = Work("llama-tiny", "decode", 1, 8)
    built = build.ready(of(work, "dense").model, work)
    with torch.inference_mode():
        first, other, again = (built.call(built.inputs[i]).clone() for i in (0, 1, 0))
    assert torch.equal(first, again)
    assert not torch.allclose(first, other)


@pytest.mark.parametrize("name", [name for name in ARCHITECTURES if name.endswith("tiny")])
def test_layers_that_are_switched_back_from_compiled_run_as_they_are(name):
    work = Work(name, ARCHITECTURES[name].phases[-1], 1, 8)
    made = of(work, "fff-1x4")
    built = build.ready(made.model, work)
    calls = []
    for layer in built.layers:
        layer._compiled_call_impl = lambda *a, layer=layer, **k: calls.append(1) or layer._call_impl(*a, **k)
    with torch.inference_mode():
        with modes.as_they_are(built.layers):
            built.call(built.inputs[0])
        assert not calls
        built.call(built.inputs[0])
    assert len(calls) == len(built.layers)


def test_a_prepared_model_that_computes_something_else_is_refused():
    y = torch.randn(256, 32)
    assert judging.alike([(y + 1e-6 * y, y)], "fp32", "compiled").beyond == 0
    one = y.clone()
    one[3] = 0
    assert judging.alike([(one, y)], "fp32", "compiled").beyond == 1 / 256
    with pytest.raises(judging.WrongError, match="compiled: 100 % of the tokens differ"):
        judging.alike([(1.01 * y, y)], "fp32", "compiled")
    with pytest.raises(judging.WrongError, match="of the tokens differ"):  # in the one pair of many
        judging.alike([*[(y, y)] * 200, (1.01 * y, y)], "fp32", "compiled")
    with pytest.raises(judging.WrongError):
        judging.alike([(y * float("nan"), y)], "fp32", "graph")


def test_a_layer_that_is_called_twice_while_another_is_left_out_is_refused():
    def spoil(made):
        first, second = made.model.encoder.layer
        first.intermediate, second.intermediate = second.intermediate, second.intermediate

    with pytest.raises(judging.WrongError, match="1 of 2 replaced layers were called"):
        judged(Work("bert-tiny", "encode", 2, 16), "fff-1x4", spoil)

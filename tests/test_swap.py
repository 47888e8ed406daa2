"""``swap`` finds the feedforward layers of a model by structure, replaces them, puts them back, or says why not."""

from __future__ import annotations

import pytest

import fffbench
from fffbench.plan.workload import Shape

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytest.importorskip("fffbench._cpu", reason="the C++ kernels are not built")
nn = torch.nn

SMALL = {"num_hidden_layers": 2, "num_attention_heads": 4, "hidden_size": 32, "intermediate_size": 64, "vocab_size": 50}
GPT2 = {
    "n_embd": 32,
    "n_layer": 2,
    "n_head": 4,
    "vocab_size": 50,
    "n_positions": 64,
    "bos_token_id": 0,
    "eos_token_id": 0,
}
OPT = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "ffn_dim": 64, "vocab_size": 50}
BART = {
    f"{side}_{what}": n
    for side in ("encoder", "decoder")
    for what, n in (("layers", 2), ("attention_heads", 4), ("ffn_dim", 64))
}
T5 = {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4, "vocab_size": 50}
MODELS = {  # class, config's parameters, activation, layers, biases
    "Bert": ("BertModel", SMALL, "gelu", 2, True),
    "Roberta": ("RobertaModel", SMALL, "gelu", 2, True),
    "GPT2": ("GPT2LMHeadModel", GPT2, "gelu_tanh", 2, True),
    "Llama": ("LlamaForCausalLM", {**SMALL, "num_key_value_heads": 2}, "silu", 2, False),
    "Qwen2": ("Qwen2ForCausalLM", {**SMALL, "num_key_value_heads": 2}, "silu", 2, False),
    "OPT": ("OPTForCausalLM", {**OPT, "word_embed_proj_dim": 32, "max_position_embeddings": 64}, "relu", 2, True),
    "Bart": ("BartModel", {**BART, "d_model": 32, "vocab_size": 50, "max_position_embeddings": 64}, "gelu", 4, True),
    "DistilBert": (
        "DistilBertModel",
        {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 64, "vocab_size": 50},
        "gelu",
        2,
        True,
    ),
    "T5": ("T5EncoderModel", T5, "relu", 2, False),
}


def build(family):
    name, parameters, *_ = MODELS[family]
    torch.manual_seed(0)
    return getattr(transformers, name)(getattr(transformers, f"{family}Config")(**parameters)).eval()


def answer(model):
    with torch.inference_mode():
        return model(torch.arange(2, 18).reshape(2, 8))[0]


@pytest.mark.parametrize("family", MODELS)
def test_every_known_family_is_swapped_and_put_back(family):
    _, _, activation, count, bias = MODELS[family]
    model = build(family)
    before, modules, state = answer(model), [name for name, _ in model.named_modules()], set(model.state_dict())
    swapped = fffbench.swap(model, "2x3")
    assert len(swapped.layers) == count
    ffs = [m for m in model.modules() if isinstance(m, fffbench.nn.TreeFFF)]
    assert ffs == list(swapped.replacements)
    assert [(ff.shape, ff.activation) for ff in ffs] == [(Shape.tree(32, 2, 3), activation)] * count
    assert all((ff.b1 is not None, ff.b2 is not None) == (bias, bias) for ff in ffs)
    seen = []
    hooks = [ff.register_forward_hook(lambda *_: seen.append(1)) for ff in ffs]
    changed = answer(model)
    for hook in hooks:
        hook.remove()
    assert len(seen) == count
    assert torch.isfinite(changed).all()
    assert not torch.equal(changed, before)
    swapped.undo()
    swapped.undo()
    assert torch.equal(answer(model), before)
    assert [name for name, _ in model.named_modules()] == modules
    assert set(model.state_dict()) == state


def test_the_output_is_that_of_the_module_in_the_layers_place():
    """BERT's layer with an FFF is attention, FFF, residual, norm: nothing else is left of the feedforward."""
    model = build("Bert")
    with fffbench.swap(model, "1x4") as swapped:
        assert str(swapped) == (
            "2 feedforward layers of 32/64 are now TreeFFF(d=32, trees=1, levels=4, activation=gelu, b1, b2, n=15)"
        )
        layer, x = model.encoder.layer[0], torch.randn(1, 5, 32)
        with torch.inference_mode():
            want = layer.output.LayerNorm(swapped.replacements[0](x) + x)
            torch.testing.assert_close(layer.feed_forward_chunk(x), want)
    assert not any(isinstance(m, fffbench.nn.TreeFFF) for m in model.modules())


def test_where_and_shapes_and_makers_choose():
    model = build("Llama")
    swapped = fffbench.swap(model, Shape.leaf(32, 1, 2, 4), where=lambda name, _: ".1." in name)
    assert [layer.name for layer in swapped.layers] == ["model.layers.1.mlp"]
    assert isinstance(model.model.layers[1].mlp, fffbench.nn.LeafFFF)
    swapped.undo()
    asked = []
    swapped = fffbench.swap(model, lambda layer: asked.append((layer.d, layer.hidden, layer.gated)) or nn.Identity())
    assert asked == [(32, 64, True)] * 2
    swapped.undo()


def test_type_and_device_are_those_of_the_layer_replaced():
    model = build("GPT2").bfloat16()
    fffbench.swap(model, "1x3")
    assert answer(model).dtype is torch.bfloat16


def test_a_swapped_model_compiles_whole():
    model = build("Bert")
    fffbench.swap(model, "1x4")
    compiled = torch.compile(model.encoder.layer[0].feed_forward_chunk, fullgraph=True, backend="aot_eager")
    x = torch.randn(1, 5, 32)
    with torch.inference_mode():
        torch.testing.assert_close(compiled(x), model.encoder.layer[0].feed_forward_chunk(x))


def albert():
    parameters = {**SMALL, "embedding_size": 32}
    return transformers.AlbertModel(transformers.AlbertConfig(**parameters)).eval()


def mixtral():
    parameters = {**SMALL, "num_key_value_heads": 2, "num_local_experts": 4}
    return transformers.MixtralForCausalLM(transformers.MixtralConfig(**parameters)).eval()


class Mlp(nn.Module):
    def __init__(self, hidden=64, out=32):
        super().__init__()
        self.fc1, self.act, self.fc2 = nn.Linear(32, hidden), nn.Tanh(), nn.Linear(64, out)

    def forward(self, x):
        return self.fc2(self.act(self.fc1(x)))


def tied():
    first = Mlp()
    second = Mlp()
    second.fc1 = first.fc1
    first.act = second.act = nn.GELU()
    return nn.Sequential(nn.Sequential(first), nn.Sequential(second)).eval()


REFUSED = {
    "unknown structure": (
        albert,
        r"known structure in the model; its modules are:\nAlbertModel\n.*albert_layer_groups",
    ),
    "mixture of experts": (mixtral, r"model\.layers\.0\.mlp\.experts belongs to a mixture of experts"),
    "shared weights": (tied, r"1\.0 shares its weights with 0\.0"),
    "activation": (lambda: nn.Sequential(Mlp()).eval(), "0 has the activation Tanh, which no FFF here has"),
    "other widths": (lambda: nn.Sequential(Mlp(out=16)).eval(), "no feedforward layer of a known structure"),
    "training": (lambda: build("Bert").train(), r"training mode.*call \.eval\(\)"),
    "no module": (list, "must be a torch.nn.Module; it is list"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_it_does_not_know_is_refused_by_name_and_left_as_it_was(case):
    make, message = REFUSED[case]
    model = make()
    before = [id(m) for m in model.modules()] if isinstance(model, nn.Module) else None
    with pytest.raises(ValueError, match=f"(?s){message}"):
        fffbench.swap(model, "1x3")
    assert before is None or before == [id(m) for m in model.modules()]


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ("1*12", "one looks like 1x12, or 1x5l32"),
        (Shape.tree(64, 1, 3), "is 32 wide; shape d64-n7-t1x3 does not fit it"),
        (Shape.dense(32, 64), "does not fit it"),
        ("1x30", "levels from 1 to 24"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(shape, message):
    with pytest.raises(ValueError, match=message):
        fffbench.swap(build("Bert"), shape)


def test_a_function_as_activation_is_put_back():
    class Inside(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm, self.fc1, self.fc2 = nn.LayerNorm(32), nn.Linear(32, 64), nn.Linear(64, 32)
            self.activation_fn = nn.functional.gelu

        def forward(self, x):
            return self.fc2(self.activation_fn(self.fc1(self.norm(x))))

    model = nn.Sequential(Inside()).eval()
    x = torch.randn(3, 32)
    before = model(x)
    swapped = fffbench.swap(model, "1x3")
    torch.testing.assert_close(model(x), swapped.replacements[0](model[0].norm(x)))
    swapped.undo()
    assert model[0].activation_fn is nn.functional.gelu
    assert torch.equal(model(x), before)

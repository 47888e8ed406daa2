"""How is a model made from its configuration, with random weights, and how is it called?

Nothing is downloaded: classes of transformers are built from configurations that are written down here. transformers is
the extra ``models``. What differs between its versions (the name of the cache's argument) is looked up, not assumed.
"""

from __future__ import annotations

import inspect
import os
import warnings
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fffbench.devices import device
from fffbench.errors import UserError
from fffbench.plan.architectures import Architecture
from fffbench.plan.models import Work

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch
    from torch import Tensor, nn

# Inputs that take turns. A single layer of a large model has few weights beside the rows that a token visits: many
# inputs keep those out of the caches, as the other layers of the whole model would.
INPUTS, INPUTS_OF_A_LAYER = 8, 64
DRAWN_VOCABULARY = 64  # of a model that is called with embeddings
ATTENTION = "sdpa_of_whole_rows"  # torch's, without a mask: no token of ours is padding
CLASSES = ("BertConfig", "BertModel", "GPT2Config", "GPT2LMHeadModel", "GPT2Model", "LlamaConfig", "LlamaModel")


@dataclass
class Built:
    """A model, its repeated layers, inputs that take turns, what draws one more, and the function of a forward pass."""

    model: nn.Module
    layers: Sequence[nn.Module]
    inputs: list[Tensor]
    draw: Callable[[], Tensor]
    call: Callable[[Tensor], Tensor]


def offline() -> None:
    """Forbid transformers to look for anything on a network; before it is imported."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["TRANSFORMERS_OFFLINE"] = "1"
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"


def load_classes() -> Any:
    """transformers, with the classes that are used here imported; ``UserError`` where it is not installed."""
    offline()
    try:
        import transformers
    except ImportError as error:
        raise UserError(
            "whole models need the Python module 'transformers', which the extra `models` brings: "
            "python -m pip install 'fffbench[models]'"
        ) from error
    for name in CLASSES:
        getattr(transformers, name)
    _register_attention(transformers)
    return transformers


def _register_attention(transformers: Any) -> None:
    """Attention that is the same in every mode.

    transformers leaves out a mask that masks nothing, so that torch takes its fast kernels, but not while a CUDA graph
    is captured: a graph of BERT-base on 8192 tokens took 10.3 ms on an H100, where single launches took 4.3. No input
    has padding, and what is causal torch is told by a flag, so there is never a mask to make.
    """
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    transformers.AttentionInterface.register(ATTENTION, sdpa_attention_forward)
    transformers.AttentionMaskInterface.register(ATTENTION, lambda *_, **__: None)


def torch_dtype(dtype: str) -> torch.dtype:
    """The type as torch names it."""
    import torch

    return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[dtype]


def model_of(work: Work) -> nn.Module:
    """The model of ``work`` with weights drawn from its seed, ready to be called."""
    import torch

    torch.manual_seed(work.seed)
    with _default(torch_dtype(work.dtype)), torch.device(device(work.device).torch_type), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _made(work.architecture).eval().requires_grad_(requires_grad=False)


@contextmanager
def _default(dtype: torch.dtype) -> Iterator[None]:
    import torch

    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def _made(one: Architecture) -> nn.Module:
    if one.family == "crammed":
        from fffbench.models.crammed import Crammed

        return Crammed(one.layers, one.d, one.ffn, one.heads, one.vocabulary, one.positions)
    transformers = load_classes()
    vocabulary = DRAWN_VOCABULARY if one.of_layers else one.vocabulary
    if one.family == "bert":
        config = transformers.BertConfig(
            attn_implementation=ATTENTION,
            hidden_size=one.d,
            num_hidden_layers=one.layers,
            num_attention_heads=one.heads,
            intermediate_size=one.ffn,
            vocab_size=vocabulary,
            max_position_embeddings=one.positions,
        )
        return _module(transformers.BertModel(config, add_pooling_layer=False))
    if one.family == "gpt2":
        config = transformers.GPT2Config(
            attn_implementation=ATTENTION,
            n_embd=one.d,
            n_layer=one.layers,
            n_head=one.heads,
            n_inner=one.ffn,
            vocab_size=vocabulary,
            n_positions=one.positions,
            bos_token_id=0,
            eos_token_id=0,
        )
        return _module(transformers.GPT2LMHeadModel(config) if one.head else transformers.GPT2Model(config))
    config = transformers.LlamaConfig(
        attn_implementation=ATTENTION,
        hidden_size=one.d,
        num_hidden_layers=one.layers,
        num_attention_heads=one.heads,
        num_key_value_heads=one.kv_heads,
        intermediate_size=one.ffn,
        vocab_size=vocabulary,
        max_position_embeddings=one.positions,
        rope_theta=500000.0,
    )
    return _module(transformers.LlamaModel(config))


def _module(model: Any) -> nn.Module:
    made: nn.Module = model
    return made


def layers_of(model: nn.Module) -> Sequence[nn.Module]:
    """The repeated layers: the first list of modules that is as long as the model is deep."""
    from torch import nn

    for module in model.modules():
        if isinstance(module, nn.ModuleList) and len(module) and next(module[0].parameters(), None) is not None:
            return list(module)
    raise UserError(f"no list of layers in {type(model).__name__}")


def ready(model: nn.Module, work: Work) -> Built:
    """``model`` with inputs drawn from the system's entropy (what is timed is known to nobody beforehand)."""
    import torch

    one = work.architecture
    count = INPUTS_OF_A_LAYER if one.of_layers else INPUTS
    shape = (work.batch, 1 if work.phase == "decode" else work.sequence)
    place = device(work.device).torch_type
    generator = torch.Generator(device=place)
    generator.seed()

    def draw() -> Tensor:
        if one.of_layers:
            kind: dict[str, Any] = {"device": place, "dtype": torch_dtype(work.dtype), "generator": generator}
            return torch.randn(*shape, one.d, **kind)
        return torch.randint(1, one.vocabulary, shape, device=place, generator=generator)

    return Built(model, layers_of(model), [draw() for _ in range(count)], draw, _call(model, work))


def _call(model: nn.Module, work: Work) -> Callable[[Tensor], Tensor]:
    """A forward pass: the last hidden state, or where the model has a head the logits of the last token."""
    one = work.architecture
    if one.family == "crammed":
        return model
    name = "inputs_embeds" if one.of_layers else "input_ids"
    fixed: dict[str, Any] = {}
    if work.phase != "encode":
        from fffbench.models import cache

        parameters = inspect.signature(model.forward).parameters
        argument = "cache" if "cache" in parameters else "past_key_values"
        fixed = {argument: cache.filled(work), "use_cache": True}
    if one.head:
        fixed["logits_to_keep"] = 1

    def call(x: Tensor) -> Tensor:
        y: Tensor = model(**{name: x}, **fixed)[0]
        return y

    return call

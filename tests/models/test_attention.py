"""Attention without a mask is what transformers computes with its own, in every phase, and captured as it is called."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from fffbench.models import build  # noqa: E402
from fffbench.plan.models import Work  # noqa: E402

WORKS = [
    Work("bert-base", "encode", 2, 32, "fp32", "cpu"),
    Work("gpt2", "prefill", 2, 32, "fp32", "cpu"),
    Work("gpt2", "decode", 2, 32, "fp32", "cpu"),
]


@pytest.mark.parametrize("work", WORKS, ids=lambda work: work.phase)
def test_it_gives_what_the_attention_of_transformers_gives(work):
    model = build.model_of(work)
    assert model.config._attn_implementation == build.ATTENTION
    torch.manual_seed(1)
    built = build.ready(model, work)
    x = built.draw()
    ours = built.call(x).clone()
    model.config._attn_implementation = "sdpa"
    assert torch.allclose(ours, built.call(x), rtol=1e-4, atol=1e-4)


def test_no_mask_is_made_while_a_graph_is_captured(monkeypatch):
    work = WORKS[0]
    built = build.ready(build.model_of(work), work)
    masks = []
    own = torch.nn.functional.scaled_dot_product_attention

    def watched(*arguments, attn_mask=None, **more):
        masks.append(attn_mask)
        return own(*arguments, attn_mask=attn_mask, **more)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", watched)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    built.call(built.draw())
    assert masks
    assert all(mask is None for mask in masks)

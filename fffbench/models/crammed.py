"""What is UltraFastBERT's own architecture, which transformers does not have?

Crammed BERT as its configuration says (``training/cramming/config/arch/crammed-bert-fff.yaml``): pre-norm layers
without any bias, LayerNorm with eps 1e-12, scaled sinusoidal positions, a final norm. The feedforward layer is a
module ``ffn`` with ``fc1``, ``act`` and ``fc2``, so that ``fffbench.swap`` finds it.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

EPS = 1e-12


class FeedForward(nn.Module):
    """The dense layer that UltraFastBERT replaced."""

    def __init__(self, d: int, hidden: int) -> None:
        """Two matrices without biases, and the exact GELU."""
        super().__init__()
        self.fc1 = nn.Linear(d, hidden, bias=False)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(hidden, d, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """``(..., d)`` to ``(..., d)``."""
        y: Tensor = self.fc2(self.act(self.fc1(x)))
        return y


class Layer(nn.Module):
    """Attention and feedforward layer, each behind a norm and beside a residual."""

    def __init__(self, d: int, hidden: int, heads: int) -> None:
        """Query, key and value are one matrix, as there."""
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(d, eps=EPS)
        self.qkv = nn.Linear(d, 3 * d, bias=False)
        self.out = nn.Linear(d, d, bias=False)
        self.norm2 = nn.LayerNorm(d, eps=EPS)
        self.ffn = FeedForward(d, hidden)

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, sequence, d)`` to the same."""
        batch, sequence, d = x.shape
        qkv = self.qkv(self.norm1(x)).view(batch, sequence, 3, self.heads, d // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        attended = functional.scaled_dot_product_attention(query, key, value)
        x = x + self.out(attended.transpose(1, 2).reshape(batch, sequence, d))
        y: Tensor = x + self.ffn(self.norm2(x))
        return y


class Crammed(nn.Module):
    """Embedding, layers and final norm; without the head, which is for training."""

    def __init__(self, layers: int, d: int, hidden: int, heads: int, vocabulary: int, positions: int) -> None:
        """Weights as torch draws them."""
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, d, padding_idx=0)
        self.register_buffer("position", _sinusoidal(positions, d) * d**-0.5)
        self.norm = nn.LayerNorm(d, eps=EPS)
        self.layers = nn.ModuleList(Layer(d, hidden, heads) for _ in range(layers))
        self.final_norm = nn.LayerNorm(d, eps=EPS)

    def forward(self, tokens: Tensor) -> Tensor:
        """``(batch, sequence)`` token numbers to ``(batch, sequence, d)``."""
        assert isinstance(self.position, Tensor)
        x = self.norm(self.embedding(tokens) + self.position[: tokens.shape[1]])
        for layer in self.layers:
            x = layer(x)
        y: Tensor = self.final_norm(x)
        return y


def _sinusoidal(positions: int, d: int) -> Tensor:
    place = torch.arange(positions, dtype=torch.float32)[:, None]
    rate = torch.exp(torch.arange(0, d, 2, dtype=torch.float32) * (-math.log(10000.0) / d))
    table = torch.zeros(positions, d)
    table[:, 0::2], table[:, 1::2] = torch.sin(place * rate), torch.cos(place * rate)
    return table.to(torch.get_default_dtype())

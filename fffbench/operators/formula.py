"""What is a tree or leaf FFF in plain torch? The way for what no kernel computes, and the gradients.

``visited`` sums over the rows that every token visits, gathered in pieces of bounded size; every step is an operation
of torch, so it has derivatives of every order and in both modes. ``visited_backward`` is its gradient without a graph.
16-bit types are computed in fp32 and rounded once.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

_PIECE = 2**23  # gathered elements of W1 at once, 32 MB of fp32, and as many of W2


def activate(z: Tensor, activation: str) -> Tensor:
    """``z`` through the activation of that name."""
    if activation == "gelu":
        return functional.gelu(z)
    if activation == "gelu_tanh":
        return functional.gelu(z, approximate="tanh")
    return functional.relu(z) if activation == "relu" else functional.silu(z)


def _slope_times(gradient: Tensor, z: Tensor, activation: str) -> Tensor:
    aten = torch.ops.aten
    if activation == "gelu":
        return aten.gelu_backward(gradient, z)  # type: ignore[no-any-return]
    if activation == "gelu_tanh":
        return aten.gelu_backward(gradient, z, approximate="tanh")  # type: ignore[no-any-return]
    if activation == "relu":
        return aten.threshold_backward(gradient, z, 0)  # type: ignore[no-any-return]
    return aten.silu_backward(gradient, z)  # type: ignore[no-any-return]


def wide(tensor: Tensor) -> Tensor:
    """``tensor`` in the type in which sums are kept: fp32, or float64 where it is that."""
    return tensor if tensor.dtype in (torch.float32, torch.float64) else tensor.float()


def descend(x: Tensor, w1: Tensor, b1: Tensor | None, trees: int, levels: int, turns: int) -> Tensor:
    """Nodes of each tree that the tokens ``x (tokens, d)`` visit, ``(tokens, trees, turns + 1)``, counted in a tree."""
    tokens = x.shape[0]
    roots = torch.arange(trees, device=x.device) * ((1 << levels) - 1)
    node = torch.zeros(tokens, trees, dtype=torch.int64, device=x.device)
    nodes = [node]
    wide_x = wide(x)
    for _ in range(turns):
        row = roots + node
        logit = torch.stack([(wide_x * wide(w1[row[:, t]])).sum(-1) for t in range(trees)], 1)
        if b1 is not None:
            logit = logit + wide(b1[row])
        node = 2 * node + 1 + (logit > 0)
        nodes.append(node)
    return torch.stack(nodes, 2)


def tree_rows(x: Tensor, w1: Tensor, b1: Tensor | None, trees: int, levels: int) -> Tensor:
    """Rows of ``w1`` that the tokens visit, ``(tokens, trees * levels)``, tree by tree from the root down."""
    nodes = descend(x, w1, b1, trees, levels, levels - 1)
    roots = torch.arange(trees, device=x.device) * ((1 << levels) - 1)
    return (nodes + roots[:, None]).flatten(1)


def leaf_leaves(x: Tensor, w1: Tensor, b1: Tensor | None, trees: int, levels: int) -> Tensor:
    """Leaves that the tokens reach, ``(tokens, trees)``, counted over all trees."""
    node = descend(x, w1, b1, trees, levels, levels)[:, :, -1]
    return node - ((1 << levels) - 1) + torch.arange(trees, device=x.device) * (1 << levels)


def leaf_rows(leaves: Tensor, width: int) -> Tensor:
    """Rows of ``w2`` of these leaves, ``(tokens, trees * width)``."""
    return (leaves[:, :, None] * width + torch.arange(width, device=leaves.device)).flatten(1)


def _pieces(rows: Tensor, d: int) -> list[slice]:
    """Columns of ``rows`` such that what they gather is of bounded size."""
    step = max(1, _PIECE // max(1, rows.shape[0] * d))
    return [slice(k, k + step) for k in range(0, rows.shape[1], step)]


def visited(
    x: Tensor,
    w1: Tensor,
    w2: Tensor,
    b1: Tensor | None,
    b2: Tensor | None,
    rows: Tensor,
    leaves: Tensor | None,
    activation: str,
) -> Tensor:
    """``y (tokens, d)``: the sum over the rows of ``w2`` in ``rows (tokens, visited)``.

    Those of ``w1`` come after its routers.
    ``b2`` is ``(d,)``, or ``(leaves, d)`` where ``leaves`` says which of them a token reaches.
    """
    routers = w1.shape[0] - w2.shape[0]
    wide_x = wide(x)
    total = torch.zeros_like(wide_x)
    if b2 is not None:
        total = total + (wide(b2) if leaves is None else wide(b2[leaves]).sum(1))
    for piece in _pieces(rows, x.shape[1]):
        at = rows[:, piece]
        z = torch.bmm(wide(w1[at + routers]), wide_x[:, :, None]).squeeze(2)
        if b1 is not None:
            z = z + wide(b1[at + routers])
        total = total + torch.bmm(activate(z, activation)[:, None, :], wide(w2[at])).squeeze(1)
    return total.to(x.dtype)


def visited_backward(
    gradient: Tensor,
    x: Tensor,
    w1: Tensor,
    w2: Tensor,
    b1: Tensor | None,
    rows: Tensor,
    activation: str,
    *,
    weights: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of ``visited`` by x, w1, w2 and b1; those by ``weights`` are empty where not asked for."""
    routers, d = w1.shape[0] - w2.shape[0], x.shape[1]
    wide_x, g = wide(x), wide(gradient)
    dx = torch.zeros_like(wide_x)
    kind = {"dtype": wide_x.dtype, "device": x.device}
    dw1 = torch.zeros(w1.shape if weights else (0,), **kind)  # type: ignore[call-overload]
    dw2 = torch.zeros(w2.shape if weights else (0,), **kind)  # type: ignore[call-overload]
    db1 = torch.zeros(w1.shape[0] if weights else 0, **kind)  # type: ignore[call-overload]
    for piece in _pieces(rows, d):
        at = rows[:, piece]
        first, second = wide(w1[at + routers]), wide(w2[at])
        z = torch.bmm(first, wide_x[:, :, None]).squeeze(2)
        if b1 is not None:
            z = z + wide(b1[at + routers])
        dz = _slope_times(torch.bmm(second, g[:, :, None]).squeeze(2), z, activation)
        dx += torch.bmm(dz[:, None, :], first).squeeze(1)
        if weights:
            where = at.reshape(-1)
            dw1.index_add_(0, where + routers, (dz[:, :, None] * wide_x[:, None, :]).reshape(-1, d))
            dw2.index_add_(0, where, (activate(z, activation)[:, :, None] * g[:, None, :]).reshape(-1, d))
            db1.index_add_(0, where + routers, dz.reshape(-1))
    return dx.to(x.dtype), dw1.to(w1.dtype), dw2.to(w2.dtype), db1.to(w1.dtype)


def start_backward(gradient: Tensor, b2: Tensor, leaves: Tensor | None) -> Tensor:
    """The gradient of ``visited`` by b2."""
    g = wide(gradient)
    if leaves is None:
        return g.sum(0).to(b2.dtype)
    total = torch.zeros(b2.shape, dtype=g.dtype, device=g.device)
    for tree in range(leaves.shape[1]):
        total.index_add_(0, leaves[:, tree], g)
    return total.to(b2.dtype)

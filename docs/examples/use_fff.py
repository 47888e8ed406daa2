"""One fast feedforward layer on the CPU: its output, the neurons that each token visits, and what it saves."""

import torch

import fffbench

d, levels = 768, 12
n = 2**levels - 1  # neurons of one complete binary tree
x = torch.randn(8, d)
w1, w2 = torch.randn(n, d) / d**0.5, torch.randn(n, d) / levels**0.5

y = fffbench.fff(x, w1, w2)  # (8, d): each token goes right where x . w1[node] > 0
nodes = fffbench.path(x, w1)  # (8, levels): the visited rows of w1, root first

hidden = torch.nn.functional.gelu((x[:, None] * w1[nodes]).sum(-1))
print("largest difference from plain torch:", f"{(y - torch.einsum('bl,bld->bd', hidden, w2[nodes])).abs().max():.1e}")
print(f"{levels} of {n} neurons per token; the first token visits {nodes[0].tolist()}")

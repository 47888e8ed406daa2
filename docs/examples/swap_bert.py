"""BERT-base with its feedforward layers replaced by trees of 12 levels: how long does a forward pass take?"""

import sys
import time

import torch
from transformers import BertConfig, BertModel

import fffbench

layers = int(sys.argv[1]) if len(sys.argv) > 1 else 12
model = BertModel(BertConfig(num_hidden_layers=layers)).eval()  # random weights; nothing is downloaded
tokens = torch.randint(0, 30522, (1, 128))
for shape in (None, "1x12"):
    print(fffbench.swap(model, shape) if shape else "BERT-base as it is")
    with torch.inference_mode():
        times = [(time.perf_counter(), model(tokens), time.perf_counter()) for _ in range(10)]
    print(f"  {min(end - start for start, _, end in times) * 1e3:.1f} ms for 128 tokens")

"""Which models are there, and what are their shapes?"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Architecture:
    """A model's shape; ``ffn`` neurons in each feedforward layer, which has three matrices where it is ``gated``.

    ``of_layers``: how many layers the model has of which one is measured here; 0 where all are.
    """

    name: str
    title: str
    family: str  # bert, crammed, gpt2 or llama
    layers: int
    d: int
    ffn: int
    heads: int
    kv_heads: int
    vocabulary: int
    positions: int
    gated: bool = False
    head: bool = False  # whether what is measured has the projection to the vocabulary
    of_layers: int = 0
    source: str = ""

    @property
    def phases(self) -> tuple[str, ...]:
        """What can be asked of it."""
        return ("encode",) if self.family in ("bert", "crammed") else ("prefill", "decode")

    @property
    def feedforward_weights(self) -> int:
        """Numbers in the feedforward layers, biases left out."""
        return self.layers * (3 if self.gated else 2) * self.d * self.ffn

    @property
    def other_weights(self) -> int:
        """Numbers in the layers' projections of attention and in the projection to the vocabulary."""
        attention = 2 * self.d * self.d + 2 * self.d * (self.d // self.heads) * self.kv_heads
        return self.layers * attention + (self.d * self.vocabulary if self.head else 0)

    def feedforward_share(self, phase: str, batch: int, sequence: int) -> float:
        """Share of the multiply-adds that the feedforward layers do; of a decode at batch 1 also that of the bytes.

        Scores and values of attention count in full, as they are computed without a causal mask; the projection to the
        vocabulary once for a prompt.
        """
        new, seen = (1, sequence + 1) if phase == "decode" else (sequence, sequence)
        head = self.d * self.vocabulary if self.head else 0
        rest = new * (self.other_weights - head) + self.layers * 2 * new * seen * self.d + head
        feedforward = new * self.feedforward_weights
        return batch * feedforward / (batch * (feedforward + rest))


ARCHITECTURES = {
    one.name: one
    for one in (
        Architecture("bert-base", "BERT-base", "bert", 12, 768, 3072, 12, 12, 30522, 512, source="1810.04805"),
        Architecture("bert-large", "BERT-large", "bert", 24, 1024, 4096, 16, 16, 30522, 512, source="1810.04805"),
        Architecture(
            "ultrafastbert",
            "UltraFastBERT's 16 layers",
            "crammed",
            *(16, 768, 3072, 12, 12, 32768, 128),
            source="2311.10770, training/cramming/config/arch/crammed-bert-fff.yaml",
        ),
        Architecture(
            "gpt2", "GPT-2", "gpt2", 12, 768, 3072, 12, 12, 50257, 1024, head=True, source="its configuration"
        ),
        Architecture(
            "llama-3-8b-layer",
            "one layer of Llama-3-8B",
            "llama",
            *(1, 4096, 14336, 32, 8, 128256, 8192),
            gated=True,
            of_layers=32,
            source="2407.21783",
        ),
        Architecture(
            "gpt-3-layer",
            "one layer of GPT-3",
            "gpt2",
            *(1, 12288, 49152, 96, 96, 50257, 2048),
            of_layers=96,
            source="2005.14165",
        ),
        # for trying the tool and for its tests
        Architecture("bert-tiny", "a tiny BERT", "bert", 2, 32, 64, 4, 4, 99, 64),
        Architecture("ultrafastbert-tiny", "a tiny UltraFastBERT", "crammed", 2, 32, 64, 4, 4, 99, 64),
        Architecture("gpt2-tiny", "a tiny GPT-2", "gpt2", 2, 32, 64, 4, 4, 99, 64, head=True),
        Architecture("llama-tiny", "a tiny Llama", "llama", 2, 32, 64, 4, 2, 99, 64, gated=True),
    )
}

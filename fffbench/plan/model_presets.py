"""Which cells of whole models does each preset ask for?

A variant is never without what it is compared with: a block always has the model as it is, and without feedforward
layers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from fffbench.errors import UserError, one_of
from fffbench.plan.models import CPU_MODES, CUDA_MODES, ModelCell, Variant, Work

# The published form, and the one that was shipped; the same masked, as published; dense layers of as many neurons as
# they use (16: 12 rounded up to what products take whole), of one width between, mixtures of equal size.
CONTROLS = ("small-16", "small-96", "small-640", "moe-32x96-top1", "moe-32x96-top4")
TREES = ("fff-1x12", "fff-128x5")
OF_BERT = ("dense", "none", *TREES, "masked-1x12", *CONTROLS)
INT8 = ("int8", "int8-fff-1x12")
EAGER_ONLY = ("int8", "int8-fff", "masked")  # torch's dynamic int8 has no compiled form; the published program was none


@dataclass(frozen=True)
class ModelBlock:
    """A product: works (batch x sequence of one model) x variants x modes; ``threads`` is resolved on the machine."""

    model: str
    phase: str
    sizes: tuple[tuple[int, int], ...]
    variants: tuple[str, ...]
    dtypes: tuple[str, ...] = ("fp32",)
    device: str = "cpu"
    modes: tuple[str, ...] = CPU_MODES


@dataclass(frozen=True)
class ModelPreset:
    """A named set of blocks, with how thoroughly it is measured by default."""

    name: str
    summary: str
    blocks: tuple[ModelBlock, ...]
    processes: int = 6
    sample_seconds: float = 1.0
    budget_seconds: float | None = None


def _of(width: int, *, tree: str, more: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Variants for a layer of ``width`` neurons: its tree, and what is beside one always."""
    top = f"moe-32x{width // 32}-top"
    return ("dense", "none", tree, *more, f"masked-{tree[4:]}", "small-16", "small-96", f"{top}1", f"{top}4")


# Compiling a layer takes longer than timing it: in the preset for minutes only the main ones are run that way too.
_BERT_CPU = (
    ModelBlock("bert-base", "encode", ((1, 128), (8, 128)), ("dense", "none", *TREES)),
    ModelBlock(
        "bert-base",
        "encode",
        ((1, 128), (8, 128)),
        ("dense", "none", "masked-1x12", "small-16", "small-96", "moe-32x96-top1", *INT8),
        modes=("eager",),
    ),
)
_BERT_CUDA = ModelBlock(
    "bert-base",
    "encode",
    ((1, 128), (8, 128), (64, 128)),
    OF_BERT,
    ("bf16",),
    "cuda",
    ("eager", "graph", "compiled-graph"),
)
_DECODES_CUDA = tuple(
    ModelBlock(model, "decode", ((1, 512),), variants, ("bf16",), "cuda", ("eager", "graph", "compiled-graph"))
    for model, variants in (
        ("gpt2", ("dense", "none", "fff-1x12", "small-16")),
        ("llama-3-8b-layer", ("dense", "none", "fff-1x15", "small-16")),
        ("gpt-3-layer", ("dense", "none", "fff-1x16", "small-16")),
    )
)

PRESETS = {
    one.name: one
    for one in (
        ModelPreset(
            "models",
            "BERT-base with every variant, batch 1, 8 (and 64 on a GPU) x 128 tokens; on a GPU also decoding",
            (*_BERT_CPU, _BERT_CUDA, *_DECODES_CUDA),
            sample_seconds=0.5,
        ),
        ModelPreset(
            "models-wide",
            "BERT-base and -large, UltraFastBERT, GPT-2, and a layer each of Llama-3-8B and GPT-3; CPU and GPU",
            (
                ModelBlock("bert-base", "encode", ((1, 128), (8, 128)), (*OF_BERT, *INT8)),
                ModelBlock("bert-base", "encode", ((32, 128), (1, 512)), ("dense", "none", *TREES, "int8")),
                ModelBlock(
                    "bert-base", "encode", ((1, 128), (8, 128)), ("dense", "none", *TREES, "small-16"), ("bf16",)
                ),
                ModelBlock(
                    "bert-large", "encode", ((1, 128), (8, 128)), (*_of(4096, tree="fff-1x12"), *INT8), modes=("eager",)
                ),
                ModelBlock("ultrafastbert", "encode", ((1, 128), (8, 128)), (*OF_BERT, *INT8), modes=("eager",)),
                ModelBlock("gpt2", "prefill", ((1, 512),), (*OF_BERT, *INT8), modes=("eager",)),
                ModelBlock("gpt2", "decode", ((1, 512), (8, 512)), (*OF_BERT, *INT8), modes=("eager",)),
                *(
                    ModelBlock(
                        "llama-3-8b-layer",
                        phase,
                        (size,),
                        # 32767 neurons of two matrices: at least as many weights as 14336 of three
                        (*_of(21504, tree="fff-1x15"), "int8"),
                        modes=("eager",),
                    )
                    for phase, size in (("prefill", (1, 128)), ("decode", (1, 512)))
                ),
                replace(_BERT_CUDA, modes=CUDA_MODES),
                *_DECODES_CUDA,
                replace(_BERT_CUDA, model="bert-large", variants=_of(4096, tree="fff-1x12")),
                replace(_BERT_CUDA, model="ultrafastbert"),
                replace(_BERT_CUDA, dtypes=("fp32",), variants=("dense", "none", *TREES)),
                ModelBlock("gpt2", "prefill", ((1, 512), (8, 512)), OF_BERT, ("bf16",), "cuda", CUDA_MODES),
                ModelBlock(
                    "llama-3-8b-layer",
                    "prefill",
                    ((1, 512),),
                    _of(21504, tree="fff-1x15"),
                    ("bf16",),
                    "cuda",
                    CUDA_MODES,
                ),
            ),
        ),
        ModelPreset(
            "models-tiny",
            "models of two layers of 32: for trying whether all of this runs here",
            (
                ModelBlock(
                    "bert-tiny",
                    "encode",
                    ((1, 16),),
                    ("dense", "none", "fff-1x4", "masked-1x4", "small-16", "moe-4x16-top1", "int8"),
                    modes=("eager",),
                ),
                ModelBlock("gpt2-tiny", "decode", ((1, 16),), ("dense", "none", "fff-1x4"), modes=("eager",)),
            ),
            processes=2,
            sample_seconds=0.05,
        ),
    )
}


def model_preset(name: str) -> ModelPreset:
    """The preset of that name; ``UserError`` listing them."""
    if name not in PRESETS:
        raise one_of("preset of whole models", name, PRESETS)
    return PRESETS[name]


@dataclass(frozen=True)
class ModelAxes:
    """What the user asks of a preset; empty leaves the preset's own values. ``threads`` are counts, or ``all``."""

    devices: tuple[str, ...] = ()
    threads: tuple[int | str, ...] = ()
    batches: tuple[int, ...] = ()
    dtypes: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    variants: tuple[str, ...] = ()
    modes: tuple[str, ...] = ()


def model_cells(preset: ModelPreset, axes: ModelAxes, usable_cores: int) -> list[ModelCell]:
    """The cells of ``preset`` within ``axes``, without repetition; ``UserError`` where none is left."""
    for text in axes.variants:
        Variant.parse(text)
    found: dict[ModelCell, None] = {}
    for block in preset.blocks:
        if axes.devices and block.device not in axes.devices:
            continue
        if axes.models and block.model not in axes.models:
            continue
        counts = _threads(axes.threads, usable_cores) if block.device == "cpu" else (1,)
        for batch, sequence in block.sizes:
            for dtype in block.dtypes:
                if (axes.batches and batch not in axes.batches) or (axes.dtypes and dtype not in axes.dtypes):
                    continue
                for threads in counts:
                    work = Work(block.model, block.phase, batch, sequence, dtype, block.device, threads)
                    found |= dict.fromkeys(_cells(block, work, axes))
    if not found:
        raise UserError(f"preset {preset.name} has no cell with these values")
    return list(found)


def _cells(block: ModelBlock, work: Work, axes: ModelAxes) -> list[ModelCell]:
    found = []
    for text in block.variants:
        variant = Variant.parse(text)
        if axes.variants and text not in axes.variants:
            continue
        for mode in block.modes:
            if "compiled" in mode and variant.kind in EAGER_ONLY:
                continue
            if not axes.modes or mode in axes.modes:
                found.append(ModelCell(work, variant, mode))
    return found


def _threads(asked: tuple[int | str, ...], usable: int) -> tuple[int, ...]:
    counts = [usable if count == "all" else int(count) for count in asked or ("all",)]
    too_many = [count for count in counts if count > usable]
    if too_many:
        raise UserError(f"threads {too_many[0]}: {usable} cores can be used here")
    return tuple(dict.fromkeys(counts))

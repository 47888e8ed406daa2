"""How does the page explain how its numbers came about?"""

from __future__ import annotations

METHOD = (
    (
        "What is compared",
        "A dense layer computes y = gelu(x W1) W2 with all n neurons. A tree layer sends each token from the root of a "
        "binary tree to a leaf: it evaluates the neuron it stands on, adds its output, and goes right if the logit was "
        "positive. 12 of 4095 neurons are evaluated for a tree of 12 levels. The ceiling, 341x, counts neurons and nothing else.",
    ),
    (
        "Baselines",
        "Best dense is the fastest correct dense layer with at least as many neurons at the same batch, data type, device, "
        "machine, cache protocol and call, in the same run; padding, tiling and any GELU within tolerance are allowed to it. "
        "It is given at the same thread count and with each side at its own fastest. Published dense is a plain torch linear "
        "of the same width; same primitive is the dense layer built from the same operation; BERT width is a dense layer of "
        "3072. Dense times do not depend on routing, so one dense record serves every routing.",
    ),
    (
        "Check before time",
        "No time is shown without its error against a float64 reference on the same inputs; a cell above its data type's "
        "tolerance has no time. A token may leave the reference's path only at a logit within rounding of zero.",
    ),
    (
        "Protocols",
        "Cold: copies of weights and inputs rotate over at least three times the last-level cache, as in a deep model (the "
        "default and the headline). Warm: one layer's weights, inputs rotating. Hot: the same input again and again, as "
        "published. Kernel is the bare kernel with everything allocated beforehand, torch is what a user calls, graph a CUDA "
        "graph. Uniform routing uses random data; single path sends every token down one path, as the published benchmark does.",
    ),
    (
        "Statistics",
        "The fresh process is the unit, never the sample. A time is the median over processes of their medians. A speed-up is "
        "the median of all ratios between the processes of both sides (Hodges-Lehmann), with an exact 95 % interval that "
        "inverts the Mann-Whitney distribution. Fewer than 6 processes a side print as provisional.",
    ),
    (
        "Share of the bound",
        "The bound of a cell is the larger of its necessary bytes (x and y once, each distinct weight row once) over the "
        "measured memory bandwidth, and its necessary operations over the measured arithmetic peak. Weights and inputs "
        "that stay in a cache do not pay for memory, so a hot cell, or a small one, can exceed 100 %.",
    ),
    (
        "Verdicts",
        "Reproduced: under fair conditions the interval meets the published value within a factor of 1.25. Exceeded: the "
        "whole interval lies above that band. Reproduced under published protocol only: fair conditions fall short, the "
        "published ones do not. Not reproduced: both fall short. Undecided: the interval covers less than 95 % or more than "
        "the band, or one set of conditions is missing. Arithmetic error: a count that is wrong on paper. A claim whose file "
        "states another band says why there.",
    ),
)

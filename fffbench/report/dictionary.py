"""Which tables lie beside the page, and what does each column mean?"""

from __future__ import annotations

Columns = tuple[tuple[str, str], ...]
WORK: Columns = (
    ("machine", "id of the machine, from its hardware and software"),
    ("device", "cpu or cuda"),
    ("implementation, family", "what was timed: dense, cmm (naive conditional) or fff (optimised)"),
    ("d, n, trees, levels, leaf_width", "inputs, neurons, trees, levels of each, neurons of a leaf (0: tree form)"),
    ("batch, dtype, routing, threads", "tokens, data type, how tokens spread over leaves, CPU threads"),
    ("cache, call", "cache protocol and call protocol, as under Method"),
    ("run, record", "the run, and the id of the record in samples.csv"),
)
FILES: tuple[tuple[str, str, Columns], ...] = (
    (
        "speedup.csv",
        "every speed-up against each named baseline",
        (
            *WORK,
            ("baseline, baseline_threads", "what it is over; at the same or each side's fastest thread count"),
            ("time, time_low, time_high", "seconds per call over all runs, 95 % interval of the next run's"),
            (
                "speedup, low, high, coverage",
                "ratio of times, 95 % interval of the next run's, its coverage; or empty",
            ),
            ("runs, processes", "runs with both sides; processes of the side with fewer in them"),
            ("between_runs_from", "whose repeated runs the spread between runs in the interval is known from"),
            ("provisional, reason", "whether evidence is thin, and why; or why there is no ratio"),
            ("roofline_share, error, tolerance", "bound over time; worst token against float64, and what is allowed"),
            ("tried, not_measured", "of how many dense layers the best, and which were not measured"),
            ("main", "whether it follows the headline's protocol"),
        ),
    ),
    (
        "claims.csv",
        "every claim, machine and set of conditions with its verdict",
        (
            ("id, statement, source, confidence", "the claim, where it was made, how sure the wording is"),
            ("published, band", "the figure, and the values that count as reaching it"),
            ("conditions, measured, low, high", "published or fair; the ratio and its 95 % interval"),
            ("verdict, reason", "as under Verdicts, and what decided"),
            ("program_shipped, program_mended", "verdicts on the published program"),
            ("records", "both sides' records, separated by a space"),
        ),
    ),
    (
        "cells.csv",
        "every record: time, interval, error, share of the bound",
        (
            *WORK,
            ("time, low, high", "seconds per call, 95 % interval"),
            ("tokens_checked, diverged, diverged_cap", "tokens compared; that left the path at a tie; allowed to"),
            ("distinct_rows", "neurons that the batch visits"),
            ("prepare_seconds, extra_bytes", "untimed preparation, and memory it added"),
            ("processes, samples", "how many fresh processes, how many samples in all"),
        ),
    ),
    (
        "samples.csv",
        "every raw sample",
        (
            ("record, process", "the record's id, the number of the process"),
            ("median, samples", "seconds per call; samples separated by spaces"),
        ),
    ),
    (
        "breakeven.csv",
        "where each curve over batches or widths crosses 1x, 78x and 341x",
        (
            ("axis, fixed", "batch or neurons; what does not change along it"),
            ("target, first, interpolated", "the ratio, where it is first reached, whether between two places"),
            ("sure_from", "the least place whose whole interval is above the target"),
            ("best, best_at, measured_to", "the largest ratio, where, and the last place"),
        ),
    ),
    (
        "attribution.csv",
        "every factor between the count of operations and a measured speed-up",
        (
            ("ceiling, speedup, residual", "the count; the measured ratio; what the factors miss"),
            ("a factor, its low and high", "what it multiplies the speed-up by"),
        ),
    ),
    (
        "ladder.csv",
        "every step from a published benchmark to the fair comparison",
        (
            ("claim, rung, mended", "the claim, the number of the step, what was changed"),
            ("time, dense_time, speedup", "seconds of both sides, their ratio"),
            ("fff_factor, dense_factor, wrong", "what the change did to each side; sides that compute the wrong thing"),
        ),
    ),
    (
        "savings.csv",
        "tokens per second per device for this layer alone",
        (("dense_tokens, fff_tokens, fewer", "tokens per second; 1 - 1/speed-up, of the layer and not of a model"),),
    ),
    (
        "models.csv",
        "whole models: every replacement of their feedforward layers at its best mode",
        (
            ("work, variant, mode", "model, phase, batch, tokens and type; what replaces the layers; how it is run"),
            ("seconds, p50, p90, p99", "of one forward pass"),
            ("gain, share", "times as fast as the model as it is; part of what leaving the layers out gives"),
        ),
    ),
    (
        "accuracy.csv",
        "layers that were trained on MNIST-1D: test accuracy over seeds, and measured time of the trained layer",
        (
            ("layer, neurons, used, rate", "form, shape and recipe; of how many neurons a token uses; learning rate"),
            ("accuracy, accuracy_low, accuracy_high", "median share of right answers over seeds, 95 % interval"),
            ("effective_leaves", "leaves, equally used, over which test samples would be as spread out"),
            ("seconds, seconds_low, seconds_high", "of 1024 tokens in fp32 at the fastest number of threads"),
            ("on_front", "whether no other layer is as fast and more accurate"),
        ),
    ),
    (
        "model-claims.csv",
        "published figures of whole models with their verdicts",
        (("id, published, measured, verdict", "the figure, what it is held against, the answer"),),
    ),
    (
        "elsewhere.csv",
        "what others published of conditional computation; none of it was measured here",
        (("work, source, figure, against, known", "whose figure, of what, against what, and how it is known"),),
    ),
    (
        "changes.csv",
        "what differs from the last published version",
        (
            ("version, key, what", "the version; the question, as results/published names it, and in words"),
            ("before, before_low, before_high, before_verdict", "what that version published"),
            ("now, low, high, verdict, size", "what stands here now; the larger value over the smaller"),
        ),
    ),
    ("history.csv", "asv's history of this project's kernels", (("commit, value, step", "a point and its step"),)),
    ("regressions.csv", "every case of every regression check", (("case, ratio, verdict", "a case and its answer"),)),
    ("skipped.csv", "planned cells without a time", (("cell, reason", "what was planned and why it has no time"),)),
    (
        "machines.csv",
        "machines with fingerprint and ceilings",
        (
            (
                "part, name, threads, value",
                "stable, observed, ceiling (measured) or bound (used); per second",
            ),
        ),
    ),
    ("refused.csv", "what could not be read", (("path, field, reason", "the file, the field and the reason"),)),
)

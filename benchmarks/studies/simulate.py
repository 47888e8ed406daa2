"""How often does each rule cry wolf, and what does it miss, where the truth is known?

Times are drawn from noise models of shared machines and given to our plan and
to the rules in common use. Each model has an effect of every process, jitter
and spikes within it, and a drift of the machine over the run (an
Ornstein-Uhlenbeck process, common to both sides at one moment). A rule is
given the schedule it prescribes: ours turns of milliseconds inside a block,
asv two processes a side in the order A B B A, the fixed threshold one process
a side.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fffbench.analysis import regression
from fffbench.analysis.regression import Plan

Array = npt.NDArray[np.float64]

CASES = 7  # of the default suite
ROUNDS = 8  # of a case in a block: 40 ms a side in turns of 2 ms and their leads
SAMPLES = 20  # of one process, for the rules that look at samples
PROCESS_SECONDS = 0.5  # that asv's and the fixed rule's process takes for one benchmark
TURN_SECONDS = 2.5e-3
SPIKE_SHARE, SPIKE_SIZE = 0.03, 0.5  # of samples, and by how much they are slower at most
EFFECTS = (0.0, 0.05, 0.10, 0.20)


@dataclass(frozen=True)
class Noise:
    """Standard deviations of log-time: between processes, within one, of the machine's drift; and its time scale."""

    name: str
    process: float
    within: float
    drift: float
    seconds: float  # after which the drift is forgotten to 1/e


# "shared" and "bad" are those of the study the plan comes from; "bad" is close to a noisy virtual machine of 2 cores.
# "drifting" is what this project's machine does: neighbours come and go within a second, 13 % up and down.
MODELS = (
    Noise("quiet", 0.005, 0.005, 0.003, 10.0),
    Noise("shared", 0.025, 0.02, 0.03, 10.0),
    Noise("drifting", 0.02, 0.02, 0.13, 1.0),
    Noise("bad", 0.05, 0.05, 0.08, 10.0),
)


@dataclass(frozen=True)
class Rate:
    """A rule under a model at a true slow-down of one case: what share of trials it alarmed."""

    rule: str
    model: str
    effect: float
    trials: int
    alarms: int  # at effect 0: any case of the suite; else: the case that is slower
    none: int  # trials in which the case was cleared (our rule only)
    blocks: float  # blocks used, on average

    @property
    def share(self) -> float:
        """Alarms over trials."""
        return self.alarms / self.trials


def drift(rng: np.random.Generator, noise: Noise, shape: tuple[int, ...], steps: Array) -> Array:
    """The machine's log-speed at times a given number of seconds apart: ``(*shape, len(steps) + 1)``."""
    keep = np.exp(-steps / noise.seconds)
    values = [rng.standard_normal(shape) * noise.drift]
    for kept in keep:
        shock = math.sqrt(1 - kept * kept) * noise.drift
        values.append(values[-1] * kept + rng.standard_normal(shape) * shock)
    return np.stack(values, axis=-1)


def _jitter(rng: np.random.Generator, noise: Noise, shape: tuple[int, ...]) -> Array:
    """Half-normal jitter, which only slows down, and rare spikes."""
    values = np.abs(rng.standard_normal(shape)) * noise.within
    spikes = rng.random(shape) < SPIKE_SHARE
    return np.asarray(values + spikes * rng.random(shape) * SPIKE_SIZE)


def our_blocks(rng: np.random.Generator, noise: Noise, trials: int, effect: float, blocks: int) -> Array:
    """Block log-ratios ``(trials, CASES, blocks)``; the first case is slower by ``effect``.

    The processes of a block share their data but not their placement: each side has an effect of its own.
    """
    shape = (trials, CASES, blocks)
    steps = np.full(4 * ROUNDS - 1, TURN_SECONDS)
    speed = drift(rng, noise, shape, steps).reshape(*shape, ROUNDS, 4)
    times = speed + _jitter(rng, noise, speed.shape)
    ratios = np.median((times[..., 1] + times[..., 2] - times[..., 0] - times[..., 3]) / 2, axis=-1)
    ratios += (rng.standard_normal(shape) - rng.standard_normal(shape)) * noise.process
    ratios[:, 0] += math.log1p(effect)
    return np.asarray(ratios)


def two_processes(rng: np.random.Generator, noise: Noise, trials: int, effect: float) -> tuple[Array, Array]:
    """Samples of asv's rounds, log-times ``(trials, CASES, 2 processes, SAMPLES)`` for base and head."""
    order = np.array([0, 1, 1, 0])
    steps = np.full(4 * SAMPLES - 1, PROCESS_SECONDS / SAMPLES)
    speed = drift(rng, noise, (trials, CASES), steps).reshape(trials, CASES, 4, SAMPLES)
    times = speed + _jitter(rng, noise, speed.shape)
    times += rng.standard_normal((trials, CASES, 4, 1)) * noise.process
    times[:, 0, order == 1] += math.log1p(effect)
    return times[:, :, order == 0], times[:, :, order == 1]


def fixed(base: Array, head: Array, factor: float = 1.05) -> npt.NDArray[np.bool_]:
    """A fixed threshold on the ratio of means, one process a side."""
    means = [np.exp(side[:, :, 0]).mean(axis=-1) for side in (base, head)]
    return np.asarray(means[1] > factor * means[0])


def mann_whitney(base: Array, head: Array, level: float = 0.05) -> npt.NDArray[np.bool_]:
    """One-sided Mann-Whitney over the pooled samples, as if they were independent."""
    return _mann_whitney_p(base, head) < level


def asv_default(base: Array, head: Array, factor: float = 1.1, level: float = 0.002) -> npt.NDArray[np.bool_]:
    """The default of asv: Mann-Whitney over pooled samples (two-sided 0.002), and medians apart by the factor."""
    medians = [np.median(side.reshape(*side.shape[:2], -1), axis=-1) for side in (base, head)]
    apart = medians[1] - medians[0] > math.log(factor)
    return np.asarray((_mann_whitney_p(base, head) < level / 2) & apart)


def _mann_whitney_p(base: Array, head: Array) -> Array:
    """One-sided p by the normal approximation, which is good at 40 against 40."""
    from scipy.stats import norm, rankdata

    first, second = (side.reshape(*side.shape[:2], -1) for side in (base, head))
    count = first.shape[-1]
    ranks = rankdata(np.concatenate([first, second], axis=-1), axis=-1)
    above = ranks[..., count:].sum(axis=-1) - count * (count + 1) / 2
    middle, spread = count * count / 2, math.sqrt(count * count * (2 * count + 1) / 12)
    return np.asarray(norm.sf((above - middle - 0.5) / spread))


def asv_at(factor: float) -> Callable[[Array, Array], npt.NDArray[np.bool_]]:
    """The rule of asv with another factor."""
    return lambda base, head: asv_default(base, head, factor)


RIVALS: dict[str, Callable[[Array, Array], npt.NDArray[np.bool_]]] = {
    "fixed 5 % of the mean": fixed,
    "Mann-Whitney, p < 0.05": mann_whitney,
    "asv continuous, factor 1.1": asv_default,
    "asv continuous, factor 1.05": asv_at(1.05),
}
OURS = "fffbench regress"
CHUNK = 500  # trials at a time: their turns fill 400 MB


def simulate(trials: int, plan: Plan, seed: int = 1) -> list[Rate]:
    """Every rule under every model at every effect, ``trials`` suites each."""
    rates = []
    for number, noise in enumerate(MODELS):
        for step, effect in enumerate(EFFECTS):
            rng = np.random.default_rng([seed, number, step])
            rates += _rates(rng, noise, effect, trials, plan)
    return rates


def _rates(rng: np.random.Generator, noise: Noise, effect: float, trials: int, plan: Plan) -> list[Rate]:
    alarms = dict.fromkeys([OURS, *RIVALS], 0)
    none, used = 0, 0.0
    for begin in range(0, trials, CHUNK):
        count = min(CHUNK, trials - begin)
        codes, looks = _ours(rng, noise, effect, count, plan)
        slower = codes == regression.REGRESSION_CODE
        alarms[OURS] += int((slower[:, 0] if effect else slower.any(axis=1)).sum())
        none += int((codes[:, 0] == regression.NONE_CODE).sum())
        used += float(looks.sum())
        base, head = two_processes(rng, noise, count, effect)
        for name, rule in RIVALS.items():
            said = rule(base, head)
            alarms[name] += int((said[:, 0] if effect else said.any(axis=1)).sum())
    ours = Rate(OURS, noise.name, effect, trials, alarms[OURS], none, used / trials)
    return [ours, *(Rate(name, noise.name, effect, trials, alarms[name], 0, 0.0) for name in RIVALS)]


def _ours(
    rng: np.random.Generator, noise: Noise, effect: float, trials: int, plan: Plan
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.int64]]:
    """Codes ``(trials, CASES)`` and blocks used: later blocks are drawn only for trials that need them."""
    table = np.full((trials, CASES, plan.limit), np.nan)
    open_trials = np.arange(trials)
    used = np.zeros(trials, np.int64)
    done = 0
    for look in plan.looks:
        table[open_trials, :, done:look] = our_blocks(rng, noise, len(open_trials), effect, look - done)
        used[open_trials] = look
        done = look
        codes, _ = regression.replay(table[open_trials, :, :look], plan)
        open_trials = open_trials[(codes == regression.OPEN_CODE).any(axis=1)]
        if not len(open_trials):
            break
    codes, _ = regression.replay(table, plan)
    return codes, used

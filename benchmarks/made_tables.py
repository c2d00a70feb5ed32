"""Made-up tables of learning curves, as different from each other as studies are.

A rule tuned to two recorded tables knows those two. Each seed here draws a study's size, how its
configurations are spread (a crowd, a few far above it, a plateau of equals), how much folds and epochs
scatter, and how curves rise: fast or late, the best ones early or, so that curves cross, last.
"""

from dataclasses import dataclass

import numpy as np

from engine.race.table import Table


@dataclass(frozen=True)
class Traits:
    """How one made-up study is."""

    configs: int
    folds: int
    epochs: int
    spread: str
    fold: float  # scatter of fold effects
    own: float  # of a configuration's own folds
    epoch: float  # of an epoch's score
    crossing: float  # share of a curve's speed that the good ones lack
    late: float  # share of configurations that rise after a delay
    dead: float  # share that never learns


def traits_of(rng: np.random.Generator) -> Traits:
    return Traits(
        configs=int(rng.choice([40, 100, 200])),
        folds=int(rng.choice([3, 5, 5, 10])),
        epochs=int(rng.choice([15, 30, 60])),
        spread=str(rng.choice(["crowd", "few", "plateau", "even"])),
        fold=float(rng.choice([0.01, 0.03, 0.06])),
        own=float(rng.choice([0.01, 0.02, 0.04])),
        epoch=float(rng.choice([0.005, 0.02, 0.04])),
        crossing=float(rng.choice([-0.6, 0.0, 0.6])),
        late=float(rng.choice([0.0, 0.2])),
        dead=float(rng.choice([0.0, 0.15, 0.3])),
    )


def qualities(rng: np.random.Generator, traits: Traits) -> np.ndarray:
    """Between 0 and 1, the best ones near 1."""
    count = traits.configs
    if traits.spread == "few":
        return np.where(rng.random(count) < 4 / count, rng.uniform(0.7, 1, count), rng.beta(4, 6, count))
    shape = {"crowd": (4, 4), "plateau": (5, 1.3), "even": (1, 1)}[traits.spread]
    return np.asarray(rng.beta(*shape, count))


def rises(rng: np.random.Generator, traits: Traits, quality: np.ndarray) -> np.ndarray:
    """Share of its own level that each configuration has reached after each epoch [N, E]."""
    speed = np.exp(rng.normal(0, 0.5, traits.configs) - 2 * traits.crossing * (quality - 0.5))
    delay = np.where(rng.random(traits.configs) < traits.late, rng.uniform(0.1, 0.5, traits.configs), 0.0)
    time = np.arange(1, traits.epochs + 1) / traits.epochs
    since = np.maximum(time - delay[:, None], 0)
    return np.asarray(1 - np.exp(-6 * speed[:, None] * since**0.8))


def made(seed: int) -> Table:
    rng = np.random.default_rng([seed, 4711])
    traits = traits_of(rng)
    quality = qualities(rng, traits)
    level = 0.35 + 0.45 * quality
    level[rng.random(traits.configs) < traits.dead] = 0.2
    size = (traits.configs, traits.folds)
    top = level[:, None] + traits.own * rng.standard_normal(size)
    top = top + traits.fold * rng.standard_normal(traits.folds)
    rise = rises(rng, traits, quality)[:, None, :]
    wobble = 1 - 0.7 * np.arange(traits.epochs) / traits.epochs
    noise = traits.epoch * rng.standard_normal((*size, traits.epochs)) * wobble
    scores = np.maximum.accumulate(0.15 + (top[..., None] - 0.15) * rise + noise, axis=2)
    return Table(f"made-{seed}", scores, scores[:, :, -1].mean(1), np.ones(traits.configs))

"""Designs: configurations that depend on their number alone, so that nothing about the past need be kept.

`random` and `qmc` turn a point of the unit cube into values, one coordinate per dimension whether it
exists or not; `grid` lists every combination once, in a seeded order.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from engine.errors import SonotuneError
from engine.spec.distribution import Choice, Distribution, Int, Scalar, Uniform
from engine.spec.space import Dimension, Space

Params = dict[str, Scalar]
Point = Callable[[int], np.ndarray]  # number -> coordinates in [0, 1)

LARGEST_GRID = 100_000


def random_points(dimensions: int, seed: int) -> Point:
    return lambda number: np.random.default_rng((seed, number)).random(dimensions)


def sobol_points(dimensions: int, seed: int) -> Point:
    """Scrambled Sobol points by index; going on by one is cheap, any other index is reached anew."""
    from scipy.stats import qmc

    def begin() -> "qmc.Sobol":
        return qmc.Sobol(dimensions, scramble=True, rng=np.random.default_rng(seed))

    sequence = begin()

    def point(number: int) -> np.ndarray:
        nonlocal sequence
        if number < sequence.num_generated:
            sequence = begin()
        if number > sequence.num_generated:
            sequence.fast_forward(number - sequence.num_generated)
        return np.minimum(sequence.random(1)[0], np.nextafter(1.0, 0.0))

    return point


@dataclass(frozen=True)
class Sampled:
    """The first configurations as given, completed at random; then the points of the design."""

    space: Space
    first: tuple[Mapping[str, Scalar], ...]
    point: Point
    filling: Point

    def params(self, number: int) -> Params | None:
        if number < len(self.first):
            return self.space.at(self.filling(number), self.first[number])
        return self.space.at(self.point(number - len(self.first)))


@dataclass(frozen=True)
class Grid:
    """Every combination once, those of `first` at the beginning; then nothing more."""

    listed: tuple[Params, ...]

    @classmethod
    def of(cls, space: Space, first: tuple[Mapping[str, Scalar], ...], seed: int) -> "Grid":
        check_finite(space)
        filling = random_points(len(space.dimensions), seed)
        starts = [space.at(filling(i), given) for i, given in enumerate(first)]
        rest = [params for params in combinations(space.dimensions) if params not in starts]
        order = np.random.default_rng(seed).permutation(len(rest))
        return cls((*starts, *(rest[i] for i in order)))

    def params(self, number: int) -> Params | None:
        return dict(self.listed[number]) if number < len(self.listed) else None


def combinations(dimensions: tuple[Dimension, ...], params: Params | None = None) -> Iterator[Params]:
    params = params or {}
    if not dimensions:
        yield params
        return
    dimension, *rest = dimensions
    if not dimension.active(params):
        yield from combinations(tuple(rest), params)
        return
    for value in _values(dimension.distribution):
        yield from combinations(tuple(rest), params | {dimension.name: value})


def _values(distribution: Distribution) -> tuple[Scalar, ...]:
    if isinstance(distribution, Int):
        return tuple(range(distribution.low, distribution.high + 1, distribution.step))
    return distribution.values if isinstance(distribution, Choice) else ()


def check_design(sampler: str, space: Space) -> None:
    """What `Grid.of` would refuse, before there is a run that could never be gone on with."""
    if sampler == "grid":
        check_finite(space)


def check_finite(space: Space) -> None:
    endless = [d.name for d in space.dimensions if isinstance(d.distribution, Uniform)]
    if endless:
        raise SonotuneError(
            f"sampler grid needs dimensions that can be listed, but {', '.join(endless)} "
            f"{'is' if len(endless) == 1 else 'are'} continuous; give them as `choice` or `int`, or use qmc"
        )
    if space.size > LARGEST_GRID:
        raise SonotuneError(
            f"the grid has {space.size:,.0f} configurations, at most {LARGEST_GRID:,} can be listed; "
            "use random or qmc"
        )

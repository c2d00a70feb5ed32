"""Draws configurations: asked for the next one, told what became of it, the same again when replayed."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from engine.errors import SonotuneError
from engine.sampler.designs import Grid, Sampled, random_points, sobol_points
from engine.sampler.learned import KINDS, Learned
from engine.spec.distribution import Scalar, Uniform
from engine.spec.search import Direction, Search
from engine.spec.space import Space

Params = dict[str, Scalar]
State = Literal["complete", "pruned", "failed"]

HEED_BOUNDS = ("tpe", "gp", "nsga2", "motpe")  # Optuna's CMA-ES would only warn that it does not

# Of a learning sampler's journaled proposals a resume computes these again: each costs up to a tenth of a
# second, and one seed or one trial that differs shows in all that follow.
COMPUTED_AGAIN = 50
THEN_EVERY = 100


@dataclass(frozen=True)
class Asked:
    number: int
    params: Params


@dataclass(frozen=True)
class Past:
    """A complete configuration of an earlier run, given with `--warm-from`."""

    params: Mapping[str, Scalar]
    values: Sequence[float]
    figures: Mapping[str, float]


class Design(Protocol):
    def params(self, number: int) -> Params | None: ...


class Sampler:
    """`first`: values of some dimensions of the configurations to begin with; the rest is drawn."""

    def __init__(
        self,
        search: Search,
        space: Space,
        seed: int,
        directions: Sequence[Direction] | None = None,
        first: Sequence[Mapping[str, Scalar]] = (),
    ) -> None:
        self.space = space
        self.bounds = search.constraints.bounds()
        self._heeds_bounds = search.sampler in HEED_BOUNDS
        seed %= 2**32  # what every generator below takes
        starts = tuple(_complete_start(given, space) for given in first)
        self._values = len(directions or search.directions)
        self._source: Design | Learned = _source(search, space, seed, directions or search.directions, starts)
        self._asked = 0
        self._open: set[int] = set()

    def ask(self) -> Asked | None:
        """None when a grid has been handed out."""
        params = self._source.params(self._asked)
        return None if params is None else self._hand_out(params)

    def ask_again(self, params: Mapping[str, Scalar]) -> Asked:
        """The next ask of a journal that is replayed: the same as then, or an error."""
        if isinstance(self._source, Learned) and self._source.kind.anew and not _computed_again(self._asked):
            self._must_fit(params)
            self._source.restore(params)
            return self._hand_out(dict(params))
        asked = self.ask()
        if asked is None or asked.params != dict(params):
            number = asked.number if asked else self._asked
            raise SonotuneError(
                f"the journal says that configuration {number} was {dict(params)}, the sampler now proposes "
                f"{asked.params if asked else 'nothing'}; resume with the version and on the kind of machine "
                "that began this run, or start a new one with --warm-from and --reuse of this one"
            )
        return asked

    def tell(
        self,
        number: int,
        values: Sequence[float] | None,
        state: State,
        figures: Mapping[str, float] | None = None,
    ) -> None:
        """`figures` are what the constraints bound. A pruned configuration's values are expected ones."""
        if number not in self._open:
            raise SonotuneError(
                f"configuration {number} is not open: it was never asked for, or is told twice"
            )
        if values is not None and len(values) != self._values:
            raise SonotuneError(f"configuration {number} needs {self._values} values, got {list(values)}")
        self._open.remove(number)
        if isinstance(self._source, Learned):
            told = self._heeded(figures or {})
            self._source.tell(number, None if state == "failed" else values, told)

    def _heeded(self, figures: Mapping[str, float]) -> dict[str, float]:
        return self.excess(figures) if self._heeds_bounds else {}

    def excess(self, figures: Mapping[str, float]) -> dict[str, float]:
        """By how much of its bound each constrained figure is too large; 0 or less is fine. What was dropped
        before anything measured it lies on its bound: Optuna's GP wants each figure of every trial."""
        return {name: figures.get(name, bound) / bound - 1 for name, bound in self.bounds.items()}

    def warm(self, past: Iterable[Past]) -> tuple[int, int]:
        """Learns from earlier runs before the first ask: how many fit the space, how many were left out."""
        if self._asked:
            raise SonotuneError("earlier runs can be given only before the first configuration is drawn")
        given = list(past)
        taken = [one for one in given if len(one.values) == self._values and fits(self.space, one.params)]
        if isinstance(self._source, Learned):
            self._source.learn([(one.params, one.values, self._heeded(one.figures)) for one in taken])
        return len(taken), len(given) - len(taken)

    @property
    def learns(self) -> bool:
        return isinstance(self._source, Learned)

    def _hand_out(self, params: Params) -> Asked:
        asked = Asked(self._asked, params)
        self._asked += 1
        self._open.add(asked.number)
        return asked

    def _must_fit(self, params: Mapping[str, Scalar]) -> None:
        if not fits(self.space, params):
            raise SonotuneError(
                f"the journal says that configuration {self._asked} was {dict(params)}, which does not lie "
                "in this search space; resume with the study that began this run"
            )


def fits(space: Space, params: Mapping[str, Scalar]) -> bool:
    """Exactly the dimensions that exist there, each with a value of its distribution."""
    active = space.active(params)
    return {d.name for d in active} == set(params) and all(
        d.distribution.holds(params[d.name]) for d in active
    )


def _source(
    search: Search,
    space: Space,
    seed: int,
    directions: Sequence[Direction],
    first: tuple[Mapping[str, Scalar], ...],
) -> Design | Learned:
    count = len(space.dimensions)
    filling = random_points(count, seed)
    if search.sampler == "random" or not count:
        return Sampled(space, first, lambda number: filling(number + len(first)), filling)
    if search.sampler == "qmc":
        return Sampled(space, first, sobol_points(count, seed), filling)
    if search.sampler == "grid":
        return Grid.of(space, first, seed)
    return Learned(KINDS[search.sampler], space, search.startup, seed, directions, first)


def _complete_start(given: Mapping[str, Scalar], space: Space) -> Params:
    """The branches that the given values stand in are chosen with them."""
    by_name = {d.name: d for d in space.dimensions}
    start: Params = {}
    for name, value in given.items():
        if name not in by_name:
            raise SonotuneError(
                f"search.first: {name} is not searched; it may be one of {', '.join(by_name)}"
            )
        dimension = by_name[name]
        number = isinstance(dimension.distribution, Uniform) and isinstance(value, int)
        start[name] = float(value) if number else value  # type: ignore[arg-type]
        if not dimension.distribution.holds(start[name]):
            raise SonotuneError(f"search.first: {name} must lie in {dimension.distribution}, got {value!r}")
        for above, branches in dimension.when:
            if above not in given:
                start[above] = branches[0]
    return start


def _computed_again(number: int) -> bool:
    return number < COMPUTED_AGAIN or number % THEN_EVERY == 0

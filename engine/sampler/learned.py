"""Optuna's learning samplers behind asks and tells, over one study in memory.

`tpe`, `motpe` and `gp` get a fresh sampler with a seed of its own at each ask: what they propose then is a
function of the number and of the trials, so that a resume may put the journaled trials back without
computing each proposal again. `cmaes` and `nsga2` keep generations inside the study; a resume lets
them propose all over again.
"""

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.spec.distribution import Choice, Distribution, Int, Scalar
from engine.spec.search import Direction, SamplerName
from engine.spec.space import Space

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler
    from optuna.trial import FrozenTrial

Params = dict[str, Scalar]


@dataclass(frozen=True)
class Wanted:
    """What a sampler is built from; `numbers` are the numeric dimensions that every configuration has."""

    seed: int
    startup: int
    numbers: Mapping[str, "BaseDistribution"]
    earlier: Sequence["FrozenTrial"]  # what earlier runs had of those dimensions


@dataclass(frozen=True)
class Kind:
    """`anew`: what it proposes depends on the trials and a seed, not on what it proposed before.
    `fewest`: how many configurations of earlier runs it can begin with; None for what takes no notice."""

    build: Callable[[Wanted], "BaseSampler"]
    anew: bool
    fewest: int | None


def _tpe(wanted: Wanted) -> "BaseSampler":
    from optuna.samplers import TPESampler

    return TPESampler(
        seed=wanted.seed,
        n_startup_trials=wanted.startup,
        multivariate=True,
        group=True,
        constant_liar=True,
    )


def _motpe(wanted: Wanted) -> "BaseSampler":
    from optuna.samplers import TPESampler

    return TPESampler(
        seed=wanted.seed, n_startup_trials=wanted.startup, multivariate=False, constant_liar=True
    )


def _gp(wanted: Wanted) -> "BaseSampler":
    from optuna.samplers import GPSampler

    return GPSampler(seed=wanted.seed, n_startup_trials=wanted.startup, warn_independent_sampling=False)


def _cmaes(wanted: Wanted) -> "BaseSampler":
    """Optuna's own takes the dimensions of the first trial; here they are those that all trials share. It
    begins where the best tenth of earlier configurations lies, and takes no other notice of them."""
    from optuna.distributions import IntDistribution
    from optuna.samplers import CmaEsSampler

    class OverSharedNumbers(CmaEsSampler):
        def infer_relative_search_space(self, study: Any, trial: Any) -> "dict[str, BaseDistribution]":
            return dict(wanted.numbers)

    whole = any(isinstance(d, IntDistribution) for d in wanted.numbers.values())
    return OverSharedNumbers(
        seed=wanted.seed,
        warn_independent_sampling=False,
        with_margin=whole,
        source_trials=list(wanted.earlier) or None,
    )


def _nsga2(wanted: Wanted) -> "BaseSampler":
    from optuna.samplers import NSGAIISampler

    return NSGAIISampler(seed=wanted.seed, population_size=wanted.startup)


KINDS: dict[SamplerName, Kind] = {
    "tpe": Kind(_tpe, anew=True, fewest=1),
    "motpe": Kind(_motpe, anew=True, fewest=1),
    "gp": Kind(_gp, anew=True, fewest=1),
    "cmaes": Kind(_cmaes, anew=False, fewest=10),
    "nsga2": Kind(_nsga2, anew=False, fewest=None),
}


def optuna_distribution(distribution: Distribution) -> "BaseDistribution":
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(distribution, Choice):
        return CategoricalDistribution(distribution.values)
    if isinstance(distribution, Int):
        last = int(str(distribution.ends()[1]))
        return IntDistribution(distribution.low, last, step=distribution.step)
    return FloatDistribution(distribution.low, distribution.high, log=distribution.log)


class Learned:
    def __init__(
        self,
        kind: Kind,
        space: Space,
        startup: int,
        seed: int,
        directions: Sequence[Direction],
        first: Sequence[Mapping[str, Scalar]],
    ) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.kind, self.space, self.first = kind, space, first
        self._startup, self._seed = startup, seed
        self._distributions = {d.name: optuna_distribution(d.distribution) for d in space.dimensions}
        always = [d for d in space.dimensions if not d.when and not isinstance(d.distribution, Choice)]
        self._numbers = {d.name: self._distributions[d.name] for d in always}
        self._earlier: list[FrozenTrial] = []
        self._storage = optuna.storages.InMemoryStorage()
        self._study = optuna.create_study(
            storage=self._storage, study_name="search", directions=list(directions), sampler=self._sampler(-1)
        )
        self._study_id = self._storage.get_study_id_from_name("search")
        self._before = 0  # trials of earlier runs, which come before number 0

    def _sampler(self, number: int) -> "BaseSampler":
        seed = int(np.random.SeedSequence((self._seed, number + 1)).generate_state(1)[0])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Optuna calls some of what we need experimental
            return self.kind.build(Wanted(seed, self._startup, self._numbers, self._earlier))

    def params(self, number: int) -> Params:
        """Proposes configuration `number` and keeps it as running."""
        if self.kind.anew:
            self._study.sampler = self._sampler(number)
        if number < len(self.first):
            self._study.enqueue_trial(dict(self.first[number]))
        trial = self._study.ask()
        params: Params = {}
        for dimension in self.space.dimensions:
            if dimension.active(params):
                params[dimension.name] = _suggest(trial, dimension.name, dimension.distribution)
        self._forget_the_unused(number)
        return params

    def _trial_id(self, number: int) -> int:
        return self._storage.get_trial_id_from_study_id_trial_number(self._study_id, self._before + number)

    def _forget_the_unused(self, number: int) -> None:
        """Optuna notes the values it drew for branches that were not taken; a restored trial lacks them."""
        trial_id = self._trial_id(number)
        for name in self._storage.get_trial_system_attrs(trial_id):
            if "relative_params" in name:
                self._storage.set_trial_system_attr(trial_id, name, "")

    def restore(self, params: Mapping[str, Scalar]) -> None:
        """Keeps an earlier proposal as running without computing it."""
        from optuna.trial import TrialState

        self._add(params, TrialState.RUNNING, None, {})

    def tell(self, number: int, values: Sequence[float] | None, excess: Mapping[str, float]) -> None:
        """A dropped configuration has values too: what the race expects of it, so it counts as complete."""
        from optuna.trial import Trial, TrialState

        trial = Trial(self._study, self._trial_id(number))
        for name, above in excess.items():
            trial.set_constraint(name, above)
        sound = values is not None and all(map(math.isfinite, values))
        self._study.tell(
            self._before + number,
            values if sound else None,
            TrialState.COMPLETE if sound else TrialState.FAIL,
        )

    def learn(
        self, past: Sequence[tuple[Mapping[str, Scalar], Sequence[float], Mapping[str, float]]]
    ) -> None:
        """Complete configurations of earlier runs: what was drawn, its values, its excess."""
        from optuna.trial import TrialState

        for params, values, excess in past:
            self._add(params, TrialState.COMPLETE, values, excess)
            numbers = {name: params[name] for name in self._numbers}
            self._earlier.append(self._trial(numbers, TrialState.COMPLETE, values, {}))
        self._before += len(past)
        self._study.sampler = self._sampler(-1)

    def _add(
        self,
        params: Mapping[str, Scalar],
        state: Any,
        values: Sequence[float] | None,
        excess: Mapping[str, float],
    ) -> None:
        self._study.add_trial(self._trial(params, state, values, excess))

    def _trial(
        self,
        params: Mapping[str, Scalar],
        state: Any,
        values: Sequence[float] | None,
        excess: Mapping[str, float],
    ) -> "FrozenTrial":
        import optuna

        return optuna.trial.create_trial(
            state=state,
            params=dict(params),
            distributions={name: self._distributions[name] for name in params},
            values=values,
            constraints=dict(excess),
        )


def _suggest(trial: Any, name: str, distribution: Distribution) -> Scalar:
    if isinstance(distribution, Choice):
        return trial.suggest_categorical(name, distribution.values)
    if isinstance(distribution, Int):
        return trial.suggest_int(name, distribution.low, distribution.ends()[1], step=distribution.step)
    return trial.suggest_float(name, distribution.low, distribution.high, log=distribution.log)

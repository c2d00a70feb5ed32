"""What the sampler has proposed, and what it is told of it.

Several proposals may lead to one configuration (a value that a branch does not read); it is trained once, and
each of its proposals hears the same.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from engine.errors import SonotuneError
from engine.race.outcome import Outcome, complete_scores, outcome
from engine.race.race import Race
from engine.sampler.mirror import Mirror
from engine.sampler.sampler import Asked, Past, Sampler, State
from engine.spec.study import Configuration, FirstStage, Study

log = logging.getLogger("sonotune")

STATES: dict[str, State] = {"complete": "complete", "dropped": "pruned", "failed": "failed"}


@dataclass
class Entry:
    """A configuration and every sampler number that proposed it, of which the first `told` are closed."""

    configuration: Configuration
    params: Mapping[str, Any]
    numbers: list[int] = field(default_factory=list)
    figures: dict[str, float] = field(default_factory=dict)
    told: int = 0

    @property
    def stage_key(self) -> str | None:
        stage = self.configuration.first_stage
        return None if stage is None else stage.key


class Proposals:
    def __init__(self, study: Study, sampler: Sampler, race: Race, mirror: Mirror | None) -> None:
        self.study, self.sampler, self.race, self.mirror = study, sampler, race, mirror
        self.entries: dict[str, Entry] = {}
        self.stages: dict[str, FirstStage] = {}

    def warm(self, known: Iterable[Past]) -> tuple[int, int]:
        return self.sampler.warm(known)

    def ask(self) -> Asked | None:
        return self.sampler.ask()

    def ask_again(self, params: Mapping[str, Any]) -> None:
        """As journaled; a sampler that would propose otherwise is an error."""
        asked = self.sampler.ask_again(params)
        self.enter(asked.number, asked.params)

    def enter(self, number: int, params: Mapping[str, Any]) -> tuple[str, bool]:
        """The configuration that a proposal leads to, and whether it is new: none is trained twice."""
        try:
            configuration = self.study.configuration(params)
        except SonotuneError as error:
            return self._impossible(number, params, error)
        config_id = configuration.config_id
        fresh = config_id not in self.entries
        entry = self.entries.setdefault(config_id, Entry(configuration, params))
        entry.numbers.append(number)
        if configuration.first_stage is not None:
            self.stages[configuration.first_stage.key] = configuration.first_stage
        if self.mirror:
            self.mirror.opened(number, params, config_id)
        if entry.told:
            self.tell(config_id)
        return config_id, fresh

    def _impossible(self, number: int, params: Mapping[str, Any], error: SonotuneError) -> tuple[str, bool]:
        """Values that are each allowed may contradict each other: one proposal less, not the end."""
        log.warning("proposal %d is passed over: %s", number, error)
        if self.mirror:
            self.mirror.opened(number, params, "")
            self.mirror.ended(number, "failed", None)
        self.sampler.tell(number, None, "failed")
        return "", False

    def measured(self, key: str, figures: Mapping[str, float] | None) -> None:
        """What constraints bound, as the slowest fold of the configuration measured it."""
        if figures and key in self.entries:
            known = self.entries[key].figures
            known.update({name: max(value, known.get(name, value)) for name, value in figures.items()})

    def fits(self, config_id: str) -> bool:
        """Within the bounds of `search.constraints`, as far as it was measured."""
        return self.within(self.entries[config_id].figures)

    def within(self, figures: Mapping[str, float]) -> bool:
        bounds = self.study.fixed.search.constraints.bounds()
        return all(figures.get(name, 0.0) <= bound for name, bound in bounds.items())

    def tell(self, config_id: str) -> None:
        """Each proposal hears of its configuration once: when it is complete, or out, or failed. One that
        comes while a fold of what was over is trained again hears when that has ended."""
        entry = self.entries.get(config_id)
        left = [] if entry is None else entry.numbers[entry.told :]
        found = outcome(self.race, config_id) if left else None
        if entry is not None and found is not None:
            entry.told = len(entry.numbers)
            self._tell(found, entry, left)

    def scored(self, config_id: str) -> None:
        """Another fold of it is complete: Optuna's dashboard draws the mean so far, of one objective."""
        signs = self._signs()
        if self.mirror is None or config_id not in self.entries or len(signs) > 1:
            return
        scores = complete_scores(self.race, config_id)
        for number in self.entries[config_id].numbers if scores else ():
            self.mirror.scored(number, len(scores), signs[0] * fmean(scores))

    def _signs(self) -> list[int]:
        """The race holds every value so that higher is better, the sampler as it is measured."""
        return [1 if d == "maximize" else -1 for d in self.study.fixed.search.directions]

    def _tell(self, found: Outcome, entry: Entry, numbers: Sequence[int]) -> None:
        told = found.values
        values = None if told is None else [sign * v for sign, v in zip(self._signs(), told, strict=True)]
        for number in numbers:
            self.sampler.tell(number, values, STATES[found.state], entry.figures)
            if self.mirror:
                excess = self.sampler.excess(entry.figures)
                self.mirror.ended(number, STATES[found.state], values, excess)

    def flush(self) -> None:
        if self.mirror:
            self.mirror.flush()

    def close(self) -> None:
        if self.mirror:
            self.mirror.close()

"""The rules by name."""

from engine.race.none import TrainAll
from engine.spec import race as spec

RULES: dict[str, type[TrainAll]] = {rule.name: rule for rule in (TrainAll,)}


def make_rule(settings: spec.Race, seed: int) -> TrainAll:
    return RULES[settings.rule](settings, seed)

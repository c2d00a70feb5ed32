"""The rules by name."""

from engine.race.none import Setting, TrainAll
from engine.race.thaw import Thaw
from engine.spec import race as spec

RULES: dict[str, type[TrainAll]] = {rule.name: rule for rule in (TrainAll, Thaw)}


def make_rule(settings: spec.Race, setting: Setting) -> TrainAll:
    return RULES[settings.rule](settings, setting)

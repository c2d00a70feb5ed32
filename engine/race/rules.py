"""The rules by name."""

from engine.race.aggressive import Aggressive
from engine.race.asha import Asha
from engine.race.forgiving import Forgiving
from engine.race.halving import Halving
from engine.race.median import Median
from engine.race.none import Setting, TrainAll
from engine.race.paired import Paired
from engine.race.reserve import Reserve
from engine.race.thaw import Thaw
from engine.race.wilcoxon import Wilcoxon
from engine.spec import race as spec

RULES: dict[str, type[TrainAll]] = {
    rule.name: rule
    for rule in (TrainAll, Asha, Median, Aggressive, Forgiving, Wilcoxon, Paired, Thaw, Reserve, Halving)
}


def make_rule(settings: spec.Race, setting: Setting) -> TrainAll:
    return RULES[settings.rule](settings, setting)

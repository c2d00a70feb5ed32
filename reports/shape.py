"""What a configuration is: one network, or two of which the second classifies what the first drew."""

from collections.abc import Mapping
from typing import Any

STAGES = ("segment", "classify")
IDLE = ("loss", "train", "augment")  # beside two stages, which have their own


def stages_of(config: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    """The sections of the two stages; nothing where there is one network."""
    model = config.get("model")
    two = model.get("two_stage") if isinstance(model, Mapping) else None
    found = [two.get(name) for name in STAGES] if isinstance(two, Mapping) else []
    return tuple(stage for stage in found if isinstance(stage, Mapping))


def on_true_masks(config: Mapping[str, Any]) -> bool:
    """Whether its second stage was shown the truth in training, which new cases do not come with."""
    return bool(stages_of(config)) and config["model"]["two_stage"].get("masks") == "truth"


def models_of(config: Mapping[str, Any]) -> tuple[str, ...]:
    """The names of its networks, wherever the spec keeps them: `model.name`, or the one branch of `model`."""
    if stages := stages_of(config):
        return tuple(str(stage.get("name", "–")) for stage in stages)
    model = config.get("model")
    if isinstance(model, str):
        return (model,)
    if isinstance(model, Mapping):
        named = model.get("name") or model.get("system")
        if isinstance(named, str):
            return (named,)
        if len(model) == 1:
            return (str(next(iter(model))),)
    return ()


def model_of(config: Mapping[str, Any]) -> str:
    return " → ".join(models_of(config)) or "–"


def planned(config: Mapping[str, Any]) -> int:
    """Epochs of each fold; of two stages those of the second, which the race sees."""
    train = (stages_of(config) or (config,))[-1].get("train")
    return int(train.get("epochs", 0)) if isinstance(train, Mapping) else 0


def settings(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """What training reads, and the names of both networks where there are two."""
    if not stages_of(config):
        return config
    read = written(config)
    return dict(read) | {"model": {"name": model_of(config)} | read["model"]}


def written(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """As a space would say it: beside two stages the settings of one network are idle defaults."""
    if not stages_of(config):
        return config
    read = {name: value for name, value in config.items() if name not in IDLE}
    return read | {"model": {"two_stage": config["model"]["two_stage"]}}

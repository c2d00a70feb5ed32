"""What the report's metrics are called, which way is better, and which ones lead a table."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from engine.spec.search import LESS_IS_BETTER

LOWER_IS_BETTER = (*LESS_IS_BETTER, "lesions_false", "loss", "fp", "fn")
LEADING = ("score", "dice", "iou", "dice_pooled", "iou_pooled", "hd95", "asd", "accuracy",
           "balanced_accuracy", "f1_macro", "f1_weighted", "auc_macro", "incoherent", "ece",
           "brier")  # fmt: skip
DIGITS = 12  # of a difference of figures; what lies behind them is the rounding of floats
DEFAULT_OBJECTIVE = {"dice": 0.5, "f1_macro": 0.5}

LABELS = {
    "score": "Score", "dice": "Dice", "iou": "IoU", "dice_pooled": "Dice, pooled pixels",
    "iou_pooled": "IoU, pooled pixels", "hd95": "HD95", "hd95_directed": "HD95, directed",
    "hausdorff": "Hausdorff", "asd": "ASD", "assd": "ASSD", "accuracy": "Accuracy",
    "balanced_accuracy": "Balanced accuracy", "f1_macro": "F1, macro", "f1_weighted": "F1, weighted",
    "auc_macro": "AUC, macro", "brier": "Brier", "ece": "ECE", "incoherent": "Incoherent",
    "pixel_accuracy": "Pixel accuracy", "auc": "AUC", "flops": "FLOPs", "f1": "F1",
    "precision_macro": "Precision, macro", "sensitivity_macro": "Sensitivity, macro",
    "specificity_macro": "Specificity, macro", "pixel_accuracy_pooled": "Pixel accuracy, pooled",
    "mask_precision_pooled": "Precision, pooled pixels", "mask_recall_pooled": "Recall, pooled pixels",
}  # fmt: skip


def higher_is_better(metric: str) -> bool:
    name = metric.removeprefix("refined_")
    return not any(name == low or name.startswith(f"{low}_") for low in LOWER_IS_BETTER)


def label(metric: str) -> str:
    plain = metric.removeprefix("refined_")
    shown = LABELS.get(plain, plain.replace("_", " ").capitalize())
    return f"{shown}, refined" if plain != metric else shown


def both(metrics: Iterable[str], known: Iterable[str]) -> list[str]:
    """Each metric followed by that of refined predictions, where it is known."""
    have = set(known)
    return [name for metric in metrics for name in (metric, f"refined_{metric}") if name in have]


DISTANCES = (
    "HD95 and ASD are in pixels of the original image, or in millimetres where the data set has a spacing."
)
WORDS = ("score", "accuracy", "balanced_accuracy", "pixel_accuracy", "incoherent", "precision", "recall",
         "sensitivity", "specificity")  # fmt: skip


def inside(metric: str) -> str:
    """Its label in the middle of a phrase: words lose their capital, names and abbreviations keep it."""
    shown = label(metric)
    return shown[0].lower() + shown[1:] if metric.removeprefix("refined_") in WORDS else shown


def listed(words: Sequence[str]) -> str:
    """Names with commas of their own, such as "F1, macro", need more than commas between them."""
    return " and ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))


def leading(known: Iterable[str]) -> list[str]:
    have = set(known)
    return [metric for metric in LEADING if metric in have]


def refines(config: Mapping[str, Any]) -> bool:
    """Of a configuration or a study: are refined predictions what is scored?"""
    predict = config.get("predict")
    return isinstance(predict, Mapping) and predict.get("refine") is True


def objective(study: Mapping[str, Any]) -> list[dict[str, float]]:
    """What the search maximised, oriented so that more is better: one weighted sum of metrics, or several."""
    search = study.get("search")
    given = search.get("objective") if isinstance(search, Mapping) else None
    if isinstance(given, Mapping) and given:
        return [{str(name): float(weight) for name, weight in given.items()}]
    names = _listed(given)
    if not names:
        return [dict(DEFAULT_OBJECTIVE)]
    return [{name: 1.0 if higher_is_better(name) else -1.0} for name in names]


def objectives(study: Mapping[str, Any]) -> tuple[str, ...]:
    """The metrics that the search told apart; none where it maximised a weighted sum."""
    search, prefix = study.get("search"), "refined_" if refines(study) else ""
    given = search.get("objective") if isinstance(search, Mapping) else None
    return tuple(prefix + name for name in _listed(given))


def searched_for(study: Mapping[str, Any]) -> str:
    """The objective in words, whatever `select.metrics` picks by: a weighted sum, or a front's metrics."""
    prefix = "refined_" if refines(study) else ""
    several = [[(weight, label(prefix + name)) for name, weight in one.items()] for one in objective(study)]
    if len(several) > 1:
        return " against ".join(name for one in several for _, name in one)
    (only,) = several
    told = " + ".join(f"{weight:g} × {name}" for weight, name in only)
    return only[0][1] if len(only) == 1 else told.replace("+ -", "− ")


def _listed(given: Any) -> list[str]:
    names = [given] if isinstance(given, str) and given else given
    return [str(name) for name in names] if isinstance(names, list) else []

"""The gallery: best, median and worst test cases of the pick, within a budget of bytes."""

import json
from typing import Any

from reports.draw import picture
from reports.run import Config, Run
from reports.sections import Gallery, Tile

BUDGET = 1_500_000  # bytes of pictures on the page
ORDER = ("image", "truth", "prediction", "refined", "cam", "grad_cam")
RANKS = ("worst", "median", "best")
NAMES = {"cam": "Grad-CAM", "grad_cam": "Grad-CAM"}


def gallery(run: Run, config: Config) -> Gallery | None:
    """One fold after the other, its worst cases first, until the budget is spent."""
    tiles: list[Tile] = []
    spent = 0
    for fold in config.folds:
        for entry in _entries(run, config.id, fold):
            shown = _pictures(run, config.id, fold, entry.get("files"))
            spent += sum(len(data) for _, data in shown)
            if shown and spent <= BUDGET:
                tiles.append(Tile(_title(entry), _caption(entry, fold), shown, _row(entry, fold)))
    return Gallery(tiles) if tiles else None


def _entries(run: Run, config: str, fold: str) -> list[dict[str, Any]]:
    storage, folder = run.place(config, fold)
    path = f"{folder}/gallery/index.json"
    try:
        listed = json.loads(storage.read(path)) if storage.exists(path) else []
    except (OSError, ValueError):
        return []
    entries = [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
    return sorted(entries, key=lambda one: RANKS.index(one["rank"]) if one.get("rank") in RANKS else 9)


def _pictures(run: Run, config: str, fold: str, files: Any) -> list[tuple[str, str]]:
    """Only plain names inside the gallery's own folder are read."""
    storage, result = run.place(config, fold)
    folder = f"{result}/gallery"
    names = files if isinstance(files, dict) else {}
    found = []
    for kind in ORDER:
        name = str(names.get(kind, ""))
        if name.endswith(".png") and "/" not in name and storage.exists(f"{folder}/{name}"):
            found.append((NAMES.get(kind, kind), picture(storage.read(f"{folder}/{name}"))))
    return found


def _title(entry: dict[str, Any]) -> str:
    return f"{entry.get('case', '?')}, {entry.get('rank', '')}".strip(", ")


TOLD = ("case", "rank", "label", "predicted", "refined_predicted", "dice")


def _row(entry: dict[str, Any], fold: str) -> dict[str, object]:
    plain = {name: entry[name] for name in TOLD if isinstance(entry.get(name), str | int | float)}
    return {"fold": fold} | plain


def _caption(entry: dict[str, Any], fold: str) -> str:
    dice = entry.get("dice")
    parts = [f"truth {entry.get('label', '?')}", f"predicted {entry.get('predicted') or 'no class'}"]
    if entry.get("refined_predicted") not in (None, entry.get("predicted")):
        parts.append(f"refined {entry['refined_predicted']}")
    if isinstance(dice, int | float):
        parts.append(f"Dice {dice:.2f}")
    return ", ".join([*parts, fold.replace("-", "\u2011")])

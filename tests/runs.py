"""Makes run folders whose truth is known, so that every statistic can be checked without training.

A configuration has a segmentation and a classification quality; a case has a difficulty that all
configurations share; everything else is noise of a known size.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import yaml

from engine.folds.manifest import Fold, Manifest
from engine.journal.journal import Journal
from engine.metrics.fold import fold_metrics
from engine.results import PER_MASK, FoldResult, case_schema, parquet_bytes, write_result
from engine.storage import open_storage
from engine.task import Task

CLASSES = ("benign", "malignant", "normal")
PROVENANCE = {
    "sonotune": "0.1.0",
    "command": "sonotune search searchspaces/quickstart.yaml",
    "python": "3.11",
}


@dataclass(frozen=True)
class Plan:
    """What the run folder shall hold."""

    configs: int = 8
    folds: int = 3
    repeats: int = 1
    cases: int = 90
    epochs: int = 6
    seed: int = 0
    name: str = "synthetic"
    classes: tuple[str, ...] = CLASSES
    quality: Sequence[float] | None = None  # one for each configuration, about 0 to 1
    clusters: int = 0  # 0: every case is its own
    noise: float = 0.25
    dropped: int = 0  # how many of the last configurations stop after their first fold
    outer: int = 0  # nested: outer folds
    tested: int = 0  # which configuration is trained on them
    task: str = "both"  # or segment
    search: Mapping[str, Any] = field(default_factory=dict)
    select: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Cohort:
    names: np.ndarray
    labels: np.ndarray
    clusters: np.ndarray
    difficulty: np.ndarray
    area: np.ndarray


def make_run(location: Path | str, plan: Plan | None = None) -> Path:
    """Writes the folder and gives its path back."""
    plan = plan or Plan()
    storage = open_storage(str(location))
    rng = np.random.default_rng(plan.seed)
    cohort = _cohort(plan, rng)
    manifest = _manifest(plan, cohort, rng)
    configs = [_config(number, plan, rng) for number in range(plan.configs)]
    journal: list[dict[str, Any]] = []
    for number, (key, config, quality) in enumerate(configs):
        journal.append(
            {"event": "asked", "number": number, "params": {"loss.lambda": config["loss"]["lambda"]}}
        )
        journal.append({"event": "opened", "config": key, "epochs": plan.epochs})
        short = number >= plan.configs - plan.dropped
        for fold in manifest["folds"][: 1 if short else None]:
            _fold(storage, plan, cohort, fold, key, config, quality, rng, journal, number)
        for fold in manifest["finals"] if number == plan.tested else ():
            _fold(storage, plan, cohort, fold, key, config, quality, rng, journal, number)
        if short:
            reason = f"P(final mean > incumbent's) = 0.0{number % 9 + 1} < 0.1"
            journal.append({"event": "dropped", "config": key, "reason": reason, "audited": False})
    study = {"study": plan.name, "data": {"source": "phantom", "size": 64}, "search": dict(plan.search),
             "select": dict(plan.select), "race": {"rule": "paired" if plan.dropped else "none"}}  # fmt: skip
    storage.write("study.yaml", yaml.safe_dump(study).encode())
    storage.write("folds.json", _as_written(manifest, plan.classes).encode())
    with Journal(storage) as log:
        for record in ({"event": "study"}, *journal):
            log.append(record)
        log.commit()
    storage.write("provenance.json", json.dumps(PROVENANCE).encode())
    return Path(str(location))


def _cohort(plan: Plan, rng: np.random.Generator) -> Cohort:
    weights = np.array([0.5, 0.3, 0.2])[: len(plan.classes)]
    labels = rng.choice(len(plan.classes), plan.cases, p=weights / weights.sum())
    labels[: 2 * len(plan.classes)] = np.tile(np.arange(len(plan.classes)), 2)
    clusters = rng.integers(0, plan.clusters, plan.cases) if plan.clusters else np.arange(plan.cases)
    area = np.where(np.array(plan.classes)[labels] == "normal", 0, rng.integers(150, 900, plan.cases))
    difficulty = rng.normal(0, 0.6, int(clusters.max()) + 1)[clusters]
    names = np.array([f"case-{number:05d}" for number in range(plan.cases)])
    return Cohort(names, labels, clusters, difficulty, area)


def _manifest(plan: Plan, cohort: Cohort, rng: np.random.Generator) -> dict[str, Any]:
    if not plan.outer:
        return {"folds": _folds(plan, cohort, np.arange(plan.cases), "", rng), "finals": []}
    parts = _split(cohort.clusters, np.arange(plan.cases), plan.outer, rng)
    rows: list[dict[str, Any]] = []
    finals: list[dict[str, Any]] = []
    for number, held in enumerate(parts):
        rest = np.setdiff1d(np.arange(plan.cases), held)
        inner = _folds(plan, cohort, rest, f"o{number}-", rng)
        rows += [row | {"outer": number} for row in inner]
        final = inner[0] | {"name": f"o{number}", "outer": number, "test": cohort.names[held].tolist()}
        finals.append(final | {"train": sorted({*inner[0]["train"], *inner[0]["test"]})})
    return {"folds": rows, "finals": finals}


def _as_written(record: Mapping[str, Any], classes: tuple[str, ...]) -> str:
    """With the digest that a study's folds have."""

    def folds(name: str) -> tuple[Fold, ...]:
        rows = [{k: tuple(v) if isinstance(v, list) else v for k, v in row.items()} for row in record[name]]
        return tuple(Fold(**row) for row in rows)

    return Manifest(folds("folds"), classes, 0, folds("finals")).to_json()


def _folds(plan: Plan, cohort: Cohort, among: np.ndarray, prefix: str, rng: Any) -> list[dict[str, Any]]:
    rows = []
    for repeat in range(plan.repeats):
        parts = _split(cohort.clusters, among, plan.folds, rng)
        for number, test in enumerate(parts):
            rest = np.setdiff1d(among, test)
            validation = _split(cohort.clusters, rest, 5, rng)[0]
            train = np.setdiff1d(rest, validation)
            names = {"train": train, "validation": validation, "test": test}
            row = {part: cohort.names[where].tolist() for part, where in names.items()}
            rows.append({"name": f"{prefix}r{repeat}-f{number}", "repeat": repeat, "fold": number} | row)
    return rows


def _split(clusters: np.ndarray, among: np.ndarray, parts: int, rng: np.random.Generator) -> list[np.ndarray]:
    groups = rng.permutation(np.unique(clusters[among]))
    return [among[np.isin(clusters[among], part)] for part in np.array_split(groups, parts)]


def _config(number: int, plan: Plan, rng: np.random.Generator) -> tuple[str, dict[str, Any], float]:
    quality = float(plan.quality[number]) if plan.quality is not None else float(rng.uniform(0.2, 0.9))
    config = {
        "model": {"name": "unet_mtl", "width": int(8 * 2 ** (number % 3))},
        "loss": {"lambda": round(float(rng.uniform(0.1, 0.95)), 4), "gamma": round(float(rng.uniform()), 4)},
        "train": {"lr": float(f"{10 ** rng.uniform(-4, -2):.3g}"), "epochs": plan.epochs, "batch": 16},
    }
    return f"{number:04x}{rng.integers(16**6):06x}", config, quality


def _fold(
    storage: Any, plan: Plan, cohort: Cohort, fold: Mapping[str, Any], key: str, config: Mapping[str, Any],
    quality: float, rng: np.random.Generator, journal: list[dict[str, Any]], number: int,
) -> None:  # fmt: skip
    shift = rng.normal(0, 0.08)
    tables = {s: case_table(plan, cohort, fold[s], quality + shift, rng) for s in ("validation", "test")}
    if plan.task == "segment":
        tables = {s: _without_classes(t) for s, t in tables.items()}
    figures = {s: fold_metrics(t, plan.classes) for s, t in tables.items()}
    known = figures["validation"]
    score = (known["dice"] + known.get("f1_macro", known["dice"])) / 2
    epochs = epoch_table(plan.epochs, score, rng)
    width = config["model"]["width"]
    task = Task(key, fold["name"])
    started = 1.7e9 + number * 60 + 20 * fold["fold"]
    result = FoldResult(
        key=key, fold=fold["name"], status="complete", config=config, classes=plan.classes,
        address=f"{plan.name} {plan.configs} {task.folder}",
        best_epoch=plan.epochs, epochs=plan.epochs, score=score, validation=figures["validation"],
        test=figures["test"], train_cases=len(fold["train"]), test_cases=len(fold["test"]),
        seconds=18.0, parameters=width * 9000, flops=width * 4_000_000, latency_ms=width / 4,
        peak_memory_mb=200.0 + width, worker=f"worker-{number % 2}", started=started,
        numerics={"device": "cpu", "dtype": "float32"},
    )  # fmt: skip
    files = {"epochs.parquet": parquet_bytes(epochs)}
    files |= {f"cases_{s}.parquet": parquet_bytes(t) for s, t in tables.items()}
    write_result(storage, task, result, files)
    event = {"task": {"key": key, "fold": fold["name"]}}
    journal.append({"event": "started"} | event)
    best = epochs["score"].to_pylist()
    journal += [{"event": "reported", "epoch": e, "score": s} | event for e, s in enumerate(best, 1)]
    journal.append({"event": "ended", "status": "complete", "score": score, "held": 18.0,
                    "clock": number * 60 + 20 * fold["fold"] + 18.0} | event)  # fmt: skip


def case_table(plan: Plan, cohort: Cohort, names: Sequence[str], quality: float, rng: Any) -> pa.Table:
    """Rows for these cases by a network of this quality: Dice rises with it, mistakes fall."""
    at = np.searchsorted(cohort.names, names)
    skill = 4 * (quality - 0.5) - cohort.difficulty[at] + rng.normal(0, plan.noise * 4, len(at))
    truth = cohort.labels[at]
    logits = rng.normal(0, 0.7, (len(at), len(plan.classes)))
    logits[np.arange(len(at)), truth] += 1.2 + skill
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities = odds / odds.sum(axis=1, keepdims=True)
    predicted = probabilities.argmax(axis=1)
    area = cohort.area[at]
    found = np.where(area > 0, np.round(area / (1 + np.exp(-skill - 1))), 0).astype(np.int64)
    extra = np.where((area == 0) & (skill > 0), 0, rng.integers(0, 120, len(at))).astype(np.int64)
    masks = _masks(found, extra, area - found, 4096, rng)
    normal = np.array([name == "normal" for name in plan.classes])
    empty = normal[predicted]
    refined = {
        k: np.where(empty, v, masks[k]) for k, v in _masks(0 * found, 0 * extra, area, 4096, rng).items()
    }
    shown = np.array(plan.classes, dtype=object)
    columns: dict[str, Any] = {
        "case": list(names), "cluster": [f"p{c}" for c in cohort.clusters[at]], "label": list(shown[truth]),
        "predicted": list(shown[predicted]), "refined_predicted": list(shown[predicted]),
        "probabilities": pa.FixedSizeListArray.from_arrays(probabilities.ravel(), len(plan.classes)).cast(
            pa.list_(pa.float64())),
    }  # fmt: skip
    columns |= {name: masks[name] for name in PER_MASK}
    columns |= {f"refined_{name}": refined[name] for name in PER_MASK}
    return pa.table(columns).select(case_schema().names).cast(case_schema())


def _without_classes(table: pa.Table) -> pa.Table:
    """What a segmenter leaves: no class and no probability."""
    for name in ("predicted", "refined_predicted", "probabilities"):
        at = table.column_names.index(name)
        table = table.set_column(at, name, pa.nulls(table.num_rows, table.schema.field(name).type))
    return table


def _masks(tp: np.ndarray, fp: np.ndarray, fn: np.ndarray, pixels: int, rng: Any) -> dict[str, np.ndarray]:
    tn = pixels - tp - fp - fn
    with np.errstate(divide="ignore", invalid="ignore"):
        both = (tp + fp + fn) == 0
        dice = np.where(both, 1.0, 2 * tp / (2 * tp + fp + fn))
        defined = ((tp + fp) > 0) & ((tp + fn) > 0)
        far = np.where(defined, 12 * (1 - dice) + rng.uniform(0, 1, len(tp)), np.nan)
        shares = {
            "dice": dice, "iou": dice / (2 - dice), "pixel_accuracy": (tp + tn) / pixels,
            "precision": np.where(tp + fp > 0, tp / (tp + fp), np.where(both, 1.0, 0.0)),
            "recall": np.where(tp + fn > 0, tp / (tp + fn), np.where(both, 1.0, 0.0)),
            "specificity": np.where(tn + fp > 0, tn / (tn + fp), 1.0),
        }  # fmt: skip
    surface = {
        "hausdorff": 1.4 * far,
        "hd95": far,
        "hd95_directed": 0.9 * far,
        "asd": far / 4,
        "assd": far / 4,
    }
    lesions = {"lesions": (tp + fn > 0) * 1, "lesions_hit": (tp > 0) * 1, "lesions_false": (fp > 60) * 1}
    return {"tp": tp, "fp": fp, "fn": fn, "tn": tn} | shares | surface | lesions


def epoch_table(epochs: int, final: float, rng: np.random.Generator) -> pa.Table:
    number = np.arange(1, epochs + 1)
    raw = final * (1 - np.exp(-number / max(1, epochs / 4))) + rng.normal(0, 0.01, epochs)
    best = np.maximum.accumulate(np.append(raw[:-1], final))
    loss = 1 - raw + rng.normal(0, 0.01, epochs)
    return pa.table({
        "stage": ["main"] * epochs, "epoch": number, "lr": np.full(epochs, 1e-3),
        "seconds": np.full(epochs, 3.0),
        "images_per_second": np.full(epochs, 60.0), "score": best, "best": best >= best.max(),
        "train_total": loss,
        "train_segmentation": 0.6 * loss, "train_classification": 0.4 * loss,
        "validation_total_loss": loss + 0.05, "validation_dice": raw, "validation_f1_macro": raw - 0.02,
    })  # fmt: skip


def rewrite(location: Path, key: str, fold: str, **changes: Any) -> None:
    """Writes one fold's result again with other values, its files unchanged."""
    from engine.results import read_result

    storage = open_storage(str(location))
    task = Task(key, fold)
    result = read_result(storage, task)
    assert result is not None
    files = {name: storage.read(f"results/{task.folder}/{name}") for name in result.files}
    write_result(storage, task, replace(result, **changes), files)

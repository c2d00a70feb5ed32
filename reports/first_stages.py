"""The first of two stages in a report: how good the masks are that the second stages were given."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from engine.results import FoldResult, RunPaths, read_table
from engine.spec.study import Configuration
from engine.task import Task
from engine.words import plural
from reports import learning
from reports.aggregate import ratios, summarise
from reports.boards import better
from reports.diagnosis import plain_table
from reports.events import config_of, fold_of, kind_of
from reports.measures import DISTANCES as UNITS
from reports.measures import inside, label
from reports.run import SPLITS, Run
from reports.sections import Block, Section, Text
from reports.shape import stages_of
from reports.study import Study
from reports.tables import Column, Table
from reports.together import MARK

Row = dict[str, Any]

SHOWN = ("dice", "iou", "pixel_accuracy", "mask_precision", "mask_recall", "hd95", "asd", "assd")
POOLED = ("dice_pooled", "iou_pooled")  # in the CSV alone
CURVES = "first_curves"
DRAWN = ("train_total", "validation_total_loss", "validation_dice", "lr")  # its score is its Dice
DISTANCES = ("hd95", "asd", "assd")
NOTE = (
    "Mean ± standard deviation (ddof 1) over folds; a first stage has figures once all its folds ended. The "
    "masks are drawn by the segmenter of the whole training part and cut at 0.5, whatever a second stage's "
    "predict.threshold is. The CSV has more figures, those of validation, and intervals. "
    f"{UNITS}"
)


def section(study: Study) -> Section | None:
    run = study.run
    if not run.stages:
        return None
    shared = sharing(run)
    blocks: list[Block] = [Text(saved(shared)), board(run, study.select.confidence), fold_table(run)]
    data = [plain_table("first_stages_saved", "Trainings of first stages", [shared])]
    rows = curves(study) if study.pick else []
    if not rows:
        return Section("first-stages", "First stages", blocks, data)
    drawn = [row for row in rows if row["column"] in DRAWN]
    blocks += learning.figures(drawn, rows[0]["config_id"], "learning-first", CURVES)
    return Section("first-stages", "First stages", blocks, [*data, learning.table(rows, CURVES)])


def sharing(run: Run) -> Row:
    """What sharing was worth: without it, every second stage would have trained its first one. Results taken
    over from an earlier run were not trained here, be they of a first stage or of a second."""
    adopted = {_task(r) for r in run.journal if kind_of(r) == "ended" and r.get("reused")}
    trained = {(r.key, r.fold) for r in run.stages if r.status == "complete"} - adopted
    two = {config.id for config in run.configs if stages_of(config.config)}
    begun = {_task(r) for r in run.journal if kind_of(r) == "started" and config_of(r) in two}
    begun |= {(config.id, fold) for config in run.configs if config.id in two for fold in config.folds}
    begun |= {(result.key, result.fold) for result in run.finals if stages_of(result.config)}
    served = len(begun - adopted)
    return {"trained": len(trained), "served": served, "saved": max(served - len(trained), 0)}


def _task(record: Mapping[str, Any]) -> tuple[str, str]:
    return config_of(record), fold_of(record)


def saved(shared: Row) -> str:
    return (
        f"{plural(shared['trained'], 'training')} of first stages served {plural(shared['served'], 'fold')} "
        f"of second stages: {plural(shared['saved'], 'training')} "
        f"{'was' if shared['saved'] == 1 else 'were'} saved."
    )


def board(run: Run, confidence: float) -> Table:
    """A row for each first stage, the best masks by validation first."""
    by_key: dict[str, dict[str, FoldResult]] = {}
    for result in run.stages:
        by_key.setdefault(result.key, {})[result.fold] = result
    rows = [_row(run, key, folds, confidence) for key, folds in by_key.items()]
    rows.sort(key=lambda row: -np.nan_to_num(row["validation_dice_mean"], nan=-1.0))
    columns = [Column("key", "Stage", "id"), Column("model", "Model", "text"),
               Column("inner_folds", "Inner folds", "count"),
               Column("served", "Second stages", "count")]  # fmt: skip
    columns += [_column(metric) for metric in SHOWN if metric != "asd"]  # as wide as a page is
    return Table("first_stages", "Test masks", tuple(columns), rows, NOTE, wide=True)


def _column(metric: str) -> Column:
    digits = 2 if metric in DISTANCES else 3
    name = f"test_{metric}"
    return Column(f"{name}_mean", _label(metric), spread=f"{name}_std", better=better(metric), digits=digits)


def _label(metric: str) -> str:
    """There are no figures of classes here that they could be taken for."""
    return label(metric.removeprefix("mask_"))


def _row(run: Run, key: str, folds: Mapping[str, FoldResult], confidence: float) -> Row:
    trained = next(iter(folds.values())).config
    done = [folds[fold] for fold in run.folds if fold in folds and folds[fold].status == "complete"]
    row: Row = {"key": key, "model": _model(trained), "inner_folds": trained.get("inner_folds"),
                "served": sum(_builds_on(config.config, key) for config in run.configs),
                "folds_done": len(done), "seconds": sum(r.seconds for r in folds.values())}  # fmt: skip
    return row | _figures(run, done if len(done) == len(run.folds) else [], confidence)


def _model(trained: Mapping[str, Any]) -> str:
    segment = trained.get("segment")
    return str(segment.get("name", "–")) if isinstance(segment, Mapping) else "–"


def _figures(run: Run, done: Sequence[FoldResult], confidence: float) -> Row:
    ratio, row = ratios(run), dict[str, Any]()
    for split in SPLITS:
        for metric in (*SHOWN, *POOLED):
            values = np.array([getattr(result, split).get(metric, np.nan) for result in done] or [np.nan])
            part = summarise(values, ratio[split], confidence)
            row |= {f"{split}_{metric}_{name}": float(part[name]) for name in ("mean", "std", "low", "high")}
    return row


def _builds_on(config: Mapping[str, Any], key: str) -> bool:
    """Whether this configuration's first stage is that one."""
    if not stages_of(config):
        return False
    try:
        first = Configuration.model_validate(config).first_stage
    except ValueError:  # a result that something else has written
        return False
    return first is not None and first.key == key.partition(MARK)[0]


def curves(study: Study) -> list[Row]:
    """How the pick's first stage learned: the segmenter of the whole training part, which is its last."""
    chosen = study.run.by_id[study.picked]
    home = chosen.home or study.run.storage
    ended = [r for r in study.run.stages if r.status == "complete" and r.fold in study.run.folds]
    own = [r for r in ended if _builds_on(chosen.config, r.key)]
    tasks = dict.fromkeys(Task(result.key.partition(MARK)[0], result.fold) for result in own)
    places = [f"{RunPaths.result(task)}/epochs.parquet" for task in tasks]
    tables = [_last(read_table(home, place)) for place in places if home.exists(place)]
    return learning.curves(own[0].key, tables) if tables else []


def _last(epochs: pa.Table) -> pa.Table:
    """The rows of the last segmenter; epochs count through all of them."""
    network, number = epochs["network"].to_numpy(), epochs["epoch"].to_numpy()
    last = network == network.max()
    counted = pa.array(number[last] - number[last].min() + 1)
    return epochs.filter(pa.array(last)).set_column(epochs.column_names.index("epoch"), "epoch", counted)


def fold_table(run: Run) -> Table:
    rows = [{"key": r.key, "fold": r.fold, "status": r.status, "seconds": r.seconds, "error": r.error}
            | {f"{split}_{m}": getattr(r, split).get(m) for split in SPLITS for m in (*SHOWN, *POOLED)}
            for r in run.stages]  # fmt: skip
    columns = [Column("key", "Stage", "id"), Column("fold", "Fold", "word")]
    columns += [Column(f"{split}_dice", f"{split.capitalize()} Dice") for split in SPLITS]
    columns += [
        Column(f"test_{m}", f"Test {inside(m.removeprefix('mask_'))}", digits=2 if m in DISTANCES else 3)
        for m in SHOWN[1:]
    ]
    columns += [Column("status", "Status", "status"), Column("seconds", "Time", "seconds")]
    return Table(
        "stages", "First stages, fold by fold", tuple(columns), rows, wide=True, filters=len(rows) > 12
    )

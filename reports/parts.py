"""The sections of a report about the pick: what it is, how it compares and classifies."""

import math
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from engine.errors import without_secrets
from engine.picking import lower_bounds, mean_of, median_ranks, one_se_floor, spread_of
from engine.results import RunPaths
from engine.spec import text
from engine.words import plural
from reports import boards, configs, diagnosis, nested, own, pooled, resample, significance
from reports.aggregate import ranking
from reports.boards import better
from reports.choose import evidence_of, metrics_of
from reports.measures import DISTANCES, inside, label
from reports.sections import Code, Facts, Headline, Headlines, Section, Text
from reports.shape import settings, written
from reports.study import Study
from reports.tables import Column, Table

POOLED = ("dice", "dice_pooled", "hd95", "accuracy", "f1_macro", "auc_macro")
HEADLINES = ("dice", "f1_macro", "accuracy", "hd95")


def pick(study: Study) -> Section:
    if study.pick is None:
        return Section("pick", "The pick", [Text(nothing(study))])
    chosen = study.run.by_id[study.picked]
    blocks: list[Any] = [
        headlines(study),
        Text(_read(study)),
        Text(study.pick.reason),
        *([Facts(found)] if (found := searched(study)) else []),
        Code("yaml", "The picked configuration", text.dump(dict(written(chosen.config)))),
        *_use(study),
        boards.interval_table(study.known, study.picked, study.select.confidence),
    ]
    return Section("pick", f"The pick: {study.picked}", blocks, [choice(study)])


def _read(study: Study) -> str:
    """What the figures above are over, and what stands behind ± and in brackets."""
    n = len(study.known.folds)
    told = f"Test figures: mean ± standard deviation (ddof 1) over {n} folds" if n > 1 else "Test figures"
    if study.optimism:
        told += (
            f"; pooled and bias-corrected ones are over {study.optimism[0]['cases']:,} cases, with the "
            f"{study.select.confidence:.0%} interval of the corrected one in brackets"
        )
    told += (
        f"; those of outer folds are mean ± standard deviation over {len(study.outer)}" if study.outer else ""
    )
    return f"{told}. {DISTANCES}" if "hd95" in study.known.at else f"{told}."


def _use(study: Study) -> list[Text | Code]:
    """`predict` takes the pick of the report in the run's folder, which need not be that of one elsewhere
    or of several runs together."""
    chosen = study.run.by_id[study.picked]
    if home := chosen.home or (study.run.out and study.run.storage):
        place = f"{without_secrets(home.location)}/{RunPaths.results}/{chosen.key or chosen.id}"
        return [Text(f"Its networks and cases lie in {place}.")]
    place = shlex.quote(without_secrets(study.run.location))
    return [
        Code("predict", "Predict with it", f"sonotune predict {place} IMAGE…"),
        Code("export", "Export it", f"sonotune export {place} --to FOLDER"),
    ]


def choice(study: Study) -> Table:
    """What every rule would read of every configuration that may be picked: the numbers of the reason."""
    metrics = metrics_of(study.run, study.select)
    evidence = evidence_of(study.run, study.fit, study.select, metrics)
    columns: dict[str, np.ndarray] = {
        "mean": mean_of(evidence.scores), "std": spread_of(evidence.scores),
        "lower_bound": lower_bounds(evidence), study.select.cost: evidence.cost,
    }  # fmt: skip
    columns |= {"median_rank": median_ranks(evidence)} if len(evidence.several) else {}
    floor = float(one_se_floor(evidence)[0])
    rows = [{"config_id": config, "picked": config == study.picked, "one_se_floor": floor}
            | {name: float(values[c]) for name, values in columns.items()}
            for c, config in enumerate(study.fit.configs)]  # fmt: skip
    return diagnosis.plain_table("choice", "What rules read", rows)


def searched(study: Study) -> list[tuple[str, str]]:
    """The values of the pick that differ between configurations: the search's answer in short."""
    leaves = {config.id: configs.flat(settings(config.config)) for config in study.run.configs}
    own = leaves[study.picked]
    return [
        (name, configs.short(own[name])) for name in configs.varying(list(leaves.values())) if name in own
    ]


def nothing(study: Study) -> str:
    if study.known.configs:
        return "Every complete configuration breaks a bound of search.constraints, so none is picked."
    text = "No configuration has all of its folds yet, so nothing can be picked"
    search = study.run.study.get("search")
    bounded = isinstance(search, Mapping) and search.get("constraints")
    return f"{text}; what breaks search.constraints is not trained any further." if bounded else f"{text}."


def headlines(study: Study) -> Headlines:
    corrected = {row["metric"]: row for row in study.optimism}
    at = study.known.row[study.picked]
    found = []
    for metric in HEADLINES:
        if metric in study.known.at:
            name = own.name(study.known, study.picked, metric, study.refining)
            values = study.known.of("test", name)[at]
            if np.isfinite(values).all():
                found.append(_headline(study, name, values, corrected.get(name)))
    return Headlines(found)


def _headline(study: Study, metric: str, values: np.ndarray, row: dict[str, Any] | None) -> Headline:
    digits = 2 if metric.endswith("hd95") else 3
    spread = f"± {values.std(ddof=1):.{digits}f}" if len(values) > 1 else ""
    pooled = f"Pooled {row['selected']:.{digits}f}, bias-corrected {_corrected(row, digits)}" if row else ""
    note = (pooled or plural(len(values), "fold")) + _over_outer(study, metric, digits)
    return Headline(f"Test {inside(metric)}", f"{values.mean():.{digits}f}", spread, note)


def _corrected(row: dict[str, Any], digits: int) -> str:
    return f"{row['corrected']:.{digits}f} [{row['low']:.{digits}f},\u00a0{row['high']:.{digits}f}]"


def sentences(study: Study) -> list[str]:
    """For every main metric, of the predictions that count: selected, corrected, over outer folds."""
    return [f"{label(row['metric'])}: pooled test {row['selected']:.3f}, bias-corrected "
            f"{_corrected(row, 3)}"
            f"{_over_outer(study, row['metric'])}"
            for row in study.optimism if _counts(study, row["metric"])]  # fmt: skip


def _over_outer(study: Study, metric: str, digits: int = 3) -> str:
    """Of nested folds, what no choice has touched."""
    row = next((row for row in nested.estimates(study.outer) if row["metric"] == metric), None)
    if row is None or not math.isfinite(row["mean"]):
        return ""
    spread = f" ± {row['std']:.{digits}f}" if math.isfinite(row["std"]) else ""
    return f", outer folds {row['mean']:.{digits}f}{spread}"


def _counts(study: Study, metric: str) -> bool:
    plain = metric.removeprefix("refined_")
    return own.name(study.known, study.picked, plain, study.refining) == metric


def intervals(study: Study) -> Table:
    """Every complete configuration, pooled over cases, the best by validation first."""
    ranks = ranking(study.known)
    rows: dict[str, dict[str, Any]] = {c: {"config_id": c} for c in sorted(ranks, key=lambda c: ranks[c])}
    for row in study.intervals:
        names = {"pooled": "", "bootstrap_low": "_low", "bootstrap_high": "_high"}
        rows[row["config_id"]] |= {f"{row['metric']}{end}": row[key] for key, end in names.items()}
    columns = [Column("config_id", "Configuration", "id")]
    columns += [Column(name, label(name), reach=(f"{name}_low", f"{name}_high"), better=better(name),
                       digits=2 if name == "hd95" else 3)
                for name in _pooled_shown(study)]  # fmt: skip
    drawn = "clusters (patients or duplicates)" if study.test.grouped else "cases"
    note = f"Test rows; percentile intervals over {study.select.bootstraps:,} resamples of {drawn}."
    note += boards.DRAWN if "hd95" in study.known.at else ""
    title = "Pooled over cases, with bootstrap intervals"
    return Table("intervals", title, tuple(columns), list(rows.values()), note, wide=True, filters=True)


def _pooled_shown(study: Study) -> list[str]:
    """As on the leaderboard; raw where pooled rows give no refined figure."""
    there = [one.name for one in study.statistics]
    return list(dict.fromkeys(
        name if name in there else plain
        for plain in there if plain in POOLED
        for name in boards.standing_for(plain, study.known, study.refining)
    ))  # fmt: skip


def class_intervals(study: Study, configs: Sequence[str]) -> Table:
    """Per class, pooled over cases, with bootstrap intervals."""
    names = [f"{prefix}{metric}_{name}" for metric in boards.CLASS_METRICS for name in study.run.classes
             for prefix in ("", "refined_")]  # fmt: skip
    known = [pooled.statistic(name, study.run.classes) for name in names if name in study.known.at]
    there = [config for config in configs if config in study.test.configs]
    rows = resample.intervals(study.test.pick(there), [one for one in known if one], study.select.bootstraps,
                              study.select.seed, study.select.confidence)  # fmt: skip
    return diagnosis.plain_table("class_intervals", "Per class, pooled over cases", rows)


def tests(study: Study) -> Section | None:
    if study.pick is None or not study.others:
        return None
    rows = study.significance
    cautions = significance.cautions(study.known, rows, study.test.grouped, study.select.confidence)
    blocks: list[Any] = [
        Text(verdict(study)),
        significance.table(rows, study.select.confidence),
        *map(Text, cautions),
    ]
    least = significance.detectable(
        len(study.known.folds), study.known.ratio["test"], study.select.confidence
    )
    data = [diagnosis.plain_table("detectable", "Least difference that folds can show", [least])]
    return Section("significance", "Significance", blocks, data)


def verdict(study: Study) -> str:
    alpha = 1 - study.select.confidence
    told = []
    for other, role in study.others.items():
        rows = [r for r in study.significance if r["other"] == other and math.isfinite(r["p_holm"])]
        clear = [r for r in rows if r["p_holm"] < alpha]
        wins = Counter(map(significance.favours, clear))
        told.append(f"{other} ({role}): {wins['pick']} of {len(rows)} tests favour the pick, "
                    f"{wins['other']} the other")  # fmt: skip
    return f"At p < {alpha:.2g} after Holm's adjustment over all tests: " + "; ".join(told) + "."


def classes(study: Study) -> Section | None:
    if study.pick is None or study.picked not in study.test.configs:
        return None
    near = [study.picked, *list(study.others)[:2]]
    blocks: list[Any] = [boards.class_table(study.run, study.known, near, study.select.confidence)]
    data: list[Table] = [class_intervals(study, near)]
    own = study.test.pick([study.picked])
    if (own.columns["predicted"] >= 0).any():
        rows = diagnosis.confusion_rows(own, study.picked)
        blocks.append(diagnosis.confusion_figure(rows, own.classes))
        data.append(diagnosis.confusion_table(rows, own.classes))
    if np.isfinite(own.probabilities).any():
        roc, pr = (diagnosis.curve_rows(own, study.picked, kind) for kind in ("roc", "pr"))
        calibration = diagnosis.calibration_rows(own, study.picked)
        blocks += [diagnosis.curve_figure(roc, pr), diagnosis.calibration_figure(calibration)]
        data += [diagnosis.plain_table("roc", "ROC", roc),
                 diagnosis.plain_table("precision_recall", "Precision-recall", pr),
                diagnosis.plain_table("calibration", "Calibration", calibration)]  # fmt: skip
    return Section("classes", "Classes", blocks, data)

"""The sections of a report about the search: leaderboard, curves, race, hyperparameters, cost, origin."""

import math
from collections import Counter
from typing import Any

from engine.spec import text
from engine.words import plural
from reports import (
    boards,
    by_model,
    configs,
    cost,
    importance,
    learning,
    pareto,
    parts,
    pictures,
    published,
    racing,
    timeline,
)
from reports import slices as slicing
from reports.aggregate import frame
from reports.choose import metrics_of
from reports.diagnosis import plain_table
from reports.measures import higher_is_better, searched_for
from reports.run import Run
from reports.sections import Code, Facts, Section, Text
from reports.study import Study
from reports.tables import Sheet, Table

SLICES = 9


def board(study: Study) -> Section:
    between = [parts.intervals(study)] if study.pick else []
    models = by_model.table(study.run, study.known)
    blocks = [boards.board_table(study.run, study.known), *([models] if models else []), *between,
              boards.fold_table(study.run, study.known)]  # fmt: skip
    data = [Sheet("aggregate", frame(study.known, study.select.confidence))]
    data += [by_model.sheet(study.run, study.known, study.select.confidence)] if models else []
    return Section("leaderboard", "Leaderboard", blocks, data)


def learned(study: Study) -> Section | None:
    if study.pick is None:
        return None
    rows = learning.frame(study.run, [study.run.by_id[study.picked]])
    drawn = learning.figures(rows, study.picked)
    return Section("learning", "Learning curves", drawn, [learning.table(rows)])


def raced(study: Study) -> Section | None:
    run, pick = study.run, study.pick.config_id if study.pick else None
    begun = racing.cells(run)
    if not begun or not run.journal:  # of several runs side by side, each has its race in its own report
        return None
    dropped = racing.drops(run)
    saved = racing.savings(run, begun, dropped, pick)
    blocks: list[Any] = [Text(racing.sentence(saved)), racing.figure(run, begun, pick)]
    blocks += [racing.drop_table(dropped)] if dropped else []
    data = [plain_table("race", "The race", begun), plain_table("savings", "Savings", [saved])]
    return Section("race", "The race", blocks, data)


def space(study: Study) -> Section | None:
    rows = configs.frame(study.run, study.known)
    rows = [row for row in rows if math.isfinite(row["score_mean"])]
    names = configs.parameters(rows)
    if len(rows) < 2 or not names:
        return None
    logs = configs.logarithmic(study.run, rows)
    found = importance.importance(rows, logs)
    order = [row["parameter"] for row in found] or names
    chosen = study.pick.config_id if study.pick else None
    blocks: list[Any] = []
    behind: list[Table] = [plain_table("configurations", "Configurations", rows)]
    if found:
        blocks.append(importance.importance_figure(found))
        behind.append(importance.importance_table(found))
    blocks.append(slicing.slice_figure(rows, slicing.first(order)[:SLICES], chosen, logs))
    blocks.append(slicing.parallel_figure(rows, order, chosen, logs))
    numeric = [name for name in order if configs.is_number([row[name] for row in rows])]
    if len(numeric) > 1 and len(rows) >= importance.ENOUGH:
        blocks.append(slicing.contour_figure(rows, numeric, chosen, logs))
    front_blocks, data = fronts(study, chosen)
    return Section("space", "Hyperparameters", [*blocks, *front_blocks], [*behind, *data])


def fronts(study: Study, chosen: str | None) -> tuple[list[Any], list[Table]]:
    metrics = [m for m in metrics_of(study.run, study.select) if m in study.known.at]
    if len(metrics) < 2:
        return [], []
    signs = [1 if higher_is_better(m) else -1 for m in metrics]
    rows = pareto.front_rows(study.known, metrics, signs)
    held = pareto.summary(rows, metrics, signs)
    blocks = [pareto.front_figure(rows, metrics, chosen), Text(pareto.sentence(rows, held))]
    return blocks, [plain_table("front", "Front", rows), plain_table("hypervolume", "Hypervolume", [held])]


def spent(study: Study) -> Section | None:
    found = cost.rows(study.run)
    if not found:
        return None
    hours = cost.hours(study.run, found)
    blocks: list[Any] = [Text(cost.totals(hours)), cost.table(found)]
    lines = timeline.rows(study.run)
    slots = timeline.idle(lines)
    if lines:
        blocks += [timeline.figure(lines), Text(timeline.sentence(slots))]
    data = [plain_table("timeline", "Timeline", lines), plain_table("slots", "Slots", slots)] if lines else []
    return Section("cost", "Cost", blocks, [plain_table("hours", "Hours", [hours]), *data])


def seen(study: Study) -> Section | None:
    shown = pictures.gallery(study.run, study.run.by_id[study.picked]) if study.pick else None
    if shown is None:
        return None
    drawn = any(isinstance(dice := tile.row.get("dice"), float) and dice == dice for tile in shown.tiles)
    which, by = (
        ("Test cases with a lesion", "Dice") if drawn else ("Test cases", "probability of the true class")
    )
    told = f"{which}, worst, median and best of each fold by the pick's {by}; as many as fit."
    data = [plain_table("gallery", "Cases", [dict(tile.row) for tile in shown.tiles])]
    return Section("gallery", "Cases", [Text(told), shown], data)


def printed(study: Study) -> Section | None:
    tables = [published.paper_table(t, published.frame(t, study.run, study.known), study.run)
              for t in published.relevant(study.run, study.known)]  # fmt: skip
    return Section("published", "Published figures", [Text(published.MEANING), *tables]) if tables else None


def left_out(study: Study) -> Section | None:
    missing = boards.problem_table(study.run, study.problems)
    return Section("missing", "Left out", [missing]) if missing.rows else None


def origin(study: Study) -> Section:
    rows = _facts(study.run.provenance)
    used = Counter(r.hardware for c in study.run.configs for r in c.folds.values() if r.hardware)
    rows += [("hardware", f"{name} ({plural(count, 'fold')})") for name, count in used.most_common()]
    rows.append(("cases per fold (train, validation, test)", _sizes(study.run)))
    rows.append(("objective", searched_for(study.run.study)))
    rows += [(f"note {n}", str(note)) for n, note in enumerate(study.run.manifest.get("notes") or (), 1)]
    spec = [Code("study", "The study, as it was searched", text.dump(dict(study.run.study)))]
    several = len({config.run for config in study.run.configs}) > 1  # each of them has its own study
    data = [plain_table("provenance", "Provenance", [{"what": name, "value": told} for name, told in rows])]
    return Section("provenance", "Provenance", [Facts(rows), *([] if several else spec)], data)


def _facts(value: Any, path: str = "") -> list[tuple[str, str]]:
    if isinstance(value, dict):
        return [fact for key, below in value.items() for fact in _facts(below, f"{path} {key}".strip())]
    return [(path, ("no", "yes")[value] if isinstance(value, bool) else str(value))]


def _sizes(run: Run) -> str:
    sizes = [f"{s['train']}, {s['validation']}, {s['test']}" for s in run.sizes().values()]
    return "; ".join(dict.fromkeys(sizes)) or "not known"

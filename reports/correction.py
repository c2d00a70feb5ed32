"""The section of a report about what choosing costs: the pick's figures less the optimism of its choice."""

from typing import Any

from reports import nested
from reports.measures import DISTANCES, inside, label
from reports.sections import Section, Text
from reports.study import Study
from reports.tables import Column, Table

UNCORRECTED = (
    "The optimism of choosing is not corrected here: what was chosen by is not recomputed from the stored "
    "cases, or there are too few cases to draw from."
)


def section(study: Study) -> Section | None:
    blocks: list[Any] = []
    if study.pick and study.optimism:
        row = study.optimism[0]
        blocks += [Text(_how(study, row)), table(study)]
    elif study.pick and len(study.fit.configs) > 1:
        blocks.append(Text(UNCORRECTED))
    if study.outer:
        blocks += [Text(nested.told(study.run, study.outer, study.select)), *nested.tables(study.outer)]
    return Section("optimism", "What choosing costs", blocks) if blocks else None


def _how(study: Study, row: dict[str, Any]) -> str:
    unit = "clusters of cases" if row["clusters"] < row["cases"] else "cases"
    told = (
        f"The best of {row['configurations']} configurations looks better than it is. In each of "
        f"{row['bootstraps']:,} resamples of the {row['clusters']:,} {unit}, {study.select.rule} chose "
        "on validation rows of the cases that were drawn, and what it chose was scored on test rows of the "
        "cases that were not. Both figures are pooled over cases, so they differ a little from the means "
        "over folds. Each fold's test cases trained other folds' networks: only nested folds are untouched."
    )
    return told + _taking_part(study, row) + _left_out(study, row)


def _taking_part(study: Study, row: dict[str, Any]) -> str:
    done, begun = len(study.run.complete), len(study.run.configs)
    told = f" Only finished configurations take part; {begun - done} did not finish." if done < begun else ""
    if row["configurations"] < done:
        told += (
            f" {done - row['configurations']} more break a bound of search.constraints or cannot be compared."
        )
    return told


def _left_out(study: Study, row: dict[str, Any]) -> str:
    few = study.select.bootstraps - row["bootstraps"] - row["without"]
    told = (
        f" {few:,} further resamples drew too few cases of some fold to choose or to score by." if few else ""
    )
    if row["without"]:
        told += (
            f" {row['without']:,} chose a network that has no {inside(row['metric'])} at all; the corrected "
            "figure is that of the others."
        )
    return told


def table(study: Study) -> Table:
    outer = {row["metric"]: row for row in nested.estimates(study.outer)} if study.outer else {}
    rows = [
        row | {"label": label(row["metric"])} | _outer(outer.get(row["metric"])) for row in study.optimism
    ]
    share = f"{study.select.confidence:.0%}"
    columns = [Column("label", "Metric", "text"), Column("validation", "Validation, selected"),
               Column("selected", "Test, selected"), Column("corrected", "Bias-corrected"),
               Column("low", f"{share} from"), Column("high", "to"),
               Column("optimism", "Selected − corrected", digits=4)]  # fmt: skip
    columns += [Column("outer", "Outer estimate", spread="outer_std")] if outer else []
    note = DISTANCES if any(row["metric"].endswith(("hd95", "asd")) for row in rows) else ""
    return Table("optimism", "Selected and bias-corrected figures", tuple(columns), rows, note)


def _outer(row: dict[str, Any] | None) -> dict[str, Any]:
    return {"outer": row["mean"], "outer_std": row["std"]} if row else {}

"""Draws the frontiers that `racing.py` has written: regret of the pick against what it cost.

python benchmarks/racing_figure.py racing.csv --out docs/racing.png
"""

import argparse
import csv
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from engine.spec.race import Race

OURS = {"reserve": "#0b6e4f", "halving": "#e9b308", "thaw": "#6bbf59", "paired": "#b5d99c"}
PEERS = {
    "asha": "#c1121f",
    "asha-lockstep": "#e07a5f",
    "asha-pooled": "#f2b880",
    "halving-folds": "#8d6a9f",
    "median": "#577590",
    "aggressive": "#3d405b",
    "forgiving": "#81b1d6",
    "wilcoxon": "#999999",
}
NAMES = {"asha": "ASHA, fold means", "asha-lockstep": "ASHA, folds in step", "asha-pooled": "ASHA, pooled",
         "halving-folds": "halving over folds", "reserve": "reserve (default, starred)"}  # fmt: skip
BAND = (0.05, 0.3)  # regrets at which rules are compared


def panel(axes: Axes, rows: list[dict[str, Any]], title: str) -> None:
    axes.axhspan(*BAND, color="#f4f1ea", zorder=0)
    for rule, color in (OURS | PEERS).items():
        points = sorted((float(r["spent"]), float(r["regret"])) for r in rows if r["rule"] == rule)
        if points:
            style = "-o" if rule in OURS else "--s"
            axes.plot(
                *zip(*points, strict=True), style, color=color, label=NAMES.get(rule, rule), ms=4, lw=1.4
            )
    for row in rows:
        if row["rule"] == "reserve" and float(row["value"]) == Race().price:
            axes.plot(float(row["spent"]), float(row["regret"]), "*", color=OURS["reserve"], ms=15)
    axes.set(xscale="log", ylim=(-0.01, 0.5), title=title, xlabel="fold-epochs spent, share of all")
    ticks = [0.02, 0.05, 0.1, 0.2, 0.5, 1]
    axes.set_xticks(ticks, [f"{100 * tick:g} %" for tick in ticks], minor=False)
    axes.minorticks_off()
    axes.spines[["top", "right"]].set_visible(False)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("csv", type=Path, nargs="+")
    parser.add_argument("--slots", default="1")
    parser.add_argument("--out", type=Path, default=Path("docs/racing.png"))
    args = parser.parse_args()
    rows = [row for path in args.csv for row in csv.DictReader(path.open()) if row["slots"] == args.slots]
    tables = list(dict.fromkeys(row["table"] for row in rows))
    figure = Figure(figsize=(4.6 * len(tables), 4.6), layout="constrained", dpi=130)
    each = figure.subplots(1, len(tables), squeeze=False, sharey=True)[0]
    for axes, table in zip(each, tables, strict=True):
        panel(axes, [row for row in rows if row["table"] == table], table)
    each[0].set_ylabel("mean regret of the pick, in fold deviations")
    figure.legend(
        *each[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=8, frameon=False
    )
    figure.savefig(args.out)


if __name__ == "__main__":
    main()

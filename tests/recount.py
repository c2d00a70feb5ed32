"""Recounts the leaderboard from the case files alone; shares no line with the package that it checks."""

import json
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from sklearn.metrics import accuracy_score, f1_score

run = Path(sys.argv[1])
folds = sorted(row["name"] for row in json.loads((run / "folds.json").read_text())["folds"])
told = {}
for config in sorted(p for p in (run / "results").iterdir() if p.is_dir()):
    if not all((config / fold / "result.json").exists() for fold in folds):
        continue
    columns: dict[str, list[float]] = {"dice": [], "hd95": [], "accuracy": [], "f1": []}
    for fold in folds:
        cases = pq.read_table(config / fold / "cases_test.parquet").to_pandas()
        columns["dice"].append(cases["dice"].mean())
        columns["hd95"].append(cases["hd95"].dropna().mean())
        columns["accuracy"].append(accuracy_score(cases["label"], cases["predicted"]))
        columns["f1"].append(f1_score(cases["label"], cases["predicted"], average="macro"))
    digits = {"hd95": 2}
    told[config.name] = [
        f"{np.mean(v):.{digits.get(k, 3)}f} ± {np.std(v, ddof=1):.{digits.get(k, 3)}f}"
        for k, v in columns.items()
    ]
print(json.dumps(told))

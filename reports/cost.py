"""What the search and each network cost."""

from collections.abc import Mapping
from typing import Any

from engine.journal.held import stretches
from reports.events import kind_of
from reports.run import Run
from reports.tables import Column, Table

Row = dict[str, Any]


def rows(run: Run) -> list[Row]:
    found = []
    for config in run.configs:
        results = list(config.folds.values())
        if results:
            found.append({
                "config_id": config.id, "status": config.status, "folds": len(results),
                "seconds": sum(r.seconds for r in results), "device": _device(results),
                "peak_memory_mb": max(r.peak_memory_mb for r in results),
                "parameters": max(r.parameters for r in results), "flops": max(r.flops for r in results),
                "latency_ms": sum(r.latency_ms for r in results) / len(results),
            })  # fmt: skip
    return found


def _device(results: list[Any]) -> str:
    return ", ".join(sorted({str(r.numerics.get("device", "?")) for r in results}))


def hours(run: Run, found: list[Row]) -> Row:
    """Dropped and unfinished trainings included where the journal kept their time."""
    kinds = dict.fromkeys("GPU" if row["device"].startswith("cuda") else "CPU" for row in found)
    share = share_of(run, "gpu" if "GPU" in kinds else "cpu")
    held = [(one.key, one.seconds * (one.gpus if "GPU" in kinds and one.gpus else share))
            for one in stretches(run.journal)]  # fmt: skip
    finished = [(row["config_id"], share * row["seconds"]) for row in found]
    finished += [(result.key, share * result.seconds) for result in run.stages]
    spent = held or finished
    complete = {config.id for config in run.complete} | {result.key for result in run.stages}
    lost = sum(seconds for config, seconds in spent if config not in complete)
    return {"of": "All training" if held else "All finished folds", "kind": "/".join(kinds),
            "hours": sum(s for _, s in spent) / 3600, "without_all_folds": lost / 3600}  # fmt: skip


def totals(row: Row) -> str:
    text = f"{row['of']} took {row['hours']:.3g} {row['kind']}-hours"
    lost = row["without_all_folds"]
    return f"{text}, {lost:.3g} of them for configurations without all folds." if lost else f"{text}."


def share_of(run: Run, kind: str) -> float:
    """How many GPUs or cores a fold held: as packed, as the study says, or one."""
    packed = [record for record in run.journal if kind_of(record) == "packed"]
    if kind == "gpu" and packed:
        return 1 / max(1, int(packed[-1].get("folds") or 1))
    resources = run.study.get("resources")
    held = resources.get(kind) if isinstance(resources, Mapping) else None
    return float(held) if isinstance(held, int | float) and held > 0 else 1.0


def table(found: list[Row]) -> Table:
    columns = (Column("config_id", "Configuration", "id"), Column("folds", "Folds", "count"),
               Column("seconds", "Training", "seconds"), Column("device", "Device", "word"),
               Column("peak_memory_mb", "Peak memory, MB", "count"),
               Column("parameters", "Parameters", "count"),
               Column("flops", "FLOPs per image", "count"),
               Column("latency_ms", "Latency, ms", digits=2))  # fmt: skip
    note = "Training: the epochs of finished folds. A journal's hours have what workers load first as well."
    return Table("cost", "By configuration", columns, found, note, filters=len(found) > 12)

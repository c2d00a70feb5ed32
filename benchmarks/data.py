"""What data costs: packing, a warm start, an audit, the search for duplicates among 2,000 images.

    python -m benchmarks.data

takes BUSI from SONOTUNE_BUSI, else 780 phantoms of its layout. Processor seconds stand beside those of the
clock, because only they mean anything on a machine that does something else as well.
"""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter, process_time

import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table

from engine.data.audit import audit
from engine.data.duplicates import THRESHOLDS, find_pairs
from engine.data.load import load
from engine.data.phantom import generate
from engine.data.similarity import thumbnail
from engine.data.write_audit import write_findings
from engine.spec.data import Data

COUNTS = {"benign": 437, "malignant": 210, "normal": 133}
MANY = 2000


def main() -> None:
    table = Table("work", "at most, s", "took, s", "processor, s")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        root = Path(os.environ.get("SONOTUNE_BUSI") or write_phantoms(folder / "busi"))
        data = Data(source="busi", root=str(root), size=128)
        row(table, "pack 780 images at 128×128", 10, lambda: load(data, folder / "cache"))
        row(table, "start from the warm cache", 1, lambda: load(data, folder / "cache"))
        row(table, "audit of 780 images, page and table", 30, lambda: whole_audit(data, folder / "audit"))
    thumbnails = np.stack([thumbnail(image) for image in generate(MANY, 128, tuple(COUNTS), 0)[0]])
    names = [str(index) for index in range(MANY)]
    limit = THRESHOLDS["aligned"]
    row(table, "duplicates among 2,000", 30, lambda: find_pairs(names, thumbnails, "aligned", limit))
    console = Console()
    console.print(table)
    console.print(f"{root}; {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}", highlight=False)


def row(table: Table, title: str, limit: float, work: Callable[[], object]) -> None:
    start, busy = perf_counter(), process_time()
    work()
    table.add_row(title, str(limit), f"{perf_counter() - start:.2f}", f"{process_time() - busy:.2f}")


def whole_audit(data: Data, out: Path) -> None:
    write_findings(audit(data, "aligned", THRESHOLDS["aligned"]), out)


def write_phantoms(root: Path) -> Path:
    for seed, (label, count) in enumerate(COUNTS.items()):
        images, masks, _ = generate(count, 256, (label,), seed)
        (root / label).mkdir(parents=True)
        for number, (image, mask) in enumerate(zip(images, masks, strict=True), start=1):
            Image.fromarray(image).save(root / label / f"{label} ({number}).png")
            Image.fromarray(mask * 255).save(root / label / f"{label} ({number})_mask.png")
    return root


if __name__ == "__main__":
    main()

"""Training images per second: our fold against a plain PyTorch loop over the same model, data and losses.

    python benchmarks/throughput.py [ROW ...] [--size 128] [--batch 16] [--steps 8] [--rounds 5] [--threads 2]

Plain is what one writes first: float32, a DataLoader with 2 workers that augments, a validation pass per
epoch. The epochs of both alternate in one process, so that a busy machine is busy for both; medians are
printed. Ours also pays for every epoch's checkpoint and for more validation figures than the plain loop has.
The ratio by CPU time holds on a busy machine as well; it leaves the plain loop's two workers out, ours in.
"""

import argparse
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from engine.data.augment import pipeline
from engine.data.cases import Pack
from engine.data.load import load
from engine.folds.manifest import Fold
from engine.losses.total import build_loss
from engine.models.registry import build, traits
from engine.objective import objectives
from engine.spec.data import Data
from engine.spec.resources import Resources
from engine.spec.search import Search
from engine.spec.study import Configuration
from engine.storage import open_storage
from engine.task import Task
from engine.training.epochs import FoldRun
from engine.training.job import Job
from engine.training.numerics import resolve

ROWS = ("unet_mtl", "mt_unetpp", "mtl_oca", "acsnet")
SHOWN = 8  # operations in the profile


@dataclass(frozen=True)
class Setup:
    pack: Pack
    fold: Fold
    configuration: Configuration
    threads: int
    place: Path


class Cases(Dataset):
    """Images in memory already, as an experienced user would have them."""

    def __init__(self, images: np.ndarray, pack: Pack, rows: np.ndarray, augment: Any) -> None:
        self.images, self.pack, self.rows, self.augment = images, pack, rows, augment

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, place: int) -> tuple[torch.Tensor, torch.Tensor, int]:
        row = self.rows[place]
        image, mask = self.images[row], self.pack.masks[row]
        if self.augment is not None:
            image, mask = self.augment(image, mask, int(torch.randint(2**31, (1,))))
        x = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))
        return x, torch.from_numpy(np.array(mask))[None].float(), int(self.pack.labels[row])


class Plain:
    def __init__(self, run: FoldRun, setup: Setup, device: str) -> None:
        spec, pack = setup.configuration, setup.pack
        self.device = device
        torch.manual_seed(0)
        self.model = build(spec.model, run.images.shape[3], len(pack.classes), pack.images.shape[1]).to(
            device
        )
        self.loss = build_loss(spec.loss, np.bincount(pack.labels), traits(spec.model)).to(device)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=spec.train.lr)
        augmented = pipeline(spec.augment, pack.images.shape[1])
        train = Cases(run.images, pack, run.parts.train, augmented)
        validation = Cases(run.images, pack, run.parts.validation, None)
        settings: dict[str, Any] = {
            "batch_size": spec.train.batch,
            "num_workers": 2,
            "persistent_workers": True,
        }
        self.train = DataLoader(train, shuffle=True, **settings)
        self.validation = DataLoader(validation, **settings)

    def epoch(self) -> float:
        began = time.perf_counter()
        self.model.train()
        for batch in self.train:
            x, masks, labels = (part.to(self.device) for part in batch)
            self.optimizer.zero_grad()
            self.loss(self.model(x), masks, labels, x, 1).total.backward()
            self.optimizer.step()
        self._validate()
        return time.perf_counter() - began

    @torch.no_grad()
    def _validate(self) -> tuple[float, float]:
        self.model.eval()
        dices, right = [], []
        for batch in self.validation:
            x, masks, labels = (part.to(self.device) for part in batch)
            said = self.model(x)
            drawn = (said.masks[-1] > 0).float()
            both, sizes = (drawn * masks).sum((1, 2, 3)), (drawn + masks).sum((1, 2, 3))
            dices.append(torch.where(sizes > 0, 2 * both / sizes.clamp(min=1), 1.0))
            right.append((said.logits.argmax(1) == labels).float())
        return float(torch.cat(dices).mean()), float(torch.cat(right).mean())


def prepare(name: str, given: argparse.Namespace, place: Path) -> Setup:
    train, validation = given.batch * given.steps, max(3, given.batch * given.steps // 4)
    pack = load(Data(count=train + validation, size=given.size), place / "cache")
    fold = Fold("r0-f0", pack.cases[:train], pack.cases[train:], pack.cases[train:], 0, 0)
    model = {"name": name} | ({"width": given.width} if given.width else {})
    recipe = {"batch": given.batch, "epochs": 10_000, "precision": given.precision}
    record = {"model": model, "train": recipe}
    if name == "acsnet":
        record["loss"] = {"gamma": 0.2}
    return Setup(pack, fold, Configuration.model_validate(record), given.threads, place)


def ours(setup: Setup, name: str) -> FoldRun:
    resources = Resources(threads=setup.threads)
    task = Task(setup.configuration.config_id, setup.fold.name)
    goals = objectives(Search())
    job = Job(
        task, setup.configuration.record(), setup.fold, setup.pack.fingerprint, 0, resolve(resources), goals
    )
    return FoldRun(job, setup.pack, open_storage(setup.place / name))


def compare(name: str, given: argparse.Namespace, place: Path) -> str:
    setup = prepare(name, given, place)
    run = ours(setup, name)
    plain = Plain(run, setup, run.job.numerics.device)
    images = len(run.parts.train)
    rates: list[tuple[float, float]] = []
    works: list[float] = []
    shares: list[tuple[float, float, float]] = []
    for number in range(given.rounds + 1):
        began, worked = time.perf_counter(), time.process_time()
        row = run.next_epoch()
        mine, spent_mine = time.perf_counter() - began, time.process_time() - worked
        worked = time.process_time()
        other = plain.epoch()
        spent_other = time.process_time() - worked
        if number:  # the first round warms both up
            rates.append((images / mine, images / other))
            works.append(spent_other / spent_mine)
            training = images / row["images_per_second"]
            shares.append((training / mine, (row["seconds"] - training) / mine, 1 - row["seconds"] / mine))
    fast, slow = (statistics.median(column) for column in zip(*rates, strict=True))
    ratios = (statistics.median(a / b for a, b in rates), statistics.median(works))
    shown = " | ".join(f"{value:.2f}" for value in ratios)
    spent = " ".join(f"{statistics.median(column):.0%}" for column in zip(*shares, strict=True))
    if given.profile:
        print(profile(run))
    return f"| `{name}` | {fast:.1f} | {slow:.1f} | {shown} | {spent.replace(' ', ' | ')} |"


def profile(run: FoldRun) -> str:
    """Where one training step of ours goes."""
    batch = next(iter(run.batches.epoch(1)))
    run.network.model.train()
    with torch.profiler.profile() as seen:
        run.network.step(batch, 1)
    return seen.key_averages().table(sort_by="self_cpu_time_total", row_limit=SHOWN, max_name_column_width=40)


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    asked.add_argument("row", nargs="*", default=ROWS)
    asked.add_argument("--size", type=int, default=128)
    asked.add_argument("--batch", type=int, default=16)
    asked.add_argument("--steps", type=int, default=8, help="training steps per epoch")
    asked.add_argument("--rounds", type=int, default=5)
    asked.add_argument("--threads", type=int, default=2)
    asked.add_argument("--width", type=int, help="instead of each row's own")
    asked.add_argument(
        "--precision", default="auto", help="off: as a processor without bfloat16 units trains"
    )
    asked.add_argument("--profile", action="store_true", help="also the dearest operations of a step")
    given = asked.parse_args()
    torch.set_num_threads(given.threads)
    numerics = resolve(Resources(threads=given.threads))
    precision = numerics.auto_precision if given.precision == "auto" else given.precision
    print(f"{numerics.device}, ours in {precision}, plain in float32, {given}")
    print("| row | ours, images/s | plain, images/s | ratio | by CPU | training | validation | checkpoint |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    with tempfile.TemporaryDirectory() as place:
        for name in given.row or ROWS:
            print(compare(name, given, Path(place)), flush=True)


if __name__ == "__main__":
    main()

"""Record the learning curves of random configurations on phantoms, every fold to the end.

    nice -n 15 python benchmarks/record_table.py benchmarks/tables/phantom.parquet --configs 220
    python benchmarks/record_table.py --configs 24 --epochs 12 --images 90 benchmarks/tables/small.parquet

An interrupted recording goes on where it stopped. A row is one epoch of one configuration on one fold, so
that any rule can be replayed against the truth. The networks are tiny and the loop is the plainest possible:
what matters here is that the curves are those of real training, of bad configurations too (learning rates
that diverge, λ at its ends, too few steps).
"""

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from sklearn.metrics import f1_score
from sklearn.model_selection import StratifiedKFold, train_test_split
from torch import nn
from torch.nn import functional as F

from engine.data.phantom import CLASSES, generate


def draw(generator: np.random.Generator) -> dict[str, Any]:
    """One configuration of a space as wide as a newcomer would make it."""
    return {
        "lr": float(10 ** generator.uniform(-4, -0.7)),
        "lam": float(generator.uniform(0.02, 0.98)),
        "width": int(generator.choice([4, 6, 8])),
        "wd": float(10 ** generator.uniform(-6, -1.5)),
        "focal_gamma": float(generator.choice([0.0, 1.0, 2.0])),
        "drop": float(generator.uniform(0, 0.5)),
        "batch": int(generator.choice([12, 24, 48])),
        "flip": bool(generator.random() < 0.5),
        "noise": float(generator.choice([0.0, 0.05, 0.2])),
        "opt": str(generator.choice(["adam", "sgd", "rmsprop"])),
        "schedule": str(generator.choice(["cosine", "constant"])),
    }


class Net(nn.Module):
    """A two-level U-Net at half resolution with a classification head on its bottleneck."""

    def __init__(self, width: int, drop: float) -> None:
        super().__init__()
        self.down = nn.ModuleList([block(1, width, 2), block(width, 2 * width), block(2 * width, 4 * width)])
        self.up = nn.ModuleList([block(6 * width, 2 * width), block(3 * width, width)])
        self.mask = nn.Conv2d(width, 1, 1)
        self.head = nn.Sequential(nn.Dropout(drop), nn.Linear(4 * width, len(CLASSES)))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        first = self.down[0](x)
        second = self.down[1](F.max_pool2d(first, 2))
        third = self.down[2](F.max_pool2d(second, 2))
        y = self.up[0](torch.cat([F.interpolate(third, scale_factor=2), second], 1))
        y = self.up[1](torch.cat([F.interpolate(y, scale_factor=2), first], 1))
        return F.interpolate(self.mask(y), scale_factor=2)[:, 0], self.head(third.mean((2, 3)))


def block(before: int, after: int, stride: int = 1) -> nn.Module:
    return nn.Sequential(nn.Conv2d(before, after, 3, stride, padding=1), nn.BatchNorm2d(after), nn.ReLU())


def loss_of(
    out: tuple[torch.Tensor, torch.Tensor], mask: torch.Tensor, label: torch.Tensor, config: dict[str, Any]
) -> torch.Tensor:
    """λ · Dice + (1 − λ) · focal."""
    p = out[0].sigmoid()
    dice = 1 - (2 * (p * mask).sum((1, 2)) + 1) / (p.sum((1, 2)) + mask.sum((1, 2)) + 1)
    log_p = F.log_softmax(out[1], 1).gather(1, label[:, None])[:, 0]
    focal = -((1 - log_p.exp()) ** config["focal_gamma"]) * log_p
    return config["lam"] * dice.mean() + (1 - config["lam"]) * focal.mean()


def optimizer_of(net: nn.Module, config: dict[str, Any]) -> torch.optim.Optimizer:
    lr, wd = config["lr"], config["wd"]
    if config["opt"] == "sgd":
        return torch.optim.SGD(net.parameters(), lr, momentum=0.9, weight_decay=wd)
    if config["opt"] == "rmsprop":
        return torch.optim.RMSprop(net.parameters(), lr, weight_decay=wd)
    return torch.optim.AdamW(net.parameters(), lr, weight_decay=wd)


def score(
    net: nn.Module, images: torch.Tensor, masks: torch.Tensor, labels: torch.Tensor
) -> dict[str, float]:
    net.eval()
    with torch.no_grad():
        mask, logits = net(images)
    net.train()
    predicted, p = logits.argmax(1), (mask > 0).float()
    total = p.sum((1, 2)) + masks.sum((1, 2))
    dice = torch.where(total > 0, 2 * (p * masks).sum((1, 2)) / total.clamp(min=1), torch.ones_like(total))
    f1 = f1_score(labels, predicted, average="macro", zero_division=0)
    return {"dice": float(dice.mean()), "acc": float((predicted == labels).float().mean()), "f1": float(f1)}


def augmented(
    images: torch.Tensor, masks: torch.Tensor, config: dict[str, Any]
) -> tuple[torch.Tensor, torch.Tensor]:
    if config["flip"] and torch.rand(()) < 0.5:
        images, masks = images.flip(3), masks.flip(2)
    return images + config["noise"] * torch.randn_like(images), masks


def train(
    config: dict[str, Any], data: tuple[torch.Tensor, ...], parts: list[np.ndarray], epochs: int
) -> list[dict]:
    """One fold: the figures of its validation and test part after every epoch."""
    images, masks, labels = data
    train_part, validation, test = (torch.as_tensor(part) for part in parts)
    net = Net(config["width"], config["drop"])
    optimizer = optimizer_of(net, config)
    rows = []
    for epoch in range(1, epochs + 1):
        factor = 0.5 * (1 + np.cos(np.pi * (epoch - 1) / epochs)) if config["schedule"] == "cosine" else 1.0
        optimizer.param_groups[0]["lr"] = config["lr"] * factor
        order = train_part[torch.randperm(len(train_part))]
        for chosen in order.split(config["batch"]):
            if len(chosen) < 2:
                continue
            x, mask = augmented(images[chosen], masks[chosen], config)
            loss = loss_of(net(x), mask, labels[chosen], config)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
        row: dict[str, float] = {"epoch": epoch}
        for name, part in (("val", validation), ("test", test)):
            figures = score(net, images[part], masks[part], labels[part])
            row |= {f"{name}_{key}": value for key, value in figures.items()}
        rows.append(row)
    return rows


def folds_of(labels: np.ndarray, count: int, seed: int) -> list[list[np.ndarray]]:
    """Train, validation and test indices of each fold; a quarter of the training part validates."""
    result = []
    for rest, test in StratifiedKFold(count, shuffle=True, random_state=seed).split(labels, labels):
        fit, validation = train_test_split(rest, test_size=0.25, stratify=labels[rest], random_state=seed)
        result.append([fit, validation, test])
    return result


def record(args: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    images, masks, labels = generate(args.images, 32, CLASSES, args.seed)
    folds = folds_of(labels, args.folds, args.seed)
    x = torch.as_tensor(images, dtype=torch.float32)[:, None] / 255 - 0.5
    data = (x, torch.as_tensor(masks, dtype=torch.float32), torch.as_tensor(labels))
    generator, rows, begun = np.random.default_rng(args.seed), recorded(args.out), time.monotonic()
    first = rows[-1]["config"] + 1 if rows else 0
    for number in range(args.configs):
        config = draw(generator)
        if number < first:
            continue
        for fold, parts in enumerate(folds):
            torch.manual_seed(1000 * args.seed + 10 * number + fold)
            start = time.monotonic()
            curve = train(config, data, parts, args.epochs)
            about = {"config": number, "fold": fold, **config, "seconds": round(time.monotonic() - start, 2)}
            rows += [about | row for row in curve]
        if number % 10 == 9 or number == args.configs - 1:
            print(f"{number + 1} of {args.configs}, {time.monotonic() - begun:.0f} s", flush=True)
            write(rows, args.out)


def recorded(out: Path) -> list[dict[str, Any]]:
    """Rows of an earlier, interrupted recording with the same arguments: it goes on behind them."""
    return pq.read_table(out).to_pylist() if out.exists() else []


def write(rows: list[dict[str, Any]], out: Path) -> None:
    """Figures as float32: they are the noise of a small network, seven digits are plenty."""
    table = pa.Table.from_pylist(rows)
    for place, column in enumerate(table.schema):
        if column.name.startswith(("val_", "test_")):
            table = table.set_column(place, column.name, table[column.name].cast(pa.float32()))
    out.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, out, compression="zstd")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--configs", type=int, default=200)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--images", type=int, default=180)
    parser.add_argument("--seed", type=int, default=0)
    record(parser.parse_args())


if __name__ == "__main__":
    main()

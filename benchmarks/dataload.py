"""How fast augmented batches come: sonotune's `Batches` against a plain DataLoader over PNG files.

Both sides use the very same albumentations transforms, batches of 16 at 128 x 128 and two workers (ours are
threads, the other's processes, kept alive between epochs so that their start is not counted). The rounds
of both sides alternate, and the median of each is compared, so that a busy machine slows both alike.

    python benchmarks/dataload.py [--preset refining] [--rounds 5] [--png 128]
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from engine.data.augment import geometry, tones
from engine.data.phantom import CLASSES, generate
from engine.data.preprocess import prepare
from engine.spec.augment import PRESETS, Augment
from engine.spec.preprocess import Preprocess
from engine.training.batches import Batches

SIZE, BATCH, WORKERS = 128, 16, 2


class Files(Dataset):
    """What most training scripts hold: a list of files, decoded and augmented one by one."""

    def __init__(self, folder: Path, count: int, spec: Augment) -> None:
        self.folder, self.count, self.spec = folder, count, spec
        self.change = None

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, place: int) -> tuple[torch.Tensor, torch.Tensor, int]:
        if self.change is None:
            import albumentations as A

            cv2.setNumThreads(0)
            self.change = A.Compose([A.Resize(SIZE, SIZE), *geometry(self.spec, SIZE), *tones(self.spec)])
        image = cv2.imread(str(self.folder / f"{place}.png"), cv2.IMREAD_GRAYSCALE)
        mask = cv2.imread(str(self.folder / f"{place}_mask.png"), cv2.IMREAD_GRAYSCALE)
        changed = self.change(image=image.astype(np.float32)[:, :, None] / 255.0, mask=mask // 255)
        grey = changed["image"].reshape(1, SIZE, SIZE)
        grey = (grey - grey.mean()) / (grey.std() + 1e-6)
        return torch.from_numpy(grey), torch.from_numpy(changed["mask"][None].astype(np.float32)), place


def write_files(folder: Path, images: np.ndarray, masks: np.ndarray) -> None:
    for place, (image, mask) in enumerate(zip(images, masks, strict=True)):
        cv2.imwrite(str(folder / f"{place}.png"), image)
        cv2.imwrite(str(folder / f"{place}_mask.png"), mask * 255)


def rate(epoch: Callable[[], Iterable], images: int) -> float:
    began = time.perf_counter()
    for _ in epoch():
        pass
    return images / (time.perf_counter() - began)


def ours(images: np.ndarray, masks: np.ndarray, labels: np.ndarray, spec: Augment) -> Callable[[], Iterable]:
    everyone = np.arange(len(images))
    ready = prepare(images, Preprocess(), everyone)
    batches = Batches(ready, masks, labels, everyone, batch=BATCH, classes=3, augment=spec, threads=WORKERS)
    numbers = iter(range(10**6))
    return lambda: batches.epoch(next(numbers))


def measure(preset: str, png: int, count: int, rounds: int) -> tuple[float, float]:
    """Images a second of ours and of the plain loader."""
    spec = Augment(preset=preset)  # type: ignore[arg-type]
    images, masks, labels = generate(count, SIZE, CLASSES, 0)
    with tempfile.TemporaryDirectory() as name:
        large, outlines, _ = generate(count, png, CLASSES, 0)
        write_files(Path(name), large, outlines)
        loader = DataLoader(
            Files(Path(name), count, spec), BATCH, shuffle=True, num_workers=WORKERS, persistent_workers=True
        )
        sides = (ours(images, masks, labels, spec), lambda: loader)
        rates: tuple[list[float], list[float]] = ([], [])
        for number in range(rounds + 1):
            for side, found in zip(sides, rates, strict=True):
                speed = rate(side, count)
                if number:  # the first round starts workers and imports
                    found.append(speed)
    return statistics.median(rates[0]), statistics.median(rates[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", choices=[*PRESETS, "all"], default="all")
    parser.add_argument("--png", type=int, nargs="+", default=[128, 256], help="side of the PNG files")
    parser.add_argument("--count", type=int, default=640)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    torch.set_num_threads(1)
    presets = [name for name in PRESETS if name != "none"] if given.preset == "all" else [given.preset]
    print(f"{'preset':<10} {'PNG':>5} {'ours/s':>8} {'plain/s':>8} {'ratio':>6}")
    for preset in presets:
        for png in given.png:
            mine, plain = measure(preset, png, given.count, given.rounds)
            print(f"{preset:<10} {png:>5} {mine:8.0f} {plain:8.0f} {mine / plain:6.2f}", flush=True)


if __name__ == "__main__":
    main()

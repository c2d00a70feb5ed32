"""Batches of one fold part, augmented ahead of the training loop by threads.

The order of an epoch and the seed of each augmentation follow from (seed, epoch) alone; threads only
decide when a batch is made, never what is in it.
"""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from engine.data.augment import Augmented, pipeline
from engine.spec.augment import Augment

Oversample = Literal["none", "deterministic", "random"]
Rounding = Literal["nearest", "ceil"]
Indices = NDArray[np.int64]

AHEAD = 2  # finished batches that wait per thread
ORDER, CHANGES = 0, 1  # streams of random numbers of one epoch


class Batch(NamedTuple):
    images: torch.Tensor  # float32 [B, C, H, W]
    masks: torch.Tensor  # float32 [B, 1, H, W]
    labels: torch.Tensor  # int64 [B]
    indices: torch.Tensor  # int64 [B], places in the data set


class Batches:
    """Without `augment` and `shuffle`: the cases as they are, in the given order, for validation and test."""

    def __init__(
        self,
        images: NDArray[np.float32],
        masks: NDArray[np.uint8],
        labels: NDArray[np.int64],
        indices: Indices,
        *,
        batch: int,
        classes: int,
        augment: Augment | None = None,
        seed: int = 0,
        oversample: Oversample = "none",
        rounding: Rounding = "nearest",
        threads: int = 1,
        shuffle: bool = True,
        drop_last: bool = False,
    ) -> None:
        self.images, self.masks, self.labels = images, masks, labels
        self.cases = oversampled(indices, labels, classes, oversample, rounding)
        self.balance = oversample == "random"
        self.batch, self.seed, self.threads = batch, seed, threads
        self.shuffle, self.drop_last = shuffle, drop_last
        size = images.shape[1]
        self.lender = None if augment is None else Lender(lambda: pipeline(augment, size))

    def __len__(self) -> int:
        return len(self.bounds())

    def epoch(self, number: int) -> Iterator[Batch]:
        """The batches of epoch `number`, the same each time they are asked for."""
        order = self.order(number)
        seeds = np.random.default_rng([self.seed, number, CHANGES]).integers(2**63, size=len(order))
        parts = [(order[start:stop], seeds[start:stop]) for start, stop in self.bounds()]
        if self.threads < 1:
            return (self.compose(*part) for part in parts)
        return self.ahead(parts)

    def order(self, number: int) -> Indices:
        """Which case comes when; with `random` oversampling each class is equally likely at every place."""
        generator = np.random.default_rng([self.seed, number, ORDER])
        if self.balance:
            of_class = self.labels[self.cases]
            weight = 1.0 / np.bincount(of_class)[of_class]
            return generator.choice(self.cases, len(self.cases), p=weight / weight.sum())
        return generator.permutation(self.cases) if self.shuffle else self.cases

    def bounds(self) -> list[tuple[int, int]]:
        """A lone last case joins the batch before it: batch normalisation cannot train on one."""
        count = len(self.cases)
        starts = list(range(0, count, self.batch))
        left = count - starts[-1]
        if len(starts) > 1 and ((self.drop_last and left < self.batch) or self.lone(left)):
            starts.pop()
        end = min(count, starts[-1] + self.batch) if self.drop_last else count
        return list(zip(starts, [*starts[1:], end], strict=True))

    def lone(self, left: int) -> bool:
        return self.shuffle and left == 1 and self.batch > 1

    def ahead(self, parts: list[tuple[Indices, NDArray[np.int64]]]) -> Iterator[Batch]:
        """A few batches in the making at any time; leaving the loop early leaves no thread behind."""
        waiting: deque[Future[Batch]] = deque()
        pool = ThreadPoolExecutor(self.threads, "batches")
        try:
            for part in parts:
                waiting.append(pool.submit(self.compose, *part))
                if len(waiting) > AHEAD * self.threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def compose(self, indices: Indices, seeds: NDArray[np.int64]) -> Batch:
        images, masks = self.images[indices], self.masks[indices]
        if self.lender is not None:
            with self.lender.borrow() as change:
                for place, seed in enumerate(seeds.tolist()):
                    images[place], masks[place] = change(images[place], masks[place], seed)
        return Batch(
            torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2))),
            torch.from_numpy(masks[:, None].astype(np.float32)),
            torch.from_numpy(self.labels[indices]),
            torch.from_numpy(indices.copy()),
        )


class Lender:
    """Pipelines for threads, since none may be shared; as many as are out at once are ever built."""

    def __init__(self, build: Callable[[], Augmented]) -> None:
        self.build = build
        self.free: deque[Augmented] = deque()

    @contextmanager
    def borrow(self) -> Iterator[Augmented]:
        try:
            mine = self.free.pop()
        except IndexError:
            mine = self.build()
        try:
            yield mine
        finally:
            self.free.append(mine)


def repeats(labels: NDArray[np.int64], classes: int, rounding: Rounding = "nearest") -> NDArray[np.int64]:
    """Times that each class is repeated: one over its share of the cases, rounded; 1 for an absent class."""
    counts = np.bincount(labels, minlength=classes)
    inverse = len(labels) / np.maximum(counts, 1)
    whole = np.ceil(inverse) if rounding == "ceil" else np.floor(inverse + 0.5)
    return np.where(counts > 0, np.maximum(whole, 1), 1).astype(np.int64)


def oversampled(
    indices: Indices, labels: NDArray[np.int64], classes: int, how: Oversample, rounding: Rounding
) -> Indices:
    """The cases of one epoch: `deterministic` repeats every case by the factor of its class."""
    if how != "deterministic":
        return np.asarray(indices, np.int64)
    of_class = labels[indices]
    return np.repeat(indices, repeats(of_class, classes, rounding)[of_class])

"""Pairs of images that show the same frame, and the groups they form."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import cv2
import numpy as np

from engine.data.parallel import Progress, in_order
from engine.data.similarity import as_they_lie, laid_over

Method = Literal["aligned", "ssim"]
THRESHOLDS: dict[Method, float] = {"aligned": 0.85, "ssim": 0.42}
NEIGHBOURS = 6  # of each image in the embedding: the candidates that are looked at closely
COARSE = 16  # side of the embedding
BLOCK = 1024  # images whose correlations with all others are in memory at a time


@dataclass(frozen=True)
class Pair:
    first: int
    second: int
    kind: Literal["exact", "near"]
    score: float  # structural similarity; 1 when exact
    warp: np.ndarray  # float32 [2, 3], lays the second thumbnail onto the first


def find_pairs(
    hashes: Sequence[str],
    thumbnails: np.ndarray,  # uint8 [N, 64, 64]
    method: Method,
    threshold: float,
    progress: Progress | None = None,
) -> list[Pair]:
    """Exact ones by hash, all others by similarity: of near neighbours only, or of all pairs for `ssim`."""
    compare = laid_over if method == "aligned" else as_they_lie
    candidates = neighbours(thumbnails) if method == "aligned" else list(combinations(range(len(hashes)), 2))
    pairs = [(thumbnails[first], thumbnails[second]) for first, second in candidates]
    matches = in_order(lambda pair: compare(*pair), pairs, "looking for copies", progress)
    exact = exact_pairs(hashes)
    found = [
        Pair(first, second, "exact", 1.0, np.eye(2, 3, dtype=np.float32)) for first, second in sorted(exact)
    ]
    for (first, second), match in zip(candidates, matches, strict=True):
        if match.score >= threshold and (first, second) not in exact:
            found.append(Pair(first, second, "near", match.score, match.warp))
    return found


def pixel_hash(image: np.ndarray) -> str:
    """Of the decoded pixels: a copy in another file format has the same."""
    return hashlib.sha256(repr(image.shape).encode() + np.ascontiguousarray(image).tobytes()).hexdigest()


def exact_pairs(hashes: Sequence[str]) -> set[tuple[int, int]]:
    same: dict[str, list[int]] = defaultdict(list)
    for index, digest in enumerate(hashes):
        same[digest].append(index)
    return {pair for members in same.values() for pair in combinations(members, 2)}


def neighbours(thumbnails: np.ndarray) -> list[tuple[int, int]]:
    """The nearest few of each image by correlation of coarse pictures; a crop moves little at 16×16."""
    count = len(thumbnails)
    few = min(NEIGHBOURS, count - 1)
    if few < 1:
        return []
    flat = embedding(thumbnails)
    pairs: set[tuple[int, int]] = set()
    for start in range(0, count, BLOCK):
        rows = np.arange(start, min(start + BLOCK, count))
        alike = flat[rows] @ flat.T
        alike[rows - start, rows] = -np.inf
        nearest = np.argpartition(-alike, few - 1, axis=1)[:, :few]
        pairs |= {
            (min(i, j), max(i, j))
            for i, row in zip(rows.tolist(), nearest.tolist(), strict=True)
            for j in row
        }
    return sorted(pairs)


def embedding(thumbnails: np.ndarray) -> np.ndarray:
    """float32 [N, 256]; the product of two is their correlation."""
    coarse = [cv2.resize(one, (COARSE, COARSE), interpolation=cv2.INTER_AREA) for one in thumbnails]
    flat = np.stack(coarse).reshape(len(coarse), -1).astype(np.float32)
    flat -= flat.mean(axis=1, keepdims=True)
    return np.asarray(flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6))


def named_groups(pairs: Iterable[Pair]) -> dict[str, list[int]]:
    """Members of each group, in order."""
    linked = components((pair.first, pair.second) for pair in pairs)
    return {f"g{number:04d}": members for number, members in enumerate(linked, start=1)}


def components(pairs: Iterable[tuple[int, int]]) -> list[list[int]]:
    """Groups of everything that is linked, in order of their first member."""
    group: dict[int, list[int]] = {}
    for first, second in pairs:
        one, other = group.get(first, [first]), group.get(second, [second])
        if one is not other:
            one = one + other
            group.update(dict.fromkeys(one, one))
    return sorted({id(members): sorted(members) for members in group.values()}.values())

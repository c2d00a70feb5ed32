"""A few test cases as small pictures, so that a report shows what the figures mean."""

import json
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from engine.data.cases import Pack
from engine.explain import grad_cam
from engine.metrics.fold import class_indices
from engine.models.registry import traits
from engine.training.evaluate import Outputs
from engine.training.network import Network

PER_RANK = 2
SIDE = 128
SHOWN = ("case", "label", "predicted", "refined_predicted", "dice")


def files(
    network: Network, pack: Pack, images: np.ndarray, found: Outputs, table: pa.Table
) -> dict[str, bytes]:
    """Pictures of the best, median and worst cases, and `gallery/index.json` that says which is which."""
    listed: list[dict[str, Any]] = []
    written: dict[str, bytes] = {}
    for rank, position in _chosen(table, pack.classes):
        row, number = int(found.rows[position]), len(listed)
        threshold = network.configuration.predict.threshold
        pictures = _pictures(pack, found, table, position, row, threshold)
        pictures |= _heat(network, pack, images, row)
        names = {kind: f"{number}-{kind}.png" for kind in pictures}
        written |= {f"gallery/{names[kind]}": _png(picture) for kind, picture in pictures.items()}
        listed.append(_entry(table, position, rank) | {"files": names})
    return written | {"gallery/index.json": json.dumps(listed).encode()}


def _chosen(table: pa.Table, classes: Sequence[str]) -> list[tuple[str, int]]:
    """Ranked by Dice where there are masks, else by the probability given to the true class."""
    quality = _quality(table, classes)
    order = np.argsort(-quality, kind="stable")
    lesions = [int(i) for i in order if np.isfinite(quality[i])]
    middle = max(0, len(lesions) // 2 - PER_RANK // 2)
    ranks = {
        "best": lesions[:PER_RANK],
        "median": lesions[middle : middle + PER_RANK],
        "worst": lesions[-PER_RANK:],
    }
    seen: set[int] = set()
    chosen = []
    for rank, positions in ranks.items():
        chosen += [(rank, p) for p in positions if p not in seen]
        seen |= set(positions)
    return chosen


def _quality(table: pa.Table, classes: Sequence[str]) -> np.ndarray:
    dice = table["dice"].to_numpy().astype(np.float64)
    if np.isfinite(dice).any():
        lesion = (table["tp"].to_numpy() + table["fn"].to_numpy()) > 0
        return np.where(lesion, dice, np.nan) if lesion.any() else dice
    if table["probabilities"].null_count:
        return np.zeros(len(table))  # neither masks that can be scored nor classes
    said = pc.list_flatten(table["probabilities"]).to_numpy().reshape(-1, len(classes))  # [N, C]
    return np.asarray(said[np.arange(len(said)), class_indices(table["label"], classes)], dtype=np.float64)


def _entry(table: pa.Table, position: int, rank: str) -> dict[str, Any]:
    row = table.slice(position, 1).to_pylist()[0]
    return {"rank": rank} | {name: row[name] for name in SHOWN}


def _pictures(
    pack: Pack, found: Outputs, table: pa.Table, position: int, row: int, threshold: float
) -> dict[str, np.ndarray]:
    """The mask is the one that was scored."""
    pictures = {"image": pack.images[row], "truth": pack.masks[row] * 255}
    if found.masks is not None:
        mask = (found.masks[position] > threshold).astype(np.uint8) * 255
        emptied = table["refined_tp"][position].as_py() + table["refined_fp"][position].as_py() == 0
        pictures |= {"prediction": mask, "refined": mask * (not emptied)}
    return pictures


def _heat(network: Network, pack: Pack, images: np.ndarray, row: int) -> dict[str, np.ndarray]:
    """Where the network looked for the class it names, in colour over the image."""
    spec = network.configuration.model
    if not traits(spec).classifies:
        return {}
    x = torch.from_numpy(images[row : row + 1]).permute(0, 3, 1, 2)  # [1, C, H, W]
    heat = grad_cam(network.model, spec, network.place(x))[0].cpu().numpy()
    colours = cv2.applyColorMap((heat * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)
    grey = cv2.cvtColor(np.ascontiguousarray(pack.images[row]), cv2.COLOR_GRAY2BGR)
    return {"cam": cv2.addWeighted(grey, 0.6, colours, 0.4, 0)}


def _png(picture: np.ndarray) -> bytes:
    small = cv2.resize(np.ascontiguousarray(picture), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return bytes(cv2.imencode(".png", small)[1].tobytes())

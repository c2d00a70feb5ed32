"""What a network says of a set of cases, as case rows and as a fold's figures."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch

from engine.data.cases import Pack
from engine.metrics.table import case_table
from engine.training.network import Network

EVALUATION_BATCH = 32


@dataclass(frozen=True)
class Outputs:
    """Of some cases, in order: lesion probability [N, H, W] and class probabilities [N, C], where the
    model gives them."""

    rows: np.ndarray
    masks: np.ndarray | None
    classes: np.ndarray | None


def outputs(network: Network, images: np.ndarray, rows: np.ndarray) -> Outputs:
    """`images`: [N, H, W, C] of all cases; `rows` picks those asked for."""
    network.model.eval()
    masks, classes = [], []
    for start in range(0, len(rows), EVALUATION_BATCH):
        chosen = np.ascontiguousarray(images[rows[start : start + EVALUATION_BATCH]])
        x = torch.from_numpy(chosen).permute(0, 3, 1, 2)  # [B, C, H, W]
        prediction = network.predict(x)
        if prediction.masks:
            masks.append(torch.sigmoid(prediction.masks[-1].float())[:, 0].cpu().numpy())
        if prediction.logits is not None:
            classes.append(torch.softmax(prediction.logits.float(), 1).cpu().numpy())
    return Outputs(
        rows, np.concatenate(masks) if masks else None, np.concatenate(classes) if classes else None
    )


def score_cases(pack: Pack, found: Outputs, threshold: float, surface: bool) -> pa.Table:
    """`surface` distances cost most of the time and no epoch is chosen by them: they wait for the end."""
    rows = found.rows
    return case_table(
        cases=[pack.cases[i] for i in rows],
        clusters=[pack.clusters[i] for i in rows],
        labels=pack.labels[rows],
        classes=pack.classes,
        truth=pack.masks[rows],
        predicted=None if found.masks is None else (found.masks > threshold).astype(np.uint8),
        probabilities=found.classes,
        sizes=pack.sizes[rows],
        spacing=pack.spacing[rows],
        surface=surface,
    )

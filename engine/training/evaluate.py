"""What a network says of a set of cases, as case rows and as a fold's figures."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch

from engine.data.cases import Pack
from engine.folds.dealing import units_of
from engine.metrics.table import case_table
from engine.models.contract import Prediction
from engine.spec.folds import Folds
from engine.training.batches import Batch
from engine.training.network import Network

EVALUATION_BATCH = 32


@dataclass(frozen=True)
class Outputs:
    """Of some cases, in order: lesion probability [N, H, W] and class probabilities [N, C], where the
    model gives them, and the mean of each loss term where it was asked for."""

    rows: np.ndarray
    masks: np.ndarray | None
    classes: np.ndarray | None
    losses: dict[str, float]

    @property
    def lost(self) -> int:
        """Cases whose answer is NaN: scored, they would pass for empty masks and for the first class."""
        answers = [a.reshape(len(self.rows), -1) for a in (self.masks, self.classes) if a is not None]
        return int(np.any([np.isnan(answer).any(1) for answer in answers], axis=0).sum())


def outputs(
    network: Network,
    images: np.ndarray,
    rows: np.ndarray,
    pack: Pack | None = None,
    batch: int = EVALUATION_BATCH,
) -> Outputs:
    """`images`: [N, H, W, C] of all cases; `rows` picks those asked for; losses need the pack's truth."""
    network.model.eval()
    masks, classes = [], []
    sums: dict[str, float] = {}
    for start in range(0, len(rows), batch):
        chosen = rows[start : start + batch]
        x = torch.from_numpy(images[chosen]).permute(0, 3, 1, 2)  # [B, C, H, W]
        prediction = network.predict(x)
        if prediction.masks:
            masks.append(torch.sigmoid(prediction.masks[-1])[:, 0].cpu().numpy())
        if prediction.logits is not None:
            classes.append(torch.softmax(prediction.logits, 1).cpu().numpy())
        if pack is not None:
            for name, value in _losses(network, prediction, x, chosen, pack, rows).items():
                sums[name] = sums.get(name, 0.0) + value * len(chosen)
    means = {name: value / len(rows) for name, value in sums.items()}
    return Outputs(rows, _joined(masks), _joined(classes), means)


def _losses(
    network: Network, prediction: Prediction, x: torch.Tensor, rows: np.ndarray, pack: Pack, whole: np.ndarray
) -> dict[str, float]:
    truth = torch.from_numpy(pack.masks[rows]).float()[:, None]  # [B, 1, H, W]
    batch = Batch(x, truth, torch.from_numpy(pack.labels[rows]), torch.from_numpy(rows))
    found = network.losses(prediction, batch, torch.from_numpy(pack.labels[whole]))
    return {name: float(value) for name, value in found.items()}


def _joined(parts: list[np.ndarray]) -> np.ndarray | None:
    return np.concatenate(parts) if parts else None


def score_cases(pack: Pack, found: Outputs, threshold: float, surface: bool) -> pa.Table:
    """`surface` distances cost most of the time and no epoch is chosen by them: they wait for the end."""
    rows, names = found.rows, clusters(pack)
    return case_table(
        cases=[pack.cases[i] for i in rows],
        clusters=[names[i] for i in rows],
        labels=pack.labels[rows],
        classes=pack.classes,
        truth=pack.masks[rows],
        predicted=None if found.masks is None else (found.masks > threshold).astype(np.uint8),
        probabilities=found.classes,
        sizes=pack.sizes[rows],
        spacing=pack.spacing[rows],
        surface=surface,
    )


def clusters(pack: Pack) -> list[str]:
    """Cases that share a patient or are near-duplicates are one piece of evidence: the first one's name."""
    units = units_of(pack, Folds(group_by="both"))
    first = {unit: pack.cases[row] for row, unit in reversed(list(enumerate(units.tolist())))}
    return [first[unit] for unit in units.tolist()]

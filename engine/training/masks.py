"""Masks that a first stage leaves for the second: one whole file per fold, read back by the case's name."""

import io
from collections.abc import Sequence

import numpy as np

from engine.data.cases import Pack
from engine.errors import SonotuneError
from engine.models.staged import STEPS
from engine.results import RunPaths, digest, read_result
from engine.spec.study import FirstStage
from engine.spec.two_stage import TwoStage
from engine.storage import Storage
from engine.task import Task
from engine.training.job import Parts

FILE = "masks.npz"


def quantised(probabilities: np.ndarray) -> np.ndarray:
    return np.rint(probabilities * STEPS).astype(np.uint8)


def restored(stored: np.ndarray) -> np.ndarray:
    return stored.astype(np.float32) / STEPS


def mask_bytes(cases: Sequence[str], masks: np.ndarray) -> bytes:
    """masks: uint8 [cases, H, W]"""
    sink = io.BytesIO()
    np.savez_compressed(sink, cases=np.array(cases), masks=masks)
    return sink.getvalue()


def read_masks(storage: Storage, stage: FirstStage, fold: str, pack: Pack) -> np.ndarray:
    """float32 [N, H, W]: lesion probability of every case of the pack; 0 of those the fold leaves out."""
    task = Task(stage.key, fold)
    place = f"{RunPaths.result(task)}/{FILE}"
    result = read_result(storage, task)
    if result is None or not storage.exists(place):
        raise SonotuneError(f"{place} is missing: the first stage must be trained before the second")
    data = storage.read(place)
    if digest(data) != result.files.get(FILE):
        raise SonotuneError(f"{place} does not match its checksum; resume the run to train that stage again")
    with np.load(io.BytesIO(data), allow_pickle=False) as file:
        cases, masks = file["cases"].tolist(), file["masks"]
    row = {case: number for number, case in enumerate(pack.cases)}
    found = np.zeros(pack.masks.shape, np.float32)
    found[[row[case] for case in cases]] = restored(masks)
    return found


def shown_masks(found: np.ndarray, two: TwoStage, threshold: float, parts: Parts, pack: Pack) -> np.ndarray:
    """uint8 [N, H, W] of 0/1: what the second stage is shown. The truth is shown of training cases only."""
    shown = (found > threshold).astype(np.uint8)
    if two.masks == "truth":
        shown[parts.train] = pack.masks[parts.train]
    return shown


def blindness(shown: np.ndarray, threshold: float, parts: Parts, task: Task) -> str:
    """Why a second stage cannot learn from these masks; empty where it can."""
    if shown[parts.train].any():
        return ""
    return (
        f"the first stage of {task.folder} found no lesion in any training case (threshold {threshold:g}), "
        "so its second stage has nothing to look at; train model.two_stage.segment longer, lower "
        "predict.threshold, or use masks: truth"
    )

"""A small study whose networks predict: for the tests of predictions and of exports."""

from typing import Any

CLASSES = ("benign", "malignant", "normal")

STUDY: dict[str, Any] = {
    "study": "small",
    "data": {"source": "phantom", "count": 24, "size": 32, "aspect": "pad"},
    "folds": {"k": 2, "validation": 0.3},
    "model": {"name": "unet_mtl", "width": 4, "depth": 2},
    "train": {"epochs": 2, "batch": 8},
    "predict": {"refine": True},
}

"""A picture for a person: the outline of the lesion on the image, and where the class was seen beside it."""

import cv2
import numpy as np

OUTLINE = (80, 220, 80)  # of blue, green, red, as OpenCV orders them
STRENGTH = 0.45  # of the heat over the image


def overlay(grey: np.ndarray, mask: np.ndarray | None, heat: np.ndarray | None) -> np.ndarray:
    """grey: uint8 [h, w], mask: 0/1 [h, w], heat: 0..1 [h, w] -> red, green, blue, uint8 [h, w or 2w, 3]"""
    panels = [outlined(grey, mask)] + ([] if heat is None else [heated(grey, heat)])
    return cv2.cvtColor(np.hstack(panels), cv2.COLOR_BGR2RGB)


def outlined(grey: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
    """Holes have an outline too: what lies in them is not taken for lesion. A line no wider than the short
    side bears leaves something of long thin images."""
    picture = cv2.cvtColor(np.ascontiguousarray(grey), cv2.COLOR_GRAY2BGR)
    if mask is not None:
        outlines, _ = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(picture, outlines, -1, OUTLINE, max(1, round(min(grey.shape) / 256)))
    return picture


def heated(grey: np.ndarray, heat: np.ndarray) -> np.ndarray:
    colours = cv2.applyColorMap((heat.clip(0, 1) * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)
    below = cv2.cvtColor(np.ascontiguousarray(grey), cv2.COLOR_GRAY2BGR)
    return cv2.addWeighted(below, 1 - STRENGTH, colours, STRENGTH, 0)

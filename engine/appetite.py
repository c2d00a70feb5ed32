"""How much memory a training step wants, guessed where it can be on a device that computes nothing.

The network with the most weights is not the one that takes the most: what a step keeps of each image for its
way back hangs on the resolution at which a network is wide.
"""

from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor

from engine.models import registry
from engine.spec.model import Model
from engine.spec.study import Configuration
from engine.training.alone import Bench
from engine.training.evaluate import EVALUATION_BATCH

PER_WEIGHT = 16  # bytes: the weight, its gradient, two of Adam's
VALIDATED = EVALUATION_BATCH // 2  # images: a validation keeps less of each than a step, about half


def appetite(bench: Bench) -> Callable[[Configuration], tuple[int, int]]:
    """Bytes of a step, or of a validation after small ones, then images in a step; each different model is
    looked at once."""
    classes, size = len(bench.pack.classes), bench.pack.images.shape[1]
    each = cache(lambda model, channels: wants(model, channels, classes, size))

    def bytes_of(configuration: Configuration) -> tuple[int, int]:
        trained, channels = configuration.trained, configuration.preprocess.channels
        weights, image = each(registry.resolve(trained.model), channels)
        batch = trained.train.batch
        return PER_WEIGHT * weights + max(batch, VALIDATED) * image, batch

    return bytes_of


def wants(model: Model, channels: int, classes: int, size: int) -> tuple[int, int]:
    """Its weights, and the bytes that it keeps of an image."""
    bare = model.model_copy(update={"weights": "none"})
    try:
        with torch.device("meta"):
            return _kept(bare, channels, classes, size)
    except RuntimeError:  # some networks look at values while they run
        return _kept(bare, channels, classes, size)


def _kept(model: Model, channels: int, classes: int, size: int) -> tuple[int, int]:
    """A step keeps weights as well, once for all of its images."""
    network, kept = registry.build(model, channels, classes, size).train(), 0

    def keep(tensor: Tensor) -> Tensor:
        nonlocal kept
        kept += tensor.numel() * tensor.element_size()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        network(torch.zeros(2, channels, size, size))
    weights = list(network.parameters())
    own = sum(p.numel() * p.element_size() for p in weights)
    return sum(p.numel() for p in weights), max(0, kept - own) // 2

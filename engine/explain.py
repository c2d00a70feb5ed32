"""Grad-CAM (Selvaraju et al. 2017): where in an image a model looked for the class it names.

The registry names the submodule whose output is read; the heat is that map's channels, each weighed by the
mean gradient of the class's logit, cut at zero. Hooks are set only while a map is made.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.errors import SonotuneError
from engine.models.registry import find, traits
from engine.models.staged import Fed, TwoStages
from engine.spec.model import Model


def grad_cam(network: nn.Module, model: Model, images: Tensor, classes: Tensor | None = None) -> Tensor:
    """images: [B, C, H, W], classes: [B] or None for the predicted ones -> heat [B, H, W] in [0, 1].

    The network must be in evaluation mode, so that neither statistics nor dropout depend on the other images.
    """
    if not traits(model).classifies:
        raise SonotuneError(f"{model.name} is built without a classifier, so there is no class to explain")
    if network.training:
        raise ValueError("Grad-CAM needs the network in evaluation mode; call .eval() first")
    with torch.enable_grad(), _watching(_looked_at(network, model)) as seen:
        logits = network(images).logits
        chosen = logits.argmax(dim=1) if classes is None else classes
        (gradient,) = torch.autograd.grad(logits.gather(1, chosen[:, None]).sum(), seen[-1])
    heat = _heat(seen[-1].detach().float(), gradient.float(), images.shape[-2:])
    return network.placed(heat, images) if isinstance(network, TwoStages | Fed) else heat


def _looked_at(network: nn.Module, model: Model) -> nn.Module:
    """Of two stages, `model` is the second one's."""
    fed = network.classifier if isinstance(network, TwoStages) else network
    explained = fed.network if isinstance(fed, Fed) else fed
    return explained.get_submodule(find(model.name).cam)


@contextmanager
def _watching(layer: nn.Module) -> Iterator[list[Tensor]]:
    """Outputs of a layer while the block runs. They are made to take a gradient, so that frozen networks can
    be explained as well, and copied, so that no later operation changes them in place."""
    seen: list[Tensor] = []

    def keep(_layer: nn.Module, _inputs: object, output: Tensor) -> Tensor:
        kept = output if output.requires_grad else output.detach().requires_grad_()
        seen.append(kept)
        return kept.clone()

    handle = layer.register_forward_hook(keep)
    try:
        yield seen
    finally:
        handle.remove()


def _heat(maps: Tensor, gradient: Tensor, size: torch.Size) -> Tensor:
    """[B, C, h, w] twice -> [B, H, W], scaled so that each image's hottest place is 1 (0 where none is)."""
    weights = gradient.mean((2, 3), keepdim=True)
    heat = F.relu((weights * maps).sum(dim=1, keepdim=True))
    heat = F.interpolate(heat, size=size, mode="bilinear")[:, 0]
    hottest = heat.amax((1, 2), keepdim=True)
    return torch.where(hottest > 0, heat / hottest.clamp_min(torch.finfo(heat.dtype).tiny), 0.0)

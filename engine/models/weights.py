"""Pretrained weights in torchvision's `state_dict` layout: none, from a file, or from the public address.

torchvision itself is never imported: its layout is a set of names and shapes, which these networks share.
"""

from collections.abc import Mapping
from pathlib import Path
from urllib.error import URLError

import torch
from torch import Tensor, nn

from engine.errors import SonotuneError

ADDRESS = "https://download.pytorch.org/models/"
# The eight hex digits of each name are the head of the file's sha256; torch.hub refuses a file that differs.
FILES: Mapping[str, str] = {
    "alexnet": "alexnet-owt-7be5be79.pth",
    "resnet18": "resnet18-f37072fd.pth",
    "resnet34": "resnet34-b627a593.pth",
    "resnet50": "resnet50-0676ba61.pth",
    "resnext50_32x4d": "resnext50_32x4d-7cdf4587.pth",
    "vgg16": "vgg16-397923af.pth",
}


def load_weights(
    module: nn.Module, weights: str, architecture: str, head: tuple[str, ...] = ("fc.",)
) -> None:
    """Fill `module` from `weights` (`none`, `imagenet` or a path).

    Keys under `head` stay as initialised where the number of classes differs, and may be absent on either
    side; any other missing, foreign or misshapen key means a file of another network, and is refused.
    """
    if weights == "none":
        return
    state = _download(architecture) if weights == "imagenet" else _read(Path(weights).expanduser())
    own = module.state_dict()
    state = _unwrapped(state)
    filled = {name: _fit(state[name], own[name]) for name in own if name in state}
    _refuse_strangers(own, state, filled, head, f"weights={weights!r} do not fit {architecture}")
    fitting = {name: value for name, value in filled.items() if value.shape == own[name].shape}
    module.load_state_dict(fitting, strict=False)


def _download(architecture: str) -> dict[str, Tensor]:
    address = ADDRESS + FILES[architecture]
    try:
        return torch.hub.load_state_dict_from_url(
            address, map_location="cpu", check_hash=True, weights_only=True, progress=False
        )
    except (URLError, OSError) as error:
        raise SonotuneError(
            f"weights='imagenet' needs {address}, which cannot be reached ({error}); "
            "use weights: none or the path of a downloaded file"
        ) from error
    except RuntimeError as error:
        raise SonotuneError(f"weights='imagenet': {address} has another sha256 than its name says") from error


def _read(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise SonotuneError(
            f"weights={str(path)!r} is no file; use none, imagenet or the path of a state_dict"
        )
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch lets through whatever its reader stumbled over
        raise SonotuneError(
            f"weights={str(path)!r} is not a plain state_dict: save model.state_dict()"
        ) from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise SonotuneError(f"weights={str(path)!r} must hold a state_dict: a dict of names to tensors")
    return state


def _unwrapped(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """As exported from a model of ours, which holds the network under this name."""
    mark = "network."
    wrapped = bool(state) and all(name.startswith(mark) for name in state)
    return {name.removeprefix(mark): value for name, value in state.items()} if wrapped else state


def _fit(given: Tensor, wanted: Tensor) -> Tensor:
    """A first convolution made for RGB serves any number of channels: mean filter, same total response."""
    same_filters = (
        given.ndim == 4 and given.shape[0] == wanted.shape[0] and given.shape[2:] == wanted.shape[2:]
    )
    if not same_filters or given.shape[1] != 3 or wanted.shape[1] == 3:
        return given
    channels = wanted.shape[1]
    return given.sum(dim=1, keepdim=True).expand(-1, channels, -1, -1) / channels


def _refuse_strangers(
    own: Mapping[str, Tensor],
    state: Mapping[str, Tensor],
    filled: Mapping[str, Tensor],
    head: tuple[str, ...],
    title: str,
) -> None:
    counters = ("num_batches_tracked",)
    body = [name for name in own if not name.startswith(head) and not name.endswith(counters)]
    missing = [name for name in body if name not in state]
    foreign = [name for name in state if name not in own and not name.startswith(head)]
    misshapen = [name for name in body if name in filled and filled[name].shape != own[name].shape]
    if missing:
        raise SonotuneError(f"{title}: {len(missing)} parameters are missing, the first is {missing[0]}")
    if foreign:
        raise SonotuneError(f"{title}: {len(foreign)} parameters are foreign, the first is {foreign[0]}")
    if misshapen:
        name = misshapen[0]
        shapes = f"{tuple(own[name].shape)} wanted, {tuple(filled[name].shape)} given"
        raise SonotuneError(f"{title}: {len(misshapen)} shapes differ, the first is {name}: {shapes}")

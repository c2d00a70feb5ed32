"""Torch's compiler stays out of workers: importing it costs more than a second, and nothing here is compiled.

Torch marks what the compiler should leave alone, and imports the compiler at the first call of it to say so:
at an optimizer's first step, and where operations are counted. With the mark already in place it does not.
Where a torch does this in another way, all works as before and starts later.
"""

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch.optim import Optimizer
from torch.utils import flop_counter

Kind = TypeVar("Kind", bound=Optimizer)


def leave_alone(function: Callable[..., Any]) -> None:
    """What `torch._disable_dynamo` would keep on it after its first call."""
    plain = inspect.unwrap(function)
    setattr(plain, "__dynamo_disable", plain)


def uncompiled(kind: type[Kind]) -> type[Kind]:
    """The same optimizer, to the digit; its step is the one below the wrapper that speaks to the compiler."""
    step: Any = inspect.unwrap(kind.step)
    return type(kind.__name__, (kind,), {"step": torch.no_grad()(step)})


for name in ("add_param_group", "zero_grad", "state_dict", "load_state_dict"):
    leave_alone(getattr(Optimizer, name))
counting: Any = getattr(flop_counter, "_FlopCounterMode", flop_counter.FlopCounterMode)
leave_alone(counting.__torch_dispatch__)

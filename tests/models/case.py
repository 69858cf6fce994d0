"""What a case of these tests holds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn


@dataclass(frozen=True, slots=True)
class Case:
    """A module, the arguments of the calls it is compared on, and which sizes may change.

    It is exported with the arguments of the first call; state goes on from call to call.
    """

    module: Callable[[], nn.Module]
    calls: Callable[[], list[tuple[object, ...]]]
    dynamic_shapes: object = None
    rtol: float = 1e-4
    atol: float = 1e-5

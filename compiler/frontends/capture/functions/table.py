"""Which function of this package stands for which of NumPy's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

F = TypeVar("F", bound=Callable[..., Any])

HANDLERS: dict[Callable[..., Any], Callable[..., Any]] = {}


def implements(*names: str) -> Callable[[F], F]:
    """Register a handler for functions of NumPy, as `sum` or `linalg.inv`; it takes the recorder first.

    Names that this version of NumPy does not have are left out.
    """

    def register(handler: F) -> F:
        for name in names:
            found: Any = np
            for part in name.split("."):
                found = getattr(found, part, None)
            if found is not None:
                HANDLERS[found] = handler
        return handler

    return register

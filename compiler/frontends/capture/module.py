"""`castoff.Module`: models in NumPy that own their weights.

class Linear(castoff.Module):
    def __init__(self, size):
        super().__init__()
        self.weight = np.zeros((size, size), np.float32)     # a parameter, "weight"
        self.register_buffer("calls", np.zeros((), np.int64)) # state that forward may change

    def forward(self, x):
        self.calls += 1
        return x @ self.weight
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

from ....runtime.errors import CastoffError


class Module:
    """A callable with named arrays. `forward` says what it computes, in NumPy.

    An array assigned to an attribute is a parameter, one given to `register_buffer` a buffer: state
    that `forward` may change, by assignment or in place. Modules in attributes, and in lists, tuples
    and dicts in attributes, are parts of it: their arrays are called `layers.0.weight`.
    """

    _buffers: dict[str, bool]
    """Names of the buffers; whether each is saved."""

    def __init__(self) -> None:
        self.__dict__.setdefault("_buffers", {})

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self.__dict__.get("_buffers", {}) and isinstance(
            value, (np.generic, int, float)
        ):
            value = np.asarray(value, np.asarray(self.__dict__[name]).dtype)  # 0-d results of NumPy
        object.__setattr__(self, name, value)

    def register_buffer(self, name: str, array: np.ndarray, *, persistent: bool = True) -> None:
        """State under the attribute `name`; `persistent` state is part of `state_dict()`."""
        self.__dict__.setdefault("_buffers", {})[name] = persistent
        self.__dict__[name] = np.asarray(array)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the module computes; subclasses say."""
        raise NotImplementedError(f"{type(self).__name__} has no forward()")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        capture: AbstractContextManager[None] = self.__dict__.get("_capture", nullcontext)()
        with capture:
            return self.forward(*args, **kwargs)

    # ---- names

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """This module and all its parts, by qualified name; each once, under its first name."""
        seen: set[int] = set()
        for name, module in self._walk(prefix):
            if id(module) not in seen:
                seen.add(id(module))
                yield name, module

    def _walk(self, prefix: str, above: tuple[int, ...] = ()) -> Iterator[tuple[str, Module]]:
        if id(self) in above:
            return
        yield prefix, self
        for name, value in self.__dict__.items():
            for path, part in _modules_in(value, name):
                yield from part._walk(f"{prefix}.{path}" if prefix else path, (*above, id(self)))

    def _named_arrays(self) -> Iterator[tuple[str, Module, str, np.ndarray]]:
        """(qualified name, owner, attribute, array) of all arrays."""
        for prefix, module in self.named_modules():
            for name, value in module.__dict__.items():
                if isinstance(value, np.ndarray):
                    yield f"{prefix}.{name}" if prefix else name, module, name, value

    def named_parameters(self) -> Iterator[tuple[str, np.ndarray]]:
        """The arrays that are no buffers."""
        for qualified, owner, name, array in self._named_arrays():
            if name not in owner._state_names():
                yield qualified, array

    def named_buffers(self) -> Iterator[tuple[str, np.ndarray]]:
        """The arrays given to `register_buffer`."""
        for qualified, owner, name, array in self._named_arrays():
            if name in owner._state_names():
                yield qualified, array

    def _state_names(self) -> Mapping[str, bool]:
        """The buffers; the dict is there too where a subclass does not call `super().__init__()`."""
        return self.__dict__.get("_buffers", {})  # type: ignore[no-any-return]

    # ---- state

    def state_dict(self) -> dict[str, np.ndarray]:
        """Parameters and persistent buffers by qualified name: the arrays themselves, not copies."""
        return {
            qualified: array
            for qualified, owner, name, array in self._named_arrays()
            if owner._state_names().get(name, True)
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Copies arrays of the same names and shapes into those of the module; the types stay.

        Raises `CastoffError` that names every array that is missing, unknown or of another shape,
        and changes nothing then.
        """
        own = self.state_dict()
        problems = [f"{name}: missing" for name in own.keys() - state.keys()]
        problems += [f"{name}: the module has no such array" for name in state.keys() - own.keys()]
        for name in own.keys() & state.keys():
            shape = np.shape(state[name])
            if shape != own[name].shape:
                problems.append(f"{name}: expected the shape {own[name].shape}, got {shape}")
        if problems:
            raise CastoffError(
                f"load_state_dict of {type(self).__name__}:\n  " + "\n  ".join(sorted(problems))
            )
        for qualified, array in own.items():
            array[...] = state[qualified]


def _modules_in(value: object, path: str) -> Iterator[tuple[str, Module]]:
    if isinstance(value, Module):
        yield path, value
    elif isinstance(value, (list, tuple)):
        for position, item in enumerate(value):
            yield from _modules_in(item, f"{path}.{position}")
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _modules_in(item, f"{path}.{key}")

"""The arrays of a module while it is captured: its attributes are tracers, and what it changed is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any

import numpy as np

from ...errors import CaptureError
from ...exported import schema
from ...exported.tensors import TensorData, tensor_of_array
from ...ir.graph import TensorType
from ...records import dataclass
from ..graph_writer import SCALAR_TYPES, Tensor
from .array import TracedArray, tensor_of, traced
from .module import Module
from .recorder import Recorder, dtype_of


@dataclass(frozen=True, slots=True)
class _Held:
    """One array of a module: where it belongs, and what stands for it."""

    qualified: str
    owner: Module
    attribute: str
    array: np.ndarray
    tensor: Tensor
    is_buffer: bool


class CapturedState:
    """A context in which the arrays of a module are tracers; afterwards they are what they were."""

    def __init__(self, recorder: Recorder, module: Module | None) -> None:
        self.inputs: list[tuple[schema.InputSpec, schema.Argument]] = []
        self.saved: dict[str, TensorData] = {}
        self.constants: dict[str, TensorData] = {}
        self.module_names: list[str] = []
        self._recorder = recorder
        self._module = module
        self._held: list[_Held] = []
        self._attributes: list[tuple[Module, dict[str, Any]]] = []

    def __enter__(self) -> CapturedState:
        module = self._module
        if module is None:
            return self
        parts = list(module.named_modules())
        self.module_names = [name for name, _ in parts if name]
        found = list(module._named_arrays())
        _refuse_overlaps(found)
        shared: dict[int, TracedArray] = {}
        for wants_buffers in (False, True):
            for qualified, owner, name, array in found:
                persistent = owner._state_names().get(name)
                if (persistent is not None) is wants_buffers:
                    self._hold(qualified, owner, name, array, persistent, shared)
        self._attributes = [(part, dict(part.__dict__)) for _, part in parts]
        for held in self._held:
            held.owner.__dict__[held.attribute] = shared[id(held.array)]
        for name, part in parts:
            part.__dict__["_capture"] = _entered(self._recorder, name, part)
        return self

    def _hold(
        self, qualified: str, owner: Module, name: str, array: np.ndarray, persistent: bool | None,
        shared: dict[int, TracedArray],
    ) -> None:  # fmt: skip
        """An array that several modules share is one input, under its first name."""
        if id(array) in shared:
            tensor = tensor_of(shared[id(array)])
            self._held.append(_Held(qualified, owner, name, array, tensor, persistent is not None))
            return
        dtype = dtype_of(array.dtype, f"the array {qualified}")
        data = tensor_of_array(
            array.astype(dtype.numpy, copy=False), SCALAR_TYPES[dtype], qualified,
            is_parameter=persistent is None,
        )  # fmt: skip
        prefix = "p" if persistent is None else "b"
        tensor = self._recorder.input(
            f"{prefix}_{qualified.replace('.', '_')}", TensorType(dtype, tuple(array.shape))
        )
        spec: schema.InputSpec
        if persistent is None:
            spec = schema.ParameterInput(tensor.name, qualified)
        else:
            spec = schema.BufferInput(tensor.name, qualified, persistent)
        (self.constants if persistent is False else self.saved)[qualified] = data
        self.inputs.append((spec, schema.AsTensor(tensor.name)))
        shared[id(array)] = traced(self._recorder, tensor)
        self._held.append(_Held(qualified, owner, name, array, tensor, persistent is not None))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:  # fmt: skip
        for part, attributes in self._attributes:
            part.__dict__.clear()
            part.__dict__.update(attributes)

    def mutations(self) -> list[tuple[schema.OutputSpec, str]]:
        """What the module changed in its arrays, with the name of the value that is stored there."""
        changed: dict[str, tuple[schema.OutputSpec, str]] = {}
        for held in self._held:
            now = held.owner.__dict__.get(held.attribute)
            tensor = self._present(held, now)
            if tensor.name == held.tensor.name:
                continue
            name = tensor.name
            if held.is_buffer:
                changed[held.qualified] = (schema.BufferMutation(name, held.qualified), name)
            else:
                changed[held.qualified] = (schema.ParameterMutation(name, held.qualified), name)
        self._refuse_other_changes()
        return list(changed.values())

    def _present(self, held: _Held, now: object) -> Tensor:
        what = "buffer" if held.is_buffer else "parameter"
        if isinstance(now, (np.ndarray, np.generic, int, float)) and held.is_buffer:
            from .conversion import as_array

            now = as_array(self._recorder, np.asarray(now))
        if not isinstance(now, TracedArray):
            raise CaptureError(
                f"{what} {held.qualified}: forward makes it {type(now).__name__}, expected an array"
            )
        tensor = tensor_of(now)
        if tensor.type != held.tensor.type:
            raise CaptureError(
                f"{what} {held.qualified}: forward changes it from {held.tensor.type} to {tensor.type}; "
                "its type and shape have to stay"
            )
        return tensor

    def _refuse_other_changes(self) -> None:
        """Attributes that hold no arrays are Python, which no program can change."""
        arrays = {(id(held.owner), held.attribute) for held in self._held}
        for part, before in self._attributes:
            for name, value in part.__dict__.items():
                if name == "_capture" or (id(part), name) in arrays:
                    continue
                if name not in before or before[name] is not value or _holds_traced(value):
                    raise CaptureError(
                        f"forward of {type(part).__name__} assigns its attribute {name!r}, which a program "
                        f"cannot keep: an array of state is made known with register_buffer({name!r}, …)"
                    )


def _refuse_overlaps(found: Sequence[tuple[str, Module, str, np.ndarray]]) -> None:
    """A buffer that lies in the memory of another array would change with it, which no program shows."""
    for qualified, owner, name, buffer in found:
        if owner._state_names().get(name) is None:
            continue
        for other, _, _, array in found:
            if array is not buffer and np.may_share_memory(array, buffer):
                raise CaptureError(
                    f"the buffer {qualified} lies in the memory of {other}; register a copy of it, or the same "
                    "array under both names"
                )


def _holds_traced(value: object) -> bool:
    """Whether a list or dict got arrays of the capture."""
    if isinstance(value, dict):
        return any(map(_holds_traced, value.values()))
    if isinstance(value, (list, tuple)):
        return any(map(_holds_traced, value))
    return isinstance(value, TracedArray)


def _entered(
    recorder: Recorder, name: str, part: Module
) -> Callable[[], AbstractContextManager[None]]:
    key = "L__self__" + name.replace(".", "_")
    entry = f"{key},{name},{type(part).__module__}.{type(part).__qualname__}"
    return lambda: recorder.within(entry)

"""Parameters, buffers and lifted constants, and which of them share memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

import numpy as np

from ..errors import CompileError
from ..exported import schema
from ..exported.program import ExportedProgram
from ..exported.tensors import TensorData
from ..ir.graph import Constant, TensorType, Value
from ..ops.view import AsStrided
from ..records import dataclass
from .arguments import DTYPES
from .functionalize import TensorRef, fresh
from .scope import Scope


@dataclass(slots=True)
class State:
    """The tensors that a program brings along.

    Those that are the same memory seen in the same way are one; one that lies within another that is
    in one piece is a view of it, so that what changes one changes both:

        b = arange(10), c = b.view(2, 5)   ->   b, c = as_strided(b, [2, 5], [5, 1], 0)
    """

    saved: Mapping[str, TensorData] = field(default_factory=dict)
    """What the file has, by qualified name."""
    tensors: dict[str, TensorRef] = field(default_factory=dict)
    """By qualified name."""
    placeholders: dict[str, TensorRef] = field(default_factory=dict)
    """By the name of the graph's input."""
    constants: dict[Value, Constant] = field(default_factory=dict)
    _wholes: Mapping[int, str] = field(default_factory=dict)
    _by_memory: dict[tuple[object, ...], TensorRef] = field(default_factory=dict)

    def bind(self, scope: Scope, name: str, qualified: str) -> None:
        """`name`, an input of the graph, is this tensor."""
        ref = self._tensor(scope, name, qualified)
        scope.rebind_tensor(name, ref)
        self.placeholders[name] = self.tensors[qualified] = ref

    def _tensor(self, scope: Scope, name: str, qualified: str) -> TensorRef:
        data = self.saved[qualified]
        key = _memory(data)
        ref = self._by_memory.get(key)
        if ref is None:
            whole = self._wholes.get(id(data.storage), qualified)
            if whole != qualified and _lies_within(data, self.saved[whole]):
                ref = self._view(scope, data, whole)
            else:
                ref = self._own(scope, data, name, qualified)
            self._by_memory[key] = ref
        return ref

    def _own(self, scope: Scope, data: TensorData, name: str, qualified: str) -> TensorRef:
        array = np.ascontiguousarray(data.array).reshape(data.shape)
        value = Value(scope.builder.unique_name(name), TensorType(DTYPES[data.dtype], data.shape))
        self.constants[value] = Constant(qualified, array)
        return fresh(value)

    def _view(self, scope: Scope, data: TensorData, whole: str) -> TensorRef:
        base = self._tensor(scope, whole, whole)
        offset = data.storage_offset_elements - self.saved[whole].storage_offset_elements
        view = AsStrided(data.shape, data.strides_elements, offset)
        return base.viewed((view,), scope.builder.emit1(view, base.read(scope.builder)))

    def refuse_hidden_writes(self) -> None:
        """Raise `CompileError` where the program changed memory of which another tensor shows a part
        and neither is a view of the other."""
        for changed, ref in self.tensors.items():
            for other, shown in self.tensors.items():
                apart = shown.storage is ref.storage or not ref.storage.is_written
                if not apart and _overlap(self.saved[changed], self.saved[other]):
                    raise CompileError(
                        f"the program changes {changed}, of whose memory {other} shows a part, and neither "
                        "holds the other in one piece: this is not supported"
                    )


def bind_state(program: ExportedProgram, scope: Scope) -> State:
    """The state of a program, bound to the names that the graph has for it.

    Raises `CompileError` for tensors that the file does not hold, or of types that cannot be computed with.
    """
    names: list[tuple[str, str]] = []
    for spec in program.graph_signature.input_specs:
        match spec:
            case (
                schema.ParameterInput(name, qualified)
                | schema.BufferInput(name, qualified, _)
                | schema.TensorConstantInput(name, qualified)
            ):
                names.append((name, qualified))
    saved = {qualified: _saved_tensor(program, qualified) for _, qualified in names}
    state = State(saved, _wholes=_whole_memories(saved))
    for name, qualified in names:
        state.bind(scope, name, qualified)
    return state


def _saved_tensor(program: ExportedProgram, qualified: str) -> TensorData:
    data = program.state_dict.get(qualified)
    found = data if data is not None else program.constants.get(qualified)
    if not isinstance(found, TensorData):
        reason = "it is missing in the file" if found is None else found.reason
        raise CompileError(f"the program needs the tensor {qualified}: {reason}")
    if found.has_no_elements:
        raise CompileError(
            f"the program needs the tensor {qualified}: it was saved from the device 'meta', without elements"
        )
    if found.dtype not in DTYPES or found.array.dtype.fields is not None:
        raise CompileError(f"tensor {qualified} has the element type {found.dtype.name.lower()}")
    return found


def _whole_memories(saved: Mapping[str, TensorData]) -> dict[int, str]:
    """By storage, the largest tensor that lies in it in one piece."""
    wholes: dict[int, str] = {}
    for qualified, data in saved.items():
        if data.array_as_mapped.flags.c_contiguous and data.array_as_mapped.size:
            largest = wholes.setdefault(id(data.storage), qualified)
            if data.array_as_mapped.size > saved[largest].array_as_mapped.size:
                wholes[id(data.storage)] = qualified
    return wholes


def _memory(data: TensorData) -> tuple[object, ...]:
    """Equal for tensors that are the same memory seen in the same way, as tied weights are."""
    if data.array_as_mapped.size == 0:
        return (id(data),)
    return (
        id(data.storage), data.storage_offset_elements, data.dtype, data.shape,
        data.strides_elements,
    )  # fmt: skip


def _extent(data: TensorData) -> range:
    """The elements of its storage from its first to its last."""
    if not data.array_as_mapped.size:
        return range(0)
    first = data.storage_offset_elements
    steps = zip(data.shape, data.strides_elements, strict=True)
    return range(first, first + 1 + sum((size - 1) * stride for size, stride in steps))


def _lies_within(part: TensorData, whole: TensorData) -> bool:
    inner, outer = _extent(part), _extent(whole)
    in_units = part.dtype is whole.dtype and len(inner) > 0
    return in_units and outer.start <= inner.start and inner.stop <= outer.stop


def _overlap(one: TensorData, other: TensorData) -> bool:
    if one.storage is not other.storage:
        return False
    first, second = _extent(one), _extent(other)
    if one.dtype is not other.dtype:  # offsets count other units
        return len(first) > 0 and len(second) > 0
    return max(first.start, second.start) < min(first.stop, second.stop)

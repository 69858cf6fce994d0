"""Says what is wrong with refused arguments: every problem, each with its path."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from .errors import DeviceError
from .manifest import Argument, Constant, Manifest, SymbolSpec, TensorSpec
from .tensors import as_array, is_torch, matches


def describe(value: object) -> str:
    """A value in an error message: `float32[2, 3]`, `None`, `int 3`, `list`."""
    try:
        array = None if isinstance(value, (bool, int, float, complex, str)) else as_array(value)
    except DeviceError as error:
        return str(error)
    if array is not None:
        order = " in foreign byte order" if not array.dtype.isnative else ""
        dtype = str(getattr(value, "dtype", "")).removeprefix("torch.") if is_torch(value) else ""
        return f"{dtype or array.dtype.name}[{', '.join(map(str, array.shape))}]{order}"
    if value is None:
        return "None"
    if isinstance(value, (bool, int, float, complex, str)):
        return f"{type(value).__name__} {value!r}"
    return type(value).__name__


def equals_constant(value: object, expected: Constant) -> bool:
    """Whether a leaf is the constant that was exported: same kind of value, NaN equal to NaN."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(expected, bool) or isinstance(value, bool) or expected is None or value is None:
        return value is expected
    if isinstance(expected, (int, float, complex)) and isinstance(value, (int, float, complex)):
        return value == expected or (value != value and expected != expected)
    return isinstance(value, str) and value == expected


def is_number(value: object, kind: str) -> bool:
    """Whether a leaf passes for a Python int, float or bool input."""
    match kind:
        case "bool":
            return isinstance(value, (bool, np.bool_))
        case "int":
            return isinstance(value, (int, np.integer)) and not isinstance(value, bool)
        case _:
            return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(
                value, bool
            )


class _Problems:
    """Goes over the leaves in order; remembers which size each symbol took, and from where."""

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = manifest
        self.ranges: Mapping[str, SymbolSpec] = {symbol.name: symbol for symbol in manifest.symbols}
        self.bound: dict[str, tuple[int, str]] = {}
        self.found: list[str] = []

    def add(self, spec: TensorSpec, path: str, value: object, because: str = "") -> None:
        self.found.append(f"{path}: expected {spec}{because}, got {describe(value)}")

    def check_leaf(self, argument: Argument, path: str, value: object) -> None:
        if argument.kind == "constant":
            if not equals_constant(value, argument.value):
                self.found.append(
                    f"{path}: expected {argument.value!r}, as the program was exported, "
                    f"got {describe(value)}"
                )
            return
        spec = self.manifest.inputs[argument.index]
        if spec.kind != "tensor":
            if not is_number(value, spec.kind):
                self.add(spec, path, value)
            return
        self.check_tensor(spec, path, value)

    def check_tensor(self, spec: TensorSpec, path: str, value: object) -> None:
        try:
            array = as_array(value)
        except DeviceError as error:
            self.found.append(f"{path}: expected {spec}: {error}")
            return
        if array is None or not matches(array, spec.dtype) or array.ndim != len(spec.shape):
            self.add(spec, path, value)
            return
        if spec.mutated and not array.flags.writeable:
            self.found.append(f"{path}: the program writes to this input, but it is read-only")
        reasons = []
        is_wrong = False
        for axis, (expected, size) in enumerate(zip(spec.shape, array.shape, strict=True)):
            if isinstance(expected, int):
                is_wrong |= size != expected
                continue
            reason = self.check_symbol(expected, size, f"{path}.shape[{axis}]")
            if reason:
                reasons.append(reason)
        if is_wrong or reasons:
            self.add(spec, path, value, f" with {', '.join(reasons)}" if reasons else "")

    def check_symbol(self, name: str, size: int, path: str) -> str:
        """What the size should have been, "" where it is fine or the artefact has to judge."""
        symbol = self.ranges.get(name)
        if symbol is None:
            return ""
        if name in self.bound:
            value, source = self.bound[name]
            return "" if value == size else f"{name} = {value} (from {source})"
        self.bound[name] = (size, path)
        if symbol.min is not None and size < symbol.min:
            return f"{name} >= {symbol.min}"
        if symbol.max is not None and size > symbol.max:
            return f"{name} <= {symbol.max}"
        return ""


def find_problems(manifest: Manifest, paths: Sequence[str], leaves: Sequence[object]) -> list[str]:
    """A sentence for each leaf the program does not take; the artefact's guards may know more."""
    problems = _Problems(manifest)
    for argument, path, value in zip(manifest.arguments, paths, leaves, strict=True):
        problems.check_leaf(argument, path, value)
    return problems.found

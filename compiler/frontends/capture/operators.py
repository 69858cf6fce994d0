"""`castoff.ops`: every operator of the registry as a function of arrays.

    castoff.ops.aten.softmax(x, -1)
    castoff.ops.aten.add.Tensor(x, y, alpha=2)

In a captured function the call is recorded; on NumPy arrays the operator's reference computes it.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ....runtime.errors import CastoffError
from ...exported.operators import find_operator
from ...ir.dtypes import DType, from_numpy
from ...ir.graph import Graph, TensorType, Value
from ...ops import load_all
from ...ops.base import Builder, Environment, OperatorError, find_target, registered_targets
from ...ops.interpret import run_graph
from .array import TracedArray, recorder_of, tensor_of, traced
from .conversion import as_array
from .recorder import Recorder
from .sizes import SymbolicInt
from .where import refused


class OperatorNamespaces:
    """`castoff.ops`; its attributes are namespaces, as `aten`."""

    def __getattr__(self, name: str) -> OperatorNamespace:
        if name.startswith("__"):
            raise AttributeError(name)
        return OperatorNamespace(name)

    def __dir__(self) -> list[str]:
        load_all()
        return sorted({target.partition(".")[0] for target in registered_targets()})


class OperatorNamespace:
    """The operators of one namespace, by name."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> OperatorFunction:
        load_all()
        overloads = _overloads(self._name, name)
        if not overloads:
            raise AttributeError(f"castoff has no operator {self._name}.{name}")
        return OperatorFunction(f"{self._name}.{name}", overloads)

    def __dir__(self) -> list[str]:
        load_all()
        parts = (target.split(".") for target in registered_targets())
        return sorted({part[1] for part in parts if part[0] == self._name})


def _overloads(namespace: str, name: str) -> tuple[str, ...]:
    """The overloads of an operator, the one without a name first."""
    prefix = f"{namespace}.{name}."
    found = [t.removeprefix(prefix) for t in registered_targets() if t.startswith(prefix)]
    return tuple(
        sorted(found, key=lambda name: (not _is_known(prefix + name), name != "default", name))
    )


def _is_known(target: str) -> bool:
    return find_operator(f"torch.ops.{target}") is not None


class OperatorFunction:
    """One operator: a call takes the first overload that its arguments fit."""

    def __init__(self, name: str, overloads: tuple[str, ...]) -> None:
        self._name = name
        self._overloads = overloads
        self.__doc__ = "\n".join(
            f"{name}.{overload}{_signature(f'{name}.{overload}')}" for overload in overloads
        )

    def __getattr__(self, overload: str) -> OperatorFunction:
        if overload not in self._overloads:
            raise AttributeError(
                f"{self._name} has no overload {overload!r}; it has {', '.join(self._overloads)}"
            )
        return OperatorFunction(self._name, (overload,))

    def __repr__(self) -> str:
        return f"<operator {self._name}>"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Arrays, numbers, texts and dtypes in the order, or under the names, of the operator's schema.

        Results have memory of their own. Raises `CastoffError` (in a captured function with the line)
        where no overload takes these arguments.
        """
        for is_strict in (True, False):  # one number for a list of them is the second choice
            for overload in self._overloads:
                target = f"{self._name}.{overload}"
                try:
                    bound = _signature(target).bind(*args, **kwargs).arguments
                except TypeError:
                    continue
                if all(_fits(target, name, value, is_strict) for name, value in bound.items()):
                    return _apply(target, bound)
        raise _refusal(
            f"{self._name} does not take these arguments; its overloads are\n{self.__doc__}",
            (args, kwargs),
        )


def _signature(target: str) -> inspect.Signature:
    function = find_target(target)
    assert function is not None, "the overloads are those of the registry"
    signature = inspect.signature(function)
    return signature.replace(parameters=list(signature.parameters.values())[1:])


# ---- arguments


def _kind(target: str, name: str, value: Any) -> str:
    """What the schema takes under a name; for operators without one, what the value is."""
    operator = find_operator(f"torch.ops.{target}")
    parameter = None if operator is None else operator.parameters.get(name)
    if parameter is not None:
        return parameter.kind.replace("?", "")
    if isinstance(value, (np.ndarray, np.generic, TracedArray)):
        return "t"
    return "x"


def _fits(target: str, name: str, value: Any, is_strict: bool) -> bool:
    kind = _kind(target, name, value)
    if value is None:
        return True
    is_number = isinstance(value, (bool, int, float, complex, SymbolicInt))
    is_array = isinstance(value, (np.ndarray, np.generic, TracedArray))
    match kind:
        case "t":
            return is_array
        case "t[]":
            return isinstance(value, (tuple, list))
        case "n":
            return is_number
        case "i":
            return isinstance(value, (int, SymbolicInt, np.integer))
        case "f":
            return isinstance(value, (int, float, np.floating))
        case "b":
            return isinstance(value, (bool, np.bool_))
        case "s":
            return isinstance(value, str)
        case "i[]" | "f[]" | "b[]" | "n[]":
            return isinstance(value, (tuple, list)) or (is_number and not is_strict)
    return True


def _arrays_in(values: object) -> Iterator[Any]:
    if isinstance(values, (np.ndarray, np.generic, TracedArray)):
        yield values
    elif isinstance(values, Mapping):
        for value in values.values():
            yield from _arrays_in(value)
    elif isinstance(values, (tuple, list)):
        for value in values:
            yield from _arrays_in(value)


def _recorder_in(values: object) -> Recorder | None:
    return next((recorder_of(x) for x in _arrays_in(values) if isinstance(x, TracedArray)), None)


def _refusal(reason: str, values: object) -> CastoffError:
    return CastoffError(reason) if _recorder_in(values) is None else refused(reason)


def _prepared(target: str, bound: Mapping[str, Any], tensor: Any) -> dict[str, Any]:
    """The arguments with `tensor(array)` for arrays, castoff's types for NumPy's and lists for tuples."""

    def converted(value: Any, kind: str) -> Any:
        if value is None:
            return None
        if kind in ("t[]", "t?[]"):
            return [None if each is None else tensor(each) for each in value]
        if kind == "t":
            return tensor(value)
        if kind == "d":
            return value if isinstance(value, DType) else from_numpy(np.dtype(value))
        if kind.endswith("[]") and not isinstance(value, (tuple, list)):
            return [value]
        return list(value) if isinstance(value, tuple) else value

    return {name: converted(value, _kind(target, name, value)) for name, value in bound.items()}


# ---- the call


def _apply(target: str, bound: Mapping[str, Any]) -> Any:
    recorder = _recorder_in(bound)
    if recorder is None:
        return _computed(target, bound)
    prepared = _prepared(target, bound, lambda x: tensor_of(as_array(recorder, x)))
    result = recorder.call(target, prepared)
    if isinstance(result, (tuple, list)):
        return type(result)(traced(recorder, tensor) for tensor in result)
    return traced(recorder, result)


def _computed(target: str, bound: Mapping[str, Any]) -> Any:
    """The result for NumPy arrays, by the reference."""
    builder = Builder()
    inputs: list[Value] = []
    arrays: list[np.ndarray] = []

    def tensor(given: Any) -> Value:
        array = np.asarray(given)
        value = Value(
            builder.unique_name("input"), TensorType(from_numpy(array.dtype), tuple(array.shape))
        )
        inputs.append(value)
        arrays.append(array)
        return value

    prepared = _prepared(target, bound, tensor)
    function = find_target(target)
    assert function is not None, "the overloads are those of the registry"
    try:
        result = function(builder, **prepared)
    except OperatorError as error:
        raise CastoffError(f"{target}: {error}") from error
    values: Sequence[Value] = result if isinstance(result, (tuple, list)) else [result]
    graph = Graph(
        target, tuple(inputs), tuple(values), tuple(builder.nodes), constants=builder.constants
    )
    found = run_graph(graph, arrays, Environment())
    return type(result)(found) if isinstance(result, (tuple, list)) else found[0]


ops = OperatorNamespaces()

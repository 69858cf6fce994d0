"""The reference: an imported program run by NumPy, operator by operator, called like the compiled
one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ..runtime.callspec import CallSpec
from ..runtime.errors import InputMismatchError
from .exported.program import ExportedProgram
from .frontends.exported import import_program
from .frontends.program import (
    FixedInput,
    FixedOutput,
    ImportedProgram,
    InputAlias,
    InputLeaf,
    ScalarInput,
    ScalarOutput,
    TensorInput,
)
from .ir import shapes
from .ir.dtypes import from_numpy
from .ir.graph import Graph, Value
from .ops.base import Environment
from .ops.interpret import Observer, run_graph

_NUMBERS: Mapping[str, tuple[type, ...]] = {
    "int": (int, np.integer),
    "float": (float, int, np.floating),
    "bool": (bool, np.bool_),
}
_PYTHON: Mapping[str, type[int] | type[float] | type[bool]] = {
    "int": int,
    "float": float,
    "bool": bool,
}


class ReferenceProgram:
    """A program as a callable on NumPy arrays; slow, simple, and what compiled programs are held
    against.

    State lives in the instance: a new one starts from the saved values. Raises `InputMismatchError`
    for arguments that the program does not take and `RuntimeCheckError` where an assertion of it
    fails.
    """

    def __init__(self, program: ImportedProgram) -> None:
        self.program = program
        self.call_spec = CallSpec(
            program.in_spec,
            program.out_spec,
            program.forward_arg_names or (),
            program.namedtuple_fields,
        )
        self.buffers: dict[Value, np.ndarray] = {
            value: constant.array for value, constant in program.graph.buffers.items()
        }

    @staticmethod
    def of(program: ExportedProgram) -> ReferenceProgram:
        """The reference of a program as it was read from a file."""
        return ReferenceProgram(import_program(program))

    def __call__(self, *args: object, **kwargs: object) -> object:
        return self.run(args, kwargs)

    def run(
        self,
        args: tuple[object, ...],
        kwargs: Mapping[str, object],
        *,
        observe: Observer | None = None,
    ) -> object:
        """One call; `observe` sees every node with its results."""
        leaves = self.call_spec.flatten(args, kwargs)
        arrays = self._arrays(leaves)
        graph = self.program.graph
        env = Environment(dict(bind_symbols(graph, arrays)))
        self._check_shapes(env, arrays)
        _check_guards(graph, env)
        results = run_graph(graph, arrays, env, buffers=self.buffers, observe=observe)
        outputs = results[: len(graph.outputs)]
        stored = results[len(graph.outputs) :]
        output_leaves = self._output_leaves(leaves, outputs)
        self._store(leaves, stored)
        return self.call_spec.unflatten(output_leaves)

    def _arrays(self, leaves: Sequence[object]) -> list[np.ndarray]:
        arrays: list[np.ndarray] = []
        inputs, paths = self.program.inputs, self.call_spec.argument_paths
        for leaf, path, value in zip(inputs, paths, leaves, strict=True):
            array = _read_leaf(leaf, path, value, self.program.graph)
            if array is not None:
                arrays.append(array)
        return arrays

    def _check_shapes(self, env: Environment, arrays: Sequence[np.ndarray]) -> None:
        for value, array in zip(self.program.graph.inputs, arrays, strict=True):
            if array.shape != env.shape(value.shape):
                raise InputMismatchError(
                    f"{value.name}: expected {value.type}, got {list(array.shape)}"
                )

    def _output_leaves(
        self, leaves: Sequence[object], outputs: Sequence[np.ndarray]
    ) -> list[object]:
        found: list[object] = []
        for leaf in self.program.outputs:
            match leaf:
                case FixedOutput(_, value):
                    found.append(value)
                case ScalarOutput(_, index, kind):
                    found.append(_PYTHON[kind](outputs[index][()]))
                case InputAlias(_, position, _):
                    found.append(leaves[position])
                case _:
                    found.append(np.array(outputs[leaf.index]))
        return found

    def _store(self, leaves: Sequence[object], stored: Sequence[np.ndarray]) -> None:
        graph = self.program.graph
        by_index = {
            leaf.index: position
            for position, leaf in enumerate(self.program.inputs)
            if isinstance(leaf, TensorInput)
        }
        index_of = {value: index for index, value in enumerate(graph.inputs)}
        saved = [np.array(array) for array in stored]  # it may be what another one overwrites
        for (target, _), array in zip(graph.mutations, saved, strict=True):
            if target in graph.buffers:
                self.buffers[target] = array
            else:
                place = leaves[by_index[index_of[target]]]
                if isinstance(place, np.ndarray):
                    place[...] = array


def _read_leaf(leaf: InputLeaf, path: str, value: object, graph: Graph) -> np.ndarray | None:
    match leaf:
        case FixedInput(_, fixed):
            if type(value) is not type(fixed) or (value != fixed and value == value):
                raise InputMismatchError(f"{path}: expected {fixed!r}, got {value!r}")
            return None
        case ScalarInput(_, index, kind):
            is_number = isinstance(value, _NUMBERS[kind])
            if not is_number or (kind == "int" and isinstance(value, bool)):
                raise InputMismatchError(f"{path}: expected {kind}, got {type(value).__name__}")
            return np.asarray(value, graph.inputs[index].dtype.numpy)
    expected = graph.inputs[leaf.index]
    if not isinstance(value, np.ndarray):
        raise InputMismatchError(f"{path}: expected {expected.type}, got {type(value).__name__}")
    if value.dtype != expected.dtype.numpy or value.ndim != expected.rank:
        got = f"{from_numpy(value.dtype).value}{list(value.shape)}"
        raise InputMismatchError(f"{path}: expected {expected.type}, got {got}")
    return value


def bind_symbols(graph: Graph, arrays: Sequence[np.ndarray]) -> Mapping[str, int]:
    """The values of the graph's symbols for these inputs; `InputMismatchError` where one is out of
    range."""
    values: dict[str, int] = {}
    for binding in graph.bindings:
        array = arrays[binding.input_index]
        value = int(array[()]) if binding.axis is None else array.shape[binding.axis]
        symbol = binding.symbol
        if not symbol.low <= value <= symbol.high:
            high = "" if symbol.high >= shapes.INFINITY else f", at most {symbol.high}"
            raise InputMismatchError(
                f"{graph.inputs[binding.input_index].name}: expected {symbol} to be at least "
                f"{symbol.low}{high}, got {value}"
            )
        values[symbol.name] = value
    return values


def _check_guards(graph: Graph, env: Environment) -> None:
    for guard in graph.guards:
        if not env.size(guard.expression):
            raise InputMismatchError(f"the program was exported for inputs with {guard.text}")


__all__ = ["ReferenceProgram", "bind_symbols"]

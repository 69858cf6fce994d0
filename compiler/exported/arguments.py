"""The names inside arguments: which there are, and the same argument under other names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import TypeVar

from .schema import (
    Argument,
    AsCustomObject,
    AsGraph,
    AsNestedTensors,
    AsOptionalTensor,
    AsOptionalTensors,
    AsStringToArgument,
    AsSymBool,
    AsSymBools,
    AsSymFloat,
    AsSymFloats,
    AsSymInt,
    AsSymInts,
    AsTensor,
    AsTensors,
    Graph,
    Node,
)

T = TypeVar("T")
Rename = Callable[[str], str]


def tensor_names(argument: Argument) -> Iterator[str]:
    """Names of the tensors in an argument, in their order there."""
    match argument:
        case AsTensor(name):
            yield name
        case AsTensors(names):
            yield from names
        case AsOptionalTensor(optional_name):
            if optional_name is not None:
                yield optional_name
        case AsOptionalTensors(optional_names):
            yield from (name for name in optional_names if name is not None)
        case AsNestedTensors(lists):
            for names in lists:
                yield from names
        case AsStringToArgument(items):
            for item in items.values():
                yield from tensor_names(item)
        case _:
            pass


def symbolic_names(argument: Argument) -> Iterator[str]:
    """Names of the symbolic numbers in an argument, in their order there."""
    match argument:
        case AsSymInt(value) | AsSymFloat(value) | AsSymBool(value):
            if isinstance(value, str):
                yield value
        case AsSymInts(values) | AsSymFloats(values) | AsSymBools(values):
            yield from (value for value in values if isinstance(value, str))
        case AsStringToArgument(items):
            for item in items.values():
                yield from symbolic_names(item)
        case _:
            pass


def object_names(argument: Argument) -> Iterator[str]:
    """Names of the custom objects in an argument."""
    match argument:
        case AsCustomObject(name):
            yield name
        case AsStringToArgument(items):
            for item in items.values():
                yield from object_names(item)
        case _:
            pass


def names_in(argument: Argument) -> Iterator[str]:
    """Names of all values in an argument. Subgraphs have names of their own and give none."""
    yield from tensor_names(argument)
    yield from symbolic_names(argument)
    yield from object_names(argument)


def input_names(node: Node) -> Iterator[str]:
    """Names of the values that a node takes."""
    for given in node.inputs:
        yield from names_in(given.arg)


def output_names(node: Node) -> Iterator[str]:
    """Names of the values that a node gives."""
    for argument in node.outputs:
        yield from names_in(argument)


def subgraphs(node: Node) -> Iterator[Graph]:
    """The graphs among the arguments of a node."""
    for given in node.inputs:
        yield from _graphs(given.arg)


def _graphs(argument: Argument) -> Iterator[Graph]:
    match argument:
        case AsGraph(_, graph):
            yield graph
        case AsStringToArgument(items):
            for item in items.values():
                yield from _graphs(item)
        case _:
            pass


def renamed(argument: Argument, rename: Rename) -> Argument:
    """The argument with every name of a value replaced; graphs are left as they are."""
    match argument:
        case AsTensor(name):
            return AsTensor(rename(name))
        case AsTensors(names):
            return AsTensors(tuple(map(rename, names)))
        case AsOptionalTensor(optional_name):
            return AsOptionalTensor(None if optional_name is None else rename(optional_name))
        case AsOptionalTensors(optional_names):
            return AsOptionalTensors(
                tuple(None if name is None else rename(name) for name in optional_names)
            )
        case AsNestedTensors(lists):
            return AsNestedTensors(tuple(tuple(map(rename, names)) for names in lists))
        case AsSymInt(int_value):
            return AsSymInt(rename(int_value) if isinstance(int_value, str) else int_value)
        case AsSymFloat(float_value):
            return AsSymFloat(rename(float_value) if isinstance(float_value, str) else float_value)
        case AsSymBool(bool_value):
            return AsSymBool(rename(bool_value) if isinstance(bool_value, str) else bool_value)
        case AsSymInts(int_values):
            return AsSymInts(_renamed_symbols(int_values, rename))
        case AsSymFloats(float_values):
            return AsSymFloats(_renamed_symbols(float_values, rename))
        case AsSymBools(bool_values):
            return AsSymBools(_renamed_symbols(bool_values, rename))
        case AsCustomObject(name):
            return replace(argument, name=rename(name))
        case AsStringToArgument(items):
            return AsStringToArgument({key: renamed(item, rename) for key, item in items.items()})
        case _:
            return argument


def _renamed_symbols(values: Iterable[T | str], rename: Rename) -> tuple[T | str, ...]:
    return tuple(rename(value) if isinstance(value, str) else value for value in values)

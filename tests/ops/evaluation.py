"""Runs one target on arrays through the reference interpreter."""

from __future__ import annotations

from typing import Any

import numpy as np

from castoff.compiler import ops
from castoff.compiler.ir.dtypes import from_numpy
from castoff.compiler.ir.graph import Graph, TensorType, Value
from castoff.compiler.ops.base import Builder, Environment, find_target
from castoff.compiler.ops.interpret import run_graph

ops.load_all()


class RecordingBuilder(Builder):
    """Keeps what targets write to their arguments."""

    def __init__(self) -> None:
        super().__init__()
        self.written: dict[str, Value] = {}

    def write(self, value: Value, updated: Value) -> None:
        self.written[value.name] = updated


def evaluate(target: str, *operands: Any, **arguments: Any) -> list[np.ndarray]:
    """What a target gives for these operands (arrays are tensors), its results, those that are not None, as a list.

    What it writes to an argument given by name follows the results, in the order of writing.
    """
    builder = RecordingBuilder()
    inputs: list[Value] = []
    arrays: list[np.ndarray] = []

    def as_value(operand: Any, name: str) -> Any:
        if isinstance(operand, list):
            return [as_value(item, name) for item in operand]
        if not isinstance(operand, np.ndarray):
            return operand
        value = Value(
            builder.unique_name(name), TensorType(from_numpy(operand.dtype), tuple(operand.shape))
        )
        inputs.append(value)
        arrays.append(operand)
        return value

    function = find_target(target)
    assert function is not None, f"{target} is not registered"
    positional = [as_value(operand, "x") for operand in operands]
    named = {key: as_value(value, key) for key, value in arguments.items()}
    result = function(builder, *positional, **named)
    several = result if isinstance(result, (tuple, list)) else [result]
    results = [each for each in several if each is not None]
    outputs = (*results, *builder.written.values())
    graph = Graph("test", tuple(inputs), outputs, tuple(builder.nodes), dict(builder.constants))
    return run_graph(graph, arrays, Environment())

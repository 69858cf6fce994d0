"""Small graphs for tests: made with a builder, run by the reference, lowered, built and loaded."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from castoff.compiler import ops
from castoff.compiler.api import choices_of, measured
from castoff.compiler.codegen.generate import Generated, generate
from castoff.compiler.frontends.program import ImportedProgram, TensorInput, TensorOutput
from castoff.compiler.ir import shapes
from castoff.compiler.ir.dtypes import DType
from castoff.compiler.ir.graph import Binding, Constant, Graph, Guard, TensorType, Value
from castoff.compiler.ir.shapes import Dim, Symbol
from castoff.compiler.ir.verify import verify_graph
from castoff.compiler.lowering.lower import lower
from castoff.compiler.lowering.program import Program
from castoff.compiler.observe import Observer
from castoff.compiler.ops.base import Builder, Environment
from castoff.compiler.ops.interpret import run_graph
from castoff.compiler.options import CompileOptions
from castoff.compiler.passes.pipeline import optimize
from castoff.compiler.toolchain import build_shared_library
from castoff.runtime.runner import Runner, aot_load

ops.load_all()

QUICK: Mapping[str, Any] = {"target_cpu": "x86-64-v3", "opt_level": 1}
"""One CPU level and little optimisation: what most tests build with."""


class GraphBuilder(Builder):
    """A builder that also makes inputs, constants and state, and closes the graph."""

    def __init__(self) -> None:
        super().__init__()
        self.inputs: list[Value] = []
        self.buffers: dict[Value, Constant] = {}

    def input(self, name: str, *shape: Dim, dtype: DType = DType.FLOAT32) -> Value:
        """A tensor the caller gives."""
        value = Value(self.unique_name(name), TensorType(dtype, shape))
        self.inputs.append(value)
        return value

    def buffer(self, name: str, array: np.ndarray) -> Value:
        """State that the program keeps from call to call."""
        value = self.array(array, name)
        self.buffers[value] = self.constants.pop(value)
        return value

    def graph(
        self,
        *outputs: Value,
        mutations: Sequence[tuple[Value, Value]] = (),
        guards: Sequence[Guard] = (),
    ) -> Graph:
        """The graph of these outputs, verified; symbols are those in the shapes of the inputs."""
        bindings: dict[Symbol, Binding] = {}
        for number, value in enumerate(self.inputs):
            for axis, size in enumerate(value.shape):
                atom = shapes.atom_of(size)
                if isinstance(atom, Symbol):
                    bindings.setdefault(atom, Binding(atom, number, axis))
        graph = Graph(
            "main",
            tuple(self.inputs),
            outputs,
            tuple(self.nodes),
            dict(self.constants),
            self.buffers,
            tuple(mutations),
            tuple(bindings),
            tuple(bindings.values()),
            tuple(guards),
        )
        verify_graph(graph)
        return graph


def size(name: str, low: int = 0, high: int = 4096) -> Dim:
    """A size that the inputs decide."""
    return shapes.symbol(name, low, high)


def optimized(graph: Graph) -> Graph:
    """The graph after every pass."""
    return optimize(graph, Observer(CompileOptions()))


def lowered(graph: Graph) -> Program:
    """The graph after every pass, as steps over buffers."""
    return lower(optimized(graph))


def reference(graph: Graph, *arrays: np.ndarray) -> list[np.ndarray]:
    """What NumPy gives for the outputs of the graph."""
    symbols = {
        binding.symbol.name: arrays[binding.input_index].shape[binding.axis]
        for binding in graph.bindings
        if binding.axis is not None
    }
    return run_graph(graph, list(arrays), Environment(symbols))[: len(graph.outputs)]


def as_program(graph: Graph, results: Sequence[int] | None = None) -> ImportedProgram:
    """The graph as a program that takes its inputs in order and returns a tuple: of its outputs in
    order, or of those with these numbers.
    """
    outputs = [TensorOutput(value.name, index) for index, value in enumerate(graph.outputs)]
    if results is not None:
        outputs = [outputs[index] for index in results]
    return ImportedProgram(
        graph,
        _treespec(
            [_container("builtins.tuple", len(graph.inputs)), _container("builtins.dict", 0)]
        ),
        _treespec([_LEAF] * len(outputs)),
        tuple(value.name for value in graph.inputs),
        tuple(TensorInput(value.name, index) for index, value in enumerate(graph.inputs)),
        tuple(outputs),
        mutated_buffers=tuple(
            graph.buffers[target].name for target, _ in graph.mutations if target in graph.buffers
        ),
    )


_LEAF: dict[str, object] = {"type": None, "context": None, "children_spec": []}


def _container(kind: str, leaves: int) -> dict[str, object]:
    context = "[]" if kind == "builtins.dict" else "null"
    return {"type": kind, "context": context, "children_spec": [_LEAF] * leaves}


def _treespec(children: Sequence[object]) -> str:
    root = {"type": "builtins.tuple", "context": "null", "children_spec": list(children)}
    return json.dumps([1, root])


def generated(graph: Graph, *, results: Sequence[int] | None = None, **options: Any) -> Generated:
    """The optimised graph as C; `results` as in `as_program`."""
    graph = optimized(graph)
    chosen = CompileOptions(**{**QUICK, **options})
    choices = choices_of(chosen)
    if chosen.max_autotune:
        choices = measured(choices, graph, chosen)
    program = lower(graph, choices)
    return generate(as_program(graph, results), program, chosen, "test", "0", choices.tuning)


def build(
    graph: Graph, folder: Path, *, results: Sequence[int] | None = None, **options: Any
) -> Path:
    """The artefact of a graph; `results` as in `as_program`."""
    made = generated(graph, results=results, **options)
    return build_shared_library(
        made.tree,
        folder / "test.so",
        options=CompileOptions(**{**QUICK, **options}),
        manifest=made.manifest,
        constants=made.weights,
    )


def load(graph: Graph, folder: Path, **options: Any) -> Runner:
    """The graph, built and loaded."""
    return aot_load(str(build(graph, folder, **options)))

"""Control flow: operators whose attributes are graphs.

Subgraphs hold no constants and no buffers: what they read comes in as an input. Symbols of the
surrounding graph may appear in their shapes; those a subgraph defines itself are its own.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .. import kernels
from ..ir import shapes
from ..ir.graph import Graph, TensorType, Value
from ..ir.shapes import Dim
from ..ir.verify import same_type
from ..kernels import Definition
from ..records import dataclass
from .base import Environment, Op, OperatorError


def _check_inputs(what: str, graph: Graph, given: tuple[TensorType, ...]) -> None:
    expected = tuple(value.type for value in graph.inputs)
    fits = len(expected) == len(given) and all(map(same_type, expected, given))
    if not fits:
        raise OperatorError(f"{what} takes {_listed(expected)}, got {_listed(given)}")


def _listed(types: Sequence[TensorType]) -> str:
    return f"({', '.join(map(str, types))})"


@dataclass(frozen=True, slots=True)
class Branch(Op):
    """The outputs of `then` where the bool input 0 is true, else those of `otherwise`, both of the
    inputs 1…"""

    then: Graph
    otherwise: Graph

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        for graph in (self.then, self.otherwise):
            _check_inputs("a branch", graph, inputs[1:])
        results = tuple(value.type for value in self.then.outputs)
        others = tuple(value.type for value in self.otherwise.outputs)
        if len(results) != len(others) or not all(map(same_type, results, others)):
            raise OperatorError(f"one branch gives {_listed(results)}, the other {_listed(others)}")
        return results

    def reference(self, env: Environment, *inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        graph = self.then if inputs[0] else self.otherwise
        return tuple(env.run(graph, inputs[1:]))

    def define(
        self, inputs: tuple[Value, ...], outputs: tuple[Value, ...]
    ) -> tuple[Definition, ...]:
        return (kernels.Branch(self.then, self.otherwise),)

    def __str__(self) -> str:
        return "Branch"


@dataclass(frozen=True, slots=True)
class WhileLoop(Op):
    """`body` on the first `carried` inputs while `condition` gives true; both also read the inputs
    after them."""

    condition: Graph
    body: Graph
    carried: int

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        _check_inputs("the condition of a loop", self.condition, inputs)
        _check_inputs("the body of a loop", self.body, inputs)
        state = inputs[: self.carried]
        results = tuple(value.type for value in self.body.outputs)
        if len(results) != len(state) or not all(map(same_type, results, state)):
            raise OperatorError(
                f"a loop carries {_listed(state)}, its body gives {_listed(results)}"
            )
        return state

    def reference(self, env: Environment, *inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        state, unchanged = list(inputs[: self.carried]), inputs[self.carried :]
        while env.run(self.condition, [*state, *unchanged])[0]:
            state = env.run(self.body, [*state, *unchanged])
        return tuple(state)

    def define(
        self, inputs: tuple[Value, ...], outputs: tuple[Value, ...]
    ) -> tuple[Definition, ...]:
        return (kernels.WhileLoop(self.condition, self.body, self.carried),)

    def __str__(self) -> str:
        return f"WhileLoop[carried={self.carried}]"


@dataclass(frozen=True, slots=True)
class ScanLoop(Op):
    """`body` once per position of axis 0 of the `scanned` inputs, in order.

    Inputs: `carried` initial values, `scanned` tensors [length, …], then values that do not change.
    The body gets carried values, slices and the unchanged, and gives carried values and slices,
    which are stacked.
    """

    body: Graph
    carried: int
    scanned: int
    length: Dim
    reverse: bool = False

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        state = inputs[: self.carried]
        scanned = inputs[self.carried : self.carried + self.scanned]
        for tensor in scanned:
            if not tensor.rank or shapes.is_equal(tensor.shape[0], self.length) is False:
                raise OperatorError(f"a loop over {self.length} positions of {tensor}")
        slices = tuple(TensorType(tensor.dtype, tensor.shape[1:]) for tensor in scanned)
        unchanged = inputs[self.carried + self.scanned :]
        _check_inputs("the body of a scan", self.body, (*state, *slices, *unchanged))
        results = tuple(value.type for value in self.body.outputs)
        if not all(map(same_type, results[: self.carried], state)):
            raise OperatorError(
                f"a scan carries {_listed(state)}, its body gives {_listed(results)}"
            )
        stacked = (TensorType(t.dtype, (self.length, *t.shape)) for t in results[self.carried :])
        return (*state, *stacked)

    def reference(self, env: Environment, *inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        state = list(inputs[: self.carried])
        scanned = inputs[self.carried : self.carried + self.scanned]
        unchanged = inputs[self.carried + self.scanned :]
        length = env.size(self.length)
        stacked = [
            np.zeros((length, *env.shape(value.shape)), value.dtype.numpy)
            for value in self.body.outputs[self.carried :]
        ]
        for position in reversed(range(length)) if self.reverse else range(length):
            results = env.run(self.body, [*state, *(x[position] for x in scanned), *unchanged])
            state = results[: self.carried]
            for total, item in zip(stacked, results[self.carried :], strict=True):
                total[position] = item
        return (*state, *stacked)

    def define(
        self, inputs: tuple[Value, ...], outputs: tuple[Value, ...]
    ) -> tuple[Definition, ...]:
        loop = kernels.ScanLoop(self.body, self.carried, self.scanned, self.length, self.reverse)
        return (loop,)

    def __str__(self) -> str:
        order = ", reverse" if self.reverse else ""
        return (
            f"ScanLoop[carried={self.carried}, scanned={self.scanned}, length={self.length}{order}]"
        )

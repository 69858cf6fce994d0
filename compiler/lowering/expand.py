"""Inlining: what a value is in terms of the values that are stored.

Before:  %y = exp(%x);  %z = mul(%y, %w);  stored: x, w, z        After:  z[i] = mul(exp(x[i]), w[i])
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import numpy as np

from .. import kernels
from ..ir import shapes
from ..ir.dtypes import DType
from ..ir.graph import Graph, Node, Value
from ..ir.shapes import Dim, Indirect, Shape
from ..kernels import Apply, Cast, Definition, Index, IndexValue, Load, Masked, Pointwise, Scalar
from .program import Element

Leaf = Callable[[Value, Index], Scalar]


class Definitions:
    """How every value of a graph is computed, and by which node."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.of: dict[Value, Definition] = {}
        self.node_of: dict[Value, Node] = {}
        for node in graph.nodes:
            definitions = node.op.define(node.inputs, node.outputs)
            for position, output in enumerate(node.outputs):
                self.of[output] = definitions[min(position, len(definitions) - 1)]
                self.node_of[output] = node

    def is_view(self, value: Value) -> bool:
        """Whether a value only shows elements of another."""
        definition = self.of.get(value)
        return isinstance(definition, Pointwise) and definition.is_view

    def base(self, value: Value) -> Value:
        """The value a chain of views starts from."""
        while self.is_view(value):
            value = self.node_of[value].inputs[0]
        return value


class Expander:
    """Rewrites scalars so that they load stored values only; `leaf` says what such a load becomes."""

    def __init__(
        self,
        definitions: Mapping[Value, Definition],
        stored: Mapping[Value, object] | set[Value],
        leaf: Leaf,
    ) -> None:
        self._definitions = definitions
        self._stored = stored
        self._leaf = leaf
        self._loads: dict[tuple[Value, Index], Scalar] = {}
        self._scalars: dict[int, tuple[Scalar, Scalar]] = {}

    def load(self, value: Value, index: Index) -> Scalar:
        """The element of a value at an index."""
        index = tuple(self.dim(i) for i in index)
        key = (value, index)
        found = self._loads.get(key)
        if found is None:
            if value in self._stored or value not in self._definitions:
                found = self._leaf(value, index)
            else:
                definition = self._definitions[value]
                assert isinstance(definition, Pointwise), (
                    f"{value} is computed by a step of its own"
                )
                found = self.scalar(definition.body(index))
            self._loads[key] = found
        return found

    def dim(self, expression: Dim) -> Dim:
        """An index expression with the scalars inside it expanded."""
        if isinstance(expression, int) or not any(
            isinstance(atom, Indirect) for atom in shapes.atoms_in(expression)
        ):
            return expression

        def expand_inner(scalar: object) -> object:
            assert isinstance(scalar, Scalar), "an indirect index holds a scalar"
            return self.scalar(scalar)

        return shapes.substitute(expression, {}, expand_inner)

    def scalar(self, scalar: Scalar) -> Scalar:
        """A scalar with its loads expanded."""
        found = self._scalars.get(id(scalar))
        if found is not None:
            return found[1]
        result = self._rewrite(scalar)
        self._scalars[id(scalar)] = (scalar, result)  # keeps the key's object alive
        return result

    def _rewrite(self, scalar: Scalar) -> Scalar:
        match scalar:
            case Load():
                return self.load(scalar.value, scalar.index)
            case Apply():
                args = tuple(self.scalar(arg) for arg in scalar.args)
                same = all(a is b for a, b in zip(args, scalar.args, strict=False))
                return scalar if same else Apply(scalar.dtype, scalar.name, args)
            case Cast():
                arg = self.scalar(scalar.arg)
                if is_rounded(arg, scalar.to):
                    return arg
                return scalar if arg is scalar.arg else kernels.cast(arg, scalar.to)
            case Masked():
                return kernels.masked(
                    self.scalar(scalar.condition),
                    self.scalar(scalar.body),
                    self.scalar(scalar.otherwise),
                )
            case IndexValue():
                return kernels.index_value(self.dim(scalar.expression))
        return scalar


def is_rounded(scalar: Scalar, dtype: DType) -> bool:
    """Whether rounding to a narrow type is known to change nothing."""
    if dtype.compute is dtype or scalar.dtype is not dtype.compute:
        return False
    match scalar:
        case Element():
            return scalar.buffer.dtype is dtype
        case Cast():
            return scalar.to is dtype
        case Apply(name="maximum" | "minimum" | "neg" | "abs"):
            return all(is_rounded(arg, dtype) for arg in scalar.args)
        case Apply(name="where"):
            return all(is_rounded(arg, dtype) for arg in scalar.args[1:])
        case Masked():
            return is_rounded(scalar.body, dtype) and is_rounded(scalar.otherwise, dtype)
        case kernels.Literal():
            with np.errstate(over="ignore"):
                return float(dtype.numpy.type(scalar.value)) == scalar.value
    return False


def loop_variables(sizes: Shape, prefix: str = "i", order: int = 0) -> Index:
    """One loop variable per size; 0 where the size is 1."""
    return tuple(
        shapes.loop_variable(f"{prefix}{axis}", size, order + axis)
        for axis, size in enumerate(sizes)
    )


def affine(expression: Dim, variables: Index) -> tuple[Dim, tuple[Dim, ...]] | None:
    """(offset, coefficients) with expression == offset + sum(coefficients * variables), or None."""
    if isinstance(expression, int):
        return expression, (0,) * len(variables)
    atoms = [shapes.atom_of(v) if isinstance(v, shapes.SymExpr) else None for v in variables]
    wanted = {atom for atom in atoms if atom is not None}
    offset: Dim = 0
    coefficients: dict[object, Dim] = {}
    for monomial, coefficient in expression.terms.items():
        term: Dim = coefficient
        variable = None
        for atom, power in monomial:
            if atom in wanted:
                if variable is not None or power != 1:
                    return None
                variable = atom
                continue
            if not isinstance(atom, shapes.Symbol) and wanted & set(
                shapes.atoms_in(shapes.of_atom(atom))
            ):
                return None
            if isinstance(atom, Indirect):
                return None
            for _ in range(power):
                term = term * shapes.of_atom(atom)
        if variable is None:
            offset = offset + term
        else:
            coefficients[variable] = coefficients.get(variable, 0) + term
    return offset, tuple(0 if a is None else coefficients.get(a, 0) for a in atoms)


def scalars_in(roots: Iterable[Scalar]) -> list[Scalar]:
    """Every scalar below the roots once, those inside index expressions included."""
    seen: dict[int, Scalar] = {}
    stack = list(roots)
    while stack:
        scalar = stack.pop()
        if id(scalar) in seen:
            continue
        seen[id(scalar)] = scalar
        match scalar:
            case kernels.Apply():
                stack.extend(scalar.args)
            case kernels.Cast():
                stack.append(scalar.arg)
            case kernels.Masked():
                stack.extend((scalar.condition, scalar.body, scalar.otherwise))
            case kernels.IndexValue():
                stack.extend(_indirect(scalar.expression))
            case Element():
                stack.extend(_indirect(scalar.address))
            case kernels.Load():
                for position in scalar.index:
                    stack.extend(_indirect(position))
    return list(seen.values())


def _indirect(expression: Dim) -> list[Scalar]:
    return [
        atom.scalar
        for atom in shapes.atoms_in(expression)
        if isinstance(atom, Indirect) and isinstance(atom.scalar, Scalar)
    ]

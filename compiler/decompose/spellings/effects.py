"""Spellings of what a run checks and measures, and of the user's own operators."""

from __future__ import annotations

from collections.abc import Sequence

from ...exported import schema
from ...frontends.graph_writer import GraphWriter, Tensor
from ...ir import shapes
from ...ir.dtypes import DType
from ...ir.graph import Node, TensorType
from ...ops.custom import Custom, Tensors
from ...ops.distributions import Draw
from ...ops.random import RandomBits
from ...ops.symbols import ReadSymbol, RuntimeCheck
from .table import call, spells


@spells(ReadSymbol)
def _read_symbol(w: GraphWriter, node: Node, op: ReadSymbol, x: Tensor) -> Sequence[Tensor]:
    symbol = op.symbol
    inputs = [schema.NamedArgument("self", w.argument(x))]
    value = w.texts.expression(shapes.of_atom(symbol))
    name = w.number("torch.ops.aten._local_scalar_dense.default", schema.AsSymInt, inputs, value)
    w.sizes.define(symbol, name)
    for operator, bound in (("ge", symbol.low), ("le", symbol.high)):
        if abs(bound) < shapes.INFINITY:
            _assert_compared(w, operator, name, bound)
    return []


def _assert_compared(w: GraphWriter, operator: str, name: str, bound: int) -> None:
    sides = [
        schema.NamedArgument("a", schema.AsSymInt(name)),
        schema.NamedArgument("b", schema.AsInt(bound)),
    ]
    text = w.sym_int_values[name]
    assert isinstance(text, schema.SymExpr), "the value of a symbol"
    relation = "GreaterThan" if operator == "ge" else "LessThan"
    condition = schema.SymExpr(f"{relation}({text.expr_str}, Integer({bound}))", None)
    compared = w.number(f"_operator.{operator}", schema.AsSymBool, sides, condition)
    message = f"expected {name} {'>=' if operator == 'ge' else '<='} {bound}"
    w.effect(
        "torch.ops.aten._assert_scalar.default",
        [
            schema.NamedArgument("self", schema.AsSymBool(compared)),
            schema.NamedArgument("assert_msg", schema.AsString(message)),
        ],
    )


@spells(RandomBits)
def _random_bits(w: GraphWriter, node: Node, op: RandomBits) -> Sequence[Tensor]:
    """Other bits in each run, of the generator that PyTorch has: no seed and no stream is kept."""
    low, high = -(1 << 63), (1 << 63) - 1
    drawn = TensorType(DType.INT64, node.outputs[0].shape)
    whole = w.call("randint.low", drawn, low=low, high=high, size=list(op.shape), dtype=DType.INT64)
    return call(w, node, "view.dtype", self=whole, dtype=DType.UINT64)


@spells(Draw)
def _draw(
    w: GraphWriter, node: Node, op: Draw, keys: Tensor, *parameters: Tensor
) -> Sequence[Tensor]:
    """Other draws in each run, as of the bits that they are made from."""
    match op.distribution:
        case "standard_gamma" | "poisson":
            target = {"standard_gamma": "_standard_gamma", "poisson": "poisson"}[op.distribution]
            return call(w, node, f"{target}.default", self=parameters[0])
        case "binomial":
            count, prob = parameters
            return call(w, node, "binomial.default", count=count, prob=prob)
    raise AssertionError(f"no spelling of {op.distribution}")


@spells(RuntimeCheck)
def _runtime_check(w: GraphWriter, node: Node, op: RuntimeCheck, x: Tensor) -> Sequence[Tensor]:
    w.effect(
        "torch.ops.aten._assert_async.msg",
        [
            schema.NamedArgument("self", w.argument(x)),
            schema.NamedArgument("assert_msg", schema.AsString(op.message)),
        ],
    )
    return []


@spells(Custom)
def _custom(w: GraphWriter, node: Node, op: Custom, *inputs: Tensor) -> Sequence[Tensor]:
    """An operator of the user's own is called as it is."""
    operator = op.operator
    given: list[schema.NamedArgument] = []
    for parameter, argument in zip(operator.schema.parameters, op.arguments, strict=True):
        match argument:
            case Tensors(first, None):
                record = w.argument(inputs[first] if first >= 0 else None)
            case Tensors(first, int(count)):
                record = w.argument(list(inputs[first : first + count]))
            case tuple() if parameter.kind == "float[]":
                record = schema.AsFloats(tuple(float(item) for item in argument))  # type: ignore[arg-type]
            case tuple():
                record = w.argument(list(argument))  # type: ignore[arg-type]
            case int() if parameter.kind.startswith("float") and not isinstance(argument, bool):
                record = schema.AsFloat(float(argument))
            case Tensors():
                raise AssertionError("a list of tensors has a count")
            case _:
                record = w.argument(argument)
        given.append(schema.NamedArgument(parameter.name, record))
    return w.add(
        f"torch.ops.{operator.schema.target}",
        given,
        [value.type for value in node.outputs],
        dense=False,
        names=[value.name for value in node.outputs],
    )

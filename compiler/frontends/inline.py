"""Subgraphs of wrappers, added in place of the wrapper."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..exported import schema
from ..ir.dtypes import DType
from ..ops.base import OperatorError
from .arguments import Argued, OperatorName, decode
from .autocast import RULES, Autocast
from .forms import qualified_name
from .functionalize import TensorRef
from .scope import Scope

ImportNodes = Callable[[Scope], None]
HigherOrder = Callable[[Scope, Sequence[Argued], ImportNodes, schema.Node], Any]


def inline(
    scope: Scope,
    graph: Argued,
    operands: Sequence[Argued],
    import_nodes: ImportNodes,
    autocast: Autocast | None,
) -> list[Any]:
    """The results of a subgraph whose nodes are added in place."""
    assert isinstance(graph, schema.Graph), "wrappers hold a graph"
    inner = scope.inlined(graph, autocast)
    _bind_operands(inner, operands)
    origin = scope.builder.origin
    import_nodes(inner)
    scope.builder.origin = origin
    return [subgraph_result(inner, argument) for argument in graph.outputs]


def _bind_operands(inner: Scope, operands: Sequence[Argued]) -> None:
    for argument, operand in zip(inner.graph.inputs, flat(operands), strict=True):
        match argument:
            case schema.AsTensor(name):
                assert isinstance(operand, TensorRef), f"{name} is a tensor"
                inner.rebind_tensor(name, operand)
            case (
                schema.AsSymInt(str(name))
                | schema.AsSymFloat(str(name))
                | schema.AsSymBool(str(name))
            ):
                inner.bind_scalar(name, operand)  # type: ignore[arg-type]


def subgraph_result(inner: Scope, argument: schema.Argument) -> Any:
    """An output of a subgraph: a reference or a number."""
    return decode(argument, inner)


def flat(operands: Sequence[Argued]) -> list[Argued]:
    """Operands out of the lists they come in."""
    result: list[Argued] = []
    for operand in operands:
        result.extend(flat(operand) if isinstance(operand, list) else [operand])
    return result


def _set_grad_enabled(
    scope: Scope, args: Sequence[Argued], import_nodes: ImportNodes, node: schema.Node
) -> Any:
    return inline(scope, args[1], args[2:], import_nodes, scope.autocast)


def _with_autocast(
    scope: Scope, args: Sequence[Argued], import_nodes: ImportNodes, node: schema.Node
) -> Any:
    """A region says something about tensors on its kind of device, and nothing about others."""
    device, dtype, enabled, _, graph, *operands = args
    assert isinstance(graph, schema.Graph), "wrappers hold a graph"
    devices = {meta.device.type for meta in graph.tensor_values.values()}
    autocast = scope.autocast
    if device in devices:
        if device not in RULES:
            raise OperatorError(
                f"autocast for {device} is not supported, only for {', '.join(RULES)}"
            )
        rules = RULES[str(device)]
        chosen = dtype if isinstance(dtype, DType) else rules.default
        autocast = Autocast(rules, chosen) if enabled else None
    return inline(scope, graph, operands, import_nodes, autocast)


def _wrapped(
    scope: Scope, args: Sequence[Argued], import_nodes: ImportNodes, node: schema.Node
) -> Any:
    """Wrappers of one graph: the graph is among the first arguments, strings and settings are
    passed over."""
    for position, argument in enumerate(args):
        if isinstance(argument, schema.Graph):
            operands = [arg for arg in flat(args[position + 1 :]) if not isinstance(arg, str)]
            return inline(scope, argument, operands, import_nodes, scope.autocast)
    raise OperatorError("a wrapper without a graph")


def _auto_functionalized(
    scope: Scope, args: Sequence[Argued], import_nodes: ImportNodes, node: schema.Node
) -> Any:
    name = args[0].target if isinstance(args[0], OperatorName) else str(args[0])
    raise OperatorError(
        f"the custom operator {qualified_name(name)} changes its arguments; those of castoff give new tensors"
    )


WRAPPERS: Mapping[str, HigherOrder] = {
    "wrap_with_set_grad_enabled": _set_grad_enabled,
    "wrap_with_autocast": _with_autocast,
    "run_const_graph": _wrapped,
    "wrap": _wrapped,
    "invoke_subgraph": _wrapped,
    "tag_activation_checkpoint": _wrapped,
    "wrap_activation_checkpoint": _wrapped,
    "strict_mode": _wrapped,
    "hints_wrapper": _wrapped,
    "auto_functionalized": _auto_functionalized,
    "auto_functionalized_v2": _auto_functionalized,
}
"""Higher-order operators that only wrap a subgraph."""

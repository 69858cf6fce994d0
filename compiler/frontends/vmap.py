"""Regions under vmap as loops over the batch."""

from __future__ import annotations

from collections.abc import Sequence

from ..exported import schema
from ..ir.graph import TensorType, Value
from ..ops.base import OperatorError
from .arguments import decode
from .control_flow import Subgraph, scan_loop
from .functionalize import ImportBuilder, TensorRef, fresh
from .inline import ImportNodes
from .scope import Scope


def import_vmap(scope: Scope, region: Sequence[schema.Node], import_nodes: ImportNodes) -> None:
    """A region under vmap: its nodes, which see one slice each, run for every position of the
    batch.

    `_add_batch_dim(x, in_dim, level)` opens the region for a tensor, `_remove_batch_dim(y, level,
    size, out_dim)` takes a result out of it.
    """
    b = scope.builder
    entering = [node for node in region if _is_predispatch(node, "_add_batch_dim")]
    leaving = [node for node in region if _is_predispatch(node, "_remove_batch_dim")]
    level = _vmap_level(entering, leaving)
    entering = [node for node in entering if _argument(node, 2) == level]
    leaving = [node for node in leaving if _argument(node, 1) == level]
    edges = {id(node) for node in (*entering, *leaving)}
    rest = tuple(node for node in region if id(node) not in edges)
    graph = schema.Graph(
        (), (), rest, scope.graph.tensor_values, scope.graph.sym_int_values,
        scope.graph.sym_bool_values, False, scope.graph.custom_obj_values,
        scope.graph.sym_float_values,
    )  # fmt: skip
    builder = ImportBuilder(scope.context.names, scope.context.random)
    inner = Scope(scope.context, builder, graph, scope.autocast, outer=scope)
    batched: list[Value] = []
    body = Subgraph(inner, [])
    for node in entering:
        x = decode(node.inputs[0].arg, scope)
        in_dim = _argument(node, 1)
        assert isinstance(x, TensorRef) and isinstance(in_dim, int), "vmap splits tensors"
        value = x.read(b)
        order = [in_dim % value.rank, *(a for a in range(value.rank) if a != in_dim % value.rank)]
        batched.append(b.permute(value, order))
        slice_type = TensorType(value.dtype, batched[-1].shape[1:])
        (output,) = node.outputs
        assert isinstance(output, schema.AsTensor), "vmap gives tensors"
        element = Value(inner.builder.unique_name(output.name), slice_type)
        inner.rebind_tensor(output.name, fresh(element))
        body.inputs.append(element)
    origin, hint = b.origin, b.name_hint
    import_nodes(inner)
    for node in leaving:
        result = decode(node.inputs[0].arg, inner)
        assert isinstance(result, TensorRef), "vmap gives tensors"
        body.outputs.append(result.read(inner.builder))
    b.origin, b.name_hint = origin, hint or "vmap"
    if not batched:
        raise OperatorError("vmap over no tensor")
    captured = [source.read(b) for source, _ in inner.captured.values()]
    body.inputs.extend(value for _, value in inner.captured.values())
    length = batched[0].shape[0]
    stacked = scan_loop(scope, body, 0, len(batched), length, [*batched, *captured])
    for node, value in zip(leaving, stacked, strict=False):
        out_dim = _argument(node, 3)
        assert isinstance(out_dim, int), "dimensions are plain integers"
        order = list(range(1, value.rank))
        order.insert(out_dim % value.rank, 0)
        (output,) = node.outputs
        assert isinstance(output, schema.AsTensor), "vmap gives tensors"
        scope.bind_tensor(output.name, fresh(b.permute(value, order)))


def _is_predispatch(node: schema.Node, name: str) -> bool:
    return node.target.endswith(f"_functorch.predispatch.{name}")


def _argument(node: schema.Node, position: int) -> object:
    argument = node.inputs[position].arg
    return argument.value if isinstance(argument, (schema.AsInt, schema.AsSymInt)) else None


def _vmap_level(entering: Sequence[schema.Node], leaving: Sequence[schema.Node]) -> object:
    """The level of the outermost vmap of a region."""
    levels = [_argument(node, 2) for node in entering] + [_argument(node, 1) for node in leaving]
    return min((level for level in levels if isinstance(level, int)), default=1)

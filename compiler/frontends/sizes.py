"""Sizes, items and assertions: where nodes turn tensors into Python's numbers and back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from .. import kernels
from ..exported import schema
from ..ir import shapes
from ..ir.graph import Guard
from ..ir.shapes import Dim, SymExpr
from ..ops.base import OperatorError, WeakScalar
from ..ops.symbols import check
from .arguments import Argued, Condition, ScalarBinding, as_value
from .functionalize import TensorRef
from .real_trees import UnknownExpressionError
from .results import bind_result, first_tensor
from .scope import Scope


def bind_number(scope: Scope, node: schema.Node, compute: Callable[[], ScalarBinding]) -> None:
    """Bind a symbolic number to the expression the file has for it, or to what `compute` gives."""
    (output,) = node.outputs
    symbols = scope.context.symbols
    match output:
        case schema.AsSymInt(str(name)):
            meta: object = scope.graph.sym_int_values.get(name)
        case schema.AsSymBool(str(name)):
            meta = scope.graph.sym_bool_values.get(name)
        case schema.AsSymFloat(str(name)):
            meta = None
        case _:
            return
    if isinstance(meta, schema.SymExpr):
        try:
            value = symbols.integer(symbols.tree(meta.expr_str))
        except UnknownExpressionError:
            pass
        else:
            if isinstance(output, schema.AsSymInt):
                scope.bind_scalar(name, value)
            else:
                is_known = isinstance(value, int)
                scope.bind_scalar(name, bool(value) if is_known else Condition(value))  # type: ignore[arg-type]
            return
    scope.bind_scalar(name, compute())


def _self_tensor(args: Sequence[Argued]) -> TensorRef:
    ref = args[0]
    if not isinstance(ref, TensorRef):
        raise OperatorError("the size of something that is no tensor")
    return ref


def _sym_size(scope: Scope, node: schema.Node, args: Sequence[Argued]) -> None:
    shape = _self_tensor(args).read(scope.builder).shape
    axis = args[1]
    assert isinstance(axis, int), "dimensions are plain integers"
    bind_number(scope, node, lambda: shape[axis])


def _sym_numel(scope: Scope, node: schema.Node, args: Sequence[Argued]) -> None:
    shape = _self_tensor(args).read(scope.builder).shape
    bind_number(scope, node, lambda: shapes.element_count(shape))


def _sym_stride(scope: Scope, node: schema.Node, args: Sequence[Argued]) -> None:
    ref, axis = _self_tensor(args), args[1]
    assert isinstance(axis, int), "dimensions are plain integers"
    name, _ = first_tensor(scope, node)
    strides = scope.strides_of(name) or ()
    shape = ref.read(scope.builder).shape

    def stride() -> Dim:
        recorded = strides[axis] if strides else None
        return shapes.contiguous_strides(shape)[axis] if recorded is None else recorded

    bind_number(scope, node, stride)


def _sym_storage_offset(scope: Scope, node: schema.Node, args: Sequence[Argued]) -> None:
    """The position of element 0 in its storage, found by following the views back with index 0."""
    ref = _self_tensor(args)
    value = ref.read(scope.builder)
    index: tuple[Dim, ...] = (0,) * value.rank
    while value is not ref.storage.value:
        producer = scope.builder.producer(value)
        assert producer is not None, "a view of a storage has producers up to it"
        (definition,) = producer.op.define(producer.inputs, producer.outputs)
        assert isinstance(definition, kernels.Pointwise), "views are pointwise"
        load = definition.body(index)
        if not isinstance(load, kernels.Load):
            raise OperatorError("the storage offset of this view")
        value, index = load.value, load.index
    offset = shapes.flatten_index(index, value.shape)
    bind_number(scope, node, lambda: offset)


def _item(scope: Scope, node: schema.Node, args: Sequence[Argued]) -> None:
    value = scope.builder.reshape(_self_tensor(args).read(scope.builder), ())
    bind_result(scope, node.outputs[0], value)


def _assert_scalar(scope: Scope, node: schema.Node, args: Sequence[Argued]) -> None:
    """A condition on what the inputs decide is a guard; one on data is checked where it stands."""
    if scope.context.remove_runtime_assertions:
        return
    condition, message = args[0], str(args[1])
    if isinstance(condition, SymExpr):
        condition = Condition(shapes.of_atom(shapes.Func("less", (0, condition))))
    if isinstance(condition, Condition):
        expression = condition.expression
        if scope.is_root and shapes.symbols_in(expression) <= scope.context.backed:
            scope.context.guards.append(Guard(expression, message))
            return
    if isinstance(condition, (bool, int)) and condition:
        return
    if not isinstance(condition, (bool, int, Condition, WeakScalar)):
        raise OperatorError(f"an assertion about {condition!r}")
    check(scope.builder, as_value(condition, scope.builder), message)


Reader = Callable[[Scope, schema.Node, Sequence[Argued]], None]
READERS: Mapping[str, Reader] = {
    "aten.sym_size.int": _sym_size,
    "aten.sym_numel.default": _sym_numel,
    "aten.numel.default": _sym_numel,
    "aten.sym_stride.int": _sym_stride,
    "aten.sym_storage_offset.default": _sym_storage_offset,
    "aten.item.default": _item,
    "aten._local_scalar_dense.default": _item,
    "aten._assert_scalar.default": _assert_scalar,
}

"""The nodes of a program, one by one: which function builds each, and what becomes of its
results."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from .. import kernels
from ..exported import schema
from ..ir import shapes
from ..ir.dtypes import DType
from ..ir.graph import Guard, Value
from ..ir.shapes import Dim, Symbol, SymExpr
from ..ops.base import OperatorError, WeakScalar, find_target, is_aliasing
from ..ops.symbols import ReadSymbol, check
from ..ops.view import Reshape
from .arguments import (
    Argued,
    Condition,
    OperatorName,
    ScalarBinding,
    as_operand,
    as_value,
    decode,
)
from .functionalize import TensorRef, fresh, view_strides
from .higher_order import find_higher_order, import_vmap
from .origins import node_origin
from .scope import Scope
from .symbolic_operators import apply_symbolic, find_symbolic_operator
from .symbols import UnknownExpressionError


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_MAY_COPY = _names(
    """
    reshape reshape_as contiguous flatten unflatten ravel to type_as float double half
    bfloat16 int long bool expand_as _reshape_alias view_as
    """
)
"""Operators whose result shares memory with the argument only where strides and arguments allow."""

_CHANGES_METADATA = _names(
    """
    detach_ transpose_ t_ squeeze_ unsqueeze_ swapaxes_ swapdims_ as_strided_ movedim_
    moveaxis_ permute_ view_
    """
)
"""In-place operators that change how a tensor sees its memory, not the elements."""

_ASSERTIONS = _names(
    """
    aten._assert_async.msg aten._assert_async.default aten._functional_assert_async.msg
    aten.sym_constrain_range.default aten.sym_constrain_range_for_size.default
    """
)
_IGNORED = _names(
    """
    aten._assert_tensor_metadata.default aten._linalg_check_errors.default
    torch._functorch.predispatch.lazy_load_decompositions torch._C._set_grad_enabled
    torch._C._functorch._vmap_increment_nesting aten.record_stream.default
    profiler._record_function_exit
    """
)


def import_nodes(scope: Scope) -> None:
    """Add all nodes of the scope's graph to its builder; those that cannot be imported are noted in
    the context."""
    nodes = iter(scope.graph.nodes)
    for node in nodes:
        target = node.target.removeprefix("torch.ops.")
        if target.endswith("._vmap_increment_nesting"):
            region = _vmap_region(nodes)
            _guarded(scope, node, partial(import_vmap, scope, region, import_nodes))
        else:
            _guarded(scope, node, partial(_import_node, scope, node, target))


def _vmap_region(nodes: Iterator[schema.Node]) -> list[schema.Node]:
    """The nodes up to the end of a vmap, which may hold others."""
    region: list[schema.Node] = []
    depth = 1
    for node in nodes:
        if node.target.endswith("._vmap_increment_nesting"):
            depth += 1
        elif node.target.endswith("._vmap_decrement_nesting"):
            depth -= 1
            if depth == 0:
                break
        region.append(node)
    return region


def _guarded(scope: Scope, node: schema.Node, build: Callable[[], None]) -> None:
    """Run `build`; where it fails, note why and stand in for the results."""
    target = node.target.removeprefix("torch.ops.")
    scope.builder.origin = node_origin(target, node.metadata)
    scope.builder.name_hint = _name_hint(node)
    scope.builder.begin_call()
    try:
        build()
    except OperatorError as error:
        scope.context.refuse(scope.builder.origin, str(error))
        for argument in node.outputs:
            _bind_stand_in(scope, argument)


def _name_hint(node: schema.Node) -> str:
    for argument in node.outputs:
        match argument:
            case schema.AsTensor(name):
                return name
            case schema.AsTensors((name, *_)):
                return name
            case schema.AsSymInt(str(name)) | schema.AsSymFloat(str(name)):
                return name
    return node.name or "value"


def _bind_stand_in(scope: Scope, argument: schema.Argument) -> None:
    match argument:
        case schema.AsTensor(name):
            scope.rebind_tensor(name, scope.placeholder(name))
        case schema.AsTensors(names):
            for name in names:
                scope.rebind_tensor(name, scope.placeholder(name))
        case schema.AsSymInt(str(name)):
            scope.bind_scalar(name, shapes.of_atom(Symbol(name, 0)))
        case schema.AsSymFloat(str(name)):
            scope.bind_scalar(name, 1.0)
        case schema.AsSymBool(str(name)):
            scope.bind_scalar(name, True)


# ---------------------------------------------------------------------------------- what a node is


def _import_node(scope: Scope, node: schema.Node, target: str) -> None:
    if target in _IGNORED or (target in _ASSERTIONS and scope.context.remove_runtime_assertions):
        return
    reader = _READERS.get(target)
    if reader is not None:
        reader(scope, node, [decode(named.arg, scope) for named in node.inputs])
        return
    symbolic = find_symbolic_operator(target)
    if symbolic is not None:
        args: Any = [decode(named.arg, scope) for named in node.inputs]
        bind_number(scope, node, lambda: apply_symbolic(symbolic, args, scope.builder))
        return
    higher_order = find_higher_order(target)
    if higher_order is not None:
        arguments = [decode(named.arg, scope) for named in node.inputs]
        results = higher_order(scope, arguments, import_nodes, node)
        _bind_results(scope, node.outputs, results)
        return
    if target == "higher_order.with_effects":
        _import_with_effects(scope, node)
        return
    _import_operator(scope, node, target)


def _import_with_effects(scope: Scope, node: schema.Node) -> None:
    """`with_effects(token, operator, *args)` gives the token, then what the operator gives."""
    token, operator, *rest = node.inputs
    token_value = decode(token.arg, scope)
    name = decode(operator.arg, scope)
    assert isinstance(token_value, TensorRef) and isinstance(name, OperatorName)
    _bind_results(scope, node.outputs[:1], [token_value])
    inner = schema.Node(name.target, tuple(rest), node.outputs[1:], node.metadata)
    _import_node(scope, inner, name.target)


_FUNCTIONAL_FORMS = {
    "aten.float_power_.Tensor": "aten.float_power.Tensor_Tensor",
    "aten.float_power_.Scalar": "aten.float_power.Tensor_Scalar",
    "aten.floor_divide_.Tensor": "aten.floor_divide.default",
    "aten.pow_.Tensor": "aten.pow.Tensor_Tensor",
    "aten.pow_.Scalar": "aten.pow.Tensor_Scalar",
    "aten.transpose_.default": "aten.transpose.int",
}
"""In-place targets whose functional form has another overload name."""


def functional_name(target: str) -> str | None:
    """The functional form of an in-place target: `aten.add_.Tensor` -> `aten.add.Tensor`; None
    where it is none."""
    if target in _FUNCTIONAL_FORMS:
        return _FUNCTIONAL_FORMS[target]
    namespace, _, rest = target.partition(".")
    base, _, overload = rest.partition(".")
    if base.startswith("__i") and base.endswith("__") and base not in ("__invert__", "__index__"):
        return f"{namespace}.__{base[3:]}.{overload}"
    if base.endswith("_") and not base.endswith("__"):
        return f"{namespace}.{base[:-1]}.{overload}"
    return None


def _import_operator(scope: Scope, node: schema.Node, target: str) -> None:
    functional = functional_name(target)
    function = find_target(target)
    is_derived = function is None and functional is not None
    if is_derived and functional is not None:
        function = find_target(functional)
    if function is None:
        raise OperatorError("not registered (see CONTRIBUTING.md: add an operator)")
    positional: list[Any] = []
    named: dict[str, Any] = {}
    for argument in node.inputs:
        value = _operand(scope, decode(argument.arg, scope))
        if argument.name:
            named[argument.name] = value
        else:
            positional.append(value)
    base_name = target.split(".")[1]
    if scope.autocast is not None:
        positional = scope.autocast.cast_arguments(base_name, positional, scope.builder.cast)
        named = scope.autocast.cast_arguments(base_name, named, scope.builder.cast)
    try:
        result = function(scope.builder, *positional, **named)
    except TypeError as error:
        if "argument" not in str(error):
            raise
        raise OperatorError(f"this form of the operator is not supported ({error})") from error
    if functional is None:
        _bind_outputs(scope, node, target, result, named)
    elif base_name in _CHANGES_METADATA:
        name, _ = _first_tensor(scope, node)
        _bind_outputs(scope, node, functional, result, named)
        for output in node.outputs:
            if isinstance(output, schema.AsTensor):
                scope.rebind_tensor(name, scope.tensor(output.name))
    else:
        _, ref = _first_tensor(scope, node)
        if is_derived:
            updated = result[0] if isinstance(result, (tuple, list)) else result
            scope.builder.write_ref(ref, scope.builder.tensor(updated))
        _bind_results(scope, node.outputs, [ref])


def _operand(scope: Scope, argument: Argued) -> Any:
    if isinstance(argument, TensorRef):
        return scope.builder.argument(argument)
    if isinstance(argument, list):
        return [_operand(scope, item) for item in argument]
    if isinstance(argument, dict):
        return {key: _operand(scope, item) for key, item in argument.items()}
    return as_operand(argument, scope.builder)


def _first_tensor(scope: Scope, node: schema.Node) -> tuple[str, TensorRef]:
    for argument in node.inputs:
        if isinstance(argument.arg, schema.AsTensor):
            return argument.arg.name, scope.tensor(argument.arg.name)
    raise OperatorError("an in-place operator or view without a tensor")


# ---------------------------------------------------------------------------------------- results


def _bind_outputs(
    scope: Scope, node: schema.Node, target: str, result: Any, named: Mapping[str, Any]
) -> None:
    """Bind an operator's results: to memory of their own, or to the first argument's where it is a
    view of it."""
    if not is_aliasing(target):
        _bind_results(scope, node.outputs, result)
        return
    name, base = _first_tensor(scope, node)
    start = scope.builder.argument(base)
    base_name = target.split(".")[1]

    def aliased(value: Any, output: str) -> Any:
        if not isinstance(value, Value):
            return value
        chain = scope.builder.view_chain(value, start)
        if chain is None or named.get("copy"):
            return fresh(value)
        if base_name in _MAY_COPY and not _shares_memory(scope, name, output, value, chain):
            return fresh(value)
        return base.viewed(chain, value) if chain else base

    outputs = _output_names(node.outputs)
    if isinstance(result, (tuple, list)):
        refs: Any = [aliased(item, output) for item, output in zip(result, outputs, strict=False)]
    else:
        refs = aliased(result, outputs[0] if outputs else "")
    _bind_results(scope, node.outputs, refs)


def _output_names(outputs: Sequence[schema.Argument]) -> list[str]:
    names: list[str] = []
    for argument in outputs:
        match argument:
            case schema.AsTensor(name):
                names.append(name)
            case schema.AsTensors(several):
                names.extend(several)
            case _:
                names.append("")
    return names


def _shares_memory(
    scope: Scope, name: str, output: str, value: Value, chain: Sequence[Any]
) -> bool:
    """Whether PyTorch gives `output` as a view of `name`, judged by the strides the file has for
    them."""
    sizes, strides = scope.shape_of(name), scope.strides_of(name)
    new_strides = scope.strides_of(output)
    if sizes is None or strides is None or new_strides is None:
        return True
    if any(not isinstance(op, Reshape) for op in chain):
        return True
    old_sizes = [size for size in sizes if size is not None]
    old_strides = [stride for stride in strides if stride is not None]
    if len(old_sizes) != len(sizes) or len(old_strides) != len(strides):
        return True
    expected = view_strides(old_sizes, old_strides, value.shape)
    if expected is None:
        return False
    pairs = zip(expected, new_strides, value.shape, strict=False)
    return all(new is None or size in (0, 1) or old == new for old, new, size in pairs)


def _bind_results(scope: Scope, outputs: Sequence[schema.Argument], result: Any) -> None:
    """Bind the outputs of a node to what its function gave."""
    if len(outputs) == 1 and isinstance(outputs[0], schema.AsTensors):
        results: Sequence[Any] = list(result)
        names: Sequence[schema.Argument] = [schema.AsTensor(name) for name in outputs[0].names]
        if len(names) != len(results):
            raise OperatorError(
                f"castoff built {len(results)} results, the program has {len(names)}"
            )
    elif isinstance(result, (tuple, list)):
        results, names = result, outputs
    else:
        results, names = [result], outputs
    if len(results) < len(names):
        raise OperatorError(f"castoff built {len(results)} results, the program has {len(names)}")
    for argument, item in zip(names, results, strict=False):
        _bind_result(scope, argument, item)


def _bind_result(scope: Scope, argument: schema.Argument, item: Any) -> None:
    match argument:
        case schema.AsTensor(name) | schema.AsOptionalTensor(str(name)):
            if isinstance(item, TensorRef):
                scope.bind_tensor(name, item)
            elif item is not None:
                scope.bind_tensor(name, fresh(scope.builder.tensor(item)))
        case schema.AsTensors(names):
            for name, value in zip(names, item, strict=False):
                _bind_result(scope, schema.AsTensor(name), value)
        case (
            schema.AsSymInt(str(name)) | schema.AsSymFloat(str(name)) | schema.AsSymBool(str(name))
        ):
            scope.bind_scalar(name, _as_number(scope, argument, item))


def _as_number(scope: Scope, argument: schema.Argument, item: Any) -> ScalarBinding:
    """A value that the program goes on using as a Python number."""
    if isinstance(item, TensorRef):
        item = item.read(scope.builder)
    if isinstance(item, Value):
        item = WeakScalar(item)
    if isinstance(item, WeakScalar) and isinstance(argument, schema.AsSymInt):
        return read_integer(scope, argument, item.value)
    number: ScalarBinding = item
    return number


def read_integer(scope: Scope, argument: schema.AsSymInt, value: Value) -> SymExpr:
    """A 0-d integer value as a symbol, under the name and range it has in the file."""
    symbols = scope.context.symbols
    meta = scope.graph.sym_int_values.get(str(argument.value))
    name = symbols.single_symbol(meta) if isinstance(meta, schema.SymExpr) else None
    value = scope.builder.cast(value, DType.INT64)
    if name is None or symbols.knows(name):
        return scope.builder.read_symbol(value, -shapes.INFINITY, shapes.INFINITY)
    symbol = Symbol(name, *symbols.bounds(name))
    scope.builder.emit(ReadSymbol(symbol), value)
    expression = shapes.of_atom(symbol)
    symbols.define(name, expression)
    return expression


# ------------------------------------------------------------------------------- sizes and numbers


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
    name, _ = _first_tensor(scope, node)
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
    _bind_result(scope, node.outputs[0], value)


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


_Reader = Callable[[Scope, schema.Node, Sequence[Argued]], None]
_READERS: Mapping[str, _Reader] = {
    "aten.sym_size.int": _sym_size,
    "aten.sym_numel.default": _sym_numel,
    "aten.numel.default": _sym_numel,
    "aten.sym_stride.int": _sym_stride,
    "aten.sym_storage_offset.default": _sym_storage_offset,
    "aten.item.default": _item,
    "aten._local_scalar_dense.default": _item,
    "aten._assert_scalar.default": _assert_scalar,
}

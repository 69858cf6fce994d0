"""The nodes of a program, one by one: which function builds each, and what becomes of its
results."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from ..exported import schema
from ..ir import shapes
from ..ir.dtypes import DType, promote
from ..ir.graph import Value
from ..ir.shapes import Symbol
from ..ops.base import OperatorError, is_misdescribed
from ..ops.slicing import place_in_memory
from .arguments import (
    Argued,
    OperatorName,
    as_operand,
    decode,
    tensor_names,
)
from .control_flow import CONTROL_FLOW
from .forms import Form, find_form, functional_name
from .functionalize import TensorRef
from .inline import WRAPPERS, HigherOrder
from .origins import node_origin
from .results import bind_outputs, bind_results, first_tensor, output_names
from .scope import Scope
from .sizes import READERS, bind_number
from .symbolic_operators import apply_symbolic, find_symbolic_operator
from .vmap import import_vmap


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_CHANGES_METADATA = _names(
    """
    detach_ transpose_ t_ squeeze_ unsqueeze_ swapaxes_ swapdims_ as_strided_ movedim_
    moveaxis_ permute_ view_ resize_ resize_as_
    """
)
"""In-place operators that change how a tensor sees its memory, not the elements."""

_BY_MEMORY = _names("as_strided as_strided_copy as_strided_scatter resize resize_as")
"""Operators whose result depends on where the elements of a tensor lie."""

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
    profiler._record_function_exit aten.promote_types.default aten.result_type.Tensor
    aten.result_type.Scalar aten.result_type.Scalar_Tensor aten.result_type.Scalar_Scalar
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
    reader = READERS.get(target)
    if reader is not None:
        reader(scope, node, [decode(named.arg, scope) for named in node.inputs])
        return
    symbolic = find_symbolic_operator(target)
    if symbolic is not None:
        args: Any = [decode(named.arg, scope) for named in node.inputs]
        bind_number(scope, node, lambda: apply_symbolic(symbolic, args, scope.builder))
        return
    higher_order = _find_higher_order(target)
    if higher_order is not None:
        arguments = [decode(named.arg, scope) for named in node.inputs]
        results = higher_order(scope, arguments, import_nodes, node)
        bind_results(scope, node.outputs, results)
        return
    if target == "higher_order.with_effects":
        _import_with_effects(scope, node)
        return
    if target == "higher_order.out_dtype":
        _import_out_dtype(scope, node)
        return
    _import_operator(scope, node, target)


def _find_higher_order(target: str) -> HigherOrder | None:
    prefix, _, name = target.rpartition(".")
    if not prefix.endswith("higher_order"):
        return None
    return WRAPPERS.get(name) or CONTROL_FLOW.get(name)


def _import_with_effects(scope: Scope, node: schema.Node) -> None:
    """`with_effects(token, operator, *args)` gives the token, then what the operator gives."""
    token, operator, *rest = node.inputs
    token_value = decode(token.arg, scope)
    name = decode(operator.arg, scope)
    assert isinstance(token_value, TensorRef) and isinstance(name, OperatorName)
    bind_results(scope, node.outputs[:1], [token_value])
    inner = schema.Node(name.target, tuple(rest), node.outputs[1:], node.metadata)
    _import_node(scope, inner, name.target)


def _import_out_dtype(scope: Scope, node: schema.Node) -> None:
    """`out_dtype(operator, dtype, *args)` computes in the dtype, or what it and the tensors promote to."""
    operator, wanted, *rest = node.inputs
    name, dtype = decode(operator.arg, scope), decode(wanted.arg, scope)
    assert isinstance(name, OperatorName) and isinstance(dtype, DType)
    operands = [_operand(scope, decode(argument.arg, scope)) for argument in rest]
    common = dtype
    for x in operands:
        common = promote(common, x.dtype) if isinstance(x, Value) else common
    b = scope.builder
    wide = [b.cast(x, common) if isinstance(x, Value) else x for x in operands]
    result = find_form(name.target, [argument.name for argument in rest]).function(b, *wide)
    bind_results(scope, node.outputs, [b.cast(result, dtype)])


def _check_memory(scope: Scope, name: str, x: Value, *, is_absolute: bool) -> None:
    """Refuses to go by the memory of a tensor that lies there otherwise than PyTorch says it did."""
    if x.rank != len(recorded := scope.strides_of(name) or ()):
        return
    offset, strides = place_in_memory(scope.builder, x)
    begins = scope.storage_offset_of(name)
    if any(
        size not in (0, 1) and there is not None and shapes.is_equal(here, there) is False
        for here, there, size in zip(strides, recorded, x.shape, strict=True)
    ) or (is_absolute and begins is not None and shapes.is_equal(offset, begins) is False):
        raise OperatorError(
            f"{name} lay in memory from {begins} on with the strides {list(recorded)} when it was "
            "exported, and does not here: make it contiguous before its memory is looked at"
        )


def _import_operator(scope: Scope, node: schema.Node, target: str) -> None:
    inputs = (name for argument in node.inputs for name in tensor_names(argument.arg))
    if is_misdescribed(target) or any(scope.doubts(name) for name in inputs):
        scope.doubt(output_names(node.outputs))
    form = find_form(target, [argument.name for argument in node.inputs])
    if form.writes_self and isinstance(node.inputs[0].arg, schema.AsTensors):
        _change_in_turn(scope, node, form)
        return
    base_name = target.split(".")[1]
    positional: list[Any] = []
    named: dict[str, Any] = {}
    for argument in node.inputs:
        if argument.name in form.out:
            continue
        value = _operand(scope, decode(argument.arg, scope))
        if argument.name:
            named[argument.name] = value
        else:
            positional.append(value)
    if form.writes_self and "self" in named and not form.takes("self"):
        positional.insert(0, named.pop("self"))  # the functional form calls it otherwise
    if scope.autocast is not None:
        positional, named = scope.autocast.cast_arguments(
            target.removeprefix("aten."), positional, named, scope.builder.cast
        )
    try:
        result = form.function(scope.builder, *positional, **named)
    except TypeError as error:
        if "argument" not in str(error):
            raise
        raise OperatorError(f"this form of the operator is not supported ({error})") from error
    if base_name.rstrip("_") in _BY_MEMORY:
        name, ref = first_tensor(scope, node)
        x = ref.read(scope.builder)
        if result is not x:
            offset = named.get("storage_offset", positional[3] if len(positional) > 3 else None)
            _check_memory(scope, name, x, is_absolute=offset is not None)
    if form.out:
        _write_out(scope, node, form.out, result)
    elif base_name in _CHANGES_METADATA:
        name, _ = first_tensor(scope, node)
        bind_outputs(scope, node, form.target, result, named)
        for output in node.outputs:
            if isinstance(output, schema.AsTensor):
                scope.rebind_tensor(name, scope.tensor(output.name))
    elif functional_name(target) is not None:
        _, ref = first_tensor(scope, node)
        if form.writes_self:
            updated = result[0] if isinstance(result, (tuple, list)) else result
            scope.builder.write_ref(ref, scope.builder.tensor(updated))
        bind_results(scope, node.outputs, [ref])
    else:
        bind_outputs(scope, node, target, result, named)


def _change_in_turn(scope: Scope, node: schema.Node, form: Form) -> None:
    """Change the tensors of a list in place, each by its own of every other list: one after the other,
    since what changes one may be read for the next."""
    given = {argument.name: decode(argument.arg, scope) for argument in node.inputs}
    changed = given[node.inputs[0].name]
    assert isinstance(changed, list), "an operator on lists of tensors"
    for number, ref in enumerate(changed):
        assert isinstance(ref, TensorRef), "an element of a list of tensors"
        own = {
            name: x[number : number + 1] if isinstance(x, list) else x for name, x in given.items()
        }
        operands = {name: _operand(scope, x) for name, x in own.items()}
        (result,) = form.function(scope.builder, **operands)
        scope.builder.write_ref(ref, result)


def _write_out(scope: Scope, node: schema.Node, names: Sequence[str], result: Any) -> None:
    """Store results in the tensors passed as out=, which are then what the operator gives."""
    results = result if isinstance(result, (tuple, list)) else [result]
    refs = [decode(argument.arg, scope) for argument in node.inputs if argument.name in names]
    for ref, value in zip(refs, results, strict=True):
        if not isinstance(ref, TensorRef):
            raise OperatorError("out= is no tensor")
        current = ref.read(scope.builder)
        if value.rank != current.rank:
            raise OperatorError(f"out= of the type {current.type} for a result of {value.type}")
        scope.builder.write_ref(ref, value)
    bind_results(scope, node.outputs, refs)


def _operand(scope: Scope, argument: Argued) -> Any:
    if isinstance(argument, TensorRef):
        return scope.builder.argument(argument)
    if isinstance(argument, list):
        return [_operand(scope, item) for item in argument]
    if isinstance(argument, dict):
        return {key: _operand(scope, item) for key, item in argument.items()}
    return as_operand(argument, scope.builder)

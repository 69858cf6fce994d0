"""What becomes of the results of a node: new tensors, views of the arguments, numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..exported import schema
from ..ir import shapes
from ..ir.dtypes import DType
from ..ir.graph import Value
from ..ir.shapes import Symbol, SymExpr
from ..ops.base import OperatorError, WeakScalar, is_aliasing
from ..ops.symbols import ReadSymbol
from ..ops.view import Reshape
from .arguments import ScalarBinding
from .functionalize import TensorRef, fresh, view_strides
from .scope import Scope
from .symbols import symbol_name


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_MAY_COPY = _names(
    """
    reshape reshape_as contiguous flatten unflatten ravel to type_as float double half
    bfloat16 int long bool expand_as _reshape_alias view_as
    """
)
"""Operators whose result shares memory with the argument only where strides and arguments allow."""


_LEAVES_EMPTY = _names("_embedding_bag _embedding_bag_forward_only embedding_bag")
"""Operators some of whose results PyTorch leaves empty where its kernel does not need them."""


def first_tensor(scope: Scope, node: schema.Node) -> tuple[str, TensorRef]:
    for argument in node.inputs:
        if isinstance(argument.arg, schema.AsTensor):
            return argument.arg.name, scope.tensor(argument.arg.name)
    raise OperatorError("an in-place operator or view without a tensor")


def bind_outputs(
    scope: Scope, node: schema.Node, target: str, result: Any, named: Mapping[str, Any]
) -> None:
    """Bind an operator's results: to memory of their own, or to the first argument's where it is a
    view of it."""
    if not is_aliasing(target):
        if target.split(".")[1] in _LEAVES_EMPTY:
            result = [
                _as_empty(scope, name, value)
                for name, value in zip(output_names(node.outputs), result, strict=False)
            ]
        bind_results(scope, node.outputs, result)
        return
    name, base = first_tensor(scope, node)
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

    outputs = output_names(node.outputs)
    if isinstance(result, (tuple, list)):
        refs: Any = [aliased(item, output) for item, output in zip(result, outputs, strict=False)]
    else:
        refs = aliased(result, outputs[0] if outputs else "")
    bind_results(scope, node.outputs, refs)


def _as_empty(scope: Scope, name: str, value: Value) -> Value:
    """A result without elements where the file has none for it."""
    shape = scope.shape_of(name)
    if shape is None or 0 not in shape or None in shape or len(shape) != value.rank:
        return value
    return scope.builder.full([size for size in shape if size is not None], 0, value.dtype)


def output_names(outputs: Sequence[schema.Argument]) -> list[str]:
    """The tensors among the outputs of a node; an empty name for what is none."""
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


def bind_results(scope: Scope, outputs: Sequence[schema.Argument], result: Any) -> None:
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
    if _is_misdescribed(scope, names, results):
        scope.doubt(output_names(names))
    for argument, item in zip(names, results, strict=False):
        bind_result(scope, argument, item)


def _is_misdescribed(
    scope: Scope, outputs: Sequence[schema.Argument], results: Sequence[Any]
) -> bool:
    """Whether the file contradicts itself about a node, so that it is not believed about its other
    results either: `unique_consecutive(dim=-1)`."""
    return any(
        isinstance(argument, schema.AsTensor)
        and isinstance(value, Value)
        and scope.records_wrong_rank(argument.name, value)
        for argument, value in zip(outputs, results, strict=False)
    )


def bind_result(scope: Scope, argument: schema.Argument, item: Any) -> None:
    match argument:
        case schema.AsTensor(name) | schema.AsOptionalTensor(str(name)):
            if item is None:
                return
            ref = item if isinstance(item, TensorRef) else fresh(scope.builder.tensor(item))
            if scope.reads(name):
                scope.bind_tensor(name, ref)
            else:  # its type does not matter: PyTorch leaves some results empty that we fill
                scope.rebind_tensor(name, ref)
        case schema.AsTensors(names):
            for name, value in zip(names, item, strict=False):
                bind_result(scope, schema.AsTensor(name), value)
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
    symbol = Symbol(symbol_name(name), *symbols.bounds(name))
    scope.builder.emit(ReadSymbol(symbol), value)
    expression = shapes.of_atom(symbol)
    symbols.define(name, expression)
    return expression

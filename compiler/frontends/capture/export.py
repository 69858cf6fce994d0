"""`castoff.export`: a NumPy callable or a `castoff.Module`, run once on tracer arrays."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ...errors import CaptureError
from ...exported import schema
from ...exported.program import ExampleInputs, ExportedProgram
from ...exported.tensors import TensorData, tensor_of_array
from ...exported.verifier import verify_program
from ...ir import shapes
from ...ir.graph import TensorType
from ...ir.shapes import Dim as Size
from ...ops import load_all
from ..graph_writer import SCALAR_TYPES
from .array import TracedArray, traced
from .dims import (
    AxisSpecs,
    DerivedDim,
    Dim,
    DimHint,
    SizeSpec,
    check_range,
    leaf_specs,
    root_example,
)
from .module import Module
from .outputs import finished_graph
from .pytrees import leaves_of, namedtuples_in, treespec_of, with_leaves
from .recorder import Recorder, dtype_of
from .sizes import Size as KnownSize
from .sizes import Specialised
from .state import CapturedState

_OPSET = {"aten": 10}


def export(
    f: Callable[..., Any],
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    dynamic_shapes: object = None,
) -> ExportedProgram:
    """The program that `f(*args, **kwargs)` computes.

    f: a function of NumPy arrays, or a `castoff.Module`. It is run on stand-ins for the arrays that
        record what is done to them; arrays that it reads otherwise (globals, closures) become
        constants, Python numbers and texts among the arguments are fixed at these values.
    args, kwargs: example arguments, in any containers; of arrays only type and shape matter.
    dynamic_shapes: what varies, as for torch.export: by name of the argument or in order, and within
        that in the form of the argument, `{axis: castoff.Dim("batch")}` for each array. The function
        runs again for each size left to `Dim.AUTO` that turns out to be fixed.

    Raises `CaptureError`, with the user's line, for what cannot be captured.
    """
    if not callable(f):
        raise CaptureError(f"expected a function or a castoff.Module, got {type(f).__name__}")
    if np.lib.NumpyVersion(np.__version__) < "2.0.0":
        raise CaptureError(f"capturing NumPy functions needs NumPy 2, this is {np.__version__}")
    load_all()
    fixed: frozenset[str] = frozenset()
    while True:
        try:
            return _Capture(f, tuple(args), dict(kwargs or {}), dynamic_shapes, fixed).run()
        except Specialised as specialised:
            fixed |= specialised.symbols


class _Capture:
    def __init__(
        self,
        f: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        dynamic_shapes: object,
        fixed: frozenset[str],
    ) -> None:
        self._f, self._args, self._kwargs = f, args, kwargs
        self._fixed = fixed
        self._recorder = Recorder()
        self._named = _named_arguments(f, args, kwargs)
        self._specs = _argument_specs(dynamic_shapes, self._named)
        self._symbols: dict[str, KnownSize] = {}
        self._inputs: list[tuple[schema.InputSpec, schema.Argument]] = []
        self._passed: list[tuple[str, TracedArray]] = []

    def run(self) -> ExportedProgram:
        recorder = self._recorder
        module = self._f if isinstance(self._f, Module) else None
        with CapturedState(recorder, module) as state:
            args, kwargs = self._traced_arguments()
            result = run_captured(self._f, args, kwargs)
            outputs = finished_graph(recorder, result, self._passed, state)
        recorder.is_closed = True
        constants = list(recorder.constants.values())
        inputs = [*state.inputs, *((
            schema.TensorConstantInput(c.tensor.name, c.name), schema.AsTensor(c.tensor.name)
        ) for c in constants), *self._inputs]  # fmt: skip
        stored: dict[str, TensorData] = {**state.constants, **{c.name: c.data for c in constants}}
        signature = schema.ModuleCallSignature(
            (),
            (),
            treespec_of((self._args, self._kwargs)),
            treespec_of(result),
            tuple(self._names()),
        )
        program = ExportedProgram(
            graph=recorder.writer.graph(
                [argument for _, argument in inputs], outputs.arguments, is_pure=True
            ),
            graph_signature=schema.GraphSignature(
                tuple(spec for spec, _ in inputs), tuple(outputs.specs)
            ),
            state_dict=state.saved,
            constants=stored,
            range_constraints=recorder.texts.ranges,
            module_call_graph=(
                schema.ModuleCallEntry("", signature),
                *(schema.ModuleCallEntry(name) for name in state.module_names),
            ),
            guards_code=tuple(recorder.sizes.guards),
            opset_version=_OPSET,
            schema_version=schema.SchemaVersion(*schema.SCHEMA_VERSION),
            torch_version="",
            dialect="ATEN",
            example_inputs=ExampleInputs(self._example(self._args), self._example(self._kwargs)),
            treespec_namedtuple_fields=dict(namedtuples_in((self._args, self._kwargs, result))),
        )
        verify_program(program, "the captured program")
        return program

    def _names(self) -> Iterator[str]:
        """Names of the arguments as they are passed, positional ones first."""
        names = [name for name, _ in self._named]
        yield from names[: len(self._args)]
        yield from self._kwargs

    def _example(self, value: Any) -> Any:
        leaves = (_stored_example(leaf) for _, leaf in leaves_of(value))
        return with_leaves(value, leaves)

    # ---- arguments

    def _traced_arguments(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments with stand-ins for their arrays."""
        leaves: list[object] = []
        for (name, value), spec in zip(self._named, self._specs, strict=True):
            specs = leaf_specs(spec, value, name)
            for (path, leaf), axes in zip(leaves_of(value, name), specs, strict=True):
                leaves.append(self._traced_leaf(path, leaf, axes))
        given = iter(leaves)
        args, kwargs = with_leaves((self._args, self._kwargs), given)
        return args, kwargs

    def _traced_leaf(self, path: str, leaf: Any, axes: AxisSpecs) -> object:
        if isinstance(leaf, (np.ndarray, np.generic)):
            return self._traced_array(path, np.asarray(leaf), axes)
        if leaf is None or isinstance(leaf, (bool, int, float, str)):
            name = self._recorder.writer.unique(_identifier(path))
            self._inputs.append((schema.ConstantInput(name, leaf), _literal(leaf)))
            return leaf
        raise CaptureError(
            f"argument {path}: expected arrays, numbers, texts, None and containers of them, got "
            f"{type(leaf).__module__}.{type(leaf).__qualname__}"
        )

    def _traced_array(self, path: str, array: np.ndarray, axes: AxisSpecs) -> TracedArray:
        dtype = dtype_of(array.dtype, f"argument {path}")
        name = self._recorder.writer.unique(_identifier(path))
        self._recorder.writer.taken.discard(name)
        sizes: list[Size] = []
        for axis, size in enumerate(array.shape):
            where = f"dynamic_shapes of {path}, axis {axis}"
            sizes.append(self._size(name, axes.get(axis), size, axis, where))
        tensor = self._recorder.input(name, TensorType(dtype, tuple(sizes)))
        argument = schema.AsTensor(tensor.name)
        self._inputs.append((schema.UserInput(argument), argument))
        array_in = traced(self._recorder, tensor)
        self._passed.append((tensor.name, array_in))
        return array_in

    def _size(self, name: str, spec: SizeSpec, size: int, axis: int, where: str) -> Size:
        """The size of one axis: a number, or a symbol or what follows from one."""
        source = f"L['{name}'].size()[{axis}]"
        match spec:
            case None | DimHint.STATIC:
                return size
            case int():
                if spec != size:
                    raise CaptureError(f"{where}: it is {size} in the example, not {spec}")
                return size
            case DimHint():
                is_promised = spec is DimHint.DYNAMIC
                label = f"{name}.shape[{axis}]"
                return self._symbol(label, 0, None, size, source, where, is_promised)
            case Dim():
                check_range(spec, size, where)
                return self._symbol(spec.name, spec.min, spec.max, size, source, where)
            case DerivedDim(root, factor, offset):
                example = root_example(spec, size, where)
                check_range(root, example, where)
                source = f"({source} - {offset}) // {factor}"
                symbol = self._symbol(root.name, root.min, root.max, example, source, where)
                return factor * symbol + offset

    def _symbol(
        self, label: str, low: int, high: int | None, example: int, source: str, where: str,
        is_promised: bool = True,
    ) -> Size:  # fmt: skip
        """The symbol of a name, made where the name is first met."""
        known = self._symbols.get(label)
        if known is None:
            number = f"s{len(self._symbols)}"
            # A minimum of up to 2 is what exporters write without meaning it: readers take it for 0.
            read_low = 0 if low <= 2 else low
            symbol = shapes.Symbol(number, read_low, shapes.INFINITY if high is None else high)
            known = KnownSize(symbol, label, source, example, is_promised, low)
            self._symbols[label] = known
            if number not in self._fixed:
                self._recorder.add_size(known)
        if known.example != example:
            raise CaptureError(f"{where}: {label} is {example} here, and {known.example} before")
        return example if known.symbol.name in self._fixed else shapes.of_atom(known.symbol)


def run_captured(f: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> object:
    """Calls the user's function; whatever its code raises is raised."""
    try:
        return f(*args, **kwargs)
    except (TypeError, ValueError) as error:  # in which NumPy wraps what conversions raise
        if isinstance(error.__cause__, (CaptureError, Specialised)):
            raise error.__cause__ from None
        raise


def _named_arguments(
    f: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> list[tuple[str, Any]]:
    """Every argument that is passed, with the name of its parameter, in the order of the call."""
    called = f.forward if isinstance(f, Module) else f
    try:
        signature = inspect.signature(called)
    except (TypeError, ValueError):
        return [*((f"args_{i}", x) for i, x in enumerate(args)), *kwargs.items()]
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        raise CaptureError(f"the example arguments do not fit {_called(f)}: {error}") from None
    positional: list[str] = []
    for name, parameter in signature.parameters.items():
        if parameter.kind is parameter.VAR_POSITIONAL:
            positional += [f"{name}_{i}" for i in range(len(args) - len(positional))]
        elif parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            positional.append(name)
    return [*zip(positional, args, strict=False), *kwargs.items()]


def _called(f: object) -> str:
    return type(f).__name__ if isinstance(f, Module) else getattr(f, "__name__", repr(f))


def _argument_specs(dynamic_shapes: object, named: Sequence[tuple[str, Any]]) -> list[object]:
    """What `dynamic_shapes` says of each argument."""
    names = [name for name, _ in named]
    if dynamic_shapes is None:
        return [None] * len(names)
    if isinstance(dynamic_shapes, Mapping):
        unknown = [name for name in dynamic_shapes if name not in names]
        if unknown:
            raise CaptureError(
                f"dynamic_shapes: no such argument {', '.join(map(repr, unknown))}; the arguments are "
                f"{', '.join(names)}"
            )
        return [dynamic_shapes.get(name) for name in names]
    if isinstance(dynamic_shapes, (tuple, list)):
        if len(dynamic_shapes) != len(names):
            raise CaptureError(
                f"dynamic_shapes: {len(dynamic_shapes)} entries for {len(names)} arguments "
                f"({', '.join(names)})"
            )
        return list(dynamic_shapes)
    raise CaptureError(f"dynamic_shapes: expected a dict or a tuple, got {dynamic_shapes!r}")


def _identifier(path: str) -> str:
    text = "".join(c if c.isalnum() or c == "_" else "_" for c in path)
    return text if text.isidentifier() else f"arg_{text}"


def _literal(value: object) -> schema.Argument:
    match value:
        case None:
            return schema.AsNone()
        case bool():
            return schema.AsBool(value)
        case int():
            return schema.AsInt(value)
        case float():
            return schema.AsFloat(value)
        case str():
            return schema.AsString(value)
    raise AssertionError("the caller has looked at the type")


def _stored_example(leaf: Any) -> object:
    if not isinstance(leaf, (np.ndarray, np.generic)):
        return leaf
    array = np.asarray(leaf)
    dtype = dtype_of(array.dtype)
    return tensor_of_array(array.astype(dtype.numpy), SCALAR_TYPES[dtype], "example")

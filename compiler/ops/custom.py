"""Operators of the user's own: a schema, a function of types, C source, a NumPy reference.

`castoff.register_custom_op` makes a target of them, as if castoff had it.
`templates/common/custom.h` says how the C function is called. Packages register theirs by an entry
point of the group `castoff.ops`: a function without parameters, or a module that registers when it
is imported.
"""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np

from ...runtime.errors import CastoffError
from .. import kernels
from ..ir.dtypes import DType
from ..ir.graph import TensorType, Value
from ..ir.shapes import Dim, SymExpr
from ..kernels import Definition
from ..records import dataclass
from .base import Builder, Environment, Op, OperatorError, WeakScalar, find_target, target
from .function_schema import FunctionSchema, SchemaParameter, parse_schema

ENTRY_POINTS = "castoff.ops"

InferFunction = Callable[..., TensorType | Sequence[TensorType]]
"""Gets the arguments of the operator with a `TensorType` for every tensor; gives the type of each
result."""
ReferenceFunction = Callable[..., Any]
"""Gets the arguments of the operator with an array for every tensor; gives an array for each
result."""


class RegistrationError(CastoffError):
    """A custom operator that cannot be registered; the message says why in one sentence."""


class NoReferenceError(OperatorError, NotImplementedError):
    """A custom operator without a NumPy reference was to be run by the reference interpreter."""


@dataclass(frozen=True, slots=True)
class CustomOperator:
    """A registered operator."""

    schema: FunctionSchema
    infer: InferFunction
    c_source: str
    cuda_source: str
    reference: ReferenceFunction | None

    @property
    def name(self) -> str:
        """`mylib::scale`"""
        return self.schema.qualified_name


@dataclass(frozen=True, slots=True)
class Tensors:
    """Stands for tensors among the arguments: `count` inputs from `first` on, or with None that one
    input; an absent one is -1."""

    first: int
    count: int | None


Argument = Tensors | DType | Dim | float | str | tuple[Dim | float, ...] | None


@dataclass(frozen=True, slots=True)
class Custom(Op):
    """A call of a custom operator; `arguments` has one entry for each parameter of the schema."""

    operator: CustomOperator
    arguments: tuple[Argument, ...]

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        name = self.operator.name
        positional, named = self._call(inputs, lambda argument: argument)
        try:
            result = self.operator.infer(*positional, **named)
        except CastoffError:
            raise
        except Exception as error:
            raise OperatorError(f"infer of {name}: {type(error).__name__}: {error}") from error
        types = tuple(result) if isinstance(result, (tuple, list)) else (result,)
        due = self.operator.schema.results
        if len(types) != due or not all(isinstance(each, TensorType) for each in types):
            raise OperatorError(f"infer of {name} gave {result!r} where {due} TensorType are due")
        return types

    def reference(self, env: Environment, *inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        function = self.operator.reference
        if function is None:
            raise NoReferenceError(f"{self.operator.name} was registered without reference=")

        def concrete(argument: Argument) -> object:
            if isinstance(argument, tuple):
                return [concrete(item) for item in argument]
            return env.size(argument) if isinstance(argument, SymExpr) else argument

        positional, named = self._call(inputs, concrete)
        result = function(*positional, **named)
        return tuple(result) if isinstance(result, (tuple, list)) else (result,)

    def define(
        self, inputs: tuple[Value, ...], outputs: tuple[Value, ...]
    ) -> tuple[Definition, ...]:
        if not self.operator.c_source:
            raise OperatorError(
                f"{self.operator.name} was registered with cuda_source= alone; "
                "for the CPU it needs c_source="
            )
        schema = self.operator.schema
        arguments: list[kernels.Argument] = [
            kernels.Tensors(is_output=False), kernels.Tensors(is_output=True),
        ]  # fmt: skip
        for parameter, argument in zip(schema.parameters, self.arguments, strict=True):
            arguments += _c_arguments(parameter, argument)
        call = kernels.LibraryCall(
            schema.c_name,
            (f"custom/{schema.c_name}.h",),
            tuple(arguments),
            f"{self.operator.name} failed",
            (kernels.HeaderText(f"custom/{schema.c_name}.h", header_text(self.operator)),),
        )
        return (call,)

    def _call(
        self, inputs: Sequence[Any], scalar: Callable[[Any], Any]
    ) -> tuple[list[Any], dict[str, Any]]:
        """The arguments for a function with the schema's parameters."""
        positional: list[Any] = []
        named: dict[str, Any] = {}
        for parameter, argument in zip(
            self.operator.schema.parameters, self.arguments, strict=True
        ):
            value: Any
            match argument:
                case Tensors(first, None):
                    value = inputs[first] if first >= 0 else None
                case Tensors(first, int(count)):
                    value = list(inputs[first : first + count])
                case _:
                    value = scalar(argument)
            if parameter.is_keyword_only:
                named[parameter.name] = value
            else:
                positional.append(value)
        return positional, named

    def __str__(self) -> str:
        return self.operator.name


def register_custom_op(
    name: str,
    schema: str,
    infer: InferFunction,
    *,
    c_source: str | None = None,
    cuda_source: str | None = None,
    reference: ReferenceFunction | None = None,
) -> CustomOperator:
    """Make an operator that castoff does not know known to it.

    name: "mylib::scale", as in PyTorch; "mylib::scale.wide" for an overload.
    schema: in PyTorch's language, "mylib::scale(Tensor x, float factor=2.0) -> Tensor". It takes
        tensors, numbers, strings and lists of numbers and gives new tensors: it changes no
        argument, and equal calls give equal results.
    infer: gets the arguments, a `castoff.TensorType` for every tensor (with sizes that may be
        symbolic), and gives the `TensorType` of the result, or a tuple of them.
    c_source: C11 text that defines `int mylib_scale(…)` with the parameters that
        `templates/common/custom.h` describes. It is compiled into every artefact that uses the
        operator, once per CPU level.
    cuda_source: the same for CUDA; kept for when a program is compiled for CUDA.
    reference: the operator on NumPy arrays, for `castoff verify` and the reference interpreter;
        where all of its inputs are constants, for the compiler too.

    Registering the same again does nothing. Raises `RegistrationError`, or `SchemaError` for the
    schema.
    """
    from . import load_families

    load_families()
    parsed = parse_schema(name, schema)
    if not (c_source or "").strip() and not (cuda_source or "").strip():
        raise RegistrationError(f"{name} has no source: give c_source= or cuda_source=")
    if parsed.base.endswith("_"):
        raise RegistrationError(
            f"{name} ends with an underscore, which means that it changes its argument; "
            "custom operators do not"
        )
    operator = CustomOperator(parsed, infer, c_source or "", cuda_source or "", reference)
    _check_source(operator)
    known = find_custom_op(name)
    if known is not None:
        if known == operator:
            return known
        raise RegistrationError(f"{name} is already registered as another custom operator")
    if find_target(parsed.target) is not None:
        raise RegistrationError(
            f"{name} is an operator that castoff has built in ({parsed.target})"
        )
    clash = next((o for o in _OPERATORS.values() if o.schema.c_name == parsed.c_name), None)
    if clash is not None:
        raise RegistrationError(
            f"{name} and {clash.name} would both be called {parsed.c_name} in C"
        )
    _OPERATORS[name] = operator
    target(parsed.target)(_target_function(operator))
    return operator


_OPERATORS: dict[str, CustomOperator] = {}


def find_custom_op(name: str) -> CustomOperator | None:
    """The custom operator of a name (`mylib::scale`), if one is registered."""
    return _OPERATORS.get(name)


@cache
def load_packages() -> None:
    """Let installed packages register their operators, once."""
    for entry in sorted(importlib.metadata.entry_points(group=ENTRY_POINTS), key=lambda e: e.name):
        try:
            loaded: object = entry.load()
            if callable(loaded) and not isinstance(loaded, ModuleType):
                loaded()
        except Exception as error:
            raise RegistrationError(
                f"the entry point {entry.name} = {entry.value} ({ENTRY_POINTS}) failed: {error}"
            ) from error


# ------------------------------------------------------------------------------- building calls


def _target_function(operator: CustomOperator) -> Callable[..., Any]:
    """What the importer calls: the schema's signature, tensors as values."""
    signature = operator.schema.signature

    def build(b: Builder, *positional: Any, **named: Any) -> Any:
        bound = signature.bind(*positional, **named)
        bound.apply_defaults()
        inputs: list[Value] = []
        arguments = tuple(
            _argument(b, operator, parameter, bound.arguments[parameter.name], inputs)
            for parameter in operator.schema.parameters
        )
        outputs = b.emit(Custom(operator, arguments), *inputs)
        return outputs[0] if len(outputs) == 1 else outputs

    return build


def _argument(
    b: Builder,
    operator: CustomOperator,
    parameter: SchemaParameter,
    given: Any,
    inputs: list[Value],
) -> Argument:
    """One argument; its tensors are added to the inputs."""
    first = len(inputs)
    match parameter.kind:
        case "Tensor" | "Tensor?":
            if given is None:
                return Tensors(-1, None)
            inputs.append(b.tensor(given))
            return Tensors(first, None)
        case "Tensor[]":
            inputs.extend(b.tensor(item) for item in given)
            return Tensors(first, len(inputs) - first)
    items = given if isinstance(given, (list, tuple)) else [given]
    for item in items:
        if isinstance(item, (WeakScalar, Value, complex)):
            raise OperatorError(
                f"{operator.name}: {parameter.name} has to be known when the program is "
                "compiled; make it a Tensor in the schema"
            )
        if isinstance(item, SymExpr) and not parameter.kind.startswith("int"):
            raise OperatorError(
                f"{operator.name}: {parameter.name} is a symbolic size; "
                "make it a SymInt in the schema"
            )
    if isinstance(given, (list, tuple)):
        return tuple(given)
    argument: Argument = given
    return argument


# ----------------------------------------------------------------------------------- the C side


def _c_arguments(parameter: SchemaParameter, argument: Argument) -> list[kernels.Argument]:
    """What is passed for a parameter, in the order of `_c_parameters`."""
    kind = parameter.kind
    if kind == "Tensor[]":
        assert isinstance(argument, Tensors) and argument.count is not None, "a list of tensors"
        return [kernels.Size(argument.count)]
    if kind == "Tensor":
        return []
    if kind == "Tensor?":
        assert isinstance(argument, Tensors), "a tensor or none"
        return [kernels.Size(int(argument.first >= 0))]
    if kind.endswith("[]"):
        items = argument if isinstance(argument, tuple) else ()
        if kind == "float[]":
            return [kernels.Reals(tuple(map(float, items))), kernels.Size(len(items))]  # type: ignore[arg-type]
        return [kernels.Sizes(tuple(map(_whole, items))), kernels.Size(len(items))]
    present: list[kernels.Argument] = (
        [kernels.Size(int(argument is not None))] if kind.endswith("?") else []
    )
    match kind.removesuffix("?"):
        case "float":
            return [*present, kernels.Real(float(argument or 0))]  # type: ignore[arg-type]
        case "str":
            return [*present, kernels.Text(str(argument or ""))]
        case "ScalarType":
            code = DTYPE_CODES[argument] if isinstance(argument, DType) else -1
            return [*present, kernels.Size(code)]
    return [*present, kernels.Size(_whole(argument) if argument is not None else 0)]


def _whole(number: object) -> Dim:
    return number if isinstance(number, SymExpr) else int(number)  # type: ignore[call-overload]


_C_TYPES: Mapping[str, str] = {
    "int": "int64_t", "bool": "int", "float": "double", "str": "const char *", "ScalarType": "int",
}  # fmt: skip


def _c_parameters(parameter: SchemaParameter) -> list[str]:
    name, kind = parameter.name, parameter.kind
    if kind == "Tensor":
        return []
    if kind == "Tensor[]":
        return [f"int64_t {name}_count"]
    if kind == "Tensor?":
        return [f"int has_{name}"]
    if kind.endswith("[]"):
        element = "double" if kind == "float[]" else "int64_t"
        return [f"const {element} *{name}", f"int64_t {name}_count"]
    ctype = _C_TYPES[kind.removesuffix("?")]
    present = [f"int has_{name}"] if kind.endswith("?") else []
    return [*present, ctype + ("" if ctype.endswith("*") else " ") + name]


def c_prototype(schema: FunctionSchema) -> str:
    """The declaration of the C function of an operator, without its semicolon."""
    parameters = ["const castoff_operand *inputs", "const castoff_operand *outputs"]
    for parameter in schema.parameters:
        parameters += _c_parameters(parameter)
    return f"int {schema.c_name}({', '.join(parameters)})"


def header_text(operator: CustomOperator) -> str:
    """The source of an operator as a header of the generated program.

    The declaration makes the function local to the unit, as each CPU level has its own, and holds
    the source to the calling convention.
    """
    name = operator.schema.c_name
    guard = f"CASTOFF_CUSTOM_{name.upper()}_H"
    source = operator.c_source if operator.c_source.endswith("\n") else operator.c_source + "\n"
    return (
        f"/* {operator.name}: a custom operator. */\n#ifndef {guard}\n#define {guard}\n\n"
        f'#include "common/custom.h"\n\nstatic {c_prototype(operator.schema)};\n\n'
        f'#line 1 "{name}.c"\n{source}\n#endif\n'
    )


DTYPE_CODES: Mapping[DType, int] = {dtype: code for code, dtype in enumerate(DType)}
"""`enum castoff_dtype` of `custom.h`."""

_INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*"([^"\n]+)"', re.MULTILINE)


def _check_source(operator: CustomOperator) -> None:
    source, name = operator.c_source, operator.schema.c_name
    if not source:
        return
    if not re.search(rf"\b{name}\s*\(", source):
        raise RegistrationError(f"the C source of {operator.name} does not define {name}()")
    included = next((path for path in _INCLUDE.findall(source) if path != "common/custom.h"), None)
    if included is not None:
        raise RegistrationError(
            f'the C source of {operator.name} includes "{included}"; '
            "it can include system headers alone"
        )


__all__ = [
    "Custom",
    "CustomOperator",
    "NoReferenceError",
    "RegistrationError",
    "c_prototype",
    "find_custom_op",
    "load_packages",
    "register_custom_op",
]

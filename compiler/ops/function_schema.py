"""PyTorch's schema language, as far as custom operators use it.

`mylib::scale(Tensor x, float factor=2.0) -> Tensor`
"""

from __future__ import annotations

import ast
import inspect
import re

from ...runtime.errors import CastoffError
from ..records import dataclass
from ..schema_text import split_at_commas


class SchemaError(CastoffError):
    """A schema that cannot be read, or that says what custom operators cannot do."""


TENSOR_KINDS = ("Tensor", "Tensor?", "Tensor[]")
SCALAR_KINDS = ("int", "float", "bool", "str", "ScalarType")
KINDS = (
    *TENSOR_KINDS,
    *SCALAR_KINDS,
    *(f"{kind}?" for kind in SCALAR_KINDS),
    *(f"{kind}[]" for kind in ("int", "float", "bool")),
)
"""Types of parameters. SymInt is read as int, Scalar as float, `int[2]` as `int[]`."""


@dataclass(frozen=True, slots=True)
class SchemaParameter:
    """One parameter: its type, one of `KINDS`, and its default (lists as tuples;
    `inspect.Parameter.empty` for none)."""

    name: str
    kind: str
    default: object
    is_keyword_only: bool


@dataclass(frozen=True, slots=True)
class FunctionSchema:
    """What a schema says. `results` counts the tensors that are returned."""

    namespace: str
    base: str
    overload: str
    parameters: tuple[SchemaParameter, ...]
    results: int

    @property
    def qualified_name(self) -> str:
        """`mylib::scale`, or `mylib::scale.wide` for an overload."""
        return f"{self.namespace}::{self.base}" + (f".{self.overload}" if self.overload else "")

    @property
    def target(self) -> str:
        """The name in exported programs: `mylib.scale.default`."""
        return f"{self.namespace}.{self.base}.{self.overload or 'default'}"

    @property
    def c_name(self) -> str:
        """The name of the C function: `mylib_scale`, or `mylib_scale_wide` for an overload."""
        return "_".join(part for part in (self.namespace, self.base, self.overload) if part)

    @property
    def signature(self) -> inspect.Signature:
        """The parameters as Python's."""
        kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
        return inspect.Signature(
            [
                inspect.Parameter(p.name, kinds[p.is_keyword_only], default=p.default)
                for p in self.parameters
            ]
        )


_NAME = re.compile(r"([A-Za-z_]\w*)::([A-Za-z_]\w*)(?:\.([A-Za-z_]\w*))?")
_PARAMETER = re.compile(
    r"(?P<type>[A-Za-z]+)(?P<alias>\([^)]*\))?(?P<suffix>(?:\[\d*\]|\?)*)\s+(?P<name>[A-Za-z_]\w*)"
    r"\s*(?:=\s*(?P<default>.+))?"
)


def parse_schema(name: str, schema: str) -> FunctionSchema:
    """The schema of the operator `name`; it may leave the name out: `(Tensor x) -> Tensor`.

    Raises `SchemaError`, in one sentence.
    """
    head = _NAME.fullmatch(name)
    if head is None:
        raise SchemaError(f"{name!r} is no operator's name: expected `namespace::name`")
    called, parenthesis, rest = schema.partition("(")
    if called.strip() not in ("", name):
        raise SchemaError(f"the schema of {name} names another operator, {called.strip()!r}")
    inside, arrow, returned = rest.rpartition("->")
    inside = inside.strip()
    if not parenthesis or not arrow or not inside.endswith(")"):
        raise SchemaError(
            f"the schema of {name} does not read `name(Type x, …) -> Type`: {schema!r}"
        )
    parameters: list[SchemaParameter] = []
    is_keyword_only = False
    for text in split_at_commas(inside[:-1]):
        if text == "*":
            is_keyword_only = True
            continue
        parameters.append(_parameter(name, text, is_keyword_only))
    _check_order(name, parameters)
    return FunctionSchema(
        head[1], head[2], head[3] or "", tuple(parameters), _result_count(name, returned.strip())
    )


def _parameter(name: str, text: str, is_keyword_only: bool) -> SchemaParameter:
    match = _PARAMETER.fullmatch(text)
    if match is None:
        raise SchemaError(
            f"the schema of {name} has a parameter that does not read `Type x`: {text!r}"
        )
    if match["alias"]:
        raise SchemaError(
            f"the schema of {name} says that {match['name']} is changed or aliased; "
            "custom operators give new tensors"
        )
    base = {"SymInt": "int", "Scalar": "float"}.get(match["type"], match["type"])
    kind = base + re.sub(r"\[\d+\]", "[]", match["suffix"])
    if kind not in KINDS:
        raise SchemaError(
            f"the schema of {name} has the type {match['type'] + match['suffix']} for "
            f"{match['name']}; custom operators take {', '.join(KINDS)}"
        )
    default: object = inspect.Parameter.empty
    if match["default"] is not None:
        default = _default(name, match["default"].strip())
    return SchemaParameter(match["name"], kind, default, is_keyword_only)


def _default(name: str, text: str) -> object:
    if text in ("inf", "-inf", "nan"):
        return float(text)
    try:
        value: object = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        raise SchemaError(
            f"the schema of {name} has a default that is no constant: {text!r}"
        ) from None
    return tuple(value) if isinstance(value, list) else value


def _check_order(name: str, parameters: list[SchemaParameter]) -> None:
    names = [parameter.name for parameter in parameters]
    repeated = next((each for each in names if names.count(each) > 1), None)
    if repeated is not None:
        raise SchemaError(f"the schema of {name} has two parameters called {repeated}")
    positional = [parameter for parameter in parameters if not parameter.is_keyword_only]
    has_default = [p.default is not inspect.Parameter.empty for p in positional]
    for earlier, later, parameter in zip(
        has_default, has_default[1:], positional[1:], strict=False
    ):
        if earlier and not later:
            raise SchemaError(
                f"the schema of {name} has {parameter.name} without a default "
                "behind one that has one"
            )


def _result_count(name: str, returned: str) -> int:
    inside = returned[1:-1] if returned.startswith("(") and returned.endswith(")") else returned
    pieces = list(split_at_commas(inside))
    if not pieces or any(re.fullmatch(r"Tensor(\s+\w+)?", piece) is None for piece in pieces):
        raise SchemaError(
            f"the schema of {name} returns {returned or 'nothing'}; "
            "custom operators return one or more Tensor"
        )
    return len(pieces)

"""What the operators of ATen take and give, by the table in `operators.txt`, and what a node makes of
that.

    aten.add.Tensor(self='x', other=y)   ->   'self' takes a tensor, got the text 'x'
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib import resources

from ..records import dataclass
from ..schema_text import split_at_commas
from . import schema as s

_PREFIX = "torch.ops.aten."


@dataclass(frozen=True, slots=True)
class Parameter:
    """One argument of an operator; `kind` is that of the table, without its marks."""

    name: str
    kind: str
    is_written: bool
    has_default: bool


@dataclass(frozen=True, slots=True)
class Operator:
    """An operator: what it takes, the kinds of what it gives, whether it is of the core set."""

    parameters: Mapping[str, Parameter]
    results: tuple[str, ...]
    is_core: bool

    @property
    def writes(self) -> bool:
        """Whether it changes one of its arguments."""
        return any(parameter.is_written for parameter in self.parameters.values())


def find_operator(target: str) -> Operator | None:
    """The operator of a node's target; None where it is not one of ATen that the table has."""
    if not target.startswith(_PREFIX):
        return None
    line = _lines().get(target.removeprefix(_PREFIX))
    return None if line is None else _parsed(line)


@cache
def _lines() -> Mapping[str, str]:
    text = resources.files(__package__).joinpath("operators.txt").read_text("utf-8")
    entries = (line.partition(" ") for line in text.splitlines() if not line.startswith("#"))
    return {name: rest for name, _, rest in entries}


@cache
def _parsed(line: str) -> Operator:
    taken, _, given = line.partition(">")
    words = taken.split()
    is_core = words[:1] == ["core"]
    parameters = {}
    for word in words[is_core:]:
        name, _, kind = word.partition(":")
        marks = kind.rstrip("!=")
        parameters[name] = Parameter(name, marks, "!" in kind, kind.endswith("="))
    return Operator(parameters, tuple(given.split()), is_core)


_KINDS = {
    "Tensor": "t",
    "int": "i",
    "SymInt": "i",
    "float": "f",
    "bool": "b",
    "Scalar": "n",
    "str": "s",
    "ScalarType": "d",
    "Layout": "l",
    "Device": "v",
    "MemoryFormat": "m",
    "Generator": "g",
}
_PARAMETER = re.compile(
    r"(?P<base>\w+)(?P<alias>\([^)]*\))?(?P<marks>(?:\[\d*\]|\?)*)(?:\s+(?P<name>\w+))?(?P<default>\s*=.*)?"
)


def parse_operator(text: str) -> Operator:
    """An operator from its signature in PyTorch's language: `scale(Tensor x, float f=2.0) -> Tensor`.

    Raises `ValueError` where it cannot be read.
    """
    called, arrow, returned = text.rpartition("->")
    inside = called.partition("(")[2].strip()
    if not arrow or not inside.endswith(")"):
        raise ValueError(f"expected `name(Type x, …) -> Type`, got {text!r}")
    parameters = {}
    for piece in split_at_commas(inside[:-1]):
        if piece == "*":
            continue
        match = _matched(piece)
        name = match["name"] or ""
        written = "!" in (match["alias"] or "")
        parameters[name] = Parameter(name, _kind(match), written, match["default"] is not None)
    returned = returned.strip().removeprefix("(").removesuffix(")")
    results = tuple(_kind(_matched(piece)) for piece in split_at_commas(returned))
    return Operator(parameters, results, is_core=False)


def _matched(piece: str) -> re.Match[str]:
    match = _PARAMETER.fullmatch(piece)
    if match is None:
        raise ValueError(f"expected `Type x`, got {piece!r}")
    return match


def _kind(match: re.Match[str]) -> str:
    return _KINDS.get(match["base"], "x") + re.sub(r"\d", "", match["marks"])


# --- Arguments against their kinds -------------------------------------------------------------

_SYMBOLIC = (s.AsSymInt, s.AsSymFloat, s.AsSymBool)
_NUMBERS = (s.AsInt, s.AsFloat, s.AsBool, s.AsComplex, *_SYMBOLIC)
_INTEGERS = (s.AsInt, s.AsBool, s.AsSymInt)
# A tensor without dimensions may stand for a number, and a number for a tensor.
_TAKEN: Mapping[str, tuple[type, ...]] = {
    "t": (s.AsTensor, *_NUMBERS),
    "i": (*_INTEGERS, s.AsTensor),
    "f": (*_NUMBERS, s.AsTensor),
    "b": (s.AsBool, s.AsInt, s.AsSymBool),
    "n": (*_NUMBERS, s.AsTensor),
    "s": (s.AsString,),
    "d": (s.AsScalarType,),
    "l": (s.AsLayout,),
    "v": (s.AsDevice,),
    "m": (s.AsMemoryFormat,),
    "g": (s.AsCustomObject,),
    "t[]": (s.AsTensors,),
    "t?[]": (s.AsTensors, s.AsOptionalTensors),
    "i[]": (s.AsInts, s.AsSymInts, *_INTEGERS),
    "f[]": (s.AsFloats, s.AsInts, s.AsSymFloats, s.AsFloat, s.AsInt),
    "b[]": (s.AsBools, s.AsSymBools, s.AsBool),
    "n[]": (s.AsInts, s.AsFloats, s.AsBools, s.AsSymInts, s.AsSymFloats, s.AsTensors),
    "s[]": (s.AsStrings,),
}
_NAMES: Mapping[str, str] = {
    "t": "a tensor",
    "i": "an integer",
    "f": "a float",
    "b": "a truth value",
    "n": "a number",
    "s": "text",
    "d": "an element type",
    "l": "a layout",
    "v": "a device",
    "m": "a memory format",
    "g": "a generator",
    "t[]": "a list of tensors",
    "t?[]": "a list of tensors or None",
    "i[]": "a list of integers",
    "f[]": "a list of floats",
    "b[]": "a list of truth values",
    "n[]": "a list of numbers",
    "s[]": "a list of texts",
}
_GIVEN: Mapping[str, tuple[type, ...]] = {
    "t": (s.AsTensor, s.AsOptionalTensor, s.AsNone),
    "t[]": (s.AsTensors,),
    "i": (s.AsSymInt,),
    "f": (s.AsSymFloat,),
    "b": (s.AsSymBool, s.AsBool),
    "n": (*_SYMBOLIC, s.AsTensor),
}
_EMPTY_LISTS = (s.AsInts(()), s.AsTensors(()), s.AsSymInts(()), s.AsFloats(()), s.AsBools(()))


def operator_faults(node: s.Node, operator: Operator) -> Iterator[str]:
    """How the arguments and results of a node differ from what its operator takes and gives."""
    given: dict[str, s.Argument] = {}
    for name, argument in ((named.name, named.arg) for named in node.inputs):
        if name in given:
            yield f"has two arguments '{name}'"
        given[name] = argument
        parameter = operator.parameters.get(name)
        if parameter is None:
            yield f"has no argument '{name}'"
        elif not _is_taken(parameter.kind, argument):
            yield f"'{name}' takes {_kind_name(parameter.kind)}, got {_described(argument)}"
    for parameter in operator.parameters.values():
        is_optional = parameter.has_default or parameter.kind.endswith("?")
        if not is_optional and parameter.name not in given:
            yield f"lacks its argument '{parameter.name}'"
    yield from _result_faults(operator, node.outputs)


def _result_faults(operator: Operator, outputs: Sequence[s.Argument]) -> Iterator[str]:
    if len(outputs) != len(operator.results):
        yield f"gives {len(operator.results)} results, but {len(outputs)} are named"
        return
    for kind, argument in zip(operator.results, outputs, strict=True):
        expected = _GIVEN.get(kind)
        if expected is not None and not isinstance(argument, expected):
            yield f"gives {_kind_name(kind)}, but {_described(argument)} is named"


def _is_taken(kind: str, argument: s.Argument) -> bool:
    if kind.endswith("?"):
        if isinstance(argument, (s.AsNone, s.AsOptionalTensor)):
            return True
        kind = kind[:-1]
    expected = _TAKEN.get(kind)
    if expected is None or isinstance(argument, expected):
        return True
    return kind.endswith("[]") and argument in _EMPTY_LISTS


def _kind_name(kind: str) -> str:
    if kind.endswith("?"):
        return f"{_kind_name(kind[:-1])} or None"
    return _NAMES.get(kind, kind)


def _described(argument: s.Argument) -> str:
    match argument:
        case s.AsNone():
            return "None"
        case s.AsString(value):
            return f"the text {value[:40]!r}"
        case s.AsTensor(name):
            return f"the tensor '{name}'"
        case _:
            kind = type(argument).__name__.removeprefix("As")
            words = "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in kind)
            return f"an argument of the kind{words}"

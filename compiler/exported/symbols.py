"""Symbolic expressions and guards of a program: text -> a small neutral tree, never evaluated.

Expressions are what `sympy.srepr` prints, `Add(Symbol('s0', positive=True), Integer(1))`, or, in
older files, plain text like `s0 + 1`. Guards are Python conditions over the inputs,
`L['x'].size()[0] // 2 == L['y'].size()[0]`. All come out in the same vocabulary, that of srepr:

    s0 - 1 >= 2    ->    Call("GreaterThan", (Call("Add", (Sym("s0"), Num(-1))), Num(2)))

Python's `ast` does the parsing. Its recursion is in C, so text is bounded before it gets there.
"""

from __future__ import annotations

import ast
import math
import warnings
from collections.abc import Iterable

from ..records import dataclass
from .errors import ProgramFormatError


@dataclass(frozen=True, slots=True)
class Sym:
    """A symbol: `s0` is backed by an input's size, `u0` is data-dependent."""

    name: str


@dataclass(frozen=True, slots=True)
class Num:
    """A number or truth value."""

    value: int | float


@dataclass(frozen=True, slots=True)
class GuardInput:
    """An input of the program: parameter name first, then keys, indices or attributes in it."""

    path: tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class GuardSize:
    """The size of one dimension of an input tensor."""

    path: tuple[str | int, ...]
    dim: int


@dataclass(frozen=True, slots=True)
class Call:
    """A function of srepr, by its name there; relations are named Eq, Ne, LessThan and so on."""

    function: str
    args: tuple[ExprTree, ...]


ExprTree = Sym | Num | GuardInput | GuardSize | Call


@dataclass(frozen=True, slots=True)
class Guard:
    """A condition that the inputs of every call have to meet, and its text in the file."""

    text: str
    condition: ExprTree


@dataclass(frozen=True, slots=True)
class ParsedGuards:
    """The guards that were understood, and the text of the others."""

    guards: tuple[Guard, ...]
    unparsed: tuple[str, ...]


_MAX_CHARACTERS = 1 << 16
_MAX_DEPTH = 100
_MAX_NODES = 1 << 14

_BINARY: dict[type[ast.operator], str] = {
    ast.Add: "Add",
    ast.Mult: "Mul",
    ast.FloorDiv: "FloorDiv",
    ast.Mod: "PythonMod",
    ast.Div: "IntTrueDiv",
    ast.Pow: "Pow",
    ast.LShift: "LShift",
    ast.RShift: "RShift",
    ast.BitAnd: "And",
    ast.BitOr: "Or",
}
_RELATIONS: dict[type[ast.cmpop], str] = {
    ast.Eq: "Eq",
    ast.NotEq: "Ne",
    ast.Lt: "StrictLessThan",
    ast.LtE: "LessThan",
    ast.Gt: "StrictGreaterThan",
    ast.GtE: "GreaterThan",
}
_FUNCTION_NAMES = {
    "Equality": "Eq",
    "Unequality": "Ne",
    "Lt": "StrictLessThan",
    "Le": "LessThan",
    "Gt": "StrictGreaterThan",
    "Ge": "GreaterThan",
    "max": "Max",
    "min": "Min",
    "abs": "Abs",
    "float": "ToFloat",
    "int": "TruncToInt",
    "round": "RoundToInt",
    "math.ceil": "CeilToInt",
    "math.floor": "FloorToInt",
    "math.trunc": "TruncToInt",
    "math.sqrt": "OpaqueUnaryFn_sqrt",
    "torch.sym_max": "Max",
    "torch.sym_min": "Min",
    "torch.sym_float": "ToFloat",
    "torch.sym_int": "TruncToInt",
    "torch.sym_not": "Not",
    "torch.sym_ite": "Where",
    "torch._sym_sqrt": "OpaqueUnaryFn_sqrt",
}
NAMED_NUMBERS: dict[str, int | float] = {
    "true": True,
    "false": False,
    "oo": math.inf,
    "int_oo": math.inf,
    "nan": math.nan,
    "pi": math.pi,
    "E": math.e,
}


class _Unknown(Exception):
    """The text means nothing in this vocabulary; the argument says what was found."""


def parse_expression(text: str) -> ExprTree:
    """The tree of a symbolic expression; raises `ProgramFormatError` for anything else."""
    try:
        return _Reader(is_guard=False).read(_parse(text))
    except _Unknown as error:
        raise ProgramFormatError(
            f"expected a symbolic expression, got {_shortened(text)!r}: {error}"
        ) from None


def parse_syntax(text: str) -> ast.expr:
    """The syntax of a symbolic expression, bounded in size and depth; nothing in it is judged."""
    try:
        return _parse(text)
    except _Unknown as error:
        raise ProgramFormatError(
            f"expected a symbolic expression, got {_shortened(text)!r}: {error}"
        ) from None


def parse_guards(texts: Iterable[str]) -> ParsedGuards:
    """The guards of a program (`ExportedProgram.guards_code`) as trees."""
    guards: list[Guard] = []
    unparsed: list[str] = []
    for text in texts:
        try:
            guards.append(Guard(text, _Reader(is_guard=True).read(_parse(text))))
        except _Unknown:
            unparsed.append(text)
    return ParsedGuards(tuple(guards), tuple(unparsed))


def _shortened(text: str) -> str:
    return text if len(text) <= 120 else text[:117] + "..."


def _parse(text: str) -> ast.expr:
    if len(text) > _MAX_CHARACTERS:
        raise _Unknown(f"{len(text)} characters, more than {_MAX_CHARACTERS}")
    depth = deepest = 0
    for character in text:
        if character in "([{":
            depth += 1
            deepest = max(deepest, depth)
        elif character in ")]}":
            depth -= 1
    if deepest > _MAX_DEPTH:
        raise _Unknown(f"parentheses nested {deepest} deep")
    try:
        with warnings.catch_warnings():  # about what only looks like Python, and is refused later
            warnings.simplefilter("ignore")
            return ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise _Unknown(str(error)) from None


class _Reader:
    """Turns one parsed text into a tree, counting nodes and depth."""

    def __init__(self, *, is_guard: bool) -> None:
        self._is_guard = is_guard
        self._nodes = 0
        self._depth = 0

    def read(self, node: ast.expr) -> ExprTree:
        self._nodes += 1
        self._depth += 1
        if self._nodes > _MAX_NODES or self._depth > _MAX_DEPTH:
            raise _Unknown("more operations than any program has")
        tree = self._read(node)
        self._depth -= 1
        return tree

    def _read(self, node: ast.expr) -> ExprTree:
        match node:
            case ast.Constant(value=bool() | int() | float() as value):
                return Num(value)
            case ast.Name(id=name):
                return self._name(name)
            case ast.Call():
                return self._call(node)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return _negated(self.read(operand))
            case ast.UnaryOp(op=ast.UAdd(), operand=operand):
                return self.read(operand)
            case ast.UnaryOp(op=ast.Not() | ast.Invert(), operand=operand):
                return Call("Not", (self.read(operand),))
            case ast.BinOp():
                return self._binary(node)
            case ast.Compare():
                return self._comparison(node)
            case ast.BoolOp(op=operator, values=values):
                name = "And" if isinstance(operator, ast.And) else "Or"
                return Call(name, tuple(map(self.read, values)))
            case ast.IfExp(test=test, body=body, orelse=otherwise):
                return Call("Where", (self.read(test), self.read(body), self.read(otherwise)))
            case ast.Subscript() | ast.Attribute() if self._is_guard:
                return _input_leaf(node)
            case _:
                raise _Unknown(f"a {type(node).__name__}")

    def _name(self, name: str) -> ExprTree:
        if name in NAMED_NUMBERS:
            return Num(NAMED_NUMBERS[name])
        if self._is_guard:
            raise _Unknown(f"the name {name!r}, which is no input")
        return Sym(name)

    def _binary(self, node: ast.BinOp) -> ExprTree:
        """Sums and products are one n-ary call, as in srepr, however many terms they have."""
        operator = type(node.op)
        if operator in (ast.Add, ast.Sub):
            return self._chain(node, (ast.Add, ast.Sub), "Add")
        if operator is ast.Mult:
            return self._chain(node, (ast.Mult,), "Mul")
        name = _BINARY.get(operator)
        if name is None:
            raise _Unknown(f"the operator {operator.__name__}")
        return Call(name, (self.read(node.left), self.read(node.right)))

    def _chain(
        self, node: ast.BinOp, operators: tuple[type[ast.operator], ...], name: str
    ) -> ExprTree:
        terms: list[ExprTree] = []
        left: ast.expr = node
        while isinstance(left, ast.BinOp) and isinstance(left.op, operators):
            term = self.read(left.right)
            terms.append(_negated(term) if isinstance(left.op, ast.Sub) else term)
            left = left.left
        terms.append(self.read(left))
        return Call(name, tuple(reversed(terms)))

    def _comparison(self, node: ast.Compare) -> ExprTree:
        operands = tuple(map(self.read, (node.left, *node.comparators)))
        parts: list[ExprTree] = []
        for index, operator in enumerate(node.ops):
            relation = _RELATIONS.get(type(operator))
            if relation is None:
                raise _Unknown(f"the relation {type(operator).__name__}")
            parts.append(Call(relation, (operands[index], operands[index + 1])))
        return parts[0] if len(parts) == 1 else Call("And", tuple(parts))

    def _call(self, node: ast.Call) -> ExprTree:
        name = _dotted_name(node.func)
        arguments = node.args
        if not self._is_guard:
            match name, arguments:
                case "Symbol" | "Dummy", [ast.Constant(value=str(symbol)), *_]:
                    return Sym(symbol)
                case "Integer", [argument]:
                    return _number(argument, int)
                case "Float", [argument, *_]:
                    return _number(argument, float)
        # Keywords are assumptions and flags of sympy (evaluate=False); none changes the value.
        return Call(_FUNCTION_NAMES.get(name, name), tuple(map(self.read, arguments)))


def _dotted_name(node: ast.expr) -> str:
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=ast.Name(id=module), attr=name) if module in ("math", "torch"):
            return f"{module}.{name}"
        case _:
            raise _Unknown("a call of something that is no function")


def _negated(tree: ExprTree) -> ExprTree:
    return Num(-tree.value) if isinstance(tree, Num) else Call("Mul", (Num(-1), tree))


def _number(node: ast.expr, kind: type[int] | type[float]) -> Num:
    match node:
        case ast.Constant(value=str() | int() | float() as value):
            sign = 1
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)):
            sign = -1
        case _:
            raise _Unknown("a number that is no literal")
    try:
        return Num(sign * kind(value))
    except (ValueError, OverflowError):
        raise _Unknown(f"the number {_shortened(str(value))}") from None


def _input_leaf(node: ast.expr) -> ExprTree:
    """`L['x']['k'][0]` is an input, `L['x'].size()[1]` and `L['x'].shape[1]` sizes of one."""
    match node:
        case ast.Subscript(
            value=ast.Call(func=ast.Attribute(value=tensor, attr="size"), args=[]),
            slice=ast.Constant(value=int(dim)),
        ):
            return GuardSize(_input_path(tensor), dim)
        case ast.Subscript(
            value=ast.Attribute(value=tensor, attr="shape"), slice=ast.Constant(value=int(dim))
        ):
            return GuardSize(_input_path(tensor), dim)
        case _:
            return GuardInput(_input_path(node))


def _input_path(node: ast.expr) -> tuple[str | int, ...]:
    steps: list[str | int] = []
    while True:
        match node:
            case ast.Subscript(value=inner, slice=ast.Constant(value=str() | int() as key)):
                steps.append(key)
                node = inner
            case ast.Attribute(value=inner, attr=name):
                steps.append(name)
                node = inner
            case ast.Name(id="L") if steps:
                return tuple(reversed(steps))
            case _:
                raise _Unknown("an access that does not start at an input")

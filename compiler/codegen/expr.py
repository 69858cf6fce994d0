"""Scalar expressions as C: one statement per operation, each as far out of the loops as it can go."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from .. import kernels
from ..ir import shapes
from ..ir.dtypes import DType
from ..ir.reals import Real
from ..ir.shapes import Atom, Dim, Func, Indirect, Symbol
from ..kernels import Scalar
from ..lowering.program import Accumulated, Buffer, Element, TileElement
from ..records import dataclass
from ..targets import cpu
from .statements import IfBlock, Statement


@dataclass(slots=True, eq=False)
class Scope:
    """A block of statements and what was computed in it."""

    statements: list[Statement]
    is_masked: bool = False
    names: dict[str, str] = field(default_factory=dict)
    """C text -> the variable that holds it."""


@dataclass(slots=True)
class Parameters:
    """What a kernel is given: buffers (in the order they appear), symbols, whether it reports index faults."""

    buffers: dict[Buffer, str] = field(default_factory=dict)
    written: set[Buffer] = field(default_factory=set)
    symbols: dict[str, None] = field(default_factory=dict)
    has_fault: bool = False
    headers: dict[str, None] = field(default_factory=dict)
    offsets: Mapping[Buffer, int] = field(default_factory=dict)
    """Elements that a pointer is ahead of its buffer, so that kernels of different parts of it can be equal."""

    def address(self, buffer: Buffer, address: Dim) -> Dim:
        """An address in a buffer, from its pointer on."""
        return address - self.offsets.get(buffer, 0)

    def pointer(self, buffer: Buffer) -> str:
        """The name of a buffer inside the kernel."""
        return self.buffers.setdefault(buffer, f"p{len(self.buffers)}")


class Expressions:
    """Writes scalars into nested scopes; `depth` 0 is the kernel, the last one is innermost."""

    def __init__(self, parameters: Parameters) -> None:
        self.parameters = parameters
        self.scopes: list[Scope] = []
        self._depth_of: dict[str, int] = {}
        self._memo: dict[int, tuple[Scalar, str, Scope]] = {}
        self._counter = 0
        self.locals: dict[Buffer, str] = {}
        self.tile_text = ""
        self.replaced: dict[Scalar, str] = {}
        """Scalars that are read from somewhere else: C text of an innermost value."""
        self.divided: Mapping[Atom, Dim] = {}
        """Loop variables as what they are made of: what they are divided by may divide that."""
        self.accumulators: dict[str, str] = {}
        self._made_of: dict[str, frozenset[str]] = {}

    # ---- scopes

    def push(self, statements: list[Statement], is_masked: bool = False) -> None:
        """Enter a block."""
        self.scopes.append(Scope(statements, is_masked))

    def pop(self) -> None:
        """Leave it: what was computed in it is forgotten."""
        self.scopes.pop()
        for name in [name for name, depth in self._depth_of.items() if depth >= len(self.scopes)]:
            del self._depth_of[name]

    def bind(self, name: str) -> None:
        """A loop variable (or accumulator) of the innermost scope."""
        self._depth_of[name] = len(self.scopes) - 1

    def declare(self, text: str, *names: str) -> str:
        """Says which variables an expression that is written as it is depends on; gives it back."""
        self._made_of[text] = frozenset(names)
        return text

    def _here(self) -> str:
        """A name that is known in the innermost scope only."""
        name = f"<{len(self.scopes) - 1}>"
        self._depth_of[name] = len(self.scopes) - 1
        return name

    def _depth(self, names: set[str]) -> int:
        known = {inner for name in names for inner in self._made_of.get(name, (name,))}
        # What the kernel itself writes is read inside its loops, never before them.
        written = min(1, len(self.scopes) - 1)
        depths = (self._depth_of.get(n, written if n.startswith("<") else 0) for n in known)
        return max(depths, default=0)

    def _define(self, ctype: str, text: str, names: set[str], is_guarded: bool) -> str:
        """A variable that holds `text`, defined in the outermost scope where all `names` are known."""
        depth = self._depth(names)
        if is_guarded:  # what a mask protects may not leave it
            for number in range(len(self.scopes) - 1, depth, -1):
                if self.scopes[number].is_masked:
                    depth = number
                    break
        for scope in self.scopes[: len(self.scopes)]:
            if text in scope.names:
                return scope.names[text]
        name = f"t{self._counter}"
        self._counter += 1
        scope = self.scopes[depth]
        scope.statements.append(f"const {ctype} {name} = {text};")
        scope.names[text] = name
        self._depth_of[name] = depth
        return name

    # ---- index expressions

    def dim(self, expression: Dim) -> str:
        """An index expression as C of type int64_t."""
        return self._dim(expression)[0]

    def _dim(self, expression: Dim) -> tuple[str, set[str]]:
        if isinstance(expression, int):
            return cpu.literal_text(expression, DType.INT64), set()
        names: set[str] = set()
        text = ""
        for monomial, coefficient in expression.sorted_terms():
            factors: list[str] = []
            for atom, power in monomial:
                factor, used = self._atom(atom)
                names |= used
                factors += [factor] * power
            if abs(coefficient) != 1 or not factors:
                factors.append(cpu.literal_text(abs(coefficient), DType.INT64))
            sign = " - " if coefficient < 0 else " + "
            if not text:
                sign = "-" if coefficient < 0 else ""
            text += sign + " * ".join(factors)
        return text, names

    def _atom(self, atom: shapes.Atom) -> tuple[str, set[str]]:
        match atom:
            case Symbol():
                if atom.name not in self._depth_of:
                    self.parameters.symbols[atom.name] = None
                return atom.name, {atom.name}
            case Indirect():
                assert isinstance(atom.scalar, Scalar), "an indirect index holds a scalar"
                text = self.scalar(atom.scalar)
                return text, {text}
            case Func():
                divided = shapes.substitute(shapes.of_atom(atom), self.divided)
                if shapes.atom_of(divided) == atom:
                    return self._function(atom)
                text, names = self._dim(divided)
                return text if text.isidentifier() else f"({text})", names

    def _real(self, formula: Real, args: tuple[Dim, ...]) -> tuple[str, set[str]]:
        """A formula of real numbers; every step of it is one of C's in double."""
        sides = [self._dim(arg) for arg in args]
        text = cpu.real_text(formula, [text for text, _ in sides])
        for function in _calls(text):
            self._need(function)
        used = set().union(*(names for _, names in sides))
        name = self._define("int64_t", text, used, is_guarded=False)
        return name, {name}

    def _function(self, atom: Func) -> tuple[str, set[str]]:
        if atom.formula is not None:
            return self._real(atom.formula, atom.args)
        (left, left_names), (right, right_names) = (self._dim(arg) for arg in atom.args)
        names = left_names | right_names
        positive = shapes.is_nonnegative(atom.args[0]) and shapes.lower_bound(atom.args[1]) > 0
        match atom.name:
            case "floordiv" | "mod" if positive:
                text = f"({left}) {'/' if atom.name == 'floordiv' else '%'} ({right})"
            case "equal" | "less":
                text = f"({left}) {'==' if atom.name == 'equal' else '<'} ({right})"
            case _:
                function = {
                    "floordiv": "floor_divide", "mod": "remainder", "max": "maximum", "min": "minimum",
                }[atom.name]  # fmt: skip
                self._need(f"castoff_{function}_i64")
                text = f"castoff_{function}_i64({left}, {right})"
        name = self._define("int64_t", text, names, is_guarded=False)
        return name, {name}

    # ---- scalars

    def scalar(self, scalar: Scalar) -> str:
        """The variable or constant that holds a scalar."""
        match scalar:
            case kernels.Literal():
                return cpu.literal_text(scalar.value, scalar.dtype)
            case Accumulated():
                return self.accumulators.get(scalar.name, scalar.name)
            case TileElement():
                return self.tile_text
        if scalar in self.replaced:
            here = {self._here()}
            return self._define(
                cpu.C_TYPE[scalar.dtype], self.replaced[scalar], here, is_guarded=True
            )
        memo = self._memo.get(id(scalar))
        if memo is not None and memo[2] in self.scopes:
            return memo[1]
        name = self._emit(scalar)
        depth = self._depth_of.get(name, 0)
        self._memo[id(scalar)] = (scalar, name, self.scopes[depth])
        return name

    def _emit(self, scalar: Scalar) -> str:
        ctype = cpu.C_TYPE[scalar.dtype]
        match scalar:
            case kernels.IndexValue():
                text, names = self._dim(scalar.expression)
                return self._define(ctype, text, names, is_guarded=False)
            case Element():
                address, names = self._dim(self.parameters.address(scalar.buffer, scalar.address))
                local = self.locals.get(scalar.buffer)
                pointer = local or self.parameters.pointer(scalar.buffer)
                stored = scalar.dtype if local else scalar.buffer.dtype
                if local:
                    names = names | {local}
                text = cpu.load_text(f"{pointer}[{address}]", stored)
                if scalar.buffer in self.parameters.written:
                    names = names | {self._here()}  # not before what this kernel stores there
                return self._define(ctype, text, names, is_guarded=True)
            case kernels.Apply():
                return self._apply(scalar, ctype)
            case kernels.Cast():
                operand = self.scalar(scalar.arg)
                text = cpu.cast_text(operand, scalar.arg.dtype, scalar.to)
                for function in _calls(text):
                    self._need(function)
                return self._define(ctype, text, {operand}, is_guarded=False)
            case kernels.Masked():
                return self._masked(scalar, ctype)
        raise AssertionError(f"{type(scalar).__name__} was not expanded")

    def _apply(self, scalar: kernels.Apply, ctype: str) -> str:
        if (answer := kernels.decided(scalar)) is not None:  # compilers warn of such comparisons
            return cpu.literal_text(answer, DType.BOOL)
        operands = tuple(self.scalar(arg) for arg in scalar.args)
        # What an operation works on decides its spelling; a predicate's own type is bool.
        text, function = cpu.operation_text(scalar.name, operands, scalar.args[-1].dtype)
        is_check = scalar.name in ("wrap_index", "check_index")
        if function is not None:
            self._need(function)
        for inner in _calls(text):
            self._need(inner)
        if is_check:
            self.parameters.has_fault = True
        return self._define(ctype, text, set(operands), is_guarded=is_check)

    def _masked(self, scalar: kernels.Masked, ctype: str) -> str:
        condition = self.scalar(scalar.condition)
        block = IfBlock(condition)
        name = f"t{self._counter}"
        self._counter += 1
        for branch, statements in ((scalar.body, block.then), (scalar.otherwise, block.otherwise)):
            self.push(statements, is_masked=True)
            statements.append(f"{name} = {self.scalar(branch)};")
            self.pop()
        innermost = self.scopes[-1]
        innermost.statements.append(f"{ctype} {name};")
        innermost.statements.append(block)
        self._depth_of[name] = len(self.scopes) - 1
        return name

    def _need(self, function: str) -> None:
        header = cpu.header_of(function)
        if header is None:
            raise LookupError(f"no header of templates/ defines {function}")
        self.parameters.headers[header] = None


def _calls(text: str) -> list[str]:
    """Names of the castoff functions a C expression calls."""
    names: list[str] = []
    for piece in text.split("(")[:-1]:
        word = ""
        for letter in reversed(piece):
            if not (letter.isalnum() or letter == "_"):
                break
            word = letter + word
        if word.startswith("castoff_"):
            names.append(word)
    return names

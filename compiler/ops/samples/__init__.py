"""Samples: calls of targets with small arguments, which the tests run and the page of operators counts.

A sample reads like the call it is, with tensors by type and shape:

    aten.add.Tensor(float32[3, 4], float32[4], alpha=2)
    aten.add.Tensor(T[3, 4], T[4]) | float32 int64

where the second line stands for two samples, one for each type; `floats` and the other names in `GROUPS` are several
types. Samples stand with the registration, as
`@target("aten.add.Tensor", samples=["(T[3, 4], T[4]) | float32 int64"])`, or, one a line, in the file
beside this one that is called like the family module: `arithmetic.txt` for `../arithmetic.py`. Neither
is read before it is asked for.

Elements are random, the same for equal text: floats around 0, integers within -5 and 5 (0 and 10 if unsigned). Where
these would not do: `int64[4] % 3` within 0 and 2, `unit(x)` within 0 and 1, `sorted(x)` along the last dimension,
`definite(x)` for positive definite matrices, `lower(x)` for triangular ones, `factor(x)` for Cholesky's, whose
diagonal is real. `size(7)` is the number 7 where a size stands: programs with symbolic sizes have a symbol there.
"""

from __future__ import annotations

import ast
import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np

from ....runtime.errors import CastoffError
from ...ir.dtypes import DType
from ...records import dataclass

FOLDER = Path(__file__).parent


class SampleError(CastoffError):
    """A sample that cannot be read."""


@dataclass(frozen=True, slots=True)
class SampleTensor:
    """A tensor argument. `wish` is one of `WISHES` or empty; `below` bounds integers, which then start at 0."""

    dtype: DType
    shape: tuple[int, ...]
    wish: str = ""
    below: int = 0

    def array(self, random: np.random.Generator) -> np.ndarray:
        """Its elements."""
        dtype = self.dtype
        if dtype is DType.BOOL:
            return np.asarray(random.random(self.shape) < 0.5)
        if dtype.is_integer:
            low, high = (-5, 6) if dtype.is_signed else (0, 11)
            if self.below:
                low, high = 0, self.below
            elements: np.ndarray = random.integers(low, high, self.shape).astype(dtype.numpy)
        elif self.wish == "unit":
            elements = random.random(self.shape)
        else:
            elements = random.standard_normal(self.shape)
            if dtype.is_complex:
                elements = elements + 1j * random.standard_normal(self.shape)
        if self.wish:
            elements = WISHES[self.wish](elements)
        return np.asarray(elements).astype(dtype.numpy)


def _definite(x: np.ndarray) -> np.ndarray:
    return np.asarray(x @ x.conj().swapaxes(-1, -2) + x.shape[-1] * np.eye(x.shape[-1]))


GROUPS: Mapping[str, str] = {
    "floats": "float32 float64 float16 bfloat16",
    "complexes": "complex64 complex128",
    "integers": "int64 int32 int16 int8 uint8",
    "unsigned": "uint16 uint32 uint64",
    "float8": "float8_e4m3fn float8_e5m2",
    "everything": "floats complexes integers bool unsigned float8",
}

WISHES: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "unit": lambda x: x,
    "sorted": lambda x: np.sort(x, -1),
    "definite": _definite,
    "lower": lambda x: np.tril(x) + x.shape[-1] * np.eye(x.shape[-1]),
    "factor": lambda x: np.tril(x, -1) + np.eye(x.shape[-1]) * (np.abs(x) + 1),
}


@dataclass(frozen=True, slots=True)
class SampleSize:
    """A number that is a size: a symbol in programs with symbolic sizes."""

    value: int


Argument = (
    SampleTensor | SampleSize | DType | bool | int | float | complex | str | list["Argument"] | None
)


@dataclass(frozen=True, slots=True)
class Sample:
    """One call of a target."""

    target: str
    text: str
    """What stands in the parentheses, with them."""
    positional: tuple[Argument, ...]
    named: Mapping[str, Argument]

    def __str__(self) -> str:
        return self.target + self.text

    @property
    def random(self) -> np.random.Generator:
        """Where the elements of its tensors come from."""
        return np.random.default_rng(zlib.crc32(str(self).encode()))

    def tensors(self) -> Iterator[SampleTensor]:
        """The tensors among the arguments, those in lists too."""
        return (each for each in self._arguments() if isinstance(each, SampleTensor))

    def sizes(self) -> frozenset[int]:
        """The sizes of its tensors, and the numbers that are sizes."""
        found: set[int] = set()
        for argument in self._arguments():
            if isinstance(argument, SampleTensor):
                found.update(argument.shape)
            elif isinstance(argument, SampleSize):
                found.add(argument.value)
        return frozenset(found)

    def _arguments(self) -> Iterator[Argument]:
        pending = [*self.positional, *self.named.values()]
        while pending:
            argument = pending.pop(0)
            if isinstance(argument, list):
                pending[:0] = argument
            else:
                yield argument

    @property
    def dtypes(self) -> tuple[DType, ...]:
        """The element types of its tensors, each once."""
        return tuple(dict.fromkeys(tensor.dtype for tensor in self.tensors()))


def parse_samples(target: str, text: str) -> Iterator[Sample]:
    """The samples in `(T[3], 1, keepdim=True) | float32 int64`; raises `SampleError`."""
    call, _, dtypes = text.partition(" | ")
    for dtype in _types(dtypes) or [""]:
        yield _parse(target, re.sub(r"\bT\b", dtype, call) if dtype else call)


def _types(names: str) -> list[str]:
    """Names of types and of groups of them, as types."""
    return [
        dtype
        for name in names.split()
        for dtype in (_types(GROUPS[name]) if name in GROUPS else [name])
    ]


def _parse(target: str, text: str) -> Sample:
    try:
        call = ast.parse(f"f{text}", mode="eval").body
        if not isinstance(call, ast.Call):
            raise ValueError("no call")
        positional = tuple(_argument(argument) for argument in call.args)
        named = {str(keyword.arg): _argument(keyword.value) for keyword in call.keywords}
    except (SyntaxError, ValueError) as error:
        raise SampleError(f"the sample {target}{text} cannot be read: {error}") from None
    return Sample(target, text, positional, named)


def _argument(node: ast.expr) -> Argument:
    match node:
        case ast.Subscript(value=ast.Name(id=name), slice=index):
            sizes = ast.literal_eval(index)
            return SampleTensor(DType(name), sizes if isinstance(sizes, tuple) else (sizes,))
        case ast.BinOp(left=left, op=ast.Mod(), right=ast.Constant(value=int(below))):
            return _changed(_argument(left), below=below)
        case ast.Call(func=ast.Name(id="size"), args=[ast.Constant(value=int(number))]):
            return SampleSize(number)
        case ast.Call(func=ast.Name(id=wish), args=[inner]) if wish in WISHES:
            return _changed(_argument(inner), wish=wish)
        case ast.Name(id=("inf" | "nan") as name):
            return float(name)
        case ast.UnaryOp(op=ast.USub(), operand=ast.Name(id="inf")):
            return float("-inf")
        case ast.Name(id=name):
            return DType(name)
        case ast.List(elts=items):
            return [_argument(item) for item in items]
    value: Argument = ast.literal_eval(node)
    return value


def _changed(argument: Argument, *, below: int = 0, wish: str = "") -> SampleTensor:
    if not isinstance(argument, SampleTensor):
        raise ValueError("only tensors have elements")
    return SampleTensor(
        argument.dtype, argument.shape, wish or argument.wish, below or argument.below
    )


def family_samples(family: str) -> tuple[Sample, ...]:
    """The samples in the file of a family module."""
    file = FOLDER / f"{family}.txt"
    if not file.exists():
        return ()
    samples: list[Sample] = []
    for line in file.read_text(encoding="utf-8").splitlines():
        if line.strip() and not line.startswith("#"):
            target, _, rest = line.partition("(")
            samples.extend(parse_samples(target, f"({rest}"))
    return tuple(samples)


def all_samples() -> dict[str, tuple[Sample, ...]]:
    """Every sample, by target; the registry has to be loaded."""
    from ..base import registered_samples

    found: dict[str, list[Sample]] = {}
    for file in sorted(FOLDER.glob("*.txt")):
        for sample in family_samples(file.stem):
            found.setdefault(sample.target, []).append(sample)
    for target, texts in registered_samples().items():
        for text in texts:
            found.setdefault(target, []).extend(parse_samples(target, text))
    return {target: tuple(samples) for target, samples in sorted(found.items())}


__all__ = [
    "Sample",
    "SampleError",
    "SampleSize",
    "SampleTensor",
    "all_samples",
    "family_samples",
    "parse_samples",
]

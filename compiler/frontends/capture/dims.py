"""`castoff.Dim`, and what `dynamic_shapes` says of each argument."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from typing import ClassVar

from ...errors import CaptureError
from ...ir import shapes


class DimHint(Enum):
    """What castoff may find out about a size itself."""

    AUTO = "auto"
    """It varies, unless the function turns out to need this one."""
    DYNAMIC = "dynamic"
    """It varies; the function is refused if it needs this one."""
    STATIC = "static"
    """It is that of the example."""


@dataclasses.dataclass(frozen=True)
class Dim:
    """A size that varies from call to call, under a name: the same name is the same size everywhere.

    `min` and `max` are inclusive. `2 * Dim("half")` and `Dim("n") + 1` are sizes that follow from
    others.
    """

    name: str
    min: int = 0
    max: int | None = None

    AUTO: ClassVar[DimHint] = DimHint.AUTO
    DYNAMIC: ClassVar[DimHint] = DimHint.DYNAMIC
    STATIC: ClassVar[DimHint] = DimHint.STATIC

    def __post_init__(self) -> None:
        if not self.name.isidentifier():
            raise CaptureError(f"Dim: expected a name like 'batch', got {self.name!r}")
        if self.min < 0 or (self.max is not None and self.max < self.min):
            raise CaptureError(
                f"Dim({self.name!r}): expected 0 <= min <= max, got {self.min}, {self.max}"
            )

    def __mul__(self, factor: int) -> DerivedDim:
        return DerivedDim(self, 1, 0) * factor

    __rmul__ = __mul__

    def __add__(self, offset: int) -> DerivedDim:
        return DerivedDim(self, 1, offset)

    def __sub__(self, offset: int) -> DerivedDim:
        return DerivedDim(self, 1, -offset)


@dataclasses.dataclass(frozen=True)
class DerivedDim:
    """`factor * root + offset`."""

    root: Dim
    factor: int
    offset: int

    def __mul__(self, factor: int) -> DerivedDim:
        if factor < 1:
            raise CaptureError(f"{self.root.name} times {factor}: expected a positive factor")
        return DerivedDim(self.root, self.factor * factor, self.offset * factor)

    __rmul__ = __mul__

    def __add__(self, offset: int) -> DerivedDim:
        return DerivedDim(self.root, self.factor, self.offset + offset)

    def __sub__(self, offset: int) -> DerivedDim:
        return self + -offset


SizeSpec = Dim | DerivedDim | DimHint | int | None
AxisSpecs = Mapping[int, SizeSpec]


def leaf_specs(spec: object, value: object, path: str) -> Iterator[AxisSpecs]:
    """What `dynamic_shapes` says of each leaf in an argument, in order; it has the form of the argument,
    with None for whatever is static."""
    children = _children(value)
    if children is None:
        yield _axis_specs(spec, value, path)
        return
    inner = _matching(spec, value, children, path)
    for key, child in children:
        yield from leaf_specs(inner.get(key), child, f"{path}[{key!r}]")


def _children(value: object) -> list[tuple[object, object]] | None:
    """The parts of a container with their keys; None for a leaf."""
    from .pytrees import children_of

    found = children_of(value)
    return None if found is None else list(zip(found.keys, found.children, strict=True))


def _matching(
    spec: object, value: object, children: Sequence[tuple[object, object]], path: str
) -> Mapping[object, object]:
    keys = [key for key, _ in children]
    if spec is None:
        return {}
    if isinstance(spec, Mapping) and set(spec) == set(keys):
        return spec
    if isinstance(spec, (tuple, list)) and len(spec) == len(keys):
        return dict(zip(keys, spec, strict=True))
    raise CaptureError(
        f"dynamic_shapes of {path}: expected the form of the argument ({type(value).__name__} with "
        f"{keys!r}) or None, got {spec!r}"
    )


def _axis_specs(spec: object, value: object, path: str) -> AxisSpecs:
    rank = getattr(value, "ndim", 0)
    if spec is None:
        return {}
    if isinstance(spec, DimHint):
        return dict.fromkeys(range(rank), spec)
    if isinstance(spec, (tuple, list)):
        if len(spec) != rank:
            raise CaptureError(
                f"dynamic_shapes of {path}: {len(spec)} entries for an array of {rank} dimensions"
            )
        spec = dict(enumerate(spec))
    if not isinstance(spec, Mapping):
        raise CaptureError(
            f"dynamic_shapes of {path}: expected {{axis: Dim}}, a tuple of one Dim per axis, or None, "
            f"got {spec!r}"
        )
    result: dict[int, SizeSpec] = {}
    for axis, size in spec.items():
        if not isinstance(axis, int) or not -rank <= axis < rank:
            raise CaptureError(f"dynamic_shapes of {path}: it has no axis {axis!r}")
        if not (size is None or isinstance(size, (Dim, DerivedDim, DimHint, int))):
            raise CaptureError(
                f"dynamic_shapes of {path}, axis {axis}: expected castoff.Dim(name), Dim.AUTO, "
                f"Dim.DYNAMIC, Dim.STATIC, an int or None, got {size!r}"
            )
        result[axis % rank] = size
    return result


@dataclasses.dataclass(frozen=True)
class DeclaredSize:
    """A symbol to be: its bounds, the size of the example, whether it has to vary."""

    label: str
    low: int
    high: int
    example: int
    is_promised: bool


def root_example(spec: DerivedDim, size: int, where: str) -> int:
    """The root's size for a size that follows from it."""
    quotient, rest = divmod(size - spec.offset, spec.factor)
    if rest or quotient < 0:
        raise CaptureError(
            f"{where}: its size {size} is not {spec.factor}*{spec.root.name}{spec.offset:+}"
        )
    return quotient


def check_range(dim: Dim, size: int, where: str) -> None:
    """Raise where the example has a size that its `Dim` excludes."""
    high = shapes.INFINITY if dim.max is None else dim.max
    if not dim.min <= size <= high:
        raise CaptureError(
            f"{where}: its size {size} is outside of {dim.name}, {dim.min} to "
            f"{'any' if dim.max is None else dim.max}"
        )

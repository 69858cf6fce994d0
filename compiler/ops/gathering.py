"""Primitives that read elements at computed positions, or write them there."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from .. import kernels
from ..ir import shapes
from ..ir.dtypes import DType
from ..ir.graph import TensorType, Value
from ..ir.shapes import Shape
from ..kernels import Definition, Index
from ..records import dataclass
from .base import Environment, Op, OperatorError
from .pointwise import broadcast, widen
from .view import replace_axis


@dataclass(frozen=True, slots=True)
class AdvancedIndex(Op):
    """Input 0 at positions that the other inputs give for its dimensions `axes` (one each,
    ascending).

    The indices broadcast; their dimensions stand at `position` among the dimensions of input 0 that
    stay. Negative indices count from the end where `wrap`; what is outside makes the run fail.
    """

    axes: tuple[int, ...]
    position: int
    wrap: bool = True

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        x, *indices = inputs
        if len(indices) != len(self.axes) or any(not t.dtype.is_integer for t in indices):
            raise OperatorError(f"{x} indexed with {', '.join(map(str, indices))}")
        return (TensorType(x.dtype, self.result_shape(x.shape, broadcast("index", *indices))),)

    def result_shape(self, shape: Shape, index_shape: Shape) -> Shape:
        """The shape of the result for these shapes of input 0 and of the broadcast indices."""
        kept = tuple(size for axis, size in enumerate(shape) if axis not in self.axes)
        return (*kept[: self.position], *index_shape, *kept[self.position :])

    def reference(self, env: Environment, *inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        x, *indices = inputs
        kept = [axis for axis in range(x.ndim) if axis not in self.axes]
        picked = self._checked(x, indices)
        result = x.transpose([*self.axes, *kept])[picked]
        rank = np.broadcast(*picked).ndim
        front = range(rank)
        return (np.moveaxis(result, front, [axis + self.position for axis in front]),)

    def _checked(self, x: np.ndarray, indices: list[np.ndarray]) -> tuple[np.ndarray, ...]:
        for axis, index in zip(self.axes, indices, strict=True):
            low = -x.shape[axis] if self.wrap else 0
            if index.size and not (low <= index.min() and index.max() < x.shape[axis]):
                raise OperatorError(f"index out of range for a dimension of size {x.shape[axis]}")
        return tuple(index.astype(np.int64) for index in indices)

    def define(
        self, inputs: tuple[Value, ...], outputs: tuple[Value, ...]
    ) -> tuple[Definition, ...]:
        x, *indices = inputs

        def body(index: Index) -> kernels.Scalar:
            return kernels.load_checked(x, self.source(x, tuple(indices), index))

        return (kernels.Pointwise(body),)

    def source(self, x: Value, indices: tuple[Value, ...], index: Index) -> Index:
        """The index in `x` of what stands at an index of the result."""
        rank = max(value.rank for value in indices)
        inner = index[self.position : self.position + rank]
        kept = iter((*index[: self.position], *index[self.position + rank :]))
        positions = {
            axis: kernels.checked_index(
                kernels.load_broadcast(value, inner), x.shape[axis], wrap=self.wrap
            )
            for axis, value in zip(self.axes, indices, strict=True)
        }
        return tuple(positions[a] if a in positions else next(kept) for a in range(x.rank))


@dataclass(frozen=True, slots=True)
class IndexPut(Op):
    """Input 0 with input 1 combined into what `AdvancedIndex` shows for the inputs from 2 on.

    combine: as in `kernels.Scatter`. Input 1 has the shape of what is shown.
    """

    axes: tuple[int, ...]
    position: int
    combine: str = "set"
    wrap: bool = True

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        base, values, *indices = inputs
        (shown,) = AdvancedIndex(self.axes, self.position, self.wrap).infer(base, *indices)
        mismatch = any(
            shapes.is_equal(m, n) is False for m, n in zip(shown.shape, values.shape, strict=False)
        )
        if values.dtype is not base.dtype or values.rank != shown.rank or mismatch:
            raise OperatorError(f"{values} put into {shown} of {base}")
        return (base,)

    def reference(self, env: Environment, *inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        base, values, *indices = inputs
        reader = AdvancedIndex(self.axes, self.position, self.wrap)
        (flat,) = reader.reference(env, np.arange(base.size).reshape(base.shape), *indices)
        return (combine_at(base, flat, values, self.combine),)

    def define(
        self, inputs: tuple[Value, ...], outputs: tuple[Value, ...]
    ) -> tuple[Definition, ...]:
        base, values, *indices = inputs
        reader = AdvancedIndex(self.axes, self.position, self.wrap)

        def target(i: Index) -> Index:
            return reader.source(base, tuple(indices), i)

        return (
            kernels.Scatter(
                lambda i: kernels.load(base, i),
                values.shape,
                target,
                lambda i: kernels.load(values, i),
                self.combine,
                _inside(base, self.axes, target),
            ),
        )


def _inside(
    base: Value, axes: Sequence[int], target: Callable[[Index], Index]
) -> Callable[[Index], kernels.Scalar] | None:
    """The condition of a scatter into dimensions that may be empty; None where none is."""
    if all(shapes.lower_bound(base.shape[axis]) > 0 for axis in axes):
        return None
    return lambda i: kernels.is_inside(target(i), base.shape)


@dataclass(frozen=True, slots=True)
class GatherAxis(Op):
    """out[…, i, …] = x[…, index[…, i, …], …]: the position along one axis is read from input 1."""

    axis: int

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        x, index = inputs
        if x.rank != index.rank or not index.dtype.is_integer:
            raise OperatorError(f"gather from {x} at {index}")
        for axis, (size, count) in enumerate(zip(x.shape, index.shape, strict=True)):
            if axis != self.axis and shapes.is_less(size, count) is True and index.shape[axis] != 0:
                raise OperatorError(f"gather from {x} at {index}: dimension {axis} is too large")
        return (TensorType(x.dtype, index.shape),)

    def reference(self, env: Environment, *inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        x, index = inputs
        return (x[axis_positions(x, index, self.axis)],)

    def define(
        self, inputs: tuple[Value, ...], outputs: tuple[Value, ...]
    ) -> tuple[Definition, ...]:
        x, index = inputs

        def body(i: Index) -> kernels.Scalar:
            at = kernels.checked_index(kernels.load(index, i), x.shape[self.axis], wrap=False)
            return kernels.load_checked(x, replace_axis(i, self.axis, at))

        return (kernels.Pointwise(body),)


def axis_positions(x: np.ndarray, index: np.ndarray, axis: int) -> tuple[np.ndarray, ...]:
    """The NumPy index of the elements that `index` names along `axis`, checked."""
    if index.size and not (index.min() >= 0 and index.max() < x.shape[axis]):
        raise OperatorError(f"index out of range for a dimension of size {x.shape[axis]}")
    grid: list[np.ndarray] = list(np.indices(index.shape, sparse=True))
    grid[axis] = index.astype(np.int64)
    return tuple(grid)


@dataclass(frozen=True, slots=True)
class ScatterAxis(Op):
    """Input 0 with base[…, index[…, i, …], …] combined with src[…, i, …], for the whole of input 1
    (the index).

    Input 2, the source, may be larger than the index. combine: as in `kernels.Scatter`.
    """

    axis: int
    combine: str = "set"

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        base, index, source = inputs
        if not (base.rank == index.rank == source.rank) or not index.dtype.is_integer:
            raise OperatorError(f"scatter of {source} into {base} at {index}")
        if base.dtype is not source.dtype:
            raise OperatorError(f"scatter of {source} into {base}: dtypes differ")
        return (base,)

    def reference(self, env: Environment, *inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        base, index, source = inputs
        if index.size == 0:
            return (base,)
        where = axis_positions(base, index, self.axis)
        flat = np.arange(base.size).reshape(base.shape)[where]
        values = source[tuple(slice(n) for n in index.shape)]
        return (combine_at(base, flat, values, self.combine),)

    def define(
        self, inputs: tuple[Value, ...], outputs: tuple[Value, ...]
    ) -> tuple[Definition, ...]:
        base, index, source = inputs

        def target(i: Index) -> Index:
            at = kernels.load(index, i)
            position = kernels.checked_index(at, base.shape[self.axis], wrap=False)
            return replace_axis(i, self.axis, position)

        return (
            kernels.Scatter(
                lambda i: kernels.load(base, i),
                index.shape,
                target,
                lambda i: kernels.load(source, i),
                self.combine,
                _inside(base, (self.axis,), target),
            ),
        )


def combine_at(base: np.ndarray, flat: np.ndarray, values: np.ndarray, combine: str) -> np.ndarray:
    """`base` with `values` combined into its elements at row-major positions, in order."""
    result = widen(base).reshape(-1).copy()
    positions, updates = flat.reshape(-1), widen(values).reshape(-1)
    if combine == "set":
        for position, value in zip(positions, updates, strict=True):  # the last one wins
            result[position] = value
    else:
        _UFUNCS[combine].at(result, positions, updates)
    combined: np.ndarray = result.reshape(base.shape).astype(base.dtype)
    return combined


_UFUNCS: dict[str, np.ufunc] = {
    "add": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class MaskedPut(Op):
    """Input 0 where the mask (input 1) is false; where it is true, the element of input 3 that
    input 2 names.

    The mask stands for the dimensions of input 0 from `axis` on; mask and positions have one shape,
    and input 3 has one dimension in their place.
    """

    axis: int

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        base, mask, position, source = inputs
        if (
            mask.dtype is not DType.BOOL
            or base.dtype is not source.dtype
            or mask.rank != position.rank
        ):
            raise OperatorError(f"{source} put into {base} where {mask}")
        return (base,)

    def reference(self, env: Environment, *inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        base, mask, position, source = inputs
        result = np.moveaxis(base.copy(), range(self.axis, self.axis + mask.ndim), range(mask.ndim))
        places = position[mask]
        if places.size and places.max() >= source.shape[self.axis]:
            raise OperatorError("a mask has more true elements than there are values for it")
        result[mask] = np.moveaxis(source, self.axis, 0)[places]
        return (np.moveaxis(result, range(mask.ndim), range(self.axis, self.axis + mask.ndim)),)

    def define(
        self, inputs: tuple[Value, ...], outputs: tuple[Value, ...]
    ) -> tuple[Definition, ...]:
        base, mask, position, source = inputs

        def body(index: Index) -> kernels.Scalar:
            inner = index[self.axis : self.axis + mask.rank]
            at = kernels.load(position, inner)
            place = kernels.checked_index(at, source.shape[self.axis], wrap=False)
            rest = index[self.axis + mask.rank :]
            element = kernels.load_checked(source, (*index[: self.axis], place, *rest))
            return kernels.masked(kernels.load(mask, inner), element, kernels.load(base, index))

        return (kernels.Pointwise(body),)


@dataclass(frozen=True, slots=True)
class Nonzero(Op):
    """The indices of the true elements of a bool tensor in row-major order, as `count` rows.

    `count` is the number of true elements, or any other number: the result is then cut, or filled
    up with rows of `fill`.
    """

    count: shapes.Dim
    fill: int = -1

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        (x,) = inputs
        if x.dtype is not DType.BOOL:
            raise OperatorError(f"nonzero of {x}")
        return (TensorType(DType.INT64, (self.count, x.rank)),)

    def reference(self, env: Environment, *inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        rows = np.argwhere(inputs[0])[: env.size(self.count)]
        result = np.full((env.size(self.count), inputs[0].ndim), self.fill, np.int64)
        result[: len(rows)] = rows
        return (result,)

    def define(
        self, inputs: tuple[Value, ...], outputs: tuple[Value, ...]
    ) -> tuple[Definition, ...]:
        call = kernels.LibraryCall(
            "castoff_nonzero",
            ("common/selection.h",),
            (
                kernels.Out(0),
                kernels.In(0),
                kernels.Size(inputs[0].rank),
                kernels.Sizes(inputs[0].shape),
                kernels.Size(self.count),
                kernels.Size(self.fill),
            ),
        )
        return (call,)

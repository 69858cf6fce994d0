"""Targets that read elements at computed positions."""

from __future__ import annotations

from collections.abc import Sequence

from ..ir import shapes
from ..ir.dtypes import DType
from ..ir.graph import Value
from ..ir.shapes import Dim
from ..kernels import Number
from ..records import dataclass
from .base import Builder, OperatorError, normalize_axis, target
from .gathering import AdvancedIndex, GatherAxis, IndexPut, Nonzero


def is_mask(index: Value) -> bool:
    """Whether an index picks elements by truth rather than by position (bytes do too)."""
    return index.dtype in (DType.BOOL, DType.UINT8)


def as_mask(b: Builder, index: Value) -> Value:
    """A mask as bool."""
    return b.cast(index, DType.BOOL)


def count_true(b: Builder, mask: Value) -> Dim:
    """The number of true elements, as a symbol that the run decides."""
    total = b.reduce("sum", b.cast(mask, DType.INT64), tuple(range(mask.rank)))
    return b.read_symbol(total, 0, shapes.upper_bound(shapes.element_count(mask.shape)))


def true_indices(b: Builder, mask: Value) -> Value:
    """The indices of the true elements, one row each."""
    return b.emit1(Nonzero(count_true(b, mask)), mask)


@dataclass(frozen=True, slots=True)
class IndexPlan:
    """Index tensors by the dimension they index, and where their own dimensions stand in the
    result.
    """

    axes: tuple[int, ...]
    position: int
    indices: tuple[Value, ...]


def plan_index(b: Builder, x: Value, indices: Sequence[Value | None]) -> IndexPlan:
    """What a list of indices means: masks become positions, None leaves a dimension alone."""
    expanded: list[Value | None] = []
    for index in indices:
        if index is None or not is_mask(index):
            expanded.append(index)
            continue
        covered = x.shape[len(expanded) : len(expanded) + index.rank]
        if len(covered) != index.rank or any(
            shapes.is_equal(m, n) is False for m, n in zip(covered, index.shape, strict=True)
        ):
            raise OperatorError(f"mask {index} does not fit {x} at dimension {len(expanded)}")
        rows = true_indices(b, as_mask(b, index))
        expanded += [b.select(rows, 1, axis) for axis in range(index.rank)]
    if len(expanded) > x.rank:
        raise OperatorError(f"{len(expanded)} indices for {x}")
    axes = tuple(axis for axis, index in enumerate(expanded) if index is not None)
    given = tuple(index for index in expanded if index is not None)
    if not given:
        raise OperatorError(f"{x} indexed with nothing")
    is_adjacent = axes[-1] - axes[0] + 1 == len(axes)
    return IndexPlan(axes, axes[0] if is_adjacent else 0, given)


@target(
    "aten.index.Tensor", "aten._unsafe_index.Tensor", "aten.index.Tensor_hacked_twin",
    "aten._unsafe_index.Tensor_hacked_twin",
)  # fmt: skip
def index(b: Builder, self: Value, indices: Sequence[Value | None]) -> Value:
    """NumPy's advanced indexing."""
    plan = plan_index(b, self, indices)
    return b.emit1(AdvancedIndex(plan.axes, plan.position), self, *plan.indices)


def clamped_indices(b: Builder, x: Value, indices: Sequence[Value | None]) -> list[Value | None]:
    """Indices forced into the range of their dimensions."""
    result: list[Value | None] = []
    for axis, index in enumerate(indices):
        if index is None:
            result.append(None)
            continue
        positions = b.cast(index, DType.INT64)
        size = x.shape[axis]
        positions = b.apply("maximum", positions, b.dim(-size))
        result.append(b.apply("minimum", positions, b.dim(size - 1)))
    return result


@target("aten._unsafe_masked_index.default")
def unsafe_masked_index(
    b: Builder, self: Value, mask: Value, indices: Sequence[Value | None], fill: Number
) -> Value:
    """Advanced indexing where the mask holds; `fill` elsewhere, where indices may be anything."""
    if shapes.element_count(self.shape) == 0:
        plan = plan_index(b, self, indices)
        shape = (
            AdvancedIndex(plan.axes, plan.position)
            .infer(self.type, *(value.type for value in plan.indices))[0]
            .shape
        )
        return b.full(shape, fill, self.dtype)
    found = index(b, self, clamped_indices(b, self, indices))
    return b.where(b.cast(mask, DType.BOOL), found, b.full((), fill, self.dtype))


@target("aten.index_select.default")
def index_select(b: Builder, self: Value, dim: int, index: Value) -> Value:
    """The slices along a dimension that an index vector names."""
    if index.rank > 1:
        raise OperatorError(f"index_select with {index}: at most 1 dimension")
    positions = b.reshape(index, (shapes.element_count(index.shape),))
    axis = normalize_axis(dim, self.rank)
    if self.rank == 0:
        picked = b.emit1(AdvancedIndex((0,), 0, False), b.reshape(self, (1,)), positions)
        return b.reshape(picked, ())
    return b.emit1(AdvancedIndex((axis,), axis, False), self, positions)


@target("aten.embedding.default")
def embedding(
    b: Builder,
    weight: Value,
    indices: Value,
    padding_idx: int = -1,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Value:
    """The rows of a table that the indices name."""
    return b.emit1(AdvancedIndex((0,), 0, False), weight, indices)


@target("aten.embedding_renorm.default")
def embedding_renorm(
    b: Builder, self: Value, indices: Value, max_norm: float, norm_type: float
) -> Value:
    """A table whose rows, where the indices name them, are scaled down to a norm of at most
    `max_norm`.
    """
    norms = b.call("aten.linalg_vector_norm.default", self, norm_type, (1,), True)
    limit = b.full((), max_norm, norms.dtype)
    factors = b.apply("div", limit, b.apply("add", norms, b.full((), 1e-7, norms.dtype)))
    places = b.reshape(indices, (shapes.element_count(indices.shape),))
    rows = self.shape[0]
    untouched = b.full((rows,), False, DType.BOOL)
    named = b.emit1(
        IndexPut((0,), 0, wrap=False), untouched, b.full(places.shape, True, DType.BOOL), places
    )
    is_scaled = b.apply("logical_and", b.unsqueeze(named, 1), b.apply("gt", norms, limit))
    return b.where(is_scaled, b.apply("mul", self, b.cast(factors, self.dtype)), self)


@target("aten.take.default")
def take(b: Builder, self: Value, index: Value) -> Value:
    """Elements by their row-major position."""
    flat: Value = b.call("aten.ravel.default", self)
    return b.emit1(AdvancedIndex((0,), 0), flat, index)


@target("aten.gather.default")
def gather(b: Builder, self: Value, dim: int, index: Value, *, sparse_grad: bool = False) -> Value:
    """Elements whose position along a dimension is read from `index`."""
    if shapes.element_count(index.shape) == 0:
        return b.full(index.shape, 0, self.dtype)
    axis = normalize_axis(dim, self.rank)
    x = b.reshape(self, (1,)) if self.rank == 0 else self
    places = b.reshape(index, (1,)) if index.rank == 0 else index
    return b.reshape(b.emit1(GatherAxis(axis), x, places), index.shape)


@target("aten.take_along_dim.default")
def take_along_dim(b: Builder, self: Value, indices: Value, dim: int | None = None) -> Value:
    """As `gather`, with negative positions and broadcasting of the other dimensions."""
    if dim is None:
        flat = b.call("aten.ravel.default", self)
        return take(b, flat, b.call("aten.ravel.default", indices))
    if self.rank != indices.rank:
        raise OperatorError(f"take_along_dim of {self} at {indices}: numbers of dimensions differ")
    axis = normalize_axis(dim, self.rank)

    def broadcast(value: Value, other: Value) -> Value:
        sizes = [
            n if i == axis or n != 1 else m
            for i, (n, m) in enumerate(zip(value.shape, other.shape, strict=True))
        ]
        return b.expand(value, sizes)

    x, places = broadcast(self, indices), broadcast(indices, self)
    size = b.dim(x.shape[axis], places.dtype)
    is_negative = b.apply("lt", places, b.full((), 0, places.dtype))
    return gather(b, x, axis, b.where(is_negative, b.apply("add", places, size), places))


# ------------------------------------------------------------------------------------- by truth


def is_nonzero(b: Builder, x: Value) -> Value:
    """Whether each element is not zero."""
    return x if x.dtype is DType.BOOL else b.cast(x, DType.BOOL)


@target("aten.nonzero.default", "aten.argwhere.default")
def nonzero(b: Builder, self: Value) -> Value:
    """The indices of the elements that are not zero, one row each."""
    return true_indices(b, is_nonzero(b, self))


@target("aten.nonzero_numpy.default", "aten.where.default")
def nonzero_numpy(
    b: Builder, self: Value | None = None, condition: Value | None = None
) -> list[Value]:
    """The indices of the elements that are not zero, one vector for each dimension."""
    x = self if self is not None else condition
    assert x is not None, "the schema has a tensor"
    rows = nonzero(b, b.reshape(x, (1,)) if x.rank == 0 else x)
    return [b.select(rows, 1, axis) for axis in range(max(x.rank, 1))]


@target("aten.nonzero_static.default")
def nonzero_static(b: Builder, self: Value, *, size: Dim, fill_value: int = -1) -> Value:
    """As `nonzero`, with `size` rows: cut or filled up."""
    return b.emit1(Nonzero(size, fill_value), is_nonzero(b, self))


@target("aten.masked_select.default")
def masked_select(b: Builder, self: Value, mask: Value) -> Value:
    """The elements for which the mask holds, in row-major order."""
    common = shapes.broadcast_shapes(self.shape, mask.shape)
    count = (shapes.element_count(common),)
    flat = b.reshape(b.expand(self, common), count)
    rows = true_indices(b, b.reshape(b.expand(as_mask(b, mask), common), count))
    return b.emit1(AdvancedIndex((0,), 0, False), flat, b.select(rows, 1, 0))

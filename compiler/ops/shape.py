"""Targets that show the same elements under another shape or in another order of dimensions."""

from __future__ import annotations

from collections.abc import Sequence

from ..ir import shapes
from ..ir.graph import Value
from ..ir.shapes import Dim, Shape
from .base import Builder, OperatorError, normalize_axes, normalize_axis, target


def resolved_shape(x: Value, size: Sequence[Dim]) -> Shape:
    """`size` with a -1 replaced by what the number of elements leaves for it."""
    size = tuple(size)
    open_axes = [axis for axis, length in enumerate(size) if length == -1]
    if not open_axes:
        return size
    if len(open_axes) > 1:
        raise OperatorError(f"only one size may be -1, got {list(size)}")
    (axis,) = open_axes
    known = shapes.element_count(size[:axis] + size[axis + 1 :])
    if known == 0:
        raise OperatorError(f"-1 in {list(size)} could be anything, since another size is 0")
    count = shapes.element_count(x.shape)
    if isinstance(count, int) and isinstance(known, int) and count % known:
        raise OperatorError(f"{x} has {count} elements: it cannot become {list(size)}")
    return (*size[:axis], shapes.floordiv(count, known), *size[axis + 1 :])


@target("aten.view.default", alias=True)
@target(
    "aten._unsafe_view.default", "aten.view_copy.default", "aten._reshape_copy.default",
)  # fmt: skip
def view(b: Builder, self: Value, size: Sequence[Dim]) -> Value:
    """The elements in row-major order under another shape."""
    return b.reshape(self, resolved_shape(self, size))


@target("aten.reshape.default", alias=True)
def reshape(b: Builder, self: Value, shape: Sequence[Dim]) -> Value:
    """As `view`."""
    return b.reshape(self, resolved_shape(self, shape))


@target("aten._reshape_alias.default", alias=True)
@target("aten._reshape_alias_copy.default")
def reshape_alias(b: Builder, self: Value, size: Sequence[Dim], stride: Sequence[Dim]) -> Value:
    """A reshape whose strides are already known; they say nothing about the elements."""
    return b.reshape(self, resolved_shape(self, size))


@target("aten.view_as.default", "aten.reshape_as.default", alias=True)
def view_as(b: Builder, self: Value, other: Value) -> Value:
    """The elements under the shape of another tensor."""
    return b.reshape(self, other.shape)


@target("aten.flatten.using_ints", alias=True)
def flatten(b: Builder, self: Value, start_dim: int = 0, end_dim: int = -1) -> Value:
    """Dimensions `start_dim` to `end_dim` made one; a 0-d tensor becomes 1-d."""
    if self.rank == 0:
        return b.reshape(self, (1,))
    start, end = normalize_axis(start_dim, self.rank), normalize_axis(end_dim, self.rank)
    if start > end:
        raise OperatorError(f"flatten from dimension {start_dim} to {end_dim} of {self}")
    merged = shapes.element_count(self.shape[start : end + 1])
    return b.reshape(self, (*self.shape[:start], merged, *self.shape[end + 1 :]))


@target("aten.ravel.default", alias=True)
def ravel(b: Builder, self: Value) -> Value:
    """All elements in one dimension."""
    return b.reshape(self, (shapes.element_count(self.shape),))


@target("aten.unflatten.int", alias=True)
def unflatten(b: Builder, self: Value, dim: int, sizes: Sequence[Dim]) -> Value:
    """One dimension split into several; one of `sizes` may be -1."""
    axis = normalize_axis(dim, self.rank)
    split = list(sizes)
    if -1 in split:
        known = shapes.element_count(size for size in split if size != -1)
        if known == 0:
            raise OperatorError(f"-1 in {split} could be anything, since another size is 0")
        split[split.index(-1)] = shapes.floordiv(self.shape[axis], known)
    return b.reshape(self, (*self.shape[:axis], *split, *self.shape[axis + 1 :]))


@target("aten.squeeze.default", alias=True)
@target("aten.squeeze_copy.default")
def squeeze(b: Builder, self: Value) -> Value:
    """Without the dimensions of size 1."""
    return b.reshape(self, tuple(size for size in self.shape if size != 1))


@target("aten.squeeze.dim", alias=True)
@target("aten.squeeze_copy.dim")
def squeeze_dim(b: Builder, self: Value, dim: int) -> Value:
    """Without dimension `dim` if it has size 1."""
    return squeeze_dims(b, self, (dim,))


@target("aten.squeeze.dims", alias=True)
@target("aten.squeeze_copy.dims")
def squeeze_dims(b: Builder, self: Value, dim: Sequence[int]) -> Value:
    """Without those of the dimensions `dim` that have size 1."""
    axes = {normalize_axis(axis, self.rank) for axis in dim}
    kept = (size for axis, size in enumerate(self.shape) if axis not in axes or size != 1)
    return b.reshape(self, tuple(kept))


@target("aten.unsqueeze.default", alias=True)
@target("aten.unsqueeze_copy.default")
def unsqueeze(b: Builder, self: Value, dim: int) -> Value:
    """With a new dimension of size 1 at `dim`."""
    return b.unsqueeze(self, normalize_axis(dim, self.rank + 1))


@target("aten.permute.default", alias=True)
@target("aten.permute_copy.default")
def permute(b: Builder, self: Value, dims: Sequence[int]) -> Value:
    """Dimension `i` of the result is dimension `dims[i]`."""
    if len(dims) != self.rank:
        raise OperatorError(f"permutation {list(dims)} of {self}")
    return b.permute(self, tuple(normalize_axis(axis, self.rank) for axis in dims))


@target("aten.transpose.int", alias=True)
@target("aten.transpose_copy.int")
@target("aten.swapdims.default", alias=True)
def transpose(b: Builder, self: Value, dim0: int, dim1: int) -> Value:
    """Two dimensions swapped."""
    first, second = normalize_axis(dim0, self.rank), normalize_axis(dim1, self.rank)
    return b.transpose(self, first, second) if self.rank else self


@target("aten.swapaxes.default", alias=True)
def swapaxes(b: Builder, self: Value, axis0: int, axis1: int) -> Value:
    """Two dimensions swapped."""
    return transpose(b, self, axis0, axis1)


@target("aten.t.default", alias=True)
@target("aten.t_copy.default")
def t(b: Builder, self: Value) -> Value:
    """The transpose of a matrix; vectors and scalars stay."""
    if self.rank > 2:
        raise OperatorError(f"t() of {self}: at most 2 dimensions")
    return b.transpose(self, 0, 1) if self.rank == 2 else self


@target("aten.numpy_T.default", "aten.numpy_T.a", alias=True)
def numpy_t(b: Builder, self: Value) -> Value:
    """Dimensions in reverse order."""
    return b.permute(self, tuple(reversed(range(self.rank))))


@target("aten.mT.default", "aten.mT.a", alias=True)
def matrix_transpose(b: Builder, self: Value) -> Value:
    """The last two dimensions swapped."""
    if self.rank < 2:
        raise OperatorError(f"mT of {self}: at least 2 dimensions")
    return b.transpose(self, -2, -1)


def _adjoint(b: Builder, self: Value) -> Value:
    if self.dtype.is_complex:
        self = b.call("aten.conj_physical.default", self)
    return b.transpose(self, -2, -1)


# Of a real tensor the adjoint is a view; of a complex one PyTorch keeps the conjugation lazy, which
# only a write through the result would show.
@target("aten.mH.default", "aten.mH.a", "aten.adjoint.default", alias=True)
def adjoint(b: Builder, self: Value) -> Value:
    """Conjugate transpose of the last two dimensions."""
    if self.rank < 2:
        raise OperatorError(f"conjugate transpose of {self}: at least 2 dimensions")
    return _adjoint(b, self)


@target("aten.matrix_H.default", "aten.matrix_H.a", alias=True)
def matrix_h(b: Builder, self: Value) -> Value:
    """Conjugate transpose of a matrix."""
    if self.rank not in (0, 2):
        raise OperatorError(f"H of {self}: it must be a matrix")
    return _adjoint(b, self) if self.rank else self


@target("aten.movedim.intlist", "aten.moveaxis.intlist", alias=True)
def movedim(b: Builder, self: Value, source: Sequence[int], destination: Sequence[int]) -> Value:
    """Dimensions `source` moved to the places `destination`; the others keep their order."""
    sources = [normalize_axis(axis, self.rank) for axis in source]
    destinations = [normalize_axis(axis, self.rank) for axis in destination]
    if len(sources) != len(destinations) or len(set(sources)) != len(sources):
        raise OperatorError(f"movedim of {self} from {list(source)} to {list(destination)}")
    if self.rank == 0:
        return self
    placed = dict(zip(destinations, sources, strict=True))
    rest = iter(axis for axis in range(self.rank) if axis not in sources)
    return b.permute(self, [placed[i] if i in placed else next(rest) for i in range(self.rank)])


@target("aten.movedim.int", "aten.moveaxis.int", alias=True)
def movedim_int(b: Builder, self: Value, source: int, destination: int) -> Value:
    """One dimension moved to another place."""
    return movedim(b, self, (source,), (destination,))


def expanded_shape(x: Value, size: Sequence[Dim]) -> Shape:
    """`size` with -1 replaced by the sizes `x` has there."""
    size = tuple(size)
    added = len(size) - x.rank
    if added < 0 or any(length == -1 for length in size[:added]):
        raise OperatorError(f"{x} expanded to {list(size)}")
    tail = (old if new == -1 else new for old, new in zip(x.shape, size[added:], strict=True))
    return (*size[:added], *tail)


@target("aten.expand.default", alias=True)
@target("aten.expand_copy.default")
def expand(b: Builder, self: Value, size: Sequence[Dim], *, implicit: bool = False) -> Value:
    """Broadcast to a shape; -1 keeps a size."""
    return b.expand(self, expanded_shape(self, size))


@target("aten.broadcast_to.default", alias=True)
def broadcast_to(b: Builder, self: Value, size: Sequence[Dim]) -> Value:
    """Broadcast to a shape; -1 keeps a size."""
    return b.expand(self, expanded_shape(self, size))


@target("aten.expand_as.default", alias=True)
def expand_as(b: Builder, self: Value, other: Value) -> Value:
    """Broadcast to the shape of another tensor."""
    return b.expand(self, other.shape)


@target("aten.broadcast_tensors.default")
def broadcast_tensors(b: Builder, tensors: Sequence[Value]) -> list[Value]:
    """Every tensor broadcast to the common shape."""
    try:
        common = shapes.broadcast_shapes(*(x.shape for x in tensors))
    except ValueError as error:
        raise OperatorError(f"broadcast_tensors: {error}") from None
    return [b.expand(x, common) for x in tensors]


@target("aten.sum_to_size.default")
def sum_to_size(b: Builder, self: Value, size: Sequence[Dim]) -> Value:
    """The sum over the dimensions that broadcasting from `size` would have stretched."""
    added = self.rank - len(size)
    axes = list(range(added))
    axes += [i + added for i, n in enumerate(size) if n == 1 and self.shape[i + added] != 1]
    if added < 0:
        raise OperatorError(f"sum_to_size of {self} to {list(size)}")
    if not axes and size:  # a sum over nothing still makes integers wide
        return self
    total: Value = b.call("aten.sum.dim_IntList", self, normalize_axes(axes, self.rank))
    return b.reshape(total, size)


def at_least(b: Builder, x: Value, rank: int) -> Value:
    """`x` with at least `rank` dimensions, as NumPy's atleast_1d, _2d and _3d add them."""
    if x.rank >= rank:
        return x
    match x.rank, rank:
        case 1, 3:
            return b.reshape(x, (1, x.shape[0], 1))
        case 2, 3:
            return b.reshape(x, (*x.shape, 1))
    return b.reshape(x, (1,) * (rank - x.rank) + x.shape)


@target("aten.atleast_1d.default", alias=True)
def atleast_1d(b: Builder, self: Value) -> Value:
    """At least one dimension."""
    return at_least(b, self, 1)


@target("aten.atleast_2d.default", alias=True)
def atleast_2d(b: Builder, self: Value) -> Value:
    """At least two dimensions."""
    return at_least(b, self, 2)


@target("aten.atleast_3d.default", alias=True)
def atleast_3d(b: Builder, self: Value) -> Value:
    """At least three dimensions."""
    return at_least(b, self, 3)


@target("aten.atleast_1d.Sequence")
def atleast_1d_sequence(b: Builder, tensors: Sequence[Value]) -> list[Value]:
    """At least one dimension, each."""
    return [at_least(b, x, 1) for x in tensors]


@target("aten.atleast_2d.Sequence")
def atleast_2d_sequence(b: Builder, tensors: Sequence[Value]) -> list[Value]:
    """At least two dimensions, each."""
    return [at_least(b, x, 2) for x in tensors]


@target("aten.atleast_3d.Sequence")
def atleast_3d_sequence(b: Builder, tensors: Sequence[Value]) -> list[Value]:
    """At least three dimensions, each."""
    return [at_least(b, x, 3) for x in tensors]


@target("aten.channel_shuffle.default", "aten.native_channel_shuffle.default")
def channel_shuffle(b: Builder, self: Value, groups: int) -> Value:
    """Channels [groups, C / groups] transposed."""
    batch, channels, *rest = self.shape
    split = b.reshape(self, (batch, groups, shapes.floordiv(channels, groups), *rest))
    return b.reshape(b.transpose(split, 1, 2), self.shape)


@target("aten.pixel_shuffle.default")
def pixel_shuffle(b: Builder, self: Value, upscale_factor: int) -> Value:
    """[…, C*r*r, H, W] to […, C, H*r, W*r]."""
    *batch, channels, height, width = self.shape
    r = upscale_factor
    out = shapes.floordiv(channels, r * r)
    n = len(batch)
    split = b.reshape(self, (*batch, out, r, r, height, width))
    order = (*range(n), n, n + 3, n + 1, n + 4, n + 2)
    return b.reshape(b.permute(split, order), (*batch, out, height * r, width * r))


@target("aten.pixel_unshuffle.default")
def pixel_unshuffle(b: Builder, self: Value, downscale_factor: int) -> Value:
    """[…, C, H*r, W*r] to […, C*r*r, H, W]."""
    *batch, channels, height, width = self.shape
    r = downscale_factor
    h, w = shapes.floordiv(height, r), shapes.floordiv(width, r)
    n = len(batch)
    split = b.reshape(self, (*batch, channels, h, r, w, r))
    order = (*range(n), n, n + 2, n + 4, n + 1, n + 3)
    return b.reshape(b.permute(split, order), (*batch, channels * r * r, h, w))

"""Shapes and the order of axes: views of the same memory where NumPy gives views."""

from __future__ import annotations

from typing import Any

from ....ir import shapes
from ....ir.shapes import Dim
from ...graph_writer import Tensor
from ..array import TracedArray, is_contiguous, is_in_order, tensor_of, viewed
from ..indexing import flipped
from ..memory import View
from ..recorder import Recorder
from ..sizes import dim_of, is_size
from ..where import refused
from .calls import array_of, call, normalized_axes, normalized_axis, xp
from .table import implements


def sizes_of(shape: Any) -> tuple[Dim, ...]:
    """A shape given by the user: one size or several."""
    return tuple(dim_of(size) for size in ((shape,) if is_size(shape) else shape))


def _fortran(x: TracedArray) -> Any:
    return xp.transpose(x)


@implements("reshape")
def reshape(r: Recorder, a: Any, /, shape: Any = None, order: str = "C", *, newshape: Any = None,
            copy: bool | None = None) -> Any:  # fmt: skip
    """A view where the elements lie in order, else a copy."""
    x = array_of(r, a)
    wanted = _completed(r, x, sizes_of(newshape if shape is None else shape))
    if order not in ("C", "A", "F"):
        raise refused(f"reshape with order={order!r}")
    if order == "F":
        return _fortran(reshape(r, _fortran(x), r.sizes.shape(wanted[::-1])))
    return reshaped(r, x, wanted)


def reshaped(r: Recorder, x: TracedArray, wanted: tuple[Dim, ...]) -> Any:
    """The elements under a shape without -1."""
    old = tensor_of(x).shape
    if old == wanted:
        return viewed(x, View(lambda t: t, lambda t, new: new, lambda a: a))
    if not is_in_order(x, wanted):
        return call(r, "reshape.default", self=x, shape=list(wanted))
    known = [r.sizes.example(size) for size in wanted]
    return viewed(
        x,
        View(
            lambda t: r.record("reshape.default", self=t, shape=list(wanted)),
            lambda t, new: r.record("reshape.default", self=new, shape=list(old)),
            lambda a: a.reshape([size or 0 for size in known]),
        ),
    )


def _completed(r: Recorder, x: TracedArray, wanted: tuple[Dim, ...]) -> tuple[Dim, ...]:
    """The shape with its -1 replaced."""
    count = shapes.element_count(tensor_of(x).shape)
    holes = [axis for axis, size in enumerate(wanted) if size == -1]
    if len(holes) > 1:
        raise ValueError("can only specify one unknown dimension")
    rest = shapes.element_count(size for size in wanted if size != -1)
    if holes:
        if r.sizes.equal(rest, 0):
            raise ValueError(f"cannot reshape array of size {count} into shape {wanted}")
        quotient = shapes.floordiv(count, rest)
        wanted = (*wanted[: holes[0]], quotient, *wanted[holes[0] + 1 :])
        rest = shapes.element_count(wanted)
    if not r.sizes.equal(count, rest):
        text = ", ".join(map(r.sizes.text, wanted))
        raise ValueError(f"cannot reshape array of size {r.sizes.text(count)} into shape ({text})")
    return wanted


@implements("ravel")
def ravel(r: Recorder, a: Any, order: str = "C") -> Any:
    x, order = array_of(r, a), "F" if order == "F" else "C"
    flat = reshape(r, x, (-1,), order)
    return flat if is_contiguous(_fortran(x) if order == "F" else x) else flat.copy()


@implements("transpose", "permute_dims")
def transpose(r: Recorder, a: Any, axes: Any = None) -> Any:
    x = array_of(r, a)
    order = tuple(reversed(range(x.ndim))) if axes is None else normalized_axes(tuple(axes), x.ndim)
    if len(order) != x.ndim:
        raise ValueError("axes don't match array")
    back = [order.index(axis) for axis in range(x.ndim)]
    return viewed(
        x,
        View(
            lambda t: r.record("permute.default", self=t, dims=list(order)),
            lambda t, new: r.record("permute.default", self=new, dims=back),
            lambda v: xp.transpose(v, order),
        ),
    )


@implements("swapaxes")
def swapaxes(r: Recorder, a: Any, axis1: int, axis2: int) -> Any:
    x = array_of(r, a)
    order = list(range(x.ndim))
    one, two = normalized_axis(axis1, x.ndim), normalized_axis(axis2, x.ndim)
    order[one], order[two] = two, one
    return transpose(r, x, order)


@implements("matrix_transpose", "linalg.matrix_transpose")
def matrix_transpose(r: Recorder, x: Any, /) -> Any:
    return swapaxes(r, x, -1, -2)


@implements("moveaxis")
def moveaxis(r: Recorder, a: Any, source: Any, destination: Any) -> Any:
    x = array_of(r, a)
    start, end = normalized_axes(source, x.ndim), normalized_axes(destination, x.ndim)
    if len(start) != len(end):
        raise ValueError(
            "`source` and `destination` arguments must have the same number of elements"
        )
    order = [axis for axis in range(x.ndim) if axis not in start]
    for to, axis in sorted(zip(end, start, strict=True)):
        order.insert(to, axis)
    return transpose(r, x, order)


@implements("rollaxis")
def rollaxis(r: Recorder, a: Any, axis: int, start: int = 0) -> Any:
    x = array_of(r, a)
    axis, start = normalized_axis(axis, x.ndim), start + x.ndim if start < 0 else start
    return moveaxis(r, x, axis, start - 1 if axis < start else start)


@implements("expand_dims")
def expand_dims(r: Recorder, a: Any, axis: Any) -> Any:
    x = array_of(r, a)
    count = len(axis) if isinstance(axis, (tuple, list)) else 1
    axes = normalized_axes(axis, x.ndim + count)
    return x[tuple(None if i in axes else slice(None) for i in range(x.ndim + count))]


@implements("squeeze")
def squeeze(r: Recorder, a: Any, axis: Any = None) -> Any:
    x = array_of(r, a)
    sizes = tensor_of(x).shape
    if axis is None:
        axes = tuple(i for i, size in enumerate(sizes) if r.sizes.equal(size, 1))
    else:
        axes = normalized_axes(axis, x.ndim)
        if not all(r.sizes.equal(sizes[i], 1) for i in axes):
            raise ValueError("cannot select an axis to squeeze out which has size not equal to one")
    return x[tuple(0 if i in axes else slice(None) for i in range(x.ndim))]


def _atleast(rank: int) -> Any:
    def one(r: Recorder, array: Any) -> Any:
        x = array_of(r, array)
        if rank == 3 and x.ndim < 3:
            keys: dict[int, Any] = {
                0: (None, None, None), 1: (None, slice(None), None),
                2: (slice(None), slice(None), None),
            }  # fmt: skip
            return x[keys[x.ndim]]
        return x[(None,) * max(rank - x.ndim, 0)] if x.ndim < rank else x

    def handler(r: Recorder, *arrays: Any) -> Any:
        results = [one(r, array) for array in arrays]
        return results[0] if len(results) == 1 else tuple(results)

    return handler


for _rank in (1, 2, 3):
    implements(f"atleast_{_rank}d")(_atleast(_rank))


@implements("broadcast_to")
def broadcast_to(r: Recorder, array: Any, shape: Any, subok: bool = False) -> Any:
    """A view that NumPy lets nobody write to."""
    x, wanted = array_of(r, array), sizes_of(shape)
    if r.sizes.broadcast([tensor_of(x).shape, wanted], "np.broadcast_to") != wanted:
        raise ValueError(
            f"operands could not be broadcast together with shape {x.shape} and {shape}"
        )
    known = [r.sizes.example(size) or 0 for size in wanted]
    return viewed(
        x,
        View(
            lambda t: r.record("expand.default", self=t, size=list(wanted)),
            None,
            lambda v: xp.broadcast_to(v, known),
        ),
    )


@implements("broadcast_arrays")
def broadcast_arrays(r: Recorder, *args: Any, subok: bool = False) -> Any:
    arrays = [array_of(r, x) for x in args]
    shape = r.sizes.broadcast([tensor_of(x).shape for x in arrays], "np.broadcast_arrays")
    return tuple(broadcast_to(r, x, r.sizes.shape(shape)) for x in arrays)


@implements("flip")
def flip(r: Recorder, m: Any, axis: Any = None) -> Any:
    x = array_of(r, m)
    return flipped(x, normalized_axes(axis, x.ndim))


@implements("fliplr")
def fliplr(r: Recorder, m: Any) -> Any:
    return flip(r, m, 1)


@implements("flipud")
def flipud(r: Recorder, m: Any) -> Any:
    return flip(r, m, 0)


@implements("rot90")
def rot90(r: Recorder, m: Any, k: int = 1, axes: tuple[int, int] = (0, 1)) -> Any:
    x = array_of(r, m)
    one, two = normalized_axes(tuple(axes), x.ndim)
    for _ in range(k % 4):
        x = flip(r, swapaxes(r, x, one, two), one)
    return x


@implements("diagonal", "linalg.diagonal")
def diagonal(r: Recorder, a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    """A view that NumPy lets nobody write to."""
    return diagonal_view(r, array_of(r, a), offset, axis1, axis2, is_writable=False)


def diagonal_view(
    r: Recorder, x: Any, offset: int, axis1: int, axis2: int, *, is_writable: bool
) -> Any:
    """The diagonal of two axes, as a last axis."""
    options = {
        "offset": offset, "dim1": normalized_axis(axis1, x.ndim), "dim2": normalized_axis(axis2, x.ndim),
    }  # fmt: skip

    def write(t: Tensor, new: Tensor) -> Tensor:
        changed: Tensor = r.record("diagonal_scatter.default", self=t, src=new, **options)
        return changed

    return viewed(
        x,
        View(
            lambda t: r.record("diagonal.default", self=t, **options),
            write if is_writable else None,
            lambda v: xp.diagonal(v, offset, axis1, axis2),
        ),
    )


@implements("shape")
def shape(r: Recorder, a: Any) -> Any:
    return array_of(r, a).shape


@implements("ndim")
def ndim(r: Recorder, a: Any) -> Any:
    return array_of(r, a).ndim


@implements("size")
def size(r: Recorder, a: Any, axis: int | None = None) -> Any:
    x = array_of(r, a)
    return x.size if axis is None else x.shape[axis]


@implements("copy")
def copy(r: Recorder, a: Any, order: str = "K", subok: bool = False) -> Any:
    return array_of(r, a).copy()


@implements("real")
def real(r: Recorder, val: Any) -> Any:
    x = array_of(r, val)
    if x.dtype.kind != "c":
        return x
    return viewed(
        x,
        View(
            lambda t: r.record("real.default", self=t),
            lambda t, new: r.record(
                "complex.default", real=new, imag=r.record("imag.default", self=t)
            ),
            lambda v: v,
        ),
    )


@implements("imag")
def imag(r: Recorder, val: Any) -> Any:
    x = array_of(r, val)
    if x.dtype.kind != "c":
        return xp.zeros_like(x)
    return viewed(
        x,
        View(
            lambda t: r.record("imag.default", self=t),
            lambda t, new: r.record(
                "complex.default", real=r.record("real.default", self=t), imag=new
            ),
            lambda v: v,
        ),
    )


@implements("lib.stride_tricks.sliding_window_view")
def sliding_window_view(r: Recorder, x: Any, window_shape: Any, axis: Any = None, *, subok: bool = False,
                        writeable: bool = False) -> Any:  # fmt: skip
    """Windows in memory of their own."""
    given = array_of(r, x)
    sizes = tuple(window_shape) if isinstance(window_shape, (tuple, list)) else (window_shape,)
    axes = normalized_axes(axis, given.ndim)
    if len(axes) != len(sizes):
        raise ValueError("window_shape and axis have to be of one length")
    for along, size in zip(axes, sizes, strict=True):
        given = call(r, "unfold.default", self=given, dimension=along, size=int(size), step=1)
    return given

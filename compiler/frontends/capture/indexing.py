"""`x[key]` and `x[key] = value`: basic keys as views, arrays of integers and masks as gathers."""

from __future__ import annotations

from types import EllipsisType
from typing import Any

import numpy as np

from ...ir import shapes
from ...ir.shapes import Dim
from ...records import dataclass
from ..graph_writer import Tensor
from .array import TracedArray, as_scalar, overwrite, recorder_of, tensor_of, traced, viewed
from .conversion import as_array, convert, is_weak, number_as
from .memory import View
from .recorder import Recorder
from .sizes import dim_of, is_size
from .ufuncs import store
from .where import refused

_Array = TracedArray | np.ndarray


@dataclass(frozen=True, slots=True)
class _Advanced:
    """An index array along one axis of the array that the basic part of the key leaves; `mask` is what
    it was made of, where that is all there is beside slices."""

    axis: int
    index: Tensor
    mask: Tensor | None = None


def get_item(x: TracedArray, key: object) -> TracedArray:
    """`x[key]`: a view for a basic key, elements of its own otherwise."""
    base, advanced = _resolved(x, key)
    if not advanced:
        keys = key if isinstance(key, tuple) else (key,)
        has_axes = any(k is None or k is Ellipsis or isinstance(k, slice) for k in keys)
        return base if has_axes else as_scalar(base)
    recorder = recorder_of(x)
    result = recorder.record(
        "index.Tensor", self=tensor_of(base), indices=_indices(recorder, advanced)
    )
    return traced(recorder, result)


def set_item(x: TracedArray, key: object, value: object) -> None:
    """`x[key] = value`, with the value converted to the type of `x`."""
    recorder = recorder_of(x)
    base, advanced = _resolved(x, key)
    given = (
        traced(recorder, number_as(recorder, value, x.dtype))
        if is_weak(value)
        else as_array(recorder, value)
    )
    if not advanced:
        store(base, _without_leading_ones(given, base.ndim))
        return
    own = tensor_of(base)
    new = convert(recorder, tensor_of(given), own.dtype)
    [first, *rest] = advanced
    if first.mask is not None and new.rank == 0 and all(each.mask is first.mask for each in rest):
        overwrite(base, _masked(recorder, own, first.axis, first.mask, new))
        return
    indices = _indices(recorder, advanced)
    if new.rank:
        shape = recorder.record("index.Tensor", self=own, indices=indices).shape
        recorder.sizes.broadcast([shape, new.shape], "an assignment")
    overwrite(base, recorder.record("index_put.default", self=own, indices=indices, values=new))


def add_at(x: TracedArray, key: object, value: object) -> None:
    """`np.add.at(x, key, value)`: elements that are named twice are added to twice."""
    recorder = recorder_of(x)
    base, advanced = _resolved(x, key)
    if not advanced:
        added: Any = np.add(base, value)  # type: ignore[call-overload]
        store(base, added)
        return
    own = tensor_of(base)
    overwrite(base, recorder.record(
        "index_put.default", self=own, indices=_indices(recorder, advanced),
        values=convert(recorder, tensor_of(as_array(recorder, value)), own.dtype), accumulate=True,
    ))  # fmt: skip


def _without_leading_ones(value: TracedArray, rank: int) -> TracedArray:
    """NumPy drops leading axes of size 1 that the destination does not have."""
    while value.ndim > rank and tensor_of(value).shape[0] == 1:
        value = value[0]
    return value


def _masked(recorder: Recorder, own: Tensor, axis: int, mask: Tensor, value: Tensor) -> Tensor:
    """One number where a mask over some axes holds."""
    condition = mask
    for _ in range(own.rank - axis - mask.rank):
        condition = recorder.record("unsqueeze.default", self=condition, dim=-1)
    result: Tensor = recorder.record("where.self", condition=condition, self=value, other=own)
    return result


def _indices(recorder: Recorder, advanced: list[_Advanced]) -> list[Tensor | None]:
    """An entry for each axis, None for those that are taken whole."""
    indices: list[Tensor | None] = [None] * (max(each.axis for each in advanced) + 1)
    for each in advanced:
        indices[each.axis] = each.index
    recorder.sizes.broadcast([each.index.shape for each in advanced], "index arrays")
    return indices


# ---- keys


def _resolved(x: TracedArray, key: object) -> tuple[TracedArray, list[_Advanced]]:
    """The array with the basic part of a key applied, and the index arrays that are left."""
    recorder = recorder_of(x)
    entries = [_entry(recorder, item) for item in (key if isinstance(key, tuple) else (key,))]
    entries = _expanded(entries, x.ndim)
    is_advanced = any(isinstance(entry, TracedArray) for entry in entries)
    advanced: list[_Advanced] = []
    axis = 0
    for entry in entries:
        if isinstance(entry, TracedArray):
            advanced += _index_arrays(recorder, x, axis, entry)
            axis += _consumed(entry)
        elif entry is None:
            x = _new_axis(x, axis)
            axis += 1
        elif isinstance(entry, slice):
            x = _sliced(x, axis, entry)
            axis += 1
        elif is_advanced:  # an integer beside index arrays is one of them
            _check_position(x, axis, dim_of(entry))
            advanced.append(_Advanced(axis, tensor_of(as_array(recorder, entry))))
            axis += 1
        else:
            x = _selected(x, axis, dim_of(entry))
    return x, advanced


def _index_arrays(
    recorder: Recorder, x: TracedArray, axis: int, entry: TracedArray
) -> list[_Advanced]:
    """The index arrays that one is: a mask is one for each of its axes."""
    tensor = tensor_of(entry)
    if entry.dtype != np.bool_:
        return [_Advanced(axis, tensor)]
    for mine, size in zip(tensor_of(x).shape[axis:], tensor.shape, strict=False):
        recorder.sizes.require_equal(mine, size, "a mask and the axes it selects from")
    found = recorder.positions(tensor)
    return [_Advanced(axis + i, index, tensor) for i, index in enumerate(found)]


def _consumed(array: TracedArray) -> int:
    return array.ndim if array.dtype == np.bool_ else 1


def _entry(recorder: Recorder, item: object) -> Any:
    """One entry of a key: None, an Ellipsis, a slice, a size or an index array."""
    if item is None or item is Ellipsis or isinstance(item, slice):
        return item
    if isinstance(item, (bool, np.bool_)):
        raise refused("a truth value as an index")
    if isinstance(item, TracedArray):
        if item.dtype.kind not in "iub":
            raise IndexError("arrays used as indices must be of integer (or boolean) type")
        return item
    if is_size(item) or isinstance(item, np.integer):
        return item if not isinstance(item, np.integer) else int(item)
    if isinstance(item, list) and any(isinstance(each, TracedArray) for each in item):
        return as_array(recorder, item)
    array = np.asarray(item)
    if array.size == 0 and array.dtype.kind == "f":
        array = array.astype(np.int64)
    if array.dtype.kind not in "iub":
        raise IndexError(
            "only integers, slices (`:`), ellipsis (`...`), numpy.newaxis (`None`) and integer or "
            f"boolean arrays are valid indices, got {type(item).__name__}"
        )
    if array.dtype == np.bool_ and array.ndim == 1:  # known already, and so is how many it selects
        return as_array(recorder, np.flatnonzero(array))
    return as_array(recorder, array)


def _expanded(entries: list[Any], rank: int) -> list[Any]:
    """The entries with the Ellipsis, and what is left out at the end, as slices."""
    taken = sum(
        _consumed(entry) if isinstance(entry, TracedArray) else 1
        for entry in entries
        if entry is not None and not isinstance(entry, EllipsisType)
    )
    if taken > rank:
        raise IndexError(
            f"too many indices for array: array is {rank}-dimensional, but {taken} were indexed"
        )
    at = next((i for i, entry in enumerate(entries) if entry is Ellipsis), None)
    fill = [slice(None)] * (rank - taken)
    if at is None:
        return [*entries, *fill]
    return [*entries[:at], *fill, *entries[at + 1 :]]


# ---- views


def _new_axis(x: TracedArray, axis: int) -> TracedArray:
    r = recorder_of(x)
    return viewed(
        x,
        View(
            lambda t: r.record("unsqueeze.default", self=t, dim=axis),
            lambda t, new: r.record("squeeze.dim", self=new, dim=axis),
            lambda a: np.expand_dims(a, axis),
        ),
    )


def _check_position(x: TracedArray, axis: int, position: Dim) -> None:
    size, sizes = tensor_of(x).shape[axis], recorder_of(x).sizes
    if not isinstance(position, int):
        return
    is_inside = sizes.require_less(position if position >= 0 else -position - 1, size)
    if not is_inside:
        raise IndexError(
            f"index {position} is out of bounds for axis {axis} with size {sizes.text(size)}"
        )


def _selected(x: TracedArray, axis: int, position: Dim) -> TracedArray:
    r = recorder_of(x)
    _check_position(x, axis, position)
    known = r.sizes.example(position) or 0
    return viewed(
        x,
        View(
            lambda t: r.record("select.int", self=t, dim=axis, index=position),
            lambda t, new: r.record(
                "select_scatter.default", self=t, src=new, dim=axis, index=position
            ),
            lambda a: _part(a, axis, known),
        ),
    )


def _sliced(x: TracedArray, axis: int, key: slice) -> TracedArray:
    start, stop = (None if end is None else dim_of(end) for end in (key.start, key.stop))
    step = 1 if key.step is None else int(key.step)
    if step == 0:
        raise ValueError("slice step cannot be zero")
    if step > 0:
        return _slice_view(x, axis, start, stop, step)
    size = tensor_of(x).shape[axis]
    return _slice_view(
        flipped(x, (axis,)), axis, _mirrored(start, size), _mirrored(stop, size), -step
    )


def _mirrored(end: Dim | None, size: Dim) -> Dim | None:
    """An end of a slice towards the front, counted from the back."""
    if end is None:
        return None
    if isinstance(end, int) and end < 0:
        return -1 - end
    return shapes.maximum(size - 1 - end, 0)


def _slice_view(
    x: TracedArray, axis: int, start: Dim | None, stop: Dim | None, step: int
) -> TracedArray:
    size = tensor_of(x).shape[axis]
    if start in (None, 0) and step == 1 and (stop is None or stop == size):
        return x
    r = recorder_of(x)
    options = {"dim": axis, "start": start, "end": stop, "step": step}
    first, last = (None if end is None else r.sizes.example(end) for end in (start, stop))
    length = _known_length(r, size, start, stop) if step == 1 else None

    def read(t: Tensor) -> Tensor:
        if length is None:
            cut: Tensor = r.record("slice.Tensor", self=t, **options)
        else:
            cut = r.record("narrow.default", self=t, dim=axis, start=start or 0, length=length)
        return cut

    return viewed(
        x,
        View(
            read,
            lambda t, new: r.record("slice_scatter.default", self=t, src=new, **options),
            lambda a: _part(a, axis, slice(first, last, step)),
        ),
    )


def _known_length(r: Recorder, size: Dim, start: Dim | None, stop: Dim | None) -> Dim | None:
    """The length of a slice whose ends are declared to lie within a size that varies; else None: it is
    then what slicing makes of it, `min(stop, size)`, and so on."""
    begin = 0 if start is None else start
    if isinstance(size, int) or not isinstance(begin, int) or begin < 0:
        return None
    if stop is None:
        return size - begin if r.sizes.is_at_least(size, begin) else None
    if isinstance(stop, int) and stop >= begin and r.sizes.is_at_least(size, stop):
        return stop - begin
    return None


def _part(array: np.ndarray, axis: int, key: int | slice) -> np.ndarray:
    entries: list[Any] = [*[slice(None)] * axis, key]
    part: np.ndarray = array[tuple(entries)]
    return part


def flipped(x: TracedArray, axes: tuple[int, ...]) -> TracedArray:
    """A view with some axes in reverse order."""
    r = recorder_of(x)
    return viewed(
        x,
        View(
            lambda t: r.record("flip.default", self=t, dims=list(axes)),
            lambda t, new: r.record("flip.default", self=new, dims=list(axes)),
            lambda a: np.flip(a, axes),
        ),
    )

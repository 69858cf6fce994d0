"""NumPy's ufuncs as calls of ATen operators, in the types that NumPy computes in.

Which types those are NumPy itself says (`ufunc.resolve_dtypes`): operands are converted to the types
of its loop, the result to the loop's. `LOOPS` is what a loop is made of, one row for each ufunc.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..graph_writer import Tensor
from .array import TracedArray, as_scalar, overwrite, tensor_of, traced
from .conversion import as_array, convert, is_weak, number_as
from .loops import LOOPS
from .recorder import Recorder, dtype_of
from .sizes import SymbolicInt
from .where import refused, unknown

_COMPARED = (np.equal, np.not_equal, np.less, np.less_equal, np.greater, np.greater_equal)


def apply_ufunc(
    recorder: Recorder,
    ufunc: np.ufunc,
    method: str,
    inputs: Sequence[object],
    kwargs: Mapping[str, object],
) -> object:
    """What NumPy asks of an array for `ufunc(...)`, `ufunc.reduce(...)` and the other methods."""
    options: dict[str, Any] = dict(kwargs)
    out = options.pop("out", None)
    targets: tuple[object, ...] = out if isinstance(out, tuple) else (out,)
    if method == "__call__":
        results = call_ufunc(recorder, ufunc, inputs, targets=targets, **options)
    else:
        from .ufunc_methods import METHODS

        if method not in METHODS:
            raise refused(f"np.{ufunc.__name__}.{method} cannot be captured")
        results = METHODS[method](recorder, ufunc, *inputs, **options)
    several = results if isinstance(results, tuple) else (results,)
    if all(target is None for target in targets):
        return results
    stored = tuple(
        result if target is None else stored_in(target, result, f"np.{ufunc.__name__}")
        for target, result in zip(targets, several, strict=True)
    )
    return stored if len(stored) > 1 else stored[0]


def stored_in(target: object, result: Any, what: str) -> object:
    """Put a result into the array given as `out`."""
    if not isinstance(target, TracedArray):
        raise refused(
            f"{what} is to store a captured array in a NumPy array (out=, or an in-place operator); "
            "np.zeros_like(x, shape=…) makes an array to store in"
        )
    if not np.can_cast(result.dtype, target.dtype, "same_kind"):
        raise TypeError(
            f"Cannot cast ufunc '{what.removeprefix('np.')}' output from {result.dtype!r} to "
            f"{target.dtype!r} with casting rule 'same_kind'"
        )
    store(target, result)
    return target


def store(target: TracedArray, value: TracedArray) -> None:
    """Every element of an array becomes that of another, which broadcasts to it."""
    recorder = target._recorder
    own, given = tensor_of(target), tensor_of(value)
    if recorder.sizes.broadcast([own.shape, given.shape], "an assignment") != own.shape:
        raise ValueError(
            f"could not broadcast input array from shape {value.shape} into shape {target.shape}"
        )
    given = convert(recorder, given, own.dtype)
    if given.shape != own.shape:
        given = recorder.record("expand.default", self=given, size=list(own.shape))
        given = recorder.record("clone.default", self=given)
    overwrite(target, given)


def call_ufunc(
    recorder: Recorder,
    ufunc: np.ufunc,
    inputs: Sequence[object],
    *,
    targets: Sequence[object] = (None,),
    where: object = True,
    dtype: object = None,
    casting: str = "same_kind",
    **others: object,
) -> TracedArray | tuple[TracedArray, ...]:
    """One call of a ufunc on arrays and numbers."""
    loop = LOOPS.get(ufunc)
    if loop is None:
        raise unknown(f"np.{ufunc.__name__}", (f"np.{known.__name__}" for known in LOOPS))
    wanted = {key: value for key, value in others.items() if value is not None}
    for key in wanted.keys() - {"order", "subok"}:
        raise refused(f"np.{ufunc.__name__} with {key}= cannot be captured")
    if ufunc in _COMPARED:
        inputs = _comparable(recorder, inputs)
    operands = [x if is_weak(x) else as_array(recorder, x) for x in inputs]
    types = loop_types(ufunc, operands, None if dtype is None else np.dtype(dtype), casting)  # type: ignore[call-overload]
    tensors = [_operand(recorder, x, t) for x, t in zip(operands, types[: ufunc.nin], strict=True)]
    if ufunc.signature is None:
        recorder.sizes.broadcast([tensor.shape for tensor in tensors], f"np.{ufunc.__name__}")
    made = loop(recorder, *tensors)
    results = made if isinstance(made, tuple) else (made,)
    arrays = []
    for result, result_type in zip(results, types[ufunc.nin :], strict=True):
        result = convert(recorder, result, dtype_of(result_type))
        if any(result is tensor for tensor in tensors):
            result = recorder.record("clone.default", self=result)
        arrays.append(traced(recorder, result))
    if where is not True:
        arrays = [
            _selected(recorder, where, array, target, ufunc)
            for array, target in zip(arrays, targets, strict=True)
        ]
    arrays = [as_scalar(array) for array in arrays]
    return tuple(arrays) if len(arrays) > 1 else arrays[0]


def _selected(
    recorder: Recorder, where: object, array: TracedArray, target: object, ufunc: np.ufunc
) -> TracedArray:
    """The result where a condition holds; elsewhere what `out` holds, for without it that is nothing."""
    if target is None:
        raise refused(f"np.{ufunc.__name__} with where= but without out= gives undefined elements")
    condition = as_array(recorder, where)
    return np.where(condition, array.astype(target.dtype), target)  # type: ignore[call-overload, no-any-return, attr-defined]


def _operand(recorder: Recorder, value: Any, dtype: np.dtype[Any]) -> Tensor:
    if is_weak(value):
        return number_as(recorder, value, dtype)
    return convert(recorder, tensor_of(value), dtype_of(dtype))


def loop_types(
    ufunc: np.ufunc, operands: Sequence[object], dtype: np.dtype[Any] | None, casting: str
) -> tuple[np.dtype[Any], ...]:
    """The types of the loop that NumPy takes, inputs first."""
    given: list[Any] = [_type_of(x) for x in operands]
    if all(isinstance(each, type) for each in given):
        given = [np.dtype(each) for each in given]
    options: dict[str, Any] = {"casting": casting}
    if dtype is not None:
        options["signature"] = (*[None] * ufunc.nin, *[dtype] * ufunc.nout)
    types: tuple[np.dtype[Any], ...] = ufunc.resolve_dtypes(
        (*given, *[None] * ufunc.nout), **options
    )
    return types


def _type_of(value: object) -> Any:
    if isinstance(value, SymbolicInt):
        return int
    return type(value) if is_weak(value) else value.dtype  # type: ignore[attr-defined]


def _comparable(recorder: Recorder, inputs: Sequence[object]) -> Sequence[object]:
    """Python integers that the other operand's type cannot hold are compared by value, as NumPy does."""
    for mine, other in ((0, 1), (1, 0)):
        number, array = inputs[mine], inputs[other]
        if type(number) is not int or not isinstance(array, (TracedArray, np.ndarray, np.generic)):
            continue
        if array.dtype.kind not in "iu":
            continue
        limits = np.iinfo(array.dtype)
        low, high = int(limits.min), int(limits.max)
        if not low <= number <= high:
            wide = as_array(recorder, array).astype(np.float64)
            replaced: list[object] = [wide, wide]
            replaced[mine] = float(np.inf if number > high else -np.inf)
            return replaced
    return inputs

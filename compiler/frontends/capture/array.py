"""The arrays that a captured function is given: they record what is done to them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NoReturn

import numpy as np

from ...ir.shapes import Dim
from ..graph_writer import Tensor
from .memory import Reference, View
from .recorder import Recorder
from .where import refused

_STORE = "np.zeros_like(x, shape=…) makes one to store in"
_numpy: Any = np
"""NumPy on captured arrays, of which its stubs know nothing."""


class TracedArray:
    """Stands for a `numpy.ndarray` whose elements only a call decides.

    Operators, methods, ufuncs and functions of NumPy give further ones. What needs the elements
    while the function is captured (`if x > 0`, `float(x)`) raises `CaptureError`.
    """

    __slots__ = ("_is_scalar", "_recorder", "_reference")

    def __init__(self, recorder: Recorder, reference: Reference, is_scalar: bool = False) -> None:
        self._recorder = recorder
        self._reference = reference
        self._is_scalar = is_scalar  # a number in NumPy: what changes it in place makes another

    # ---- what it is

    @property
    def has_views(self) -> bool:
        """Whether it shows the memory of another array."""
        return bool(self._reference.views)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Element type."""
        return self._reference.read().dtype.numpy

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes; those that the inputs of a call decide are symbolic."""
        return self._recorder.sizes.shape(self._reference.read().shape)

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return self._reference.read().rank

    @property
    def size(self) -> int:
        """Number of elements."""
        count = 1
        for each in self.shape:
            count = count * each
        return count

    @property
    def itemsize(self) -> int:
        """Bytes of an element."""
        return self.dtype.itemsize

    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""
        return self.size * self.itemsize

    @property
    def T(self) -> Any:  # noqa: N802  # NumPy's name
        """The axes in reverse order."""
        return _numpy.transpose(self)

    @property
    def mT(self) -> Any:  # noqa: N802  # NumPy's name
        """The last two axes swapped."""
        return _numpy.swapaxes(self, -1, -2)

    @property
    def real(self) -> Any:
        """The real part, a view."""
        return _numpy.real(self)

    @real.setter
    def real(self, value: object) -> None:
        _numpy.real(self)[...] = value

    @property
    def imag(self) -> Any:
        """The imaginary part, of complex numbers a view."""
        return _numpy.imag(self)

    @imag.setter
    def imag(self, value: object) -> None:
        if self.dtype.kind != "c":
            raise TypeError("array does not have imaginary part to set")
        _numpy.imag(self)[...] = value

    @property
    def flat(self) -> NoReturn:
        """Not available: `ravel()` gives the elements in order."""
        raise refused("the attribute flat of a captured array; use x.ravel() or x.reshape(-1)")

    def __repr__(self) -> str:
        sizes = ", ".join(map(str, self.shape))
        return f"<captured array {self.dtype}[{sizes}]>"

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__") or not hasattr(np.ndarray, name):
            raise AttributeError(f"a captured array has no attribute {name!r}")
        raise refused(f"the method or attribute {name} of ndarray cannot be captured")

    # ---- what needs elements

    def _needs_elements(self, what: str, instead: str) -> NoReturn:
        raise refused(
            f"{what} needs the elements of an array of {self.dtype}{list(self.shape)}, which only a call "
            f"of the program decides; {instead}"
        )

    def __bool__(self) -> NoReturn:
        self._needs_elements("a truth value (if, while, and, or, not)", "use np.where")

    def __int__(self) -> NoReturn:
        self._needs_elements("int()", "use astype")

    def __float__(self) -> NoReturn:
        self._needs_elements("float(), or storing it in a NumPy array,", f"use astype; {_STORE}")

    def __complex__(self) -> NoReturn:
        self._needs_elements("complex()", "use astype")

    def __index__(self) -> NoReturn:
        self._needs_elements("an index, a range or a size", "use np.take for an element")

    def __contains__(self, item: object) -> NoReturn:
        self._needs_elements("'in'", "use np.any(x == value)")

    def item(self, *args: object) -> NoReturn:
        """Not available: a Python number is known while the function is captured."""
        self._needs_elements("item()", "keep the array")

    def tolist(self) -> NoReturn:
        """Not available: a list of numbers is known while the function is captured."""
        self._needs_elements("tolist()", "keep the array")

    def __array__(self, dtype: object = None, copy: object = None) -> NoReturn:
        self._needs_elements(
            "a conversion to a NumPy array (np.array, np.asarray, as an index of a NumPy array, or storing it "
            "in one)",
            "np.stack joins captured arrays, x.copy() copies one, np.asarray(table, like=x)[x] looks up in a "
            f"NumPy array; {_STORE}",
        )

    def __len__(self) -> int:
        if not self.ndim:
            raise TypeError("len() of unsized object")
        return int(self.shape[0])

    def __iter__(self) -> Iterator[TracedArray]:
        if not self.ndim:
            raise TypeError("iteration over a 0-d array")
        return (self[i] for i in range(len(self)))

    __hash__ = object.__hash__

    # ---- what NumPy asks

    def __array_ufunc__(
        self, ufunc: np.ufunc, method: str, *inputs: object, **kwargs: object
    ) -> object:
        from .ufuncs import apply_ufunc

        return apply_ufunc(self._recorder, ufunc, method, inputs, kwargs)

    def __array_function__(
        self,
        function: Callable[..., object],
        types: object,
        args: Sequence[object],
        kwargs: Mapping[str, object],
    ) -> object:
        from .functions import apply_function

        return apply_function(self._recorder, function, args, kwargs)

    # ---- elements

    def __getitem__(self, key: object) -> TracedArray:
        from .indexing import get_item

        return get_item(self, key)

    def __setitem__(self, key: object, value: object) -> None:
        from .indexing import set_item

        set_item(self, key, value)

    def copy(self, order: str = "C") -> TracedArray:
        """The elements in memory of their own."""
        return traced(self._recorder, self._recorder.record("clone.default", self=tensor_of(self)))

    def __copy__(self) -> TracedArray:
        return self.copy()

    def __deepcopy__(self, memo: object) -> TracedArray:
        return self.copy()

    def astype(
        self, dtype: Any, order: str = "K", casting: str = "unsafe", subok: bool = True,
        copy: bool = True,
    ) -> TracedArray:  # fmt: skip
        """The elements as another type."""
        from .conversion import converted

        wanted = np.dtype(dtype)
        if not _numpy.can_cast(self.dtype, wanted, casting):
            raise TypeError(f"Cannot cast array data from {self.dtype} to {wanted} ({casting=})")
        if wanted == self.dtype:
            return self.copy() if copy else self
        return converted(self, wanted)

    def reshape(self, *shape: Any, order: str = "C") -> Any:
        """The elements under another shape."""
        sizes = shape[0] if len(shape) == 1 else shape
        return _numpy.reshape(self, sizes, order=order)

    def transpose(self, *axes: Any) -> Any:
        """The axes in another order, reversed by default."""
        order = axes[0] if len(axes) == 1 else axes or None
        return _numpy.transpose(self, order)

    def flatten(self, order: str = "C") -> Any:
        """A copy with one axis."""
        return _numpy.ravel(self, order=order).copy()

    def fill(self, value: object) -> None:
        """Every element becomes this number."""
        self[...] = value

    def sort(self, axis: int = -1, kind: object = None, order: object = None) -> None:
        """Sorts in place."""
        self[...] = _numpy.sort(self, axis)


def traced(recorder: Recorder, tensor: Tensor) -> TracedArray:
    """An array with memory of its own."""
    return TracedArray(recorder, Reference.fresh(tensor))


def as_scalar(array: TracedArray) -> TracedArray:
    """What NumPy gives as a number rather than an array, if it has no axes: nothing shares its memory."""
    if array.ndim:
        return array
    return TracedArray(array._recorder, Reference.fresh(tensor_of(array)), is_scalar=True)


def tensor_of(array: TracedArray) -> Tensor:
    """The tensor that holds the present elements of an array."""
    return array._reference.read()


def recorder_of(array: TracedArray) -> Recorder:
    """The capture an array belongs to."""
    return array._recorder


def viewed(array: TracedArray, view: View) -> TracedArray:
    """An array that shares the memory of another."""
    return TracedArray(array._recorder, array._reference.view(view))


def overwrite(array: TracedArray, changed: Tensor) -> None:
    """Replace the elements of an array, and of all that share its memory."""
    if not array._reference.is_writable:
        raise refused("the destination of an assignment is read-only, as np.broadcast_to gives it")
    array._reference.write(changed)


def is_in_order(array: TracedArray, shape: Sequence[Dim]) -> bool:
    """Whether NumPy reshapes an array to a shape without a copy, judged by the example's sizes."""
    if not array._reference.views:
        return True
    layout = _layout(array)
    wanted = [array._recorder.sizes.example(size) for size in shape]
    if layout is None or None in wanted:
        return False
    return np.may_share_memory(layout, layout.reshape([size or 0 for size in wanted]))


def is_contiguous(array: TracedArray) -> bool:
    """Whether the elements of an array lie in memory one after the other, judged by the example's sizes."""
    layout = _layout(array)
    return layout is not None and layout.flags.c_contiguous


def _layout(array: TracedArray) -> np.ndarray | None:
    """A NumPy array that lies in memory as one does; None where the example does not tell its sizes."""
    own = [array._recorder.sizes.example(size) for size in array._reference.memory.tensor.shape]
    return None if None in own else array._reference.layout(tuple(size or 0 for size in own))


def _method(function: Callable[..., Any]) -> Callable[..., Any]:
    def method(self: TracedArray, *args: object, **kwargs: object) -> object:
        return function(self, *args, **kwargs)

    method.__name__ = function.__name__
    method.__doc__ = f"`numpy.{function.__name__}` of this array."
    return method


def _operator(ufunc: np.ufunc, *, is_reflected: bool = False) -> Callable[..., Any]:
    def operator(self: TracedArray, other: object) -> object:
        return ufunc(other, self) if is_reflected else ufunc(self, other)

    return operator


def _in_place(ufunc: np.ufunc) -> Callable[..., Any]:
    def operator(self: TracedArray, other: object) -> TracedArray:
        if self._is_scalar:
            number: TracedArray = ufunc(self, other)
            return number
        ufunc(self, other, out=(self,))
        return self

    return operator


_BINARY = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "truediv": np.true_divide,
    "floordiv": np.floor_divide, "mod": np.remainder, "pow": np.power, "matmul": np.matmul,
    "and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor,
    "lshift": np.left_shift, "rshift": np.right_shift, "divmod": np.divmod,
}  # fmt: skip
_COMPARISONS = {
    "eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal, "gt": np.greater,
    "ge": np.greater_equal,
}  # fmt: skip
_UNARY = {"neg": np.negative, "pos": np.positive, "abs": np.absolute, "invert": np.invert}
_METHODS = [
    "all",
    "any",
    "argmax",
    "argmin",
    "argsort",
    "clip",
    "conj",
    "conjugate",
    "cumprod",
    "cumsum",
    "diagonal",
    "dot",
    "max",
    "mean",
    "min",
    "nonzero",
    "prod",
    "ptp",
    "put",
    "ravel",
    "repeat",
    "round",
    "searchsorted",
    "squeeze",
    "std",
    "sum",
    "swapaxes",
    "take",
    "trace",
    "var",
]

for _name, _ufunc in _BINARY.items():
    setattr(TracedArray, f"__{_name}__", _operator(_ufunc))
    setattr(TracedArray, f"__r{_name}__", _operator(_ufunc, is_reflected=True))
    if _ufunc.nout == 1:
        setattr(TracedArray, f"__i{_name}__", _in_place(_ufunc))


def _square_or_power(base: Any, exponent: object) -> object:
    """`**`, which NumPy computes with another ufunc, and so in other types, where the exponent is 2."""
    is_square = type(exponent) is int and exponent == 2
    return _numpy.square(base) if is_square else _numpy.power(base, exponent)


setattr(TracedArray, "__pow__", _square_or_power)  # noqa: B010  # as the loop above does
for _name, _ufunc in _COMPARISONS.items():
    setattr(TracedArray, f"__{_name}__", _operator(_ufunc))
for _name, _ufunc in _UNARY.items():
    setattr(TracedArray, f"__{_name}__", _method(_ufunc))
for _name in _METHODS:
    if _name not in TracedArray.__dict__:
        setattr(TracedArray, _name, _method(getattr(np, _name)))

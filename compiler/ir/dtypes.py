"""Element types of tensors: one enumeration for the whole compiler.

Names follow PyTorch (`float32`, `bfloat16`, …). A `DType` knows its size, its kind, the NumPy dtype
that holds it (through `ml_dtypes` where NumPy has none) and the dtype its arithmetic is done in.
"""

from __future__ import annotations

import enum
from functools import cache
from typing import Any

import numpy as np


class Kind(enum.IntEnum):
    """Categories in the order of type promotion."""

    BOOL = 0
    INTEGER = 1
    FLOAT = 2
    COMPLEX = 3


class DType(enum.Enum):
    """An element type; the value is its PyTorch name."""

    BOOL = "bool"
    UINT8 = "uint8"
    INT8 = "int8"
    INT16 = "int16"
    INT32 = "int32"
    INT64 = "int64"
    UINT16 = "uint16"
    UINT32 = "uint32"
    UINT64 = "uint64"
    FLOAT16 = "float16"
    BFLOAT16 = "bfloat16"
    FLOAT32 = "float32"
    FLOAT64 = "float64"
    COMPLEX32 = "complex32"
    COMPLEX64 = "complex64"
    COMPLEX128 = "complex128"
    FLOAT8_E4M3FN = "float8_e4m3fn"
    FLOAT8_E5M2 = "float8_e5m2"
    FLOAT8_E4M3FNUZ = "float8_e4m3fnuz"
    FLOAT8_E5M2FNUZ = "float8_e5m2fnuz"
    FLOAT8_E8M0FNU = "float8_e8m0fnu"

    @property
    def itemsize(self) -> int:
        """Bytes of one element."""
        return _ITEMSIZE[self]

    @property
    def kind(self) -> Kind:
        """Category for type promotion."""
        return _KIND[self]

    @property
    def is_float(self) -> bool:
        """Whether it is a real floating-point type."""
        return self.kind is Kind.FLOAT

    @property
    def is_complex(self) -> bool:
        """Whether it is a complex type."""
        return self.kind is Kind.COMPLEX

    @property
    def is_integer(self) -> bool:
        """Whether it is an integer type (bool is not)."""
        return self.kind is Kind.INTEGER

    @property
    def is_signed(self) -> bool:
        """Whether negative values exist."""
        return not (self is DType.BOOL or self.value.startswith("u"))

    @property
    def compute(self) -> DType:
        """The type arithmetic is done in: float32 for the narrow floats, itself otherwise."""
        if self.is_float and self.itemsize < 4:
            return DType.FLOAT32
        return DType.COMPLEX64 if self is DType.COMPLEX32 else self

    @property
    def real(self) -> DType:
        """The type of the real part (itself where it is not complex)."""
        return _REAL.get(self, self)

    @property
    def complex(self) -> DType:
        """The complex type whose parts have this type."""
        return _COMPLEX.get(self, self)

    @property
    def numpy(self) -> np.dtype[Any]:
        """The NumPy dtype that holds it."""
        return _numpy_dtype(self)

    def __repr__(self) -> str:
        return self.value


_ITEMSIZE = {
    DType.BOOL: 1, DType.UINT8: 1, DType.INT8: 1, DType.INT16: 2, DType.INT32: 4, DType.INT64: 8,
    DType.UINT16: 2, DType.UINT32: 4, DType.UINT64: 8, DType.FLOAT16: 2, DType.BFLOAT16: 2,
    DType.FLOAT32: 4, DType.FLOAT64: 8, DType.COMPLEX32: 4, DType.COMPLEX64: 8,
    DType.COMPLEX128: 16, DType.FLOAT8_E4M3FN: 1, DType.FLOAT8_E5M2: 1,
    DType.FLOAT8_E4M3FNUZ: 1, DType.FLOAT8_E5M2FNUZ: 1, DType.FLOAT8_E8M0FNU: 1,
}  # fmt: skip
_KIND = {
    dtype: (
        Kind.BOOL
        if dtype is DType.BOOL
        else Kind.COMPLEX
        if dtype.value.startswith("complex")
        else Kind.FLOAT
        if "float" in dtype.value
        else Kind.INTEGER
    )
    for dtype in DType
}
_REAL = {
    DType.COMPLEX32: DType.FLOAT16,
    DType.COMPLEX64: DType.FLOAT32,
    DType.COMPLEX128: DType.FLOAT64,
}
_COMPLEX = {
    DType.FLOAT16: DType.COMPLEX64,  # complex32 is storage only: arithmetic goes to complex64
    DType.BFLOAT16: DType.COMPLEX64,
    DType.FLOAT32: DType.COMPLEX64,
    DType.FLOAT64: DType.COMPLEX128,
}


@cache
def _numpy_dtype(dtype: DType) -> np.dtype[Any]:
    if dtype is DType.COMPLEX32:
        raise TypeError("NumPy has no dtype for complex32")
    if dtype is DType.BFLOAT16 or dtype.value.startswith("float8"):
        import ml_dtypes

        narrow: np.dtype[Any] = np.dtype(getattr(ml_dtypes, dtype.value))
        return narrow
    known: np.dtype[Any] = np.dtype(dtype.value)
    return known


@cache
def from_numpy(dtype: np.dtype[Any]) -> DType:
    """The `DType` of a NumPy (or ml_dtypes) dtype; `ValueError` where there is none."""
    return DType(dtype.name)


def promote(left: DType, right: DType) -> DType:
    """The type two tensors of equal priority meet in, as `torch.promote_types` has it."""
    if left is right:
        return left
    if left.kind is not right.kind:
        low, high = sorted((left, right), key=lambda dtype: dtype.kind)
        if high.is_complex and low.is_float:
            return promote(high, low.complex) if low.itemsize > 2 else high
        return high
    if left.is_integer:
        return _promote_integers(left, right)
    if left.itemsize == right.itemsize:  # float16 with bfloat16
        return DType.FLOAT32
    return left if left.itemsize > right.itemsize else right


def _promote_integers(left: DType, right: DType) -> DType:
    if left.is_signed == right.is_signed:
        return left if left.itemsize >= right.itemsize else right
    signed, unsigned = (left, right) if left.is_signed else (right, left)
    if signed.itemsize > unsigned.itemsize:
        return signed
    wider = {1: DType.INT16, 2: DType.INT32, 4: DType.INT64}
    return wider.get(unsigned.itemsize, DType.INT64)

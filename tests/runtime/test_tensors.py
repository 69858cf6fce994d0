"""Arrays of other libraries and dtypes NumPy lacks."""

from __future__ import annotations

import numpy as np
import pytest

from castoff.runtime.abi import DTYPE_CODES
from castoff.runtime.diagnose import equals_constant, is_number
from castoff.runtime.tensors import (
    as_array,
    as_storage,
    giver,
    matches,
    native_dtype,
    storage_dtype,
)


@pytest.mark.parametrize("name", DTYPE_CODES)
def test_every_dtype_has_a_storage_dtype_of_its_size(name: str) -> None:
    assert storage_dtype(name).itemsize * 8 == DTYPE_CODES[name][1]


@pytest.mark.parametrize("name", ["bfloat16", "float8_e4m3fn", "float8_e5m2"])
def test_dtypes_numpy_lacks_come_as_bits_or_from_ml_dtypes(name: str) -> None:
    pytest.importorskip("ml_dtypes")
    values = np.array([1.0, -2.0, 0.5], native_dtype(name))
    bits = values.view(storage_dtype(name))
    for array in (values, bits):
        assert matches(array, name)
        np.testing.assert_array_equal(as_storage(array, name), bits)
    given = giver((values,))(bits, name)
    assert isinstance(given, np.ndarray)
    assert given.dtype == native_dtype(name)
    np.testing.assert_array_equal(given.astype(np.float32), [1.0, -2.0, 0.5])
    assert not matches(values.astype(np.float32), name)


def test_python_values_are_no_arrays() -> None:
    for value in (None, 1, 1.5, True, "text", [1, 2], (1,), {"a": 1}, object()):
        assert as_array(value) is None
    assert as_array(np.float32(3)) == 3


def test_constants_are_equal_only_to_their_own_kind() -> None:
    equal = [(None, None), (1, 1), (1.0, 1), (float("nan"), float("nan")), ("a", "a"), (True, True)]
    different = [(None, 0), (1, True), (False, 0), ("1", 1), (2, 3), (1, None), (np.zeros(2), 0.0)]
    assert all(equals_constant(value, expected) for value, expected in equal)
    assert not any(equals_constant(value, expected) for value, expected in different)


def test_numbers_are_told_from_booleans() -> None:
    assert is_number(3, "int")
    assert is_number(np.int32(3), "int")
    assert is_number(3, "float")
    assert not is_number(True, "int")
    assert not is_number(3.0, "int")
    assert is_number(True, "bool")
    assert not is_number(1, "bool")


@pytest.mark.torch
def test_torch_tensors_share_their_memory() -> None:
    torch = pytest.importorskip("torch")
    tensor = torch.arange(4, dtype=torch.bfloat16, requires_grad=True)
    array = as_array(tensor)
    assert array is not None
    assert matches(array, "bfloat16")
    back = giver((tensor,))(as_storage(array, "bfloat16").copy(), "bfloat16")
    assert torch.equal(back, tensor)
    integers = torch.zeros(3, dtype=torch.int64)
    shared = as_array(integers)
    assert shared is not None
    shared[1] = 5
    assert integers.tolist() == [0, 5, 0]

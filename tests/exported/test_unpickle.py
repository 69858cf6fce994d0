"""The pickle reader builds data and nothing else, whatever the pickle asks for."""

from __future__ import annotations

import collections
import contextlib
import os
import pickle
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from castoff.compiler.exported import (
    ProgramFormatError,
    TensorData,
    UnsafePickleError,
    load_program,
)
from castoff.compiler.exported.schema import Device, ScalarType
from castoff.compiler.exported.torch_save import read_torch_save
from castoff.runtime.constructors import PYTHON_GLOBALS
from castoff.runtime.unpickle import ForeignClassError, unpickle

from . import pt2_files as pt2


def _no_storage(identifier: object) -> object:
    raise ValueError(f"no storage {identifier}")


def _unpickle(data: bytes) -> object:
    return unpickle(memoryview(data), PYTHON_GLOBALS, _no_storage, "payload")


_scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.complex_numbers(allow_nan=False)
)
_keys = st.text() | st.integers() | st.tuples(st.integers(), st.text())
_values = st.recursive(
    _scalars,
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.dictionaries(_keys, inner)
        | st.lists(inner).map(collections.deque)
        | st.dictionaries(_keys, inner).map(collections.OrderedDict)
        | st.sets(st.integers())
        | st.frozensets(st.text())
        | st.builds(slice, st.integers(), st.none(), st.integers())
        | st.binary().map(bytearray)
    ),
    max_leaves=20,
)


@settings(max_examples=200, deadline=None)
@given(value=_values, protocol=st.sampled_from([2, 3, 4, 5]))
def test_plain_data_comes_back_as_python_pickled_it(value: object, protocol: int) -> None:
    restored = _unpickle(pickle.dumps(value, protocol=protocol))
    assert restored == value
    assert type(restored) is type(value)


def test_shared_and_circular_lists_stay_so() -> None:
    shared: list[object] = [1]
    circular: list[object] = [shared, shared]
    circular.append(circular)
    restored = _unpickle(pickle.dumps(circular))
    assert isinstance(restored, list)
    assert restored[0] is restored[1]
    assert restored[2] is restored


# --- Attacks -----------------------------------------------------------------------------------


class _Calls:
    """An object whose pickle calls `function` when it is read."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self._call = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self._call


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize(
    "function", [os.system, eval, exec, open, getattr, subprocess.Popen, __import__, print, vars]
)
def test_calls_are_refused_and_not_made(
    function: Callable[..., object], protocol: int, tmp_path: Path
) -> None:
    target = tmp_path / "touched"
    attack = pickle.dumps([_Calls(function, f"touch {target}")], protocol=protocol)
    with pytest.raises(UnsafePickleError, match=r"names '[\w.]+', which is not on the list"):
        _unpickle(attack)
    assert not target.exists()


@pytest.mark.parametrize("entry", ["weights", "constants", "sample_inputs"])
def test_an_attack_in_any_pickle_of_a_program_is_refused(entry: str, tmp_path: Path) -> None:
    target = tmp_path / "touched"
    attack = pt2.torch_save(pt2.call_op("posix", "system", pt2.text_op(f"touch {target}")), {})
    further = {f"data/{entry}/model.pt": attack}
    if entry == "sample_inputs":
        content = pt2.entries(sample_inputs=attack)
    else:
        content = pt2.entries(further=further)
    with pytest.raises(UnsafePickleError, match=rf"{entry}/model\.pt.*'posix\.system'"):
        load_program(pt2.zipped(content))
    assert not target.exists()


def test_classes_of_other_packages_are_told_from_attacks() -> None:
    with pytest.raises(ForeignClassError, match=r"'geometry\.Point'"):
        _unpickle(b"\x80\x02" + pt2.call_op("geometry", "Point") + b".")


@pytest.mark.parametrize(
    "name",
    ["__reduce__", "OrderedDict.__init__", "__builtins__", "namedtuple"],
)
def test_only_whole_names_on_the_list_are_found(name: str) -> None:
    with pytest.raises(UnsafePickleError):
        _unpickle(b"\x80\x04" + pt2.text_op("collections") + pt2.text_op(name) + b"\x93.")


@pytest.mark.parametrize(
    "callee",
    [pt2.text_op("eval"), b"}", b"]", b"N", b"K\x01"],
    ids=["str", "dict", "list", "None", "int"],
)
def test_only_constructors_can_be_called(callee: bytes) -> None:
    with pytest.raises(UnsafePickleError, match="is no constructor"):
        _unpickle(b"\x80\x02" + callee + b")R.")


def test_state_cannot_be_set_on_anything_but_an_ordered_dict() -> None:
    state = pt2.dict_op({"_metadata": b"N"})
    ordered = pt2.call_op("collections", "OrderedDict")
    assert _unpickle(b"\x80\x02" + ordered + state + b"b.") == collections.OrderedDict()
    with pytest.raises(UnsafePickleError, match="sets the state of a list"):
        _unpickle(b"\x80\x02]" + state + b"b.")


_TUPLES_IN_TUPLES = b"\x80\x02)" + b"\x85" * 100_000


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x80\x02",
        b".",
        b"\x80\x01N.",
        b"\x80\x09N.",
        b"\x80\x02NN.",
        b"\x80\x02t.",
        b"\x80\x02(R.",
        b"\x80\x02q\x01.",
        b"\x80\x02h\x07.",
        b"\x80\x02Nr\xff\xff\xff\xff0j\x00\x00\x00\x00.",
        b"\x80\x02X\xff\xff\xff\x7fabc.",
        b"\x80\x04\x8e" + b"\xff" * 8 + b".",
        b"\x80\x04\x8e" + struct.pack("<Q", 1 << 40) + b"x.",
        b"\x80\x02\x8b\xff\xff\xff\xff.",
        b"\x80\x02ccollections\n" + b"x" * 5000 + b"\n.",
        b"\x80\x02X\x02\x00\x00\x00\xff\xfe.",
        b"\x80\x02P0\n.",
        b"\x80\x02I1\n.",
        b"\x80\x02NQ.",
        b"\x80\x02}]N" + b"s.",
        _TUPLES_IN_TUPLES + b"q\x01}h\x01Ns.",
        b"\x80\x04(" + _TUPLES_IN_TUPLES[2:] + b"\x91.",
    ],
    ids=lambda data: repr(data[:24]),
)
def test_damaged_pickles_are_refused(data: bytes) -> None:
    with pytest.raises(ProgramFormatError, match="damaged pickle"):
        _unpickle(data)


def test_copying_one_list_over_and_over_is_cut_off() -> None:
    big = b"](" + b"N" * 10_000 + b"eq\x01"
    copy = pt2.name_op("builtins", "list") + b"h\x01\x85R0"
    with pytest.raises(ProgramFormatError, match="copied more often"):
        _unpickle(b"\x80\x02" + big + copy * 1000 + b".")


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_noise_leads_to_no_untyped_error(noise: bytes) -> None:
    with contextlib.suppress(ProgramFormatError):
        _unpickle(b"\x80\x04" + noise)


# --- Tensors -----------------------------------------------------------------------------------


def _read(pickled: bytes, **storages: npt.NDArray[np.generic]) -> object:
    named = {name.removeprefix("s"): array for name, array in storages.items()}
    return read_torch_save(memoryview(pt2.torch_save(pickled, named)), "payload")


def test_tensors_share_the_storage_they_shared() -> None:
    values = np.arange(6, dtype=np.float64)
    kind = "DoubleStorage"
    whole = pt2.tensor_op("0", [2, 3], [3, 1], storage_type=kind, count=6)
    column = pt2.tensor_op("0", [2], [3], storage_type=kind, count=6, offset=1)
    restored = _read(pt2.tuple_op(whole, column), s0=values)
    assert isinstance(restored, tuple)
    first, second = restored
    np.testing.assert_array_equal(first.array, values.reshape(2, 3))
    np.testing.assert_array_equal(second.array, [1, 4])
    assert first.storage is second.storage


def test_an_untyped_storage_takes_its_type_from_the_tensor() -> None:
    tensor = pt2.call_op(
        "torch._utils",
        "_rebuild_tensor_v3",
        pt2.storage_op("0", "UntypedStorage", 4),
        pt2.int_op(0),
        pt2.tuple_op(pt2.int_op(2)),
        pt2.tuple_op(pt2.int_op(1)),
        b"\x89",
        pt2.EMPTY_HOOKS,
        pt2.name_op("torch", "uint16"),
    )
    restored = _read(tensor, s0=np.array([7, 65535], np.uint16))
    assert isinstance(restored, TensorData)
    assert restored.dtype is ScalarType.UINT16
    assert restored.array.tolist() == [7, 65535]


def test_lazy_conjugation_is_carried_out() -> None:
    values = np.array([[1 + 2j, 3], [4j, 5 - 1j]], np.complex64)
    conj = pt2.dict_op({"conj": b"\x88"})
    tensor = pt2.tensor_op(
        "0", [2, 2], [1, 2], storage_type="ComplexFloatStorage", count=4, further=conj
    )
    restored = _read(tensor, s0=values)
    assert isinstance(restored, TensorData)
    np.testing.assert_array_equal(restored.array, values.T.conj())


def test_devices_and_sizes_become_plain_values() -> None:
    device = pt2.call_op("torch", "device", pt2.text_op("cuda"), pt2.int_op(1))
    size = pt2.call_op("torch", "Size", pt2.tuple_op(pt2.int_op(2), pt2.int_op(3)))
    assert _read(pt2.tuple_op(device, size)) == (Device("cuda", 1), (2, 3))


@pytest.mark.parametrize(
    "tensor",
    [
        pt2.tensor_op("0", [3], [1], count=2),
        pt2.tensor_op("0", [2], [1], count=3),
        pt2.tensor_op("0", [2], [1], count=-1),
        pt2.tensor_op("0", [2], [-1], count=2),
        pt2.tensor_op("9", [2], [1], count=2),
        pt2.tensor_op("../../data.pkl", [2], [1], count=2),
        pt2.tensor_op("0", [2], [1], count=2, further=pt2.dict_op({"imag": b"\x88"})),
        pt2.call_op("torch._utils", "_rebuild_tensor_v2", b"N"),
        pt2.call_op("torch._utils", "_rebuild_parameter", b"N", b"\x88", b"N"),
        pt2.tuple_op(pt2.text_op("storage"), b"N") + b"Q",
    ],
    ids=["size", "count", "negative", "stride", "key", "path", "metadata", "v2", "parameter", "id"],
)
def test_tensors_that_do_not_fit_are_refused(tensor: bytes) -> None:
    with pytest.raises(ProgramFormatError):
        _read(tensor, s0=pt2.W)


def test_payloads_that_are_no_torch_save_zip_are_refused() -> None:
    with pytest.raises(ProgramFormatError, match=r"torch\.save payload in zip format"):
        read_torch_save(memoryview(pickle.dumps({})), "payload")
    with pytest.raises(ProgramFormatError, match=r"expected one 'data\.pkl' entry"):
        read_torch_save(memoryview(pt2.zipped({"archive/other": b""})), "payload")

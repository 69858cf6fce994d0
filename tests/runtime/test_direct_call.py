"""Straight-line calls: every number of inputs and outputs, every tree of results, and the ways out."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from castoff.runtime._abi_cdef import ffi
from castoff.runtime.callspec import CallSpec
from castoff.runtime.direct_call import DirectCall, make_direct_call

LEAF = '{"type":null,"context":null,"children_spec":[]}'
IN_SPEC = (
    '[1,{"type":"builtins.tuple","context":"null","children_spec":['
    '{"type":"builtins.tuple","context":"null","children_spec":[]},'
    '{"type":"builtins.dict","context":"[]","children_spec":[]}]}]'
)
DTYPE = np.dtype(np.int64)
RESULTS: dict[str, tuple[str, object]] = {
    "none": ('{"type":"builtins.tuple","context":"null","children_spec":[]}', ()),
    "one": (LEAF, 0),
    "tuple": (f'{{"type":"builtins.tuple","context":"null","children_spec":[{LEAF}]}}', (0,)),
    "list": (
        f'{{"type":"builtins.list","context":"null","children_spec":[{LEAF},{LEAF}]}}',
        [0, 1],
    ),
    "nested": (
        '{"type":"builtins.tuple","context":"null","children_spec":['
        f'{{"type":"builtins.dict","context":"[\\"a\\"]","children_spec":[{LEAF}]}},{LEAF}]}}',
        ({"a": 0}, 1),
    ),
}


def as_array(memory: Any) -> np.ndarray:
    return np.frombuffer(ffi.buffer(memory), DTYPE)


class Counting:
    """Stands in for a program: output i is the sum of the inputs, plus i."""

    def __init__(self, input_count: int, output_count: int) -> None:
        self.inputs = [SimpleNamespace(data=None) for _ in range(input_count)]
        self.outputs = [SimpleNamespace(data=None) for _ in range(output_count)]
        places = [item for output in self.outputs for item in (output, (3,))]
        self.plans = {
            ((3,),) * input_count: [SimpleNamespace(direct=(*self.inputs, *places, self))]
        }
        self.status = 0

    def run(self, handle: object, structures: object) -> int:
        assert (handle, structures) == ("handle", self)
        total = sum((as_array(tensor.data) for tensor in self.inputs), np.zeros(3, DTYPE))
        for i, tensor in enumerate(self.outputs):
            as_array(tensor.data)[:] = total + i
        return self.status

    def direct_call(self, out_spec: str) -> DirectCall:
        spec = CallSpec(IN_SPEC, f"[1,{out_spec}]")
        dtypes = [DTYPE] * len(self.inputs), [DTYPE] * len(self.outputs)
        plans: Any = self.plans
        return make_direct_call(*dtypes, spec.out_tree, spec.unflatten, plans, self.run, "handle")

    def _call_generally(self, leaves: Sequence[object]) -> object:
        return "generally"

    def _refusal(self, status: int, leaves: Sequence[object]) -> Exception:
        return ValueError(f"status {status}")

    @property
    def free_plans(self) -> int:
        return sum(len(stack) for stack in self.plans.values())


def first_elements(result: object) -> object:
    """The tree with the first element of each array in its place."""
    match result:
        case np.ndarray():
            return int(result[0])
        case dict():
            return {key: first_elements(item) for key, item in result.items()}
        case tuple() | list():
            return type(result)(first_elements(item) for item in result)
    raise AssertionError(f"no result: {result!r}")


@pytest.mark.parametrize("result", RESULTS)
@pytest.mark.parametrize("input_count", [0, 1, 2, 5])
def test_result_has_the_tree_of_the_program(input_count: int, result: str) -> None:
    out_spec, tree = RESULTS[result]
    program = Counting(input_count, out_spec.count('"type":null'))
    call = program.direct_call(out_spec)
    for _ in range(2):
        assert first_elements(call(program, [np.zeros(3, DTYPE)] * input_count)) == tree
    ones = call(program, [np.ones(3, DTYPE)] * input_count)
    if result == "one":
        np.testing.assert_array_equal(ones, [input_count] * 3)


@pytest.mark.parametrize(
    "leaf",
    [
        np.zeros(4, DTYPE),
        np.zeros(3, np.int32),
        np.zeros(3, ">i8"),
        np.zeros(6, DTYPE)[::2],
        np.ma.zeros(3, DTYPE),
        [0, 0, 0],
        3,
    ],
    ids=["shape", "dtype", "byte order", "strided", "subclass", "list", "number"],
)
def test_what_is_no_plain_array_goes_the_general_way(leaf: object) -> None:
    program = Counting(2, 1)
    call = program.direct_call(LEAF)
    for leaves in ([leaf, np.zeros(3, DTYPE)], [np.zeros(3, DTYPE), leaf]):
        assert call(program, leaves) == "generally"
        assert program.free_plans == 1


def test_refused_call_raises_and_gives_its_plan_back() -> None:
    program = Counting(1, 1)
    call = program.direct_call(LEAF)
    program.status = 7
    with pytest.raises(ValueError, match="status 7"):
        call(program, [np.zeros(3, DTYPE)])
    assert program.free_plans == 1

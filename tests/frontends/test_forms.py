"""In-place and out= targets find the operator they stand for."""

from __future__ import annotations

import pytest

from castoff.compiler.frontends.forms import find_form, functional_name
from castoff.compiler.ops import load_all
from castoff.compiler.ops.base import OperatorError

load_all()


@pytest.mark.parametrize(
    ("target", "functional"),
    [
        ("aten.add_.Tensor", "aten.add.Tensor"),
        ("aten.__iand__.Tensor", "aten.__and__.Tensor"),
        ("aten.__and__.Tensor", None),
        ("aten.pow_.Tensor", "aten.pow.Tensor_Tensor"),
        ("aten.ldexp_.default", "aten.ldexp.Tensor"),
        ("aten.relu.default", None),
        ("aten._softmax.default", None),
    ],
)
def test_functional_names(target: str, functional: str | None) -> None:
    assert functional_name(target) == functional


@pytest.mark.parametrize(
    ("target", "given", "functional", "out"),
    [
        ("aten.add.out", ("self", "other", "out"), "aten.add.Tensor", ("out",)),
        ("aten.exp.out", ("self", "out"), "aten.exp.default", ("out",)),
        ("aten.sum.IntList_out", ("self", "dim", "out"), "aten.sum.dim_IntList", ("out",)),
        ("aten.mul.Scalar_out", ("self", "other", "out"), "aten.mul.Scalar", ("out",)),
        ("aten.sort.values", ("self", "dim", "values", "indices"), "aten.sort.default", ("values", "indices")),
        ("aten.max.dim_max", ("self", "dim", "max", "max_values"), "aten.max.dim", ("max", "max_values")),
        ("aten.gelu_backward.grad_input", ("grad_output", "self", "grad_input"),
         "aten.gelu_backward.default", ("grad_input",)),
        ("aten.empty.out", ("size", "out"), "aten.empty.memory_format", ("out",)),
    ],
)  # fmt: skip
def test_out_forms(
    target: str, given: tuple[str, ...], functional: str, out: tuple[str, ...]
) -> None:
    form = find_form(target, given)
    assert (form.target, form.out) == (functional, out)


def test_unknown_operators_are_named_as_their_library_names_them() -> None:
    with pytest.raises(OperatorError, match="mylib::fancy"):
        find_form("mylib.fancy.default", ["x"])

"""Which functional operator an in-place or out= target stands for."""

from __future__ import annotations

import inspect
from collections.abc import Collection
from dataclasses import dataclass

from ..ops.base import OperatorError, TargetFunction, find_target

_RENAMED = {
    "aten.float_power_.Tensor": "aten.float_power.Tensor_Tensor",
    "aten.float_power_.Scalar": "aten.float_power.Tensor_Scalar",
    "aten.floor_divide_.Tensor": "aten.floor_divide.default",
    "aten.pow_.Tensor": "aten.pow.Tensor_Tensor",
    "aten.pow_.Scalar": "aten.pow.Tensor_Scalar",
    "aten.transpose_.default": "aten.transpose.int",
}
"""In-place targets whose functional form has another overload name."""

_OUT_OVERLOADS = ("default", "Tensor", "dim", "other", "dim_IntList", "int", "Scalar")
"""Overloads whose form with out= may be called `out`, the usual ones first."""


@dataclass(frozen=True, slots=True)
class Form:
    """How a target is built: `function`, registered as `target`, whose results are then written.

    `writes_self`: into the first argument, as in-place operators do. `out`: into these arguments,
    which the function does not take.
    """

    target: str
    function: TargetFunction
    writes_self: bool = False
    out: tuple[str, ...] = ()


def functional_name(target: str) -> str | None:
    """The functional form of an in-place target: `aten.add_.Tensor` -> `aten.add.Tensor`; None
    where it is none."""
    if target in _RENAMED:
        return _RENAMED[target]
    namespace, _, rest = target.partition(".")
    base, _, overload = rest.partition(".")
    if base.startswith("__i") and base.endswith("__") and base not in ("__invert__", "__index__"):
        return f"{namespace}.__{base[3:]}.{overload}"
    if base.endswith("_") and not base.endswith("__"):
        return f"{namespace}.{base[:-1]}.{overload}"
    return None


def find_form(target: str, given: Collection[str]) -> Form:
    """The form of a target called with arguments of these names.

    Raises `OperatorError` where nothing is registered for it.
    """
    function = find_target(target)
    functional = functional_name(target)
    if function is not None:
        return Form(target, function)
    if functional is not None:
        function = find_target(functional)
        if function is not None:
            return Form(functional, function, writes_self=True)
    form = _out_form(target, given)
    if form is not None:
        return form
    namespace, _, name = target.partition(".")
    base, _, overload = name.partition(".")
    called = f"{namespace}::{base}" + (f".{overload}" if overload not in ("", "default") else "")
    raise OperatorError(f'not registered (castoff.register_custom_op("{called}", …) adds it)')


def _out_form(target: str, given: Collection[str]) -> Form | None:
    prefix, _, overload = target.rpartition(".")
    if overload == "out":
        overloads: tuple[str, ...] = _OUT_OVERLOADS
    elif overload.endswith("_out"):
        overloads = (overload[: -len("_out")], f"dim_{overload[: -len('_out')]}", "default", "dim")
    else:
        return None
    for candidate in overloads:
        function = find_target(f"{prefix}.{candidate}")
        if function is None:
            continue
        parameters = inspect.signature(function).parameters
        taken = {name for name in given if name in parameters}
        required = [
            name
            for name, parameter in list(parameters.items())[1:]
            if parameter.default is inspect.Parameter.empty
            and parameter.kind
            in (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
        ]
        if taken.issuperset(required):
            out = tuple(name for name in given if name not in taken)
            return Form(f"{prefix}.{candidate}", function, out=out)
    return None

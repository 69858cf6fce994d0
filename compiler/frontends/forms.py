"""Which functional operator an in-place or out= target stands for."""

from __future__ import annotations

import inspect
from collections.abc import Collection

from ..exported.effects import is_out_overload
from ..ops.base import OperatorError, TargetFunction, find_target, registered_targets
from ..records import dataclass

_RENAMED = {
    "aten.float_power_.Tensor": "aten.float_power.Tensor_Tensor",
    "aten.float_power_.Scalar": "aten.float_power.Tensor_Scalar",
    "aten.floor_divide_.Tensor": "aten.floor_divide.default",
    "aten.ldexp_.default": "aten.ldexp.Tensor",
    "aten.pow_.Tensor": "aten.pow.Tensor_Tensor",
    "aten.pow_.Scalar": "aten.pow.Tensor_Scalar",
    "aten.transpose_.default": "aten.transpose.int",
}
"""In-place targets whose functional form has another overload name."""

_FUNCTIONAL_OVERLOADS = ("default", "Tensor", "dim", "other", "dim_IntList", "int", "Scalar")
"""Overloads that a form with out= may stand for where several take the same arguments, the usual ones first."""


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

    def takes(self, name: str) -> bool:
        """Whether the function has a parameter of this name."""
        return name in inspect.signature(self.function).parameters


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
    called = qualified_name(target)
    raise OperatorError(f'not registered (castoff.register_custom_op("{called}", …) adds it)')


def qualified_name(target: str) -> str:
    """What a program calls the operator of a target: `mylib.scale.default` -> `mylib::scale`."""
    namespace, _, name = target.partition(".")
    base, _, overload = name.partition(".")
    return f"{namespace}::{base}" + (f".{overload}" if overload not in ("", "default") else "")


def _out_form(target: str, given: Collection[str]) -> Form | None:
    """The functional form that takes the most of the arguments; the others are written to."""
    prefix, _, overload = target.rpartition(".")
    if not is_out_overload(overload):
        return None
    own = overload.removesuffix("_out")
    names = {f"{prefix}.{name}": None for name in (own, f"dim_{own}", *_FUNCTIONAL_OVERLOADS)}
    names |= dict.fromkeys(name for name in registered_targets() if name.startswith(f"{prefix}."))
    forms = (_taking(name, function, given) for name in names if (function := find_target(name)))
    return min((form for form in forms if form), key=lambda form: len(form.out), default=None)


def _taking(target: str, function: TargetFunction, given: Collection[str]) -> Form | None:
    """A form that writes to what a function does not take; None if it lacks what that requires."""
    parameters = inspect.signature(function).parameters
    out = tuple(name for name in given if name not in parameters)
    required = {
        name
        for name, parameter in list(parameters.items())[1:]
        if parameter.default is inspect.Parameter.empty
        and parameter.kind
        in (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    }
    return Form(target, function, out=out) if out and required <= set(given) else None

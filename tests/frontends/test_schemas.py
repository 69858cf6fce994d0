"""Targets take the arguments that PyTorch's schemas name: programs pass them by these names."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

from castoff.compiler.frontends.forms import functional_name  # noqa: E402
from castoff.compiler.ops import load_all  # noqa: E402
from castoff.compiler.ops.base import find_target  # noqa: E402

load_all()

NOT_PASSED = frozenset({"out", "generator"})
"""What programs do not give to functional operators, or castoff has no use for."""


def tensor_schemas() -> Iterator[tuple[str, Any]]:
    """(target, schema) of every operator over a tensor that PyTorch has."""
    for schema in torch._C._jit_get_all_schemas():
        name = schema.name.replace("::", ".")
        arguments = schema.arguments
        if arguments and str(arguments[0].type) == "Tensor":
            yield f"{name}.{schema.overload_name or 'default'}", schema


def unknown_arguments(target: str, names: list[str]) -> list[str]:
    """Those of the names that the function registered for a target does not take."""
    function = find_target(target)
    assert function is not None
    parameters = inspect.signature(function).parameters
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values()):
        return []
    return [name for name in names if name not in parameters and name not in NOT_PASSED]


def test_functional_targets_take_the_arguments_of_their_schemas() -> None:
    checked = {
        target: unknown_arguments(target, [argument.name for argument in schema.arguments])
        for target, schema in tensor_schemas()
        if find_target(target) is not None
    }
    assert len(checked) > 500
    assert {target: names for target, names in checked.items() if names} == {}


def test_in_place_targets_take_the_arguments_of_their_schemas_after_the_first() -> None:
    checked = {
        target: unknown_arguments(functional, [argument.name for argument in schema.arguments[1:]])
        for target, schema in tensor_schemas()
        if (functional := functional_name(target)) is not None
        and find_target(target) is None
        and find_target(functional) is not None
    }
    assert len(checked) > 100
    assert {target: names for target, names in checked.items() if names} == {}

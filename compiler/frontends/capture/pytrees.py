"""Containers of arguments and results: taken apart, put together, and written as call specs."""

from __future__ import annotations

import collections
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import is_dataclass
from typing import Any

from ....runtime.treespec import registered
from ...errors import CaptureError
from ...records import dataclass


@dataclass(frozen=True, slots=True)
class Container:
    """A container taken apart: `make` puts other children into one of its kind."""

    type_name: str
    context: object
    """As the call spec has it: JSON text, or an object for defaultdict."""
    keys: tuple[object, ...]
    children: tuple[object, ...]
    make: Callable[[Sequence[Any]], object]


def children_of(value: object) -> Container | None:
    """The container that a value is; None where it is a leaf."""
    cls = type(value)
    for name, entry in registered.items():
        if entry.cls is cls and not hasattr(cls, "_fields"):
            return _registered(name, value)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return _namedtuple(value)
    if cls is tuple or cls is list:
        items: tuple[object, ...] = tuple(value)  # type: ignore[arg-type]
        return Container(f"builtins.{cls.__name__}", "null", tuple(range(len(items))), items, cls)
    if isinstance(value, collections.deque):
        limit = value.maxlen
        return Container(
            "collections.deque", json.dumps(limit), tuple(range(len(value))), tuple(value),
            lambda items: collections.deque(items, limit),
        )  # fmt: skip
    if cls in (dict, collections.OrderedDict) or isinstance(value, collections.defaultdict):
        return _mapping(value)  # type: ignore[arg-type]
    if is_dataclass(value) and not isinstance(value, type):
        raise CaptureError(
            f"an argument or result is a {cls.__name__}; castoff.register_dataclass({cls.__name__}) makes "
            "its type known"
        )
    return None


def _registered(name: str, value: object) -> Container:
    entry = registered[name]
    flat, context = entry.flatten(value)
    children = tuple(flat)
    keys: tuple[object, ...] = tuple(range(len(children)))
    match context:
        case [[*given], [*_]] if len(given) == len(children):
            keys = tuple(given)
    return Container(
        name, json.dumps(context), keys, children, lambda items: entry.unflatten(items, context)
    )


def _namedtuple(value: Any) -> Container:
    cls = type(value)
    known = next((name for name, entry in registered.items() if entry.cls is cls), None)
    name = known or f"{cls.__module__}.{cls.__qualname__}"
    return Container(
        "collections.namedtuple",
        name,
        tuple(value._fields),
        tuple(value),
        lambda items: cls(*items),
    )


def _mapping(value: Mapping[Any, object]) -> Container:
    keys = list(value)
    if not all(isinstance(key, (str, int)) for key in keys):
        raise CaptureError(f"a dict with the keys {keys!r}: expected texts or integers")
    kind = type(value).__name__
    if isinstance(value, collections.defaultdict):
        factory: Any = value.default_factory
        context: object = {
            "default_factory_module": getattr(factory, "__module__", None),
            "default_factory_name": getattr(factory, "__qualname__", None),
            "dict_context": keys,
        }

        def make(items: Sequence[object]) -> object:
            return collections.defaultdict(factory, zip(keys, items, strict=True))
    else:
        context = json.dumps(keys)
        cls: Any = type(value)

        def make(items: Sequence[object]) -> object:
            return cls(zip(keys, items, strict=True))

    home = "builtins" if kind == "dict" else "collections"
    return Container(f"{home}.{kind}", context, tuple(keys), tuple(value.values()), make)


def leaves_of(value: object, path: str = "") -> Iterator[tuple[str, object]]:
    """The leaves of a value in order, each with where it lies (`_key_0`, for names)."""
    container = children_of(value)
    if container is None:
        yield path, value
        return
    for key, child in zip(container.keys, container.children, strict=True):
        yield from leaves_of(child, f"{path}_{key}")


def with_leaves(value: object, leaves: Iterator[object]) -> Any:
    """The same containers with other leaves."""
    container = children_of(value)
    if container is None:
        return next(leaves)
    return container.make([with_leaves(child, leaves) for child in container.children])


def treespec_of(value: object) -> str:
    """The call spec of a value, as `torch.utils._pytree` writes it."""
    return json.dumps([1, _node(value)])


def _node(value: object) -> dict[str, object]:
    container = children_of(value)
    if container is None:
        return {"type": None, "context": None, "children_spec": []}
    children = [_node(child) for child in container.children]
    return {"type": container.type_name, "context": container.context, "children_spec": children}


def namedtuples_in(value: object) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The named tuples among the containers, with their fields."""
    container = children_of(value)
    if container is None:
        return
    if container.type_name == "collections.namedtuple":
        yield str(container.context), tuple(map(str, container.keys))
    for child in container.children:
        yield from namedtuples_in(child)

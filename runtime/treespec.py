"""Treespecs: the JSON that torch.utils._pytree writes, and the container types it may name.

[1, {"type", "context", "children_spec"}]
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from .errors import CallSpecError

# What torch calls its containers -> how they are read here.
_KINDS: Mapping[str, str] = {
    "builtins.tuple": "tuple",
    "builtins.list": "list",
    "builtins.dict": "dict",
    "collections.OrderedDict": "OrderedDict",
    "collections.defaultdict": "defaultdict",
    "collections.deque": "deque",
    "collections.namedtuple": "namedtuple",
    "torch.Size": "tuple",
    "torch.fx.immutable_collections.immutable_list": "list",
    "torch.fx.immutable_collections.immutable_dict": "dict",
}


class NodeFlatten(Protocol):
    """Takes a container apart into its children and what else is needed to rebuild it."""

    def __call__(self, value: object, /) -> tuple[Iterable[object], object]: ...


@dataclass(frozen=True, slots=True)
class Registered:
    cls: type
    flatten: NodeFlatten
    unflatten: Callable[[Sequence[object], object], object]
    read_context: Callable[[object], object]


# Types of the user's own that call specs may name, as in torch's register_pytree_node; filled by
# the two functions below.
registered: dict[str, Registered] = {}


def _same(context: object) -> object:
    return context


def register_pytree_node(
    cls: type,
    flatten_fn: NodeFlatten,
    unflatten_fn: Callable[[Sequence[object], object], object],
    *,
    serialized_type_name: str | None = None,
    from_dumpable_context: Callable[[object], object] | None = None,
) -> None:
    """Makes `cls` known to call specs under the name it was exported with.

    The functions are those of torch.utils._pytree.register_pytree_node: `flatten_fn(value)` gives
    (children, context), `unflatten_fn(children, context)` the value; `from_dumpable_context` turns
    the exported context, parsed from JSON, into the one that `unflatten_fn` takes.
    """
    name = serialized_type_name or f"{cls.__module__}.{cls.__qualname__}"
    registered[name] = Registered(cls, flatten_fn, unflatten_fn, from_dumpable_context or _same)


def register_dataclass(cls: type, *, serialized_type_name: str | None = None) -> None:
    """Makes a dataclass known to call specs; fields that are None are not leaves, as in torch."""

    def flatten(value: object) -> tuple[Iterable[object], object]:
        values = {name: getattr(value, name) for name in cls.__dataclass_fields__}  # type: ignore[attr-defined]
        given = [name for name, item in values.items() if item is not None]
        return [values[name] for name in given], [
            given,
            [name for name in values if name not in given],
        ]

    def unflatten(children: Sequence[object], context: object) -> object:
        given, absent = field_names(context)
        return cls(**dict(zip(given, children, strict=True)), **dict.fromkeys(absent))

    register_pytree_node(cls, flatten, unflatten, serialized_type_name=serialized_type_name)


def register_namedtuple(cls: type, *, serialized_type_name: str | None = None) -> None:
    """Has results that were exported as this named tuple made with `cls`, not with a look-alike."""
    name = serialized_type_name or f"{cls.__module__}.{cls.__qualname__}"

    def flatten(value: object) -> tuple[Iterable[object], object]:
        return tuple(value), None  # type: ignore[arg-type]

    registered[name] = Registered(cls, flatten, lambda items, _: cls(*items), _same)


def field_names(context: object) -> tuple[list[str], list[str]]:
    """(fields given, fields None) of a dataclass's context."""
    match context:
        case [[*given], [*absent]] if all(isinstance(name, str) for name in (*given, *absent)):
            return [str(name) for name in given], [str(name) for name in absent]
    raise CallSpecError(f"expected the fields of a dataclass, got {context!r}")


@dataclass(frozen=True, slots=True)
class TreeNode:
    """A node of a call spec.

    `keys` are those of a mapping, the fields of a named tuple or dataclass, or positions.
    """

    kind: str  # leaf, tuple, list, deque, one of the mappings, namedtuple or custom
    type_name: str = ""
    context: object = None
    keys: tuple[object, ...] = ()
    children: tuple[TreeNode, ...] = ()
    leaf_count: int = field(default=1)

    def child_path(self, path: str, position: int) -> str:
        """Where child `position` lies, as Python would write it."""
        key = self.keys[position]
        is_field = self.kind in ("namedtuple", "custom") and isinstance(key, str)
        return f"{path}.{key}" if is_field else f"{path}[{key!r}]"

    def leaf_paths(self, path: str) -> list[str]:
        """Where each leaf lies, under `path`."""
        if self.kind == "leaf":
            return [path]
        return [
            leaf
            for i, child in enumerate(self.children)
            for leaf in child.leaf_paths(self.child_path(path, i))
        ]


def parse_treespec(
    text: str, namedtuple_fields: Mapping[str, Sequence[str]] | None = None
) -> TreeNode:
    """The tree a treespec describes. Raises CallSpecError where it cannot be read."""
    try:
        version, root = json.loads(text)
        if version != 1:
            raise CallSpecError(f"treespec version {version}: only version 1 is known")
        return _parse(root, namedtuple_fields or {})
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CallSpecError(f"the treespec cannot be read: {error}") from error


def _loads(context: object) -> object:
    return json.loads(context) if isinstance(context, str) else context


def _parse(node: Mapping[str, object], namedtuple_fields: Mapping[str, Sequence[str]]) -> TreeNode:
    type_name = node["type"]
    if type_name is None:
        return TreeNode("leaf")
    if not isinstance(type_name, str):
        raise CallSpecError(f"a container's type is {type_name!r}")
    items: list[Mapping[str, object]] = node["children_spec"]  # type: ignore[assignment]
    children = tuple(_parse(child, namedtuple_fields) for child in items)
    context = node["context"]
    kind = _KINDS.get(type_name, "custom")
    keys: tuple[object, ...] = tuple(range(len(children)))
    if kind in ("dict", "OrderedDict"):
        keys = tuple(_loads(context))  # type: ignore[arg-type]
    elif kind == "defaultdict":
        context = _loads(context)
        keys = tuple(_loads(context["dict_context"]))  # type: ignore[index,arg-type]
    elif kind == "namedtuple":
        # torch writes the bare name; it names a registered type, or one whose fields are kept
        # beside the spec.
        context = context if isinstance(context, str) else str(context)
        type_name = context.strip('"')
        keys = tuple(namedtuple_fields.get(type_name, keys))
    elif kind == "custom":
        context = _context_of_custom(context)
        if looks_like_dataclass(context, len(children)):
            keys = tuple(field_names(context)[0])
    else:
        context = _loads(context)
    if len(keys) != len(children):
        raise CallSpecError(f"{type_name}: {len(keys)} keys for {len(children)} children")
    return TreeNode(
        kind, type_name, context, keys, children, sum(child.leaf_count for child in children)
    )


def _context_of_custom(context: object) -> object:
    try:
        return _loads(context)
    except ValueError:
        return context


def looks_like_dataclass(context: object, n_children: int) -> bool:
    try:
        return len(field_names(context)[0]) == n_children
    except CallSpecError:
        return False


def containers(node: TreeNode) -> Iterator[TreeNode]:
    """The node and all in it that are no leaves."""
    if node.kind != "leaf":
        yield node
        for child in node.children:
            yield from containers(child)


def is_unknown(node: TreeNode) -> bool:
    """Whether a container can be neither taken apart nor made: its type is not registered, and is
    no dataclass, for which a look-alike serves."""
    is_custom = node.kind == "custom" and node.type_name not in registered
    return is_custom and not looks_like_dataclass(node.context, len(node.children))


def unknown_container(node: TreeNode) -> CallSpecError:
    return CallSpecError(
        f"the program uses a container exported as {node.type_name!r}: make its type known with "
        f"castoff.register_pytree_node(..., serialized_type_name={node.type_name!r})"
    )

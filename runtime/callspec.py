"""Call specs: trees of arguments to flat leaves, and flat leaves to trees of results.

The specs are the JSON that torch.utils._pytree writes: `[1, {"type", "context", "children_spec"}]`.
"""

from __future__ import annotations

import collections
import importlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, make_dataclass
from operator import itemgetter
from typing import Protocol

from .errors import CallSpecError, InputMismatchError

# What torch calls its containers -> how they are read here.
_KINDS: Mapping[str, str] = {
    "builtins.tuple": "tuple",
    "builtins.list": "list",
    "builtins.dict": "dict",
    "collections.OrderedDict": "OrderedDict",
    "collections.defaultdict": "defaultdict",
    "collections.deque": "deque",
    "collections.namedtuple": "namedtuple",
    "torch.fx.immutable_collections.immutable_list": "list",
    "torch.fx.immutable_collections.immutable_dict": "dict",
}
_MAPPINGS = ("dict", "OrderedDict", "defaultdict")

Flatten = Callable[[tuple[object, ...], Mapping[str, object]], Sequence[object]]
Unflatten = Callable[[Sequence[object]], object]


class NodeFlatten(Protocol):
    """Takes a container apart into its children and what else is needed to rebuild it."""

    def __call__(self, value: object, /) -> tuple[Iterable[object], object]: ...


@dataclass(frozen=True, slots=True)
class _Registered:
    cls: type
    flatten: NodeFlatten
    unflatten: Callable[[Sequence[object], object], object]
    read_context: Callable[[object], object]


# Types of the user's own that call specs may name, as in torch's register_pytree_node; filled by
# the two functions below.
_registered: dict[str, _Registered] = {}


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
    _registered[name] = _Registered(cls, flatten_fn, unflatten_fn, from_dumpable_context or _same)


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
        given, absent = _field_names(context)
        return cls(**dict(zip(given, children, strict=True)), **dict.fromkeys(absent))

    register_pytree_node(cls, flatten, unflatten, serialized_type_name=serialized_type_name)


def register_namedtuple(cls: type, *, serialized_type_name: str | None = None) -> None:
    """Has results that were exported as this named tuple made with `cls`, not with a look-alike."""
    name = serialized_type_name or f"{cls.__module__}.{cls.__qualname__}"

    def flatten(value: object) -> tuple[Iterable[object], object]:
        return tuple(value), None  # type: ignore[arg-type]

    _registered[name] = _Registered(cls, flatten, lambda items, _: cls(*items), _same)


def _field_names(context: object) -> tuple[list[str], list[str]]:
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
        if _looks_like_dataclass(context, len(children)):
            keys = tuple(_field_names(context)[0])
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


def _looks_like_dataclass(context: object, n_children: int) -> bool:
    try:
        return len(_field_names(context)[0]) == n_children
    except CallSpecError:
        return False


def _unknown(node: TreeNode) -> CallSpecError:
    return CallSpecError(
        f"the program uses a container exported as {node.type_name!r}: make its type known with "
        f"castoff.register_pytree_node(..., serialized_type_name={node.type_name!r})"
    )


# ---- arguments to leaves ----


def _describe(value: object) -> str:
    if isinstance(value, Mapping):
        return f"{type(value).__name__} with keys {list(value)!r}"
    if isinstance(value, (tuple, list, collections.deque)):
        return f"{type(value).__name__} of {len(value)}"
    return type(value).__name__


def _mismatch(path: str, expected: str, value: object) -> InputMismatchError:
    return InputMismatchError(f"{path}: expected {expected}, got {_describe(value)}")


def _children_of(node: TreeNode, value: object, path: str) -> Sequence[object]:
    """The children of a container that has to look like `node`."""
    count = len(node.children)
    match node.kind:
        case "tuple":
            if isinstance(value, tuple) and not hasattr(value, "_fields") and len(value) == count:
                return value
            raise _mismatch(path, f"tuple of {count}", value)
        case "list":
            if isinstance(value, list) and len(value) == count:
                return value
            raise _mismatch(path, f"list of {count}", value)
        case "deque":
            if isinstance(value, collections.deque) and len(value) == count:
                return tuple(value)
            raise _mismatch(path, f"deque of {count}", value)
        case "dict" | "OrderedDict" | "defaultdict":
            if (
                isinstance(value, Mapping)
                and len(value) == count
                and all(key in value for key in node.keys)
            ):
                return [value[key] for key in node.keys]
            raise _mismatch(path, f"{node.kind} with keys {list(node.keys)!r}", value)
        case "namedtuple":
            fields = getattr(value, "_fields", None)
            named = isinstance(node.keys[0], str) if node.keys else False
            if (
                isinstance(value, tuple)
                and len(value) == count
                and fields
                and (not named or fields == node.keys)
            ):
                return value
            raise _mismatch(
                path, f"named tuple {node.type_name} with fields {list(node.keys)!r}", value
            )
        case _:
            return _children_of_custom(node, value, path)


def _children_of_custom(node: TreeNode, value: object, path: str) -> Sequence[object]:
    entry = _registered.get(node.type_name)
    if entry is not None:
        if not isinstance(value, entry.cls):
            raise _mismatch(path, entry.cls.__name__, value)
        children = list(entry.flatten(value)[0])
        if len(children) != len(node.children):
            raise _mismatch(
                path, f"{entry.cls.__name__} of {len(node.children)} children", children
            )
        return children
    if not _looks_like_dataclass(node.context, len(node.children)):
        raise _unknown(node)
    given, absent = _field_names(node.context)
    if not all(hasattr(value, name) for name in given) or any(
        getattr(value, name, None) is not None for name in absent
    ):
        raise _mismatch(path, f"{node.type_name} with fields {given!r}", value)
    return [getattr(value, name) for name in given]


def _flatten_into(node: TreeNode, value: object, path: str, leaves: list[object]) -> None:
    if node.kind == "leaf":
        leaves.append(value)
        return
    for i, (child, item) in enumerate(
        zip(node.children, _children_of(node, value, path), strict=True)
    ):
        if child.kind == "leaf":
            leaves.append(item)
        else:
            _flatten_into(child, item, node.child_path(path, i), leaves)


def flatten_tree(node: TreeNode, value: object, path: str) -> list[object]:
    """The leaves of `value`, which has to look like `node`. Raises InputMismatchError."""
    leaves: list[object] = []
    _flatten_into(node, value, path, leaves)
    return leaves


# ---- leaves to results ----


def _namedtuple_maker(node: TreeNode) -> Callable[[Iterable[object]], object]:
    entry = _registered.get(node.type_name)
    if entry is not None:
        return lambda items: entry.unflatten(tuple(items), None)
    names = [key if isinstance(key, str) else f"field_{key}" for key in node.keys]
    made = collections.namedtuple(node.type_name.rpartition(".")[2] or "Result", names)  # type: ignore[misc]
    return lambda items: made(*items)


def _default_factory(context: object) -> Callable[[], object] | None:
    """The factory of a defaultdict: from builtins and collections only, no other is sought."""
    match context:
        case {
            "default_factory_module": "builtins" | "collections" as module,
            "default_factory_name": str(name),
        }:
            factory = getattr(importlib.import_module(module), name, None)
            return factory if isinstance(factory, type) else None
    return None


def _custom_maker(node: TreeNode) -> Callable[[Iterable[object]], object]:
    looks_like_dataclass = _looks_like_dataclass(node.context, len(node.children))

    def make(items: Iterable[object]) -> object:
        # Looked up late: types may be registered after the artefact was loaded.
        entry = _registered.get(node.type_name)
        if entry is not None:
            return entry.unflatten(list(items), entry.read_context(node.context))
        if not looks_like_dataclass:
            raise _unknown(node)
        given, absent = _field_names(node.context)
        made = make_dataclass(node.type_name.rpartition(".")[2], [*given, *absent])
        return made(*items, *([None] * len(absent)))

    return make


def _maker(node: TreeNode) -> Callable[[Iterable[object]], object]:
    """Builds the container of `node` from its children."""
    match node.kind:
        case "tuple":
            return tuple
        case "list":
            return list
        case "deque":
            maxlen = node.context if isinstance(node.context, int) else None
            return lambda items: collections.deque(items, maxlen)
        case "dict":
            return lambda items: dict(zip(node.keys, items, strict=True))
        case "OrderedDict":
            return lambda items: collections.OrderedDict(zip(node.keys, items, strict=True))
        case "defaultdict":
            factory = _default_factory(node.context)
            return lambda items: collections.defaultdict(
                factory, zip(node.keys, items, strict=True)
            )
        case "namedtuple":
            return _namedtuple_maker(node)
        case _:
            return _custom_maker(node)


def _unflattener(node: TreeNode, first: int) -> Unflatten:
    """Builds `node` from the leaves that begin at number `first`."""
    if node.kind == "leaf":
        return itemgetter(first)
    make = _maker(node)
    if all(child.kind == "leaf" for child in node.children):
        last = first + len(node.children)
        return lambda leaves: make(leaves[first:last])
    builders = []
    for child in node.children:
        builders.append(_unflattener(child, first))
        first += child.leaf_count
    return lambda leaves: make([build(leaves) for build in builders])


# ---- the call spec ----


class CallSpec:
    """How one program is called.

    `flatten(args, kwargs)` gives the leaves in the program's order, `unflatten(leaves)` the tree of
    results.
    """

    __slots__ = (
        "argument_paths",
        "flatten",
        "forward_arg_names",
        "in_tree",
        "out_tree",
        "result_paths",
        "unflatten",
    )

    def __init__(
        self,
        in_spec: str,
        out_spec: str,
        forward_arg_names: Sequence[str] = (),
        namedtuple_fields: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self.in_tree = parse_treespec(in_spec, namedtuple_fields)
        self.out_tree = parse_treespec(out_spec, namedtuple_fields)
        kinds = [child.kind for child in self.in_tree.children]
        if self.in_tree.kind != "tuple" or kinds != ["tuple", "dict"]:
            raise CallSpecError("an input treespec has to be a tuple of (args tuple, kwargs dict)")
        positional, named = self.in_tree.children
        self.forward_arg_names = tuple(forward_arg_names)
        self.argument_paths = tuple(positional.leaf_paths("args") + named.leaf_paths("kwargs"))
        self.result_paths = tuple(self.out_tree.leaf_paths("result"))
        self.unflatten: Unflatten = _unflattener(self.out_tree, 0)
        self.flatten: Flatten = self._make_flatten(positional, named)

    def _make_flatten(self, positional: TreeNode, named: TreeNode) -> Flatten:
        general = self._flatten_generally
        if named.children or any(child.kind != "leaf" for child in positional.children):
            return general
        count = len(positional.children)

        def flatten_leaves(
            args: tuple[object, ...], kwargs: Mapping[str, object]
        ) -> Sequence[object]:
            return args if not kwargs and len(args) == count else general(args, kwargs)

        return flatten_leaves

    def _flatten_generally(
        self, args: tuple[object, ...], kwargs: Mapping[str, object]
    ) -> Sequence[object]:
        positional, named = self.in_tree.children
        args, kwargs = self._bind(args, kwargs)
        leaves: list[object] = []
        _flatten_into(positional, args, "args", leaves)
        _flatten_into(named, kwargs, "kwargs", leaves)
        return leaves

    def _bind(
        self, args: tuple[object, ...], kwargs: Mapping[str, object]
    ) -> tuple[tuple[object, ...], Mapping[str, object]]:
        """Arguments in their places: positional ones may come by name, keyword ones by position."""
        positional, named = self.in_tree.children
        count = len(positional.children)
        names = self.forward_arg_names
        if len(args) == count and kwargs.keys() == set(named.keys):
            return args, kwargs
        keywords = dict(kwargs)
        bound = list(args[:count])
        for name, value in zip(names[count:], args[count:], strict=False):
            if name not in named.keys or name in keywords:
                break
            keywords[name] = value
            args = (*args[:count], *args[count + 1 :])
        while len(bound) < count and len(bound) < len(names) and names[len(bound)] in keywords:
            bound.append(keywords.pop(names[len(bound)]))
        self._check_names(len(bound) + max(len(args) - count, 0), keywords)
        return tuple(bound), keywords

    def _check_names(self, n_positional: int, keywords: Mapping[str, object]) -> None:
        positional, named = self.in_tree.children
        count = len(positional.children)
        problems = []
        if n_positional < count:
            names = self.forward_arg_names
            missing = [
                f"args[{i}]" + (f" ({names[i]})" if i < len(names) else "")
                for i in range(n_positional, count)
            ]
            problems.append(f"missing {', '.join(missing)}")
        if n_positional > count:
            problems.append(f"expected {count} positional arguments, got {n_positional}")
        absent = [key for key in named.keys if key not in keywords]
        if absent:
            problems.append(f"missing {', '.join(f'kwargs[{key!r}]' for key in absent)}")
        extra = [key for key in keywords if key not in named.keys]
        if extra:
            known = [*self.forward_arg_names[:count], *named.keys]
            problems.append(
                f"unexpected {', '.join(f'kwargs[{key!r}]' for key in extra)} (known: {known!r})"
            )
        if problems:
            raise InputMismatchError("; ".join(problems))

"""Call specs: trees of arguments to flat leaves, and flat leaves to trees of results."""

from __future__ import annotations

import collections
import importlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import make_dataclass
from operator import itemgetter

from .errors import CallSpecError, InputMismatchError
from .treespec import (
    TreeNode,
    field_names,
    looks_like_dataclass,
    parse_treespec,
    registered,
    unknown_container,
)

__all__ = ["CallSpec", "TreeNode", "flatten_tree", "parse_treespec"]

Unflatten = Callable[[Sequence[object]], object]


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
    entry = registered.get(node.type_name)
    if entry is not None:
        if not isinstance(value, entry.cls):
            raise _mismatch(path, entry.cls.__name__, value)
        children = list(entry.flatten(value)[0])
        if len(children) != len(node.children):
            raise _mismatch(
                path, f"{entry.cls.__name__} of {len(node.children)} children", children
            )
        return children
    if not looks_like_dataclass(node.context, len(node.children)):
        raise unknown_container(node)
    given, absent = field_names(node.context)
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
    entry = registered.get(node.type_name)
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
    is_dataclass = looks_like_dataclass(node.context, len(node.children))

    def make(items: Iterable[object]) -> object:
        # Looked up late: types may be registered after the artefact was loaded.
        entry = registered.get(node.type_name)
        if entry is not None:
            return entry.unflatten(list(items), entry.read_context(node.context))
        if not is_dataclass:
            raise unknown_container(node)
        given, absent = field_names(node.context)
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
    results. `flat_count` positional arguments and no others are leaves already; -1 where there is no
    such number.
    """

    __slots__ = (
        "argument_paths",
        "flat_count",
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
        is_flat = not named.children and all(child.kind == "leaf" for child in positional.children)
        self.flat_count = len(positional.children) if is_flat else -1

    def flatten(self, args: tuple[object, ...], kwargs: Mapping[str, object]) -> Sequence[object]:
        """The leaves of the arguments. Raises InputMismatchError."""
        if not kwargs and len(args) == self.flat_count:
            return args
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

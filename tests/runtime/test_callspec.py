"""Trees of arguments to leaves, and leaves to trees of results."""

from __future__ import annotations

import collections
import json
import typing
from dataclasses import dataclass

import pytest
from handmade import LEAF, container, positional, treespec
from hypothesis import given
from hypothesis import strategies as st

from castoff.runtime.callspec import CallSpec, flatten_tree
from castoff.runtime.errors import CallSpecError, InputMismatchError
from castoff.runtime.treespec import (
    parse_treespec,
    register_dataclass,
    register_namedtuple,
    register_pytree_node,
)


class Point(typing.NamedTuple):
    x: object
    y: object


FACTORY = {"default_factory_module": "builtins", "default_factory_name": "list"}


def describe(value: object) -> dict[str, object]:
    """The treespec torch would write for a value."""
    match value:
        case Point():
            return container("collections.namedtuple", "tests.Point", *map(describe, value))
        case tuple():
            return container("builtins.tuple", "null", *map(describe, value))
        case list():
            return container("builtins.list", "null", *map(describe, value))
        case collections.deque():
            context = json.dumps(value.maxlen)
            return container("collections.deque", context, *map(describe, value))
        case collections.defaultdict():
            context = {**FACTORY, "dict_context": list(value)}
            return container("collections.defaultdict", context, *map(describe, value.values()))
        case collections.OrderedDict():
            context = json.dumps(list(value))
            return container("collections.OrderedDict", context, *map(describe, value.values()))
        case dict():
            context = json.dumps(list(value))
            return container("builtins.dict", context, *map(describe, value.values()))
        case _:
            return LEAF


FIELDS = {"tests.Point": ("x", "y")}


def call_spec(args: tuple[object, ...], kwargs: dict[str, object], out: object) -> CallSpec:
    in_spec = treespec(describe((args, kwargs)))
    return CallSpec(in_spec, treespec(describe(out)), namedtuple_fields=FIELDS)


keys = st.text(max_size=3) | st.integers(0, 9)
trees = st.recursive(
    st.integers(),
    lambda items: (
        st.lists(items, max_size=3)
        | st.lists(items, max_size=3).map(tuple)
        | st.lists(items, max_size=3).map(collections.deque)
        | st.dictionaries(keys, items, max_size=3)
        | st.dictionaries(keys, items, max_size=3).map(collections.OrderedDict)
        | st.dictionaries(keys, items, max_size=3).map(lambda d: collections.defaultdict(list, d))
        | st.tuples(items, items).map(lambda pair: Point(*pair))
    ),
    max_leaves=12,
)


@given(trees)
def test_trees_come_back_as_they_were(tree: object) -> None:
    spec = call_spec((tree,), {"k": tree}, tree)
    leaves = list(spec.flatten((tree,), {"k": tree}))
    assert len(leaves) == len(spec.argument_paths)
    assert spec.in_tree.leaf_count == len(leaves)
    half = leaves[: len(leaves) // 2]
    again = spec.unflatten(half)
    assert again == tree
    assert flatten_tree(spec.out_tree, again, "result") == half
    for path, leaf in zip(spec.argument_paths, leaves, strict=True):
        assert eval(path, {"args": (tree,), "kwargs": {"k": tree}}) == leaf


def test_keyword_arguments_match_by_name_whatever_their_order() -> None:
    spec = CallSpec(positional(1, "b", "c"), treespec(LEAF), ("a", "b", "c"))
    for args, kwargs in (
        ((1,), {"c": 3, "b": 2}),
        ((), {"c": 3, "a": 1, "b": 2}),
        ((1, 2), {"c": 3}),
        ((1, 2, 3), {}),
    ):
        assert list(spec.flatten(args, kwargs)) == [1, 2, 3]
    for args, kwargs, message in (
        ((1,), {"b": 2}, r"missing kwargs\['c'\]"),
        ((), {"b": 2, "c": 3}, r"missing args\[0\] \(a\)"),
        ((1, 2), {"b": 2, "c": 3}, "expected 1 positional arguments, got 2"),
        ((1,), {"b": 2, "c": 3, "d": 4}, r"unexpected kwargs\['d'\]"),
    ):
        with pytest.raises(InputMismatchError, match=message):
            spec.flatten(args, kwargs)


def test_containers_of_another_kind_or_size_are_refused() -> None:
    cases = [
        ([1, 2], (1, 2), r"args\[0\]: expected list of 2, got tuple of 2"),
        ((1, 2), (1, 2, 3), r"args\[0\]: expected tuple of 2, got tuple of 3"),
        (
            {"a": 1},
            {"b": 1},
            r"args\[0\]: expected dict with keys \['a'\], got dict with keys \['b'\]",
        ),
        ([{"a": [1]}], [{"a": 1}], r"args\[0\]\[0\]\['a'\]: expected list of 1, got int"),
        (Point(1, 2), (1, 2), r"args\[0\]: expected named tuple tests.Point with fields"),
        ((1, 2), Point(1, 2), r"args\[0\]: expected tuple of 2"),
    ]
    for exported, given_value, message in cases:
        with pytest.raises(InputMismatchError, match=message):
            call_spec((exported,), {}, 0).flatten((given_value,), {})


def test_named_tuples_are_known_by_their_fields() -> None:
    other = collections.namedtuple("other", "x y")
    spec = call_spec((Point(1, 2),), {}, Point(1, 2))
    assert list(spec.flatten((other(3, 4),), {})) == [3, 4]
    made = spec.unflatten([3, 4])
    assert made == (3, 4)
    assert (made.x, type(made).__name__) == (3, "Point")  # type: ignore[attr-defined]
    assert spec.argument_paths == ("args[0].x", "args[0].y")
    register_namedtuple(Point, serialized_type_name="tests.Point")
    assert type(call_spec((), {}, Point(1, 2)).unflatten([3, 4])) is Point


@dataclass
class Box:
    low: object
    high: object
    note: object = None


BOX = treespec(container("tests.Box", json.dumps([["low", "high"], ["note"]]), LEAF, LEAF))
BOX_ARGUMENT = treespec(
    container(
        "builtins.tuple",
        "null",
        container("builtins.tuple", "null", json.loads(BOX)[1]),
        container("builtins.dict", "[]"),
    )
)


def test_dataclasses_are_read_by_field_and_made_once_registered() -> None:
    spec = CallSpec(BOX_ARGUMENT, BOX)
    assert list(spec.flatten((Box(1, 2),), {})) == [1, 2]
    assert spec.argument_paths == ("args[0].low", "args[0].high")
    assert spec.unflatten([1, 2]).high == 2  # type: ignore[attr-defined]
    with pytest.raises(InputMismatchError, match=r"args\[0\]: expected tests.Box"):
        spec.flatten((Box(1, 2, 3),), {})
    register_dataclass(Box, serialized_type_name="tests.Box")
    assert spec.unflatten([1, 2]) == Box(1, 2)
    assert list(spec.flatten((Box(1, 2),), {})) == [1, 2]


class Pair:
    def __init__(self, items: object, label: object) -> None:
        self.items = items
        self.label = label


def test_custom_nodes_need_to_be_registered() -> None:
    spec = CallSpec(
        positional(0), treespec(container("tests.Pair", json.dumps("label"), LEAF, LEAF))
    )
    with pytest.raises(CallSpecError, match=r"serialized_type_name='tests\.Pair'"):
        spec.unflatten([1, 2])
    register_pytree_node(
        Pair,
        lambda pair: (pair.items, pair.label),  # type: ignore[attr-defined]
        lambda items, label: Pair(list(items), label),
        serialized_type_name="tests.Pair",
    )
    made = spec.unflatten([1, 2])
    assert isinstance(made, Pair)
    assert (made.items, made.label) == ([1, 2], "label")


def test_bounded_deques_keep_their_length() -> None:
    spec = call_spec((), {}, collections.deque([1, 2], 5))
    made = spec.unflatten([1, 2])
    assert isinstance(made, collections.deque)
    assert made.maxlen == 5


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[2, {}]", "[1]", '[1, {"type": 3}]', "[" * 5000, '[1, {"type": "builtins.dict"}]'],
)
def test_treespecs_that_make_no_sense_are_refused(text: str) -> None:
    with pytest.raises(CallSpecError):
        parse_treespec(text)


def test_default_factories_come_from_builtins_and_collections_only() -> None:
    context = {"default_factory_module": "os", "default_factory_name": "system", "dict_context": []}
    spec = CallSpec(positional(0), treespec(container("collections.defaultdict", context)))
    made = spec.unflatten([])
    assert isinstance(made, collections.defaultdict)
    assert made.default_factory is None

"""Records of any shape are written and read again as they were; treespecs and symbols too."""

from __future__ import annotations

import json
from dataclasses import fields
from types import UnionType
from typing import Any, get_args, get_type_hints

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from castoff.compiler.exported import schema as s
from castoff.compiler.exported.json_records import decode_payload_config, decode_program
from castoff.compiler.exported.json_writer import encode_payload_config, encode_program
from castoff.compiler.exported.symbols import parse_expression
from castoff.runtime.treespec import TreeNode, parse_treespec

from . import pt2_files as pt2

NAMES = st.text(max_size=6)
FLOATS = st.floats(allow_nan=False)
SYMBOLIC = st.builds(s.SymExpr, NAMES, st.none() | st.integers() | FLOATS | st.booleans())
SIMPLE: dict[object, st.SearchStrategy[Any]] = {
    str: NAMES,
    int: st.integers(-(1 << 66), 1 << 66),
    float: FLOATS,
    bool: st.booleans(),
    complex: st.builds(complex, FLOATS, FLOATS),
    type(None): st.none(),
}


def records(kind: Any, depth: int = 2) -> st.SearchStrategy[Any]:
    """Values of a type of the schema; graphs within graphs to some depth."""
    if kind in SIMPLE:
        return SIMPLE[kind]
    if isinstance(kind, UnionType) or kind is s.Argument:
        members = [each for each in get_args(kind) if depth > 0 or each not in DEEP]
        return st.one_of(*(records(each, depth) for each in members))
    arguments = get_args(kind)
    if arguments and arguments[-1] is Ellipsis:
        return st.lists(records(arguments[0], depth), max_size=2).map(tuple)
    if arguments:
        return st.dictionaries(NAMES, records(arguments[1], depth), max_size=2)
    if isinstance(kind, type) and issubclass(kind, int):
        return st.sampled_from(list(kind))
    if kind is s.SymExpr:
        return SYMBOLIC
    hints = get_type_hints(kind)
    deeper = depth - (kind in DEEP)
    return st.builds(kind, *(records(hints[each.name], deeper) for each in fields(kind)))


DEEP = (s.AsGraph, s.AsStringToArgument)
PROGRAMS = records(s.SerializedProgram).map(
    lambda program: s.SerializedProgram(
        program.graph_module,
        program.opset_version,
        program.range_constraints,
        s.SchemaVersion(8, 20),
        *(getattr(program, name) for name in LAST),
    )
)
LAST = ("verifiers", "torch_version", "guards_code")


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(PROGRAMS)
def test_programs_are_read_as_they_were_written(program: s.SerializedProgram) -> None:
    text = encode_program(program)
    assert decode_program(text, "test") == program
    assert encode_program(decode_program(text, "test")) == text


@settings(max_examples=40, deadline=None)
@given(records(s.PayloadConfig))
def test_weight_lists_are_read_as_they_were_written(config: s.PayloadConfig) -> None:
    assert decode_payload_config(encode_payload_config(config), "test") == config


# --- Treespecs ---------------------------------------------------------------------------------


def _container(children: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    def dicts(items: dict[str, str]) -> str:
        return pt2.container("builtins.dict", json.dumps(list(items)), *items.values())

    def lists(items: list[str]) -> str:
        return pt2.container("builtins.list", "null", *items)

    def tuples(items: list[str]) -> str:
        return pt2.container("ns.Point", '"ns.Point"', *items).replace(
            '"type": "ns.Point"', '"type": "collections.namedtuple"'
        )

    def boxes(items: dict[str, str]) -> str:
        return pt2.container("ns.Box", json.dumps([list(items), []]), *items.values())

    fields_of_boxes = st.dictionaries(st.from_regex(r"[a-z]{1,4}", fullmatch=True), children)
    return st.one_of(
        st.dictionaries(NAMES, children, max_size=3).map(dicts),
        st.lists(children, max_size=3).map(lists),
        st.lists(children, min_size=2, max_size=2).map(tuples),
        fields_of_boxes.map(boxes),
    )


def _shape(node: TreeNode) -> object:
    """What a parsed treespec says, in the words of the file."""
    if node.kind == "leaf":
        return None
    return (node.type_name, list(node.keys), [_shape(child) for child in node.children])


def _stated(spec: Any) -> object:
    if spec["type"] is None:
        return None
    children = [_stated(child) for child in spec["children_spec"]]
    context = json.loads(spec["context"])
    keys: list[Any] = list(range(len(children)))
    kind = spec["type"]
    if kind == "builtins.dict":
        keys = context
    elif kind == "collections.namedtuple":
        kind, keys = context, ["x", "y"]
    elif kind == "ns.Box":
        keys = context[0]
    return (kind, keys, children)


@settings(max_examples=40, deadline=None)
@given(st.recursive(st.just(pt2.LEAF), _container, max_leaves=12))
def test_treespecs_say_what_they_said(text: str) -> None:
    tree = parse_treespec(f"[1, {text}]", {"ns.Point": ("x", "y")})
    assert _shape(tree) == _stated(json.loads(text))


# --- Symbols -----------------------------------------------------------------------------------

EXPRESSIONS = st.recursive(
    st.sampled_from(["Symbol('s0', positive=True, integer=True)", "Symbol('u1', integer=True)"])
    | st.integers(-9, 9).map(lambda number: f"Integer({number})"),
    lambda inner: st.builds(
        "{}({}, {})".format,
        st.sampled_from(["Add", "Mul", "Max", "Min", "FloorDiv", "Mod"]),
        inner,
        inner,
    ),
    max_leaves=20,
)


@settings(deadline=None)
@given(EXPRESSIONS)
def test_spaces_and_nesting_do_not_change_an_expression(text: str) -> None:
    loose = text.replace("(", "( ").replace(",", " ,  ")
    assert parse_expression(loose) == parse_expression(text)

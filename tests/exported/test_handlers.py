"""Operators of other kinds go through their handlers, in both directions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

import castoff
from castoff.compiler.exported import (
    InvalidProgramError,
    ProgramFormatError,
    load_program,
    program_bytes,
)
from castoff.compiler.exported import schema as s
from castoff.compiler.exported.handlers import unregister_operator_handler

from . import pt2_files as pt2

TARGET = "torch.ops.fancy.scale.default"


def content(target: str = "#fancy:scale", **further: pt2.Json) -> bytes:
    """`add = #fancy:scale(x, <further>)`."""
    record = pt2.program()
    [node] = pt2.graph_of(record)["nodes"]  # type: ignore[misc]
    node["target"] = target
    given = {"x": {"as_tensor": {"name": "x"}}, **further}
    node["inputs"] = [{"name": name, "arg": arg, "kind": 1} for name, arg in given.items()]
    return pt2.zipped(pt2.entries(record))


def read(node: s.Node) -> s.Node:
    """The name in ATen's manner; the factor doubled, as the file has half of it."""
    factor = s.NamedArgument("factor", s.AsFloat(2 * _factor(node)))
    return replace(node, target=TARGET, inputs=(node.inputs[0], factor))


def write(node: s.Node) -> s.Node:
    factor = s.NamedArgument("factor", s.AsFloat(_factor(node) / 2))
    return replace(node, target="#fancy:scale", inputs=(node.inputs[0], factor))


def _factor(node: s.Node) -> float:
    argument = node.inputs[1].arg
    assert isinstance(argument, s.AsFloat)
    return argument.value


def signature(name: str) -> str | None:
    return "scale(Tensor x, float factor=1.0) -> Tensor" if name.startswith("scale") else None


@pytest.fixture
def handler() -> Iterator[None]:
    castoff.register_operator_handler("fancy", read=read, write=write, schema=signature)
    yield
    unregister_operator_handler("fancy")


@pytest.mark.usefixtures("handler")
def test_a_handler_reads_and_writes_its_operators() -> None:
    program = load_program(content(factor={"as_float": 1.5}))
    [node] = program.graph.nodes
    assert (node.target, _factor(node)) == (TARGET, 3.0)
    written = program_bytes(program)
    unregister_operator_handler("fancy")
    [stored] = load_program(written).graph.nodes
    assert (stored.target, _factor(stored)) == ("#fancy:scale", 1.5)
    castoff.register_operator_handler("fancy", read=read, write=write, schema=signature)
    assert load_program(written).graph == program.graph


@pytest.mark.usefixtures("handler")
def test_operators_in_subgraphs_are_handled_too() -> None:
    record: Any = pt2.program()
    graph = pt2.graph_of(record)
    [inner] = pt2.graph_of({"graph_module": {"graph": graph}})["nodes"]  # type: ignore[misc]
    inside = {
        "inputs": [{"as_tensor": {"name": "x"}}],
        "outputs": [{"as_tensor": {"name": "add"}}],
        "nodes": [
            {
                **inner,
                "target": "#fancy:scale",
                "inputs": [
                    {"name": "x", "arg": {"as_tensor": {"name": "x"}}, "kind": 1},
                    {"name": "factor", "arg": {"as_float": 1.0}, "kind": 1},
                ],
            }
        ],
        "tensor_values": graph["tensor_values"],
        "sym_int_values": {},
        "sym_bool_values": {},
    }
    graph["nodes"] = [
        pt2.node(
            "torch.ops.higher_order.wrap", {"": {"as_graph": {"name": "g", "graph": inside}}}, "add"
        )
    ]
    source = pt2.zipped(pt2.entries(record))
    program = load_program(source)
    [argument] = program.graph.nodes[0].inputs
    assert isinstance(argument.arg, s.AsGraph)
    assert argument.arg.graph.nodes[0].target == TARGET
    assert load_program(program_bytes(program)).graph == program.graph


@pytest.mark.usefixtures("handler")
def test_nodes_are_held_against_the_handler_s_signature() -> None:
    program = load_program(content(factor={"as_float": 1.5}))
    [node] = program.graph.nodes
    wrong = replace(node, inputs=(s.NamedArgument("x", s.AsString("a")), *node.inputs[1:]))
    graph = replace(program.graph, nodes=(wrong,))
    written = program_bytes(replace(program, graph=graph))
    with pytest.raises(
        InvalidProgramError, match=r"fancy\.scale.*'x' takes a tensor, got the text 'a'"
    ):
        load_program(written)


def test_results_stay_as_they_are_named() -> None:
    def renaming(node: s.Node) -> s.Node:
        return replace(node, outputs=(s.AsTensor("other"),))

    castoff.register_operator_handler("fancy", read=renaming)
    try:
        with pytest.raises(ProgramFormatError, match=r"handler of '#fancy:scale'.*other results"):
            load_program(content())
    finally:
        unregister_operator_handler("fancy")


def test_a_signature_that_cannot_be_read_is_named() -> None:
    castoff.register_operator_handler("fancy", schema=lambda name: "scale(Tensor) nothing")
    try:
        with pytest.raises(ProgramFormatError, match=r"signature of '#fancy:scale'"):
            load_program(content())
    finally:
        unregister_operator_handler("fancy")


def test_operators_without_a_handler_are_kept_for_writing_and_refused_for_compiling() -> None:
    program = load_program(content(factor={"as_float": 1.5}))
    assert load_program(program_bytes(program)).graph == program.graph
    assert program.graph.nodes[0].target == "#fancy:scale"
    with pytest.raises(castoff.CompileError, match="#fancy:scale"):
        _called(program).module()


def test_containers_nobody_knows_are_kept_for_writing_and_refused_for_compiling() -> None:
    program = load_program(pt2.zipped(pt2.entries()))
    pair = pt2.container("ns.Pair", '"1"', pt2.LEAF)
    changed = _called(program, out_spec=f"[1, {pair}]")
    back = load_program(program_bytes(changed))
    assert back.module_call_graph == changed.module_call_graph
    with pytest.raises(castoff.CompileError, match=r"'ns\.Pair'.*register_pytree_node"):
        back.module()


def _called(
    program: castoff.ExportedProgram, out_spec: str = f"[1, {pt2.LEAF}]"
) -> castoff.ExportedProgram:
    """The program with the call spec of a function of one tensor."""
    [entry] = program.module_call_graph
    assert entry.signature is not None
    signature = replace(entry.signature, in_spec=pt2.in_spec(pt2.LEAF), out_spec=out_spec)
    return replace(program, module_call_graph=(replace(entry, signature=signature),))


def test_a_call_without_arguments_and_keywords_is_refused() -> None:
    program = _called(load_program(pt2.zipped(pt2.entries())))
    [entry] = program.module_call_graph
    assert entry.signature is not None
    odd = replace(entry, signature=replace(entry.signature, in_spec=f"[1, {pt2.LEAF}]"))
    with pytest.raises(castoff.CompileError, match="no pair of a tuple of arguments and a dict"):
        replace(program, module_call_graph=(odd,)).module()

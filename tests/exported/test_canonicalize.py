"""Programs of one meaning have one canonical form, and programs of two meanings have two."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import castoff
from castoff.compiler.exported import (
    ExportedProgram,
    ProgramFormatError,
    Storage,
    load_program,
    program_bytes,
)
from castoff.compiler.exported import schema as s
from castoff.compiler.exported.effects import order_constraints, written_names

from ..conformance.corpus import FAMILIES, Family, find_corpus
from ..conformance.rewritten import check_cases
from . import pt2_files as pt2
from .scramble import scrambled


def tensor(name: str) -> pt2.Json:
    return {"as_tensor": {"name": name}}


def call(target: str, output: str, *inputs: object, **named: object) -> pt2.Json:
    """A call of an operator of aten on tensors, by their names, and literal arguments."""
    arguments: dict[str, pt2.Json] = {}
    for index, value in enumerate(inputs):
        arguments[("self", "other", "third")[index]] = (
            tensor(value) if isinstance(value, str) else value  # type: ignore[dict-item]
        )
    arguments.update(named)  # type: ignore[arg-type]
    return pt2.node(f"torch.ops.aten.{target}", arguments, output)


def program_of(nodes: Sequence[pt2.Json], outputs: Sequence[str] = ("out",)) -> ExportedProgram:
    """A program with the parameter `p_w` and the input `x`."""
    record = copy.deepcopy(pt2.program())
    graph = pt2.graph_of(record)
    graph["nodes"] = list(nodes)
    graph["outputs"] = [tensor(name) for name in outputs]
    names = {output["as_tensor"]["name"] for node in nodes for output in node["outputs"]}  # type: ignore[attr-defined]
    graph["tensor_values"] = {name: pt2.tensor_meta([2]) for name in sorted({"x", "p_w", *names})}
    module: Any = record["graph_module"]
    module["signature"]["output_specs"] = [
        {"user_output": {"arg": tensor(name)}} for name in outputs
    ]
    return load_program(pt2.zipped(pt2.entries(record)), verify=False)


def canonical_targets(program: ExportedProgram) -> list[str]:
    return [node.target.split(".")[3] for node in castoff.canonicalize(program).graph.nodes]


SMALL = [
    call("mul.Tensor", "a", "x", "p_w"),
    call("relu.default", "b", "x"),
    call("sub.Tensor", "out", "a", "b"),
]


@pytest.mark.parametrize("seed", range(8))
def test_names_order_and_metadata_make_no_difference(seed: int) -> None:
    program = program_of(SMALL)
    other = scrambled(program, seed)
    assert program_bytes(other) != program_bytes(program)
    assert program_bytes(other, canonical=True) == program_bytes(program, canonical=True)
    assert other.digest() == program.digest()


def test_a_canonical_program_is_its_own_canonical_form() -> None:
    program = castoff.canonicalize(program_of(SMALL))
    assert program_bytes(castoff.canonicalize(program)) == program_bytes(program)
    assert [node.target.split(".")[3] for node in program.graph.nodes] == ["mul", "relu", "sub"]
    assert program.graph.nodes[2].inputs[0].arg == s.AsTensor("v0")
    assert program.graph.inputs == (s.AsTensor("i0"), s.AsTensor("i1"))


def test_equal_calls_are_told_apart_by_their_uses() -> None:
    one = [
        call("relu.default", "a", "x"),
        call("relu.default", "b", "x"),
        call("add.Tensor", "c", "a", {"as_int": 1}),
        call("mul.Tensor", "d", "b", {"as_int": 2}),
        call("div.Tensor", "out", "c", "d"),
    ]
    swapped = [one[1], one[0], *one[2:]]
    assert program_of(one).digest() == program_of(swapped).digest()


@pytest.mark.parametrize(
    "change",
    [
        lambda program: program_of([*SMALL[:2], call("sub.Tensor", "out", "b", "a")]),
        lambda program: program_of([*SMALL[:2], call("add.Tensor", "out", "a", "b")]),
        lambda program: program_of([*SMALL[:1], call("neg.default", "b", "x"), SMALL[2]]),
        lambda program: program_of(SMALL, ("a",)),
        lambda program: replace(program, guards_code=("L['x'].size()[0] != 4",)),
        lambda program: replace(program, dialect="ATEN"),
        lambda program: replace(
            program,
            state_dict={
                "w": replace(
                    program.state_dict["w"],
                    storage=Storage("w", memoryview(bytes(8))),
                )
            },
        ),
    ],
    ids=["operands", "target", "earlier", "output", "guard", "dialect", "weight"],
)
def test_what_means_something_makes_a_difference(
    change: Callable[[ExportedProgram], ExportedProgram],
) -> None:
    program = program_of(SMALL)
    assert change(program).digest() != program.digest()


def test_reads_stay_on_their_side_of_a_write() -> None:
    nodes = [
        call("view.default", "v", "x", {"as_ints": [2]}),
        call("relu.default", "before", "v"),
        call("add_.Tensor", "written", "x", {"as_int": 1}),
        call("relu.default", "after", "v"),
        call("sub.Tensor", "out", "before", "after"),
    ]
    assert canonical_targets(program_of(nodes)) == ["view", "relu", "add_", "relu", "sub"]
    late = [nodes[0], nodes[2], nodes[1], nodes[3], nodes[4]]
    assert program_of(late).digest() != program_of(nodes).digest()
    for seed in range(5):
        assert scrambled(program_of(nodes), seed).digest() == program_of(nodes).digest()


def test_what_a_write_cannot_reach_may_pass_it() -> None:
    nodes = [
        call("add_.Tensor", "written", "x", {"as_int": 1}),
        call("relu.default", "r", "p_w"),
        call("sub.Tensor", "out", "written", "r"),
    ]
    assert program_of(nodes).digest() == program_of([nodes[1], nodes[0], nodes[2]]).digest()


def test_weights_in_one_storage_are_one_memory() -> None:
    record = pt2.program()
    graph: Any = pt2.graph_of(record)
    module: Any = record["graph_module"]
    graph["inputs"].insert(0, tensor("p_tied"))
    graph["tensor_values"]["p_tied"] = pt2.tensor_meta([2])
    graph["tensor_values"]["early"] = graph["tensor_values"]["late"] = pt2.tensor_meta([2])
    graph["nodes"] = [
        call("relu.default", "early", "p_tied"),
        call("zero_.default", "late", "p_w"),
        call("sub.Tensor", "add", "early", "x"),
    ]
    module["signature"]["input_specs"].insert(
        0, {"parameter": {"arg": {"name": "p_tied"}, "parameter_name": "tied"}}
    )
    weights = {name: pt2.payload(pt2.tensor_meta([2])) for name in ("w", "tied")}

    def digest() -> str:
        return load_program(pt2.zipped(pt2.entries(record, weights=weights))).digest()

    first = digest()
    graph["nodes"][:2] = reversed(graph["nodes"][:2])
    assert digest() != first


def test_random_draws_keep_their_order() -> None:
    nodes = [
        call("rand_like.default", "a", "x"),
        call("randn_like.default", "b", "x"),
        call("sub.Tensor", "out", "a", "b"),
    ]
    assert canonical_targets(program_of(nodes)) == ["rand_like", "randn_like", "sub"]
    swapped = [nodes[1], nodes[0], nodes[2]]
    assert canonical_targets(program_of(swapped)) == ["randn_like", "rand_like", "sub"]


def test_a_dropout_that_drops_nothing_draws_nothing() -> None:
    off = {"p": {"as_float": 0.5}, "train": {"as_bool": False}}
    nodes = [
        pt2.node("torch.ops.aten.dropout.default", {"input": tensor(name), **off}, output)
        for name, output in (("x", "a"), ("p_w", "out"))
    ]
    assert not any(order_constraints(program_of(nodes).graph))
    nodes[0] = pt2.node("torch.ops.aten.dropout.default", {"input": tensor("x")}, "a")
    nodes[1] = pt2.node("torch.ops.aten.dropout.default", {"input": tensor("p_w")}, "out")
    assert order_constraints(program_of(nodes).graph) == [set(), {0}]


def test_operators_of_other_packages_are_taken_to_write() -> None:
    custom = pt2.node("torch.ops.mine.op.default", {"x": tensor("x")}, "a")
    nodes = [custom, call("relu.default", "out", "x")]
    graph = program_of(nodes).graph
    assert written_names(graph.nodes[0]) == ("x",)
    assert order_constraints(graph) == [set(), {0}]


def test_subgraphs_and_symbols_are_renamed_too() -> None:
    def conditional(inner: str, result: str, symbol: str, attribute: str) -> ExportedProgram:
        size = {"as_expr": {"expr_str": f"Symbol('{symbol}', positive=True, integer=True)"}}
        total = {
            "as_expr": {
                "expr_str": f"Add(Symbol('{symbol}', positive=True, integer=True), Integer(1))"
                if symbol == "s7"
                else f"Add(Integer(1), Symbol('{symbol}', positive=True, integer=True))",
                "hint": {"as_int": 5},
            }
        }
        body = {
            "inputs": [tensor(inner)],
            "outputs": [tensor(result)],
            "nodes": [call("relu.default", result, inner)],
            "tensor_values": {
                result: pt2.tensor_meta([total]),
                inner: pt2.tensor_meta([size]),
                "unused": pt2.tensor_meta([9]),
            },
            "sym_int_values": {},
            "sym_bool_values": {},
        }
        record = pt2.program(range_constraints={symbol: {"min_val": 2, "max_val": None}})
        graph = pt2.graph_of(record)
        graph["nodes"] = [
            pt2.node(
                "torch.ops.higher_order.wrap_with_set_grad_enabled",
                {
                    "enter": {"as_bool": True},
                    "graph": {"as_graph": {"name": attribute, "graph": body}},
                    "x": tensor("x"),
                },
                "add",
            )
        ]
        graph["tensor_values"]["x"] = pt2.tensor_meta([size])  # type: ignore[index]
        return load_program(pt2.zipped(pt2.entries(record)))

    first = conditional("a", "b", "s7", "submod_3")
    second = conditional("y_1", "z", "s99", "body")
    assert first.digest() == second.digest()
    canonical = castoff.canonicalize(first)
    subgraph = canonical.graph.nodes[0].inputs[1].arg
    assert isinstance(subgraph, s.AsGraph)
    assert subgraph.name == "graph_0"
    assert list(subgraph.graph.tensor_values) == ["i0", "v0"]
    assert list(canonical.range_constraints) == ["s0"]


def test_graphs_of_several_nodes_have_names_of_their_own() -> None:
    def called(graph_name: str, operator: str, given: str, result: str) -> dict[str, object]:
        body = {
            "inputs": [tensor("a")],
            "outputs": [tensor("b")],
            "nodes": [pt2.node(f"torch.ops.aten.{operator}.default", {"self": tensor("a")}, "b")],
            "tensor_values": {"a": pt2.tensor_meta([2]), "b": pt2.tensor_meta([2])},
            "sym_int_values": {},
            "sym_bool_values": {},
        }
        graph = {"as_graph": {"name": graph_name, "graph": body}}
        arguments = {"enter": {"as_bool": True}, "graph": graph, "x": tensor(given)}
        return pt2.node("torch.ops.higher_order.wrap_with_set_grad_enabled", arguments, result)

    record = pt2.program()
    graph: Any = pt2.graph_of(record)
    graph["nodes"] = [called("g7", "sin", "x", "between"), called("g3", "cos", "between", "add")]
    graph["tensor_values"]["between"] = pt2.tensor_meta([2])
    canonical = castoff.canonicalize(load_program(pt2.zipped(pt2.entries(record))))
    called_graphs = [node.inputs[1].arg for node in canonical.graph.nodes]
    names = [each.name for each in called_graphs if isinstance(each, s.AsGraph)]
    assert names == ["graph_0", "graph_1"]


def test_inputs_and_outputs_are_ordered_by_kind() -> None:
    record = pt2.program()
    graph: Any = pt2.graph_of(record)
    module: Any = record["graph_module"]
    graph["inputs"].reverse()
    module["signature"]["input_specs"].reverse()
    program = load_program(pt2.zipped(pt2.entries(record)))
    assert program.digest() == load_program(pt2.zipped(pt2.entries())).digest()
    canonical = castoff.canonicalize(program)
    assert canonical.graph_signature.input_specs[0] == s.ParameterInput("i0", "w")


def test_a_cycle_is_refused() -> None:
    nodes = [call("relu.default", "a", "out"), call("relu.default", "out", "a")]
    with pytest.raises(ProgramFormatError, match=r"aten\.relu.*its own result"):
        castoff.canonicalize(program_of(nodes))


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ([call("relu.default", "out", "nothing")], "'nothing' is used but never defined"),
        (
            [call("relu.default", "out", "x"), call("relu.default", "out", "x")],
            "'out' is defined twice",
        ),
    ],
    ids=["undefined", "twice"],
)
def test_names_must_be_defined_once(nodes: list[pt2.Json], message: str) -> None:
    with pytest.raises(ProgramFormatError, match=message):
        castoff.canonicalize(program_of(nodes))


def test_hints_are_values_of_the_least_sizes_where_torch_needs_them() -> None:
    root = "OpaqueUnaryFn_sqrt(ToFloat(Symbol('s3', positive=True, integer=True)))"
    record = pt2.program(range_constraints={"s3": {"min_val": 9, "max_val": None}})
    pt2.graph_of(record)["sym_float_values"] = {
        "root": {"as_expr": {"expr_str": root, "hint": {"as_float": 77.0}}}
    }
    pt2.graph_of(record)["nodes"] = [
        {
            **pt2.node("torch._sym_sqrt", {"a": {"as_int": 9}}),
            "outputs": [{"as_sym_float": {"as_name": "root"}}],
        },
        *pt2.graph_of(pt2.program())["nodes"],  # type: ignore[misc]
    ]
    canonical = castoff.canonicalize(load_program(pt2.zipped(pt2.entries(record))))
    [value] = canonical.graph.sym_float_values.values()
    assert value == s.SymExpr(root.replace("s3", "s0"), 3.0)


def test_canonical_files_keep_extra_files_and_drop_examples(tmp_path: Path) -> None:
    content = pt2.zipped(pt2.entries(further={"extra/a": b"1"}))
    path = tmp_path / "model.pt2"
    castoff.save(castoff.load(content), path, canonical=True)
    back = castoff.load(path)
    assert back.extra_files == {"a": b"1"}
    np.testing.assert_array_equal(back.state_dict["w"].array, pt2.W)
    assert json.dumps(back.digest()) == json.dumps(castoff.load(content).digest())


# --- The corpus --------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_programs_of_the_corpus_come_back_and_have_one_canonical_form(family: str) -> None:
    corpus = find_corpus()
    if corpus is None or not Family.exists(corpus, family):
        pytest.skip("there is no corpus")
    names = Family(corpus, family).names[::23]
    outcomes = check_cases(corpus, family, names, "form")
    assert outcomes == dict.fromkeys(names)

"""Training programs in functional form: the same answers, by core operators, without writes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
import pytest

import castoff
from castoff.compiler.decompose.composites import COMPOSITES
from castoff.compiler.decompose.spellings import SPELLINGS
from castoff.compiler.decompose.spellings.pointwise import (
    BINARY_TARGETS,
    DIVISIONS,
    UNARY_TARGETS,
)
from castoff.compiler.errors import UnsupportedOperatorError
from castoff.compiler.exported import ExportedProgram, load_program, program_bytes
from castoff.compiler.exported import schema as s
from castoff.compiler.exported.effects import is_aten_write
from castoff.compiler.ops import load_all, pointwise
from castoff.compiler.ops.base import Op
from castoff.compiler.ops.control_flow import Branch, ScanLoop, WhileLoop

from ..conformance.check import check_case
from ..conformance.corpus import FAMILIES, Family, find_corpus, register_containers
from ..exported import pt2_files as pt2


def _primitives(base: type[Op]) -> Iterator[type[Op]]:
    for kind in base.__subclasses__():
        yield kind
        yield from _primitives(kind)


def test_every_primitive_is_spelled_or_taken_apart() -> None:
    load_all()
    known = {kind.__name__ for kind in (*SPELLINGS, *COMPOSITES, Branch, WhileLoop, ScanLoop)}
    own = {kind.__name__ for kind in _primitives(Op) if kind.__module__.startswith("castoff.")}
    assert own - known == {"AxisOrder"}  # the base of those that sort, and no primitive


def test_every_pointwise_primitive_is_spelled() -> None:
    load_all()
    composed = {"isfinite", "real", "imag", "ndtr", "frexp_mantissa", "frexp_exponent"}
    spelled = {*UNARY_TARGETS, *BINARY_TARGETS, *DIVISIONS, *composed}
    assert set(pointwise.TABLE) - spelled == set()


def _tensor(name: str) -> pt2.Json:
    return {"as_tensor": {"name": name}}


def _counting() -> ExportedProgram:
    """`n += 1; x *= 2; return relu(x) @ w.T + n`, with the writes in place."""
    record = pt2.program()
    graph = pt2.graph_of(record)
    names = ("p_w", "b_n", "x", "add_", "mul_", "linear", "sum")
    graph["tensor_values"] = {
        name: pt2.tensor_meta(
            [2] if name in ("x", "mul_") else [] if name in ("b_n", "add_") else [2, 2]
        )
        for name in names
    }
    graph["tensor_values"]["linear"] = graph["tensor_values"]["sum"] = pt2.tensor_meta([2])
    graph["inputs"] = [_tensor("p_w"), _tensor("b_n"), _tensor("x")]
    graph["outputs"] = [_tensor("sum")]
    aten = "torch.ops.aten."
    graph["nodes"] = [
        pt2.node(f"{aten}add_.Tensor", {"self": _tensor("b_n"), "other": {"as_int": 1}}, "add_"),
        pt2.node(f"{aten}mul_.Tensor", {"self": _tensor("x"), "other": {"as_int": 2}}, "mul_"),
        pt2.node(
            f"{aten}linear.default", {"input": _tensor("mul_"), "weight": _tensor("p_w")}, "linear"
        ),
        pt2.node(f"{aten}add.Tensor", {"self": _tensor("linear"), "other": _tensor("b_n")}, "sum"),
    ]
    record["graph_module"]["signature"] = {  # type: ignore[index]
        "input_specs": [
            {"parameter": {"arg": {"name": "p_w"}, "parameter_name": "w"}},
            {"buffer": {"arg": {"name": "b_n"}, "buffer_name": "n", "persistent": True}},
            {"user_input": {"arg": _tensor("x")}},
        ],
        "output_specs": [{"user_output": {"arg": _tensor("sum")}}],
    }
    specs = {"in_spec": pt2.in_spec(pt2.LEAF), "out_spec": f"[1, {pt2.LEAF}]"}
    call = {"inputs": [], "outputs": [], **specs}
    record["graph_module"]["module_call_graph"] = [{"fqn": "", "signature": call}]  # type: ignore[index]
    record["verifiers"] = ["TRAINING"]
    weights = {
        "w": pt2.payload(pt2.tensor_meta([2, 2])),
        "n": pt2.payload(pt2.tensor_meta([]), "weight_1", False),
    }
    files = {
        "weight_0": np.array([[1, 2], [3, 4]], np.float32).tobytes(),
        "weight_1": np.float32(5).tobytes(),
    }
    return load_program(pt2.zipped(pt2.entries(record, weights=weights, weight_files=files)))


def test_writes_become_entries_of_the_signature() -> None:
    program = _counting().run_decompositions()
    assert program.dialect == "ATEN"
    changed, scaled, given = program.graph_signature.output_specs
    assert isinstance(changed, s.BufferMutation)
    assert changed.buffer_name == "n"
    assert isinstance(scaled, s.UserInputMutation)
    assert scaled.user_input_name == "x"
    assert isinstance(given, s.UserOutput)
    assert not any(is_aten_write(node) for node in program.graph.nodes)
    assert [spec.name for spec in program.graph_signature.input_specs[:2]] == ["p_w", "b_n"]  # type: ignore[union-attr]


def test_composites_are_taken_apart_and_keep_their_place_in_the_source() -> None:
    program = _counting().run_decompositions()
    targets = [node.target.removeprefix("torch.ops.aten.") for node in program.graph.nodes]
    assert "linear.default" not in targets
    assert "mm.default" in targets
    assert all(node.metadata["stack_trace"] for node in program.graph.nodes)


def test_the_functional_program_gives_the_same_answers_and_changes_the_same() -> None:
    source = _counting()
    saved = load_program(program_bytes(source.run_decompositions()))
    for program in (source, saved):
        run, x = program.module(), np.array([1, -1], np.float32)
        np.testing.assert_array_equal(run(x), [2 * 1 - 2 * 2 + 6, 2 * 3 - 2 * 4 + 6])
        np.testing.assert_array_equal(x, [2, -2])
        np.testing.assert_array_equal(run(np.zeros(2, np.float32)), [7, 7])


def test_a_functional_program_stays_one() -> None:
    once = _counting().run_decompositions()
    assert once.run_decompositions().digest() == once.digest()


def test_what_cannot_be_written_is_named() -> None:
    program = _counting()
    first, *others = program.graph.nodes
    unknown = dataclasses.replace(first, target="torch.ops.mylib.mystery.default")
    graph = dataclasses.replace(program.graph, nodes=(unknown, *others))
    with pytest.raises(UnsupportedOperatorError, match=r"mylib\.mystery"):
        dataclasses.replace(program, graph=graph).run_decompositions()


@pytest.mark.parametrize("family", FAMILIES)
def test_programs_of_the_corpus_are_right_in_functional_form(family: str) -> None:
    """By the reference interpreter, which knows nothing of PyTorch's operators but by the importer."""
    corpus = find_corpus()
    if corpus is None or not Family.exists(corpus, family):
        pytest.skip("there is no corpus")
    register_containers()
    cases = Family(corpus, family)
    for name in cases.names[5 :: 16 if family == "structure" else 60]:
        case = cases.load(name)
        if case.expect_error is not None:
            continue
        program = castoff.load(case.program).run_decompositions()
        functional = dataclasses.replace(case, program=program_bytes(program))
        assert check_case(functional, "reference") is None, name

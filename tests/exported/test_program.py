"""Exported programs as objects: printed, run, told apart."""

from __future__ import annotations

import numpy as np

import castoff
from castoff.compiler.exported.summary import summarize, summary_text

from . import pt2_files as pt2

LISTING = """\
exported program, dialect unknown, torch <=2.4
inputs
  p_w: float32[2]  parameter 'w'
  x: float32[2]
calls
  add: float32[2] = aten.add.Tensor(self=x, other=p_w)
outputs
  add
ranges
  2 <= s0
guards
  L['x'].size()[0] != 4"""


def test_a_program_prints_as_typed_calls() -> None:
    record = pt2.program(
        range_constraints={"s0": {"min_val": 2, "max_val": None}},
        guards_code=["L['x'].size()[0] != 4"],
    )
    assert str(castoff.load(pt2.zipped(pt2.entries(record)))) == LISTING


def test_symbolic_sizes_and_source_lines_are_readable() -> None:
    record = pt2.program()
    graph = pt2.graph_of(record)
    expression = "Add(Mul(Integer(2), Symbol('s0', positive=True, integer=True)), Integer(1))"
    size = {"as_expr": {"expr_str": expression, "hint": None}}
    graph["tensor_values"]["add"] = pt2.tensor_meta([size, 3])  # type: ignore[index]
    trace = (
        '  File "main.py", line 2, in <module>\n    model(x)\n'
        '  File "model.py", line 7, in forward\n    return x + 1\n'
        '  File "<eval_with_key>.1", line 3, in forward'
    )
    graph["nodes"][0]["metadata"] = {"stack_trace": trace}  # type: ignore[index]
    text = str(castoff.load(pt2.zipped(pt2.entries(record))))
    assert (
        "  # model.py:7 in forward: return x + 1\n  add: float32[(2*s0) + 1, 3] = aten.add.Tensor"
        in text
    )


def test_a_program_runs_as_a_module() -> None:
    record = pt2.program()
    call = record["graph_module"]["module_call_graph"][0]["signature"]  # type: ignore[index]
    call["forward_arg_names"] = ["x"]
    program = castoff.load(pt2.zipped(pt2.entries(record)))
    result = program.module()(np.array([1.0, 2.0], np.float32))
    np.testing.assert_array_equal(result, np.float32([2.5, 0.0]))  # type: ignore[arg-type]
    assert len(program.digest()) == 64


def test_a_program_is_drawn_with_its_types() -> None:
    assert castoff.load(pt2.zipped(pt2.entries())).to_dot() == (
        "digraph program {\n"
        "  node [shape=box, fontname=monospace];\n"
        '  "in:p_w" [shape=ellipse, label="p_w"];\n'
        '  "in:x" [shape=ellipse, label="x"];\n'
        '  "0" [label="aten.add.Tensor"];\n'
        '  "in:x" -> "0" [label="x: float32[2]"];\n'
        '  "in:p_w" -> "0" [label="p_w: float32[2]"];\n'
        '  "out:0" [shape=ellipse, label="output 0"];\n'
        '  "0" -> "out:0" [label="add: float32[2]"];\n'
        "}\n"
    )


def test_a_summary_counts_calls_and_shared_memory_once() -> None:
    weights = {
        "w": pt2.payload(pt2.tensor_meta([2], requires_grad=True)),
        "tied": pt2.payload(pt2.tensor_meta([1], offset=1)),
    }
    summary = summarize(castoff.load(pt2.zipped(pt2.entries(weights=weights))))
    assert summary.operators == {"torch.ops.aten.add.Tensor": 1}
    assert [(row.name, row.kind, row.dtype, row.bytes) for row in summary.tensors] == [
        ("w", "parameter", "float32", 8),
        ("tied", "constant", "float32", 0),
    ]
    assert (summary.elements("parameter"), summary.bytes()) == (2, 8)
    assert summary_text(summary).splitlines() == [
        "calls  operator",
        "    1  torch.ops.aten.add.Tensor",
        "    1  calls of 1 operators",
        "",
        "tensor  kind       dtype    shape  elements   bytes",
        "w       parameter  float32  [2]           2       8",
        "tied    constant   float32  [1]           1  shared",
        "1 parameter: 2 elements, 8 bytes",
        "0 buffers: 0 elements, 0 bytes",
        "1 constant: 1 elements, 0 bytes",
        "in all 8 bytes",
    ]

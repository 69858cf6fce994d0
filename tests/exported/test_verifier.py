"""Programs whose records do not fit together are refused, with everything that is wrong."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

import castoff
from castoff.compiler.exported import (
    InvalidProgramError,
    load_program,
    program_bytes,
    verify_program,
)

from . import pt2_files as pt2
from .operator_table import TABLE, table_text


def tensor(name: str) -> pt2.Json:
    return {"as_tensor": {"name": name}}


Change = Callable[[Any, Any], None]


def changed(change: Change) -> bytes:
    """The small program after `change(graph, signature)`."""
    record: Any = copy.deepcopy(pt2.program(verifiers=["ATEN"]))
    change(record["graph_module"]["graph"], record["graph_module"]["signature"])
    return pt2.zipped(pt2.entries(record))


def add_node(graph: Any, target: str, taken: str, given: str) -> None:
    graph["nodes"].append(pt2.node(f"torch.ops.aten.{target}", {"self": tensor(taken)}, given))
    graph["tensor_values"].setdefault(given, pt2.tensor_meta([2]))


def use_before_definition(graph: Any, signature: Any) -> None:
    add_node(graph, "relu.default", "late", "early")
    add_node(graph, "relu.default", "x", "late")


def undefined(graph: Any, signature: Any) -> None:
    add_node(graph, "relu.default", "ghost", "a")


def defined_twice(graph: Any, signature: Any) -> None:
    add_node(graph, "relu.default", "x", "add")


def input_twice(graph: Any, signature: Any) -> None:
    graph["inputs"].append(tensor("x"))
    signature["input_specs"].append({"user_input": {"arg": tensor("x")}})


def without_type(graph: Any, signature: Any) -> None:
    del graph["tensor_values"]["add"]


def without_symbol(graph: Any, signature: Any) -> None:
    graph["nodes"].append(
        {**pt2.node("math.trunc", {}), "outputs": [{"as_sym_int": {"as_name": "n"}}]}
    )


def without_output(graph: Any, signature: Any) -> None:
    graph["outputs"] = [tensor("ghost")]
    signature["output_specs"] = [{"user_output": {"arg": tensor("ghost")}}]


def other_names(graph: Any, signature: Any) -> None:
    signature["input_specs"].reverse()


def too_few_specs(graph: Any, signature: Any) -> None:
    signature["output_specs"] = []


def missing_parameter(graph: Any, signature: Any) -> None:
    signature["input_specs"][0]["parameter"]["parameter_name"] = "v"


def other_shape(graph: Any, signature: Any) -> None:
    graph["tensor_values"]["p_w"] = pt2.tensor_meta([3])


def other_dtype(graph: Any, signature: Any) -> None:
    graph["tensor_values"]["p_w"] = pt2.tensor_meta([2], dtype=8)


def strides(graph: Any, signature: Any) -> None:
    graph["tensor_values"]["x"] = pt2.tensor_meta([2], strides=[1, 1])


def negative(graph: Any, signature: Any) -> None:
    graph["tensor_values"]["x"] = pt2.tensor_meta([-2])


def in_place(graph: Any, signature: Any) -> None:
    add_node(graph, "relu_.default", "x", "a")


def _argument(name: str, argument: pt2.Json) -> Change:
    """The sum with an argument added, or another one under a name it has."""

    def change(graph: Any, signature: Any) -> None:
        (node,) = graph["nodes"]
        node["metadata"] = {"stack_trace": 'File "model.py", line 3, in forward'}
        kept = [given for given in node["inputs"] if given["name"] != name]
        node["inputs"] = [*kept, {"name": name, "arg": argument, "kind": 2}]

    return change


def without_argument(graph: Any, signature: Any) -> None:
    del graph["nodes"][0]["inputs"][1]


def too_many_results(graph: Any, signature: Any) -> None:
    graph["nodes"][0]["outputs"].append(tensor("further"))
    graph["tensor_values"]["further"] = pt2.tensor_meta([2])


def another_result(graph: Any, signature: Any) -> None:
    graph["nodes"][0]["outputs"] = [{"as_tensors": [{"name": "add"}]}]


def unknown_target(graph: Any, signature: Any) -> None:
    signature["output_specs"] = [{"buffer_mutation": {"arg": {"name": "add"}, "buffer_name": "b"}}]


def argument_twice(graph: Any, signature: Any) -> None:
    graph["nodes"][0]["inputs"] *= 2


def further_input(graph: Any, signature: Any) -> None:
    graph["inputs"].append(tensor("y"))
    graph["tensor_values"]["y"] = pt2.tensor_meta([2])
    signature["input_specs"].append({"user_input": {"arg": tensor("y")}})


def further_output(graph: Any, signature: Any) -> None:
    graph["outputs"] *= 2
    signature["output_specs"] *= 2


def in_a_subgraph(graph: Any, signature: Any) -> None:
    body = {
        "inputs": [tensor("i")],
        "outputs": [tensor("i")],
        "nodes": [pt2.node("torch.ops.aten.relu.default", {"self": tensor("x")}, "r")],
        "tensor_values": {"i": pt2.tensor_meta([2]), "r": pt2.tensor_meta([2])},
        "sym_int_values": {},
        "sym_bool_values": {},
    }
    graph["nodes"].append(
        pt2.node(
            "torch.ops.higher_order.wrap", {"g": {"as_graph": {"name": "g", "graph": body}}}, "h"
        )
    )
    graph["tensor_values"]["h"] = pt2.tensor_meta([2])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (use_before_definition, r"node 'early' \(aten\.relu.*takes 'late', .* after it"),
        (undefined, r"node 'a' .*takes 'ghost', which is defined nowhere"),
        (defined_twice, r"gives 'add', a name that is taken"),
        (input_twice, r"the input 'x' has a name that is taken"),
        (without_type, r"node 'add' .*the tensor 'add' has no type"),
        (without_symbol, r"the symbolic value 'n' has no entry"),
        (without_output, r"the output 'ghost' is defined nowhere"),
        (other_names, r"input 0: the signature calls it \['x'\], but the graph \['p_w'\]"),
        (too_few_specs, r"the graph has 1 outputs, but the signature describes 0"),
        (missing_parameter, r"the parameter 'v' is missing from the file"),
        (other_shape, r"the parameter 'w': .*shape \[3\], but the file holds \[2\]"),
        (other_dtype, r"the parameter 'w': .*takes DOUBLE, but the file holds FLOAT"),
        (strides, r"the value 'x' has 1 sizes and 2 strides"),
        (negative, r"the value 'x' has a negative size"),
        (in_place, r"node 'a' \(aten\.relu_.*writes into its arguments"),
        (
            _argument("other", {"as_string": "x"}),
            r"node 'add' \(aten\.add\.Tensor, model\.py:3 in forward\): 'other' takes a tensor, got the "
            r"text 'x'",
        ),
        (
            _argument("alpha", {"as_tensors": []}),
            r"'alpha' takes a number, got an argument of the kin",
        ),
        (_argument("beta", {"as_int": 1}), r"node 'add' .*has no argument 'beta'"),
        (without_argument, r"node 'add' .*lacks its argument 'other'"),
        (too_many_results, r"node 'add' .*gives 1 results, but 2 are named"),
        (
            another_result,
            r"node 'add' .*gives a tensor, but an argument of the kind tensors is named",
        ),
        (argument_twice, r"node 'add' .*has two arguments 'other'"),
        (further_input, r"the in_spec of its call has 1 leaves, but the signature 2"),
        (further_output, r"the out_spec of its call has 1 leaves, but the signature 2"),
        (unknown_target, r"output 0 is for the buffer 'b', which is no input"),
        (in_a_subgraph, r"node 'h' .*in its graph: node 'r' .*takes 'x', .*nowhere"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_a_program_that_does_not_fit_together_is_refused(change: Change, message: str) -> None:
    content = changed(change)
    with pytest.raises(InvalidProgramError, match=message):
        castoff.load(content)
    program = castoff.load(content, verify=False)
    with pytest.raises(InvalidProgramError, match=message):
        verify_program(program)


def test_all_faults_are_named_at_once() -> None:
    def several(graph: Any, signature: Any) -> None:
        undefined(graph, signature)
        other_shape(graph, signature)

    with pytest.raises(InvalidProgramError, match=r"(?s)ghost.*shape \[3\]"):
        castoff.load(changed(several))


def test_many_faults_are_cut_short() -> None:
    def many(graph: Any, signature: Any) -> None:
        for index in range(50):
            add_node(graph, "relu.default", f"ghost{index}", f"a{index}")

    with pytest.raises(InvalidProgramError, match="and 30 more"):
        castoff.load(changed(many))


def test_the_user_s_line_is_named() -> None:
    def traced(graph: Any, signature: Any) -> None:
        undefined(graph, signature)
        trace = 'File "/home/me/model.py", line 12, in forward\n    return x'
        graph["nodes"][-1]["metadata"] = {"stack_trace": trace}

    with pytest.raises(InvalidProgramError, match=r"\(aten\.relu\.default, .*model\.py:12 in forw"):
        castoff.load(changed(traced))


def test_training_programs_may_write() -> None:
    record = copy.deepcopy(pt2.program(verifiers=["TRAINING"]))
    add_node(pt2.graph_of(record), "relu_.default", "x", "a")
    assert castoff.load(pt2.zipped(pt2.entries(record))).dialect == "TRAINING"


def test_each_dialect_has_rules_of_its_own() -> None:
    def functional(graph: Any, signature: Any) -> None:
        add_node(graph, "celu.default", "x", "a")

    def writing(graph: Any, signature: Any) -> None:
        add_node(graph, "relu_.default", "x", "a")

    for change, refusing in ((functional, {"CORE"}), (writing, {"ATEN", "CORE"})):
        content = changed(change)
        for dialect in ("TRAINING", "ATEN", "CORE"):
            if dialect not in refusing:
                castoff.load(content, verify=dialect)
                continue
            with pytest.raises(InvalidProgramError, match=r"node 'a'.*this dialect"):
                castoff.load(content, verify=dialect)
    assert castoff.load(pt2.zipped(pt2.entries()), verify="CORE").graph.nodes


def test_dialects_that_nobody_knows_are_refused_by_name() -> None:
    content = pt2.zipped(pt2.entries(pt2.program(verifiers=["ATEN", "EDGE"])))
    with pytest.raises(InvalidProgramError, match="its dialect 'EDGE' is not known"):
        castoff.load(content)
    program = castoff.load(content, verify="aten")
    assert (program.dialect, program.further_dialects) == ("ATEN", ("EDGE",))
    assert castoff.load(program_bytes(program), verify=False).further_dialects == ("EDGE",)
    with pytest.raises(ValueError, match="one of the dialects TRAINING, ATEN, CORE, got 'EDGE'"):
        castoff.load(content, verify="EDGE")


def test_call_specs_that_cannot_be_read_are_refused() -> None:
    record = pt2.program()
    [entry] = record["graph_module"]["module_call_graph"]  # type: ignore[index]
    entry["signature"]["out_spec"] = "[1, {}]"
    with pytest.raises(InvalidProgramError, match="the out_spec of its call: the treespec cannot"):
        castoff.load(pt2.zipped(pt2.entries(record)))


def test_numbers_stand_for_tensors_and_operators_of_others_are_left_alone() -> None:
    def loose(graph: Any, signature: Any) -> None:
        _argument("other", {"as_int": 1})(graph, signature)
        node = pt2.node("torch.ops.mylib.scale.default", {"x": {"as_string": "anything"}}, "a")
        graph["nodes"].append(node)
        graph["tensor_values"]["a"] = pt2.tensor_meta([2])

    castoff.load(changed(loose))


@pytest.mark.torch
def test_the_table_of_operators_is_what_pytorch_says() -> None:
    torch = pytest.importorskip("torch")
    text = TABLE.read_text()
    if f"PyTorch {torch.__version__.partition('+')[0]}:" not in text:
        pytest.skip("the table is of another release of PyTorch")
    assert table_text() == text


def test_empty_ranges_are_refused() -> None:
    record = pt2.program(range_constraints={"s0": {"min_val": 4, "max_val": 3}})
    with pytest.raises(InvalidProgramError, match="'s0' has the empty range 4 to 3"):
        load_program(pt2.zipped(pt2.entries(record)))

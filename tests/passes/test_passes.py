"""Every pass: what it changes, what it must leave alone, and that values stay the same."""

from __future__ import annotations

import numpy as np
import pytest

from castoff.compiler.ir.dtypes import DType
from castoff.compiler.ir.graph import Graph
from castoff.compiler.ir.verify import InvalidGraphError
from castoff.compiler.observe import Observer
from castoff.compiler.options import CompileOptions
from castoff.compiler.passes import pipeline
from castoff.compiler.passes.dead import remove_dead_nodes
from castoff.compiler.passes.fold import fold_constants
from castoff.compiler.passes.pipeline import PASSES, optimize
from castoff.compiler.passes.share import share_common_nodes

from ..codegen.spread import SPREAD, Case, quantised_layers
from ..graphs import GraphBuilder, reference, size


def operators(graph: Graph) -> list[str]:
    return [str(node.op).partition("[")[0] for node in graph.nodes]


def test_nodes_and_constants_nobody_reads_are_removed() -> None:
    b = GraphBuilder()
    x = b.input("x", 3)
    b.apply("exp", b.array(np.ones(3, np.float32), "unused"))
    graph = remove_dead_nodes(b.graph(b.apply("neg", x)))
    assert operators(graph) == ["neg"]
    assert not graph.constants


def test_what_state_holds_after_the_run_is_alive() -> None:
    b = GraphBuilder()
    x = b.input("x", 3)
    seen = b.buffer("seen", np.zeros(3, np.float32))
    graph = b.graph(x, mutations=[(seen, b.apply("add", seen, x))])
    assert remove_dead_nodes(graph) is graph


def test_checks_are_kept_though_nobody_reads_them() -> None:
    b = GraphBuilder()
    x = b.input("x", dtype=DType.INT64)
    b.read_symbol(x, 2, 8)
    graph = b.graph(x)
    assert remove_dead_nodes(graph) is graph


def test_arithmetic_of_constants_is_done_at_build_time() -> None:
    b = GraphBuilder()
    x = b.input("x", 3)
    variance = b.array(np.array([4, 16, 64], np.float32), "variance")
    scale = b.apply("rsqrt", variance)
    graph = fold_constants(b.graph(b.apply("mul", x, scale)))
    assert operators(graph) == ["mul"]
    folded = graph.constants[graph.nodes[0].inputs[1]].array
    np.testing.assert_allclose(folded, [0.5, 0.25, 0.125])


def test_ranges_and_masks_stay_computed() -> None:
    b = GraphBuilder()
    x = b.input("x", 1000, dtype=DType.INT64)
    y = b.apply("add", x, b.iota(1000))
    graph = b.graph(y)
    assert fold_constants(graph) is graph


def test_what_would_make_the_file_much_larger_is_not_folded() -> None:
    b = GraphBuilder()
    x = b.input("x", 512, 512)
    row = b.array(np.arange(512, dtype=np.float32), "row")
    table = b.apply("mul", b.unsqueeze(row, 1), b.unsqueeze(row, 0))
    graph = fold_constants(b.graph(b.apply("add", x, table)))
    assert operators(graph).count("mul") == 1


def test_what_is_computed_twice_is_computed_once() -> None:
    b = GraphBuilder()
    x = b.input("x", 3)
    y = b.apply("add", b.apply("exp", x), b.apply("exp", x))
    graph = share_common_nodes(b.graph(y))
    assert operators(graph) == ["exp", "add"]


@pytest.mark.parametrize(("left", "right"), [(0.0, -0.0), (1.0, 2.0)])
def test_numbers_that_differ_are_not_shared(left: float, right: float) -> None:
    b = GraphBuilder()
    first, second = (b.full((2,), number, DType.FLOAT32) for number in (left, right))
    graph = b.graph(first, second)
    assert share_common_nodes(graph) is graph


def test_numbers_of_other_dtypes_are_not_shared() -> None:
    b = GraphBuilder()
    graph = b.graph(b.full((2,), 1, DType.INT32), b.full((2,), True, DType.BOOL))
    assert share_common_nodes(graph) is graph


def test_what_mutations_store_is_renamed_too() -> None:
    b = GraphBuilder()
    x = b.input("x", 3)
    seen = b.buffer("seen", np.zeros(3, np.float32))
    first, second = b.apply("exp", x), b.apply("exp", x)
    graph = share_common_nodes(b.graph(first, mutations=[(seen, second)]))
    assert graph.mutations[0][1] is graph.outputs[0]


@pytest.mark.parametrize("make", SPREAD.values(), ids=SPREAD.keys())
def test_optimized_graphs_give_the_same_values(make: Case) -> None:
    graph, arrays = make()
    want = reference(graph, *arrays)
    got = reference(optimize(graph, Observer(CompileOptions())), *arrays)
    # Where floats were summed, levels are, exactly: all else stays the same to the last bit.
    tolerance = 1e-5 if make is quantised_layers else 0
    for result, expected in zip(got, want, strict=True):
        np.testing.assert_allclose(result, expected, rtol=tolerance, atol=tolerance)


def test_a_second_round_changes_nothing() -> None:
    b = GraphBuilder()
    x = b.input("x", size("n"), 4)
    weight = b.array(np.ones((4, 4), np.float32), "weight")
    y = b.matmul(b.apply("exp", x), b.apply("neg", b.transpose(weight, 0, 1)))
    observer = Observer(CompileOptions())
    graph = optimize(b.graph(y), observer)
    assert optimize(graph, observer) is graph


def test_a_pass_that_breaks_the_graph_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def lose_everything(graph: Graph) -> Graph:
        return Graph(graph.name, graph.inputs, graph.outputs, ())

    monkeypatch.setattr(pipeline, "PASSES", (*PASSES, ("lose everything", lose_everything)))
    b = GraphBuilder()
    graph = b.graph(b.apply("exp", b.input("x", 3)))
    with pytest.raises(InvalidGraphError, match="after lose everything"):
        optimize(graph, Observer(CompileOptions()))


def test_every_pass_is_timed() -> None:
    b = GraphBuilder()
    observer = Observer(CompileOptions())
    optimize(b.graph(b.apply("exp", b.input("x", 3))), observer)
    assert [time.stage for time in observer.times] == [name for name, _ in PASSES]


def test_views_of_weights_stay_views() -> None:
    b = GraphBuilder()
    x = b.input("x", 4, 8)
    weight = b.array(np.ones((6, 8), np.float32), "weight")
    graph = b.graph(b.matmul(x, b.transpose(weight, 0, 1)))
    assert fold_constants(graph) is graph

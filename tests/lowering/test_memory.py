"""The memory plan: buffers that live at the same time never share bytes."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from castoff.compiler.ir import shapes
from castoff.compiler.ir.dtypes import DType
from castoff.compiler.ir.graph import Graph, TensorType, Value
from castoff.compiler.ir.shapes import Dim
from castoff.compiler.lowering.memory import ALIGNMENT, buffers_of, plan_memory
from castoff.compiler.lowering.program import Buffer, CopyStep, Program, Slot, Space

from ..graphs import GraphBuilder, lowered, size

BATCH = shapes.symbol("batch", 1, 64)
EMPTY = Graph("main", (), (), ())


def lives(program: Program) -> dict[Buffer, tuple[int, int]]:
    """The first and the last step that touch each temporary, found anew."""
    found: dict[Buffer, tuple[int, int]] = {}
    for number, step in enumerate(program.steps):
        for buffer in buffers_of(step):
            if buffer.space is Space.ARENA:
                found[buffer] = (found.get(buffer, (number, 0))[0], number)
    return found


def byte_ranges(program: Program, symbols: dict[str, int]) -> dict[Buffer, tuple[int, int]]:
    """Where each temporary lies when the symbols have these values."""
    starts = [program.static_bytes]
    for slot in program.slots:
        starts.append(starts[-1] + -(-shapes.evaluate(slot, symbols) // 64) * 64)
    ranges: dict[Buffer, tuple[int, int]] = {}
    for buffer, place in program.places.items():
        start = starts[place.number] if isinstance(place, Slot) else place
        elements = shapes.evaluate(shapes.element_count(buffer.type.shape), symbols)
        ranges[buffer] = (start, start + elements * buffer.dtype.itemsize)
    return ranges


def assert_nothing_overlaps(program: Program, symbols: dict[str, int]) -> None:
    live, ranges = lives(program), byte_ranges(program, symbols)
    assert live.keys() == ranges.keys()
    for first in live:
        for second in live:
            if first is second:
                continue
            together = live[first][0] <= live[second][1] and live[second][0] <= live[first][1]
            apart = ranges[first][1] <= ranges[second][0] or ranges[second][1] <= ranges[first][0]
            assert apart or not together, f"{first.name} and {second.name}"


sizes_of_buffers = st.one_of(
    st.integers(0, 300),
    st.sampled_from([BATCH, BATCH * 3, BATCH * BATCH, BATCH + 5]),
)


@st.composite
def programs(draw: st.DrawFn) -> Program:
    """Copies among random temporaries, each written before it is read."""
    count = draw(st.integers(1, 12))
    buffers = [
        Buffer(f"b{i}", TensorType(DType.FLOAT32, (draw(sizes_of_buffers),)), Space.ARENA)
        for i in range(count)
    ]
    source = Buffer("x", TensorType(DType.FLOAT32, (1,)), Space.INPUT, 0)
    target = Buffer("y", TensorType(DType.FLOAT32, (1,)), Space.OUTPUT, 0)
    steps = []
    for i, buffer in enumerate(buffers):
        earlier = draw(st.sampled_from([source, *buffers[:i]]))
        steps.append(CopyStep(earlier, buffer))
    for buffer in draw(st.permutations(buffers))[: draw(st.integers(0, count))]:
        steps.append(CopyStep(buffer, target))
    return plan_memory(EMPTY, tuple(steps), ())


@given(programs(), st.integers(1, 64))
@settings(max_examples=200)
def test_buffers_alive_together_never_overlap(program: Program, batch: int) -> None:
    assert_nothing_overlaps(program, {"batch": batch})


@given(programs())
def test_places_are_aligned_and_inside_the_arena(program: Program) -> None:
    for buffer, place in program.places.items():
        if not isinstance(place, Slot):
            assert place % ALIGNMENT == 0
            elements = shapes.element_count(buffer.type.shape)
            assert isinstance(elements, int)
            assert place + elements * buffer.dtype.itemsize <= program.static_bytes


def layers(batch: Dim, count: int) -> Graph:
    b = GraphBuilder()
    x: Value = b.input("x", batch, 32)
    for number in range(count):
        weight = b.array(np.ones((32, 32), np.float32), f"weight{number}")
        x = b.apply("add", b.call("aten.softmax.int", b.matmul(x, weight), -1), x)
    return b.graph(x)


def test_a_deep_program_needs_no_more_memory_than_a_shallow_one() -> None:
    assert lowered(layers(8, 12)).static_bytes == lowered(layers(8, 3)).static_bytes


def test_symbolic_sizes_share_slots_too() -> None:
    batch = size("batch", 1)
    shallow, deep = lowered(layers(batch, 3)), lowered(layers(batch, 12))
    assert len(shallow.slots) == len(deep.slots) > 0
    assert_nothing_overlaps(deep, {"batch": 5})

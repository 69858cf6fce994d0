"""Convolutions on the device: every kind of kernel, tile and copy, against the reference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pytest

from castoff.compiler.codegen.cuda_convolutions import (
    TILES,
    DepthwiseForm,
    TileForm,
    as_product,
    form_of,
)
from castoff.compiler.ir.dtypes import DType
from castoff.compiler.ir.graph import Value
from castoff.compiler.ir.shapes import Dim
from castoff.compiler.lowering.choices import Choices
from castoff.compiler.lowering.lower import lower
from castoff.compiler.lowering.program import ConvolutionStep
from castoff.runtime.manifest import read_manifest
from castoff.runtime.runner import aot_load
from tests.graphs import GraphBuilder, optimized, reference, size

from .building import DeviceBuilds


@dataclass(frozen=True)
class Case:
    """x [*x] with weight [*weight], which is a constant unless it is `given` with x."""

    x: tuple[int, ...]
    weight: tuple[int, ...]
    stride: tuple[int, ...] = (1,)
    padding: tuple[int, ...] = (0,)
    dilation: tuple[int, ...] = (1,)
    groups: int = 1
    is_given: bool = False
    is_symbolic: bool = False
    """The number of images and the last size are symbols."""

    def add(self, b: GraphBuilder, dtype: DType, number: int) -> Value:
        """The convolution with what surrounds it, over inputs of its own."""
        shape: list[Dim] = list(self.x)
        if self.is_symbolic:
            shape[0], shape[-1] = size(f"images_{number}", 1), size(f"width_{number}", 3)
        x = b.input(f"x_{number}", *shape, dtype=dtype)
        weight = (
            b.input(f"weight_{number}", *self.weight, dtype=dtype)
            if self.is_given
            else b.array(self.weights(dtype), f"constant_{number}")
        )
        bias = b.array(random(self.weight[0]).astype(dtype.numpy), f"bias_{number}")
        y = b.call(
            f"aten.conv{len(self.x) - 2}d.default", x, weight, bias,
            self.stride, self.padding, self.dilation, self.groups,
        )  # fmt: skip
        result: Value = b.call("aten.silu.default", y)
        return result

    def weights(self, dtype: DType) -> np.ndarray:
        scale = np.sqrt(np.prod(self.weight[1:]))
        return (random(*self.weight) / scale).astype(dtype.numpy)

    def arguments(self, dtype: DType) -> list[np.ndarray]:
        x = random(*self.x).astype(dtype.numpy)
        return [x, self.weights(dtype)] if self.is_given else [x]


def random(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape)


CASES: Mapping[str, Case] = {
    "whole channels": Case((2, 16, 9, 10), (40, 16, 3, 3), padding=(1,)),
    "one pixel at a time": Case((2, 32, 9, 10), (72, 32, 1, 1)),
    "one pixel at a time, many channels": Case((2, 72, 9, 10), (66, 72, 1, 1)),
    "many channels, symbols": Case((2, 64, 5, 7), (64, 64, 1, 1), is_symbolic=True),
    "every second pixel": Case((1, 16, 11, 12), (40, 16, 3, 3), (2, 1), (1, 2)),
    "a wide kernel": Case((1, 8, 12, 13), (36, 8, 5, 2), padding=(2, 1), dilation=(2, 3)),
    "half a piece of channels": Case((1, 12, 7, 9), (34, 12, 3, 3), padding=(1,)),
    "two channels": Case((1, 2, 9, 9), (33, 2, 3, 3), padding=(1,)),
    "three channels": Case((2, 3, 15, 14), (40, 3, 7, 7), (2,), (3,)),
    "one channel": Case((1, 1, 9, 9), (8, 1, 3, 3)),
    "more pixels than a tile": Case((3, 8, 13, 14), (70, 8, 3, 3), padding=(1,)),
    "a long sum of few pixels": Case((1, 64, 4, 4), (40, 64, 3, 3), padding=(1,)),
    "groups": Case((1, 24, 7, 7), (30, 8, 3, 3), padding=(1,), groups=3),
    "half a tile of channels": Case((1, 16, 9, 9), (24, 16, 3, 3), padding=(1,)),
    "small groups": Case((1, 12, 7, 7), (24, 2, 3, 3), padding=(1,), groups=6),
    "one axis": Case((2, 16, 40), (20, 16, 5), (2,), (2,)),
    "three axes": Case((1, 8, 5, 6, 7), (36, 8, 3, 2, 3), (1, 2, 1), (1, 0, 1)),
    "padding beyond the image": Case((1, 8, 3, 3), (8, 8, 3, 3), padding=(4,)),
    "a weight that is given": Case((1, 16, 7, 7), (40, 16, 3, 3), padding=(1,), is_given=True),
    "sizes that are symbols": Case((2, 16, 9, 10), (40, 16, 3, 3), padding=(1,), is_symbolic=True),
    "symbols and few channels": Case((2, 3, 9, 10), (8, 3, 3, 3), (2,), (1,), is_symbolic=True),
    "depthwise": Case((2, 16, 9, 10), (16, 1, 3, 3), padding=(1,), groups=16),
    "images of two launches": Case((50, 8, 10, 10), (8, 8, 3, 3), padding=(1,)),
    "depthwise, images of two launches": Case(
        (50, 8, 10, 10), (8, 1, 3, 3), padding=(1,), groups=8
    ),
    "depthwise, every second pixel": Case((1, 16, 9, 11), (16, 1, 5, 5), (2,), (2,), groups=16),
    "depthwise, a wide kernel": Case((1, 8, 12, 13), (8, 1, 3, 4), (1, 3), (2,), (2, 2), groups=8),
    "depthwise, odd channels": Case((2, 5, 9, 10), (5, 1, 3, 3), padding=(1,), groups=5),
    "depthwise, one axis": Case((2, 8, 21), (8, 1, 7), padding=(3,), groups=8),
    "depthwise, three axes": Case((1, 4, 4, 5, 6), (4, 1, 2, 3, 3), padding=(1,), groups=4),
    "depthwise, given": Case((1, 8, 7, 7), (8, 1, 3, 3), padding=(1,), groups=8, is_given=True),
    "depthwise, symbols": Case(
        (2, 8, 7, 9), (8, 1, 3, 3), padding=(1,), groups=8, is_symbolic=True
    ),
    "two outputs a channel": Case((1, 8, 7, 7), (16, 1, 3, 3), padding=(1,), groups=8),
}
TOLERANCE = {"float32": 2e-5, "float64": 1e-12, "float16": 3e-3, "bfloat16": 2e-2}


@dataclass
class Programs:
    """One program of all cases in each type: what it gives for each case, and what it should give."""

    builds: DeviceBuilds
    found: dict[str, Mapping[str, tuple[np.ndarray, np.ndarray]]] = field(default_factory=dict)

    def results(self, dtype: str) -> Mapping[str, tuple[np.ndarray, np.ndarray]]:
        if dtype not in self.found:
            b, kind = GraphBuilder(), DType(dtype)
            outputs = [case.add(b, kind, number) for number, case in enumerate(CASES.values())]
            graph = b.graph(*outputs)
            given = [array for case in CASES.values() for array in case.arguments(kind)]
            got, wanted = self.builds.load(graph)(*given), reference(graph, *given)
            self.found[dtype] = dict(zip(CASES, zip(got, wanted, strict=True), strict=True))
        return self.found[dtype]


@pytest.fixture(scope="module")
def programs(device_builds: DeviceBuilds) -> Programs:
    return Programs(device_builds)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("name", CASES)
def test_convolutions_are_those_of_the_reference(programs: Programs, name: str, dtype: str) -> None:
    got, wanted = (np.asarray(array, np.float64) for array in programs.results(dtype)[name])
    np.testing.assert_allclose(got, wanted, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


def step_of(dtype: DType, case: Case) -> ConvolutionStep:
    b = GraphBuilder()
    program = lower(optimized(b.graph(case.add(b, dtype, 0))), Choices(packs_constants=False))
    (step,) = (step for step in program.steps if isinstance(step, ConvolutionStep))
    return step


def form_in(dtype: DType, case: Case) -> TileForm | DepthwiseForm:
    return form_of(step_of(dtype, case), TILES[dtype])


def test_single_pixels_of_many_channels_are_products(device_builds: DeviceBuilds) -> None:
    taken = {
        Case((2, 64, 9, 10), (72, 64, 1, 1)): True,
        Case((2, 64, 40), (72, 64, 1)): True,
        Case((2, 32, 9, 10), (72, 32, 1, 1)): False,
        Case((2, 64, 9, 10), (72, 64, 1, 1), padding=(1,)): False,
        Case((2, 64, 9, 10), (72, 64, 1, 1), stride=(2,)): False,
        Case((2, 128, 9, 10), (128, 64, 1, 1), groups=2): False,
        Case((2, 64, 9, 10), (72, 64, 3, 3)): False,
    }
    for case, is_taken in taken.items():
        assert (as_product(step_of(DType.FLOAT16, case)) is not None) == is_taken
    b = GraphBuilder()
    path = device_builds.build(
        b.graph(Case((2, 64, 9, 10), (72, 64, 1, 1)).add(b, DType.FLOAT16, 0))
    )
    assert read_manifest(path).libraries == ("cublasLt",)


def tile_of(x: tuple[int, ...], weight: tuple[int, ...], dtype: DType) -> tuple[int, int, bool]:
    form = form_in(dtype, Case(x, weight, padding=(weight[-1] // 2,)))
    assert isinstance(form, TileForm)
    (tile,) = form.tiles
    return tile.pixels, tile.channels, form.may_split


def test_tiles_follow_pixels_and_channels() -> None:
    many, few = (32, 64, 56, 56), (1, 512, 7, 7)
    assert tile_of(many, (256, 64, 1, 1), DType.FLOAT16) == (128, 128, False)
    assert tile_of(many, (256, 64, 1, 1), DType.FLOAT32) == (128, 64, False)
    assert tile_of(many, (256, 64, 1, 1), DType.FLOAT64) == (64, 64, False)
    for dtype in (DType.BFLOAT16, DType.FLOAT32):
        assert tile_of(many, (64, 64, 3, 3), dtype) == (128, 64, False)
        assert tile_of(few, (512, 512, 3, 3), dtype) == (64, 64, True)
        assert tile_of(many, (24, 64, 1, 1), dtype)[:2] == (128, 32)
        assert tile_of(many, (3, 64, 3, 3), dtype)[:2] == (128, 16)


def test_few_channels_are_copied_in_small_pieces() -> None:
    pieces = {
        (DType.FLOAT16, 8): 16, (DType.FLOAT16, 12): 8, (DType.FLOAT16, 6): 4, (DType.BFLOAT16, 5): 2,
        (DType.FLOAT32, 4): 16, (DType.FLOAT32, 5): 4, (DType.FLOAT64, 5): 8, (DType.BFLOAT16, 3): 8,
    }  # fmt: skip
    for (dtype, channels), piece in pieces.items():
        form = form_in(dtype, Case((1, channels, 9, 9), (8, channels, 3, 3)))
        assert isinstance(form, TileForm)
        assert form.piece == piece


def test_depthwise_kernels_are_made_for_common_sizes() -> None:
    case = Case((1, 16, 9, 9), (16, 1, 3, 3), groups=16)
    assert form_in(DType.FLOAT16, case) == DepthwiseForm(3, 1, 2, 8)
    dilated = Case((1, 16, 9, 9), (16, 1, 3, 3), dilation=(2,), groups=16)
    assert form_in(DType.FLOAT32, dilated) == DepthwiseForm(0, 0, 2, 4)


@pytest.mark.parametrize(("dtype", "channels"), [("float16", 128), ("float32", 64)])
@pytest.mark.parametrize("is_symbolic", [False, True], ids=["static", "symbolic"])
def test_many_pixels_take_large_tiles(
    device_builds: DeviceBuilds, dtype: str, channels: int, is_symbolic: bool
) -> None:
    kind = DType(dtype)
    case = Case((1, 8, 128, 128), (128, 8, 1, 1), is_symbolic=is_symbolic)
    form = form_in(kind, case)
    assert isinstance(form, TileForm)
    assert (form.tiles[0].pixels, form.tiles[0].channels) == (128, channels)
    b = GraphBuilder()
    graph = b.graph(case.add(b, kind, 0))
    given = case.arguments(kind)
    got = np.asarray(device_builds.load(graph)(*given)[0], np.float64)
    wanted = np.asarray(reference(graph, *given)[0], np.float64)
    np.testing.assert_allclose(got, wanted, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


def test_sums_of_parts_do_not_change_from_run_to_run(device_builds: DeviceBuilds) -> None:
    case = CASES["a long sum of few pixels"]
    b = GraphBuilder()
    program = device_builds.load(b.graph(case.add(b, DType.FLOAT32, 0)))
    given = case.arguments(DType.FLOAT32)
    first, second = program(*given)[0].copy(), program(*given)[0]
    np.testing.assert_array_equal(first, second)


def test_a_chain_of_convolutions_stays_channels_last(device_builds: DeviceBuilds) -> None:
    b = GraphBuilder()
    x = b.input("x", 2, 8, 9, 9)
    weights = [b.array(Case((), (8, 8, 3, 3)).weights(DType.FLOAT32), f"w{i}") for i in range(2)]
    y = b.call("aten.relu.default", b.call("aten.conv2d.default", x, weights[0], None, 1, 1))
    y = b.call("aten.max_pool2d.default", y, [2, 2])
    z = b.call("aten.conv2d.default", y, weights[1], None, 1, 1)
    graph = b.graph(b.call("aten.add.Tensor", z, y))
    steps = lower(optimized(graph), Choices(packs_constants=False)).steps
    turned = [step for step in steps if getattr(step, "name", "").startswith("permute")]
    assert len(turned) <= 2, "x comes and the result goes channels first"
    given = random(2, 8, 9, 9).astype(np.float32)
    got, wanted = device_builds.load(graph)(given)[0], reference(graph, given)[0]
    np.testing.assert_allclose(got, wanted, rtol=2e-5, atol=2e-5)


TENSOR_FLOAT = [
    "whole channels",
    "three channels",
    "a long sum of few pixels",
    "a weight that is given",
    "groups",
]


def test_float32_is_multiplied_as_tf32_where_that_is_asked_for(device_builds: DeviceBuilds) -> None:
    b, kind = GraphBuilder(), DType.FLOAT32
    cases = [CASES[name] for name in TENSOR_FLOAT]
    graph = b.graph(*(case.add(b, kind, number) for number, case in enumerate(cases)))
    given = [array for case in cases for array in case.arguments(kind)]
    program = aot_load(device_builds.build(graph, compute="tf32"), "cuda")
    for got, wanted in zip(program(*given), reference(graph, *given), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=2e-3, atol=2e-3)


def test_tf32_has_ten_bits_of_fraction(device_builds: DeviceBuilds) -> None:
    b = GraphBuilder()
    x = b.input("x", 1, 16, 5, 5)
    ones = b.array(np.ones((40, 16, 1, 1), np.float32), "ones")
    graph = b.graph(b.call("aten.conv2d.default", x, ones))
    given = np.full((1, 16, 5, 5), 1 + 2**-11, np.float32)
    for compute, wanted in (("f32", 16 + 2**-7), ("tf32", 16 + 2**-6)):
        path = device_builds.build(graph, compute=compute)
        assert (aot_load(path, "cuda")(given)[0] == wanted).all()

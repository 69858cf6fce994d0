"""Autocast regions, as PyTorch exports them for CPUs and, from tensors without data, for GPUs."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from castoff.compiler.exported import load_program
from castoff.compiler.frontends.exported import import_program
from castoff.compiler.ir.dtypes import DType
from castoff.compiler.verify import ReferenceProgram

torch = pytest.importorskip("torch")

from torch._subclasses.fake_tensor import FakeTensorMode  # noqa: E402
from torch.nn import functional  # noqa: E402

from .programs import Function  # noqa: E402

pytestmark = pytest.mark.torch


@contextmanager
def autocast_without_a_gpu() -> Iterator[None]:
    """PyTorch switches autocast for CUDA off where there is none: it only looks at tensors' devices."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("torch.cuda.amp.common.amp_definitely_not_available", lambda: False)
        patch.setattr("torch.cuda.is_bf16_supported", lambda: True)
        yield


def as_cudnn_says(program: Any) -> None:
    """Recurrent layers of a region give narrow results where cuDNN computes them, which PyTorch without CUDA lacks."""

    def narrowed(x: Any) -> Any:
        with x.fake_mode:
            return x.half()

    for module in program.graph_module.modules():
        for node in module.graph.nodes:
            if node.op == "call_function":
                node.meta["val"] = torch.utils._pytree.tree_map(narrowed, node.meta["val"])


def on_device(
    function: Callable[..., Any],
    *shapes: tuple[int, ...],
    device: str = "cuda",
    amend: Callable[[Any], None] = lambda program: None,
) -> tuple[ReferenceProgram, list[torch.dtype]]:
    """The function, exported with float32 tensors on a device and imported; the dtypes of its results there."""
    with autocast_without_a_gpu(), FakeTensorMode(), torch.no_grad():
        args = tuple(torch.empty(shape, device=device) for shape in shapes)
        program = torch.export.export(Function(function), args, strict=False)
    amend(program)
    program._example_inputs = None  # of which there is no data to save
    results = {node.name: node.meta["val"] for node in program.graph.nodes if "val" in node.meta}
    dtypes = [results[spec.arg.name].dtype for spec in program.graph_signature.output_specs]
    file = io.BytesIO()
    torch.export.save(program, file)
    return ReferenceProgram(import_program(load_program(file.getvalue()))), dtypes


def data(*shape: int) -> np.ndarray:
    return (np.random.default_rng(len(shape)).random(shape) + 0.5).astype(np.float32)


CALLS: dict[str, Callable[[Any, Any], Any]] = {
    # x is float32, h what a product of the region gave
    "mm": lambda x, h: torch.mm(x, x),
    "linear": lambda x, h: functional.linear(x, x, x.select(0, 0)),
    "bmm": lambda x, h: torch.bmm(x.unsqueeze(0), h.unsqueeze(0)),
    "mv": lambda x, h: torch.mv(x, x.select(0, 0)),
    "addmm": lambda x, h: torch.addmm(x, x, h),
    "conv1d": lambda x, h: functional.conv1d(x.unsqueeze(0), x.unsqueeze(2)),
    "prelu": lambda x, h: functional.prelu(x, x.select(0, 0)),
    "einsum without a sum": lambda x, h: torch.einsum("ij,ij->ij", x, x),
    "tensordot": lambda x, h: torch.tensordot(x, h, 1),
    "tensordot of halves": lambda x, h: torch.tensordot(h, h, 1),
    "matrix_power": lambda x, h: torch.matrix_power(x, 3),
    "attention": lambda x, h: functional.scaled_dot_product_attention(*[x.unsqueeze(0)] * 3),
    "exp": lambda x, h: h.exp(),
    "rsqrt": lambda x, h: h.rsqrt(),
    "pow": lambda x, h: h**3,
    "pow of a number": lambda x, h: 2**h,
    "softplus": lambda x, h: functional.softplus(h),
    "layer_norm": lambda x, h: functional.layer_norm(h, (4,)),
    "group_norm": lambda x, h: functional.group_norm(h, 2),
    "mse_loss": lambda x, h: functional.mse_loss(h, h),
    "cross_entropy": lambda x, h: functional.cross_entropy(h, h.softmax(1)),
    "logsumexp": lambda x, h: h.logsumexp(0),
    "interpolate": lambda x, h: functional.interpolate(h.unsqueeze(0), size=7),
    "softmax": lambda x, h: h.softmax(0),
    "softmax in float16": lambda x, h: torch.softmax(x, 0, torch.float16),
    "sum": lambda x, h: h.sum(),
    "sum over an axis": lambda x, h: h.sum(1),
    "sum in float64": lambda x, h: h.sum(1, dtype=torch.float64),
    "cumsum": lambda x, h: h.cumsum(0),
    "prod": lambda x, h: h.prod(),
    "norm": lambda x, h: h.norm(),
    "mean": lambda x, h: h.mean(),
    "relu": lambda x, h: h.relu(),
    "gelu": lambda x, h: functional.gelu(h),
    "sigmoid": lambda x, h: h.sigmoid(),
    "add": lambda x, h: h + 1,
    "add of both": lambda x, h: h + x,
    "cat": lambda x, h: torch.cat([x, h]),
    "addcmul": lambda x, h: torch.addcmul(x, h, h),
    "addcmul of halves": lambda x, h: torch.addcmul(h, h, h),
    "atan2": lambda x, h: torch.atan2(h, x),
    "dot": lambda x, h: torch.dot(h.select(0, 0), x.select(0, 0)),
    "double": lambda x, h: x.double() @ x.double(),
}


@pytest.mark.parametrize("name", CALLS)
def test_types_in_a_region_for_cuda_are_those_of_pytorch(name: str) -> None:
    def function(x: Any) -> Any:
        with torch.autocast("cuda", dtype=torch.float16):
            return x @ x, CALLS[name](x, x @ x)

    program, dtypes = on_device(function, (4, 4))
    results = program(data(4, 4))
    assert [result.dtype for result in results] == [
        np.dtype(str(dtype).removeprefix("torch.")) for dtype in dtypes
    ]


def test_values_in_a_region_for_cuda_are_cast_as_by_hand() -> None:
    def function(x: Any, w: Any) -> Any:
        with torch.autocast("cuda", dtype=torch.float16):
            h = functional.linear(x, w)
            return h, h.exp(), h.softmax(0), h + x, torch.addcmul(x, h, h)

    x, w = data(3, 5), data(5, 5)
    results = on_device(function, x.shape, w.shape)[0](x, w)
    h = torch.tensor(x).half() @ torch.tensor(w).half().T
    wide = h.float()
    expected = (h, wide.exp(), wide.softmax(0), wide + torch.tensor(x), torch.tensor(x) + wide**2)
    for got, wanted in zip(results, expected, strict=True):
        np.testing.assert_allclose(
            got.astype(np.float32), wanted.float().numpy(), rtol=2e-3, atol=1e-5
        )


def test_the_type_is_the_regions() -> None:
    def function(x: Any) -> Any:
        with torch.autocast("cuda", dtype=torch.bfloat16):
            return x @ x

    program, dtypes = on_device(function, (4, 4))
    assert dtypes == [torch.bfloat16]
    assert [result.dtype for result in program.program.graph.outputs] == [DType.BFLOAT16]


@pytest.mark.parametrize(("outer", "inner"), [("cpu", "cuda"), ("cuda", "cpu")])
def test_a_region_says_nothing_about_other_devices(outer: str, inner: str) -> None:
    def function(x: Any) -> Any:
        with (
            torch.autocast(outer, dtype=torch.bfloat16),
            torch.autocast(inner, dtype=torch.float16),
        ):
            both = x @ x
        with torch.autocast(inner, dtype=torch.float16):
            one = x @ x
        return both, one

    program, dtypes = on_device(function, (4, 4), device=outer)
    assert dtypes == [torch.bfloat16, torch.float32]
    assert [result.dtype for result in program.program.graph.outputs] == [
        DType.BFLOAT16,
        DType.FLOAT32,
    ]


def test_a_region_may_be_switched_off_within_another() -> None:
    def function(x: Any) -> Any:
        with torch.autocast("cuda", dtype=torch.float16):
            first = x @ x
            with torch.autocast("cuda", enabled=False):
                second = x @ x
        return first, second

    program, dtypes = on_device(function, (4, 4))
    assert [result.dtype for result in program(data(4, 4))] == [np.float16, np.float32]
    assert dtypes == [torch.float16, torch.float32]


@pytest.mark.parametrize(("kind", "gates"), [("lstm", 4), ("gru", 3), ("rnn_tanh", 1)])
def test_recurrent_layers_in_a_region_for_cuda_are_those_of_cudnn(kind: str, gates: int) -> None:
    """Inputs, states and weights become narrow, and so are the results."""

    def layer(x: Any, h: Any, c: Any, *weights: Any) -> Any:
        states = (h, c) if kind == "lstm" else h
        rules = (True, 1, 0.0, False, False, False)
        return getattr(torch, kind)(x, states, list(weights), *rules)

    def function(*inputs: Any) -> Any:
        with torch.autocast("cuda", dtype=torch.float16):
            return layer(*inputs)

    width = gates * 6
    shapes = ((5, 3, 4), (1, 3, 6), (1, 3, 6), (width, 4), (width, 6), (width,), (width,))
    rng = np.random.default_rng(gates)
    inputs = [rng.uniform(-0.9, 0.9, shape).astype(np.float32) for shape in shapes]
    results = on_device(function, *shapes, amend=as_cudnn_says)[0](*inputs)
    rounded = [torch.tensor(x).half().float() for x in inputs]
    assert [result.dtype for result in results] == [np.float16] * (3 if kind == "lstm" else 2)
    for got, wanted in zip(results, layer(*rounded), strict=True):
        np.testing.assert_allclose(got.astype(np.float32), wanted.numpy(), rtol=4e-3, atol=2e-3)

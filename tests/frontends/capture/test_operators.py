"""`castoff.ops`: operators that NumPy lacks, on arrays and in captured functions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import castoff
from castoff import ops

from .checks import assert_compiled, assert_same

_draw = np.random.default_rng(5)
IMAGE = _draw.standard_normal((1, 3, 8, 8)).astype(np.float32)
KERNEL = _draw.standard_normal((4, 3, 3, 3)).astype(np.float32)
ROWS = _draw.standard_normal((2, 5, 8)).astype(np.float32)


def test_on_arrays_the_reference_computes() -> None:
    shifted = np.exp(ROWS - ROWS.max(-1, keepdims=True))
    expected = shifted / shifted.sum(-1, keepdims=True)
    np.testing.assert_allclose(ops.aten.softmax(ROWS, -1), expected, rtol=1e-5)
    np.testing.assert_allclose(ops.aten.add.Tensor(ROWS, ROWS, alpha=2), ROWS * 3, rtol=1e-6)
    values, positions = ops.aten.topk(ROWS, 2)
    np.testing.assert_array_equal(values, np.sort(ROWS)[..., ::-1][..., :2])
    np.testing.assert_array_equal(positions, np.argsort(-ROWS, kind="stable")[..., :2])


def network(image: Any, rows: Any) -> list[Any]:
    hidden = ops.aten.conv2d(image, KERNEL, stride=2, padding=[1, 1])
    attended = ops.aten.scaled_dot_product_attention(rows, rows, rows, is_causal=True)
    parts = ops.aten.split(attended, 3, -1)
    return [
        ops.aten.gelu(ops.aten.max_pool2d(hidden, 2), approximate="tanh"),
        ops.aten.layer_norm(rows, [8]) * np.float32(2),
        *parts,
        ops.aten.softmax(np.sum(rows, axis=1), dim=-1, dtype=np.float32),
    ]


def test_in_captured_functions_calls_are_recorded(tmp_path: Path) -> None:
    program = castoff.export(network, (IMAGE, ROWS))
    targets = {node.target for node in program.graph.nodes}
    assert "torch.ops.aten.conv2d.default" in targets
    assert "torch.ops.aten.scaled_dot_product_attention.default" in targets
    assert_same(program.module()(IMAGE, ROWS), network(IMAGE, ROWS))
    assert_compiled(network, IMAGE, ROWS, folder=tmp_path)


@pytest.mark.torch
def test_pytorch_opens_what_was_recorded(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    castoff.save(castoff.export(network, (IMAGE, ROWS)), tmp_path / "network.pt2")
    opened = torch.export.load(tmp_path / "network.pt2").module()
    got = opened(torch.from_numpy(IMAGE), torch.from_numpy(ROWS))
    assert_same([each.numpy() for each in got], network(IMAGE, ROWS))


def test_wrong_arguments_are_refused_with_the_overloads() -> None:
    with pytest.raises(castoff.CastoffError, match=r"aten\.softmax\.int\(self"):
        ops.aten.softmax(ROWS)
    with pytest.raises(
        castoff.CaptureError, match=r"test_operators\.py:\d+ in .*aten\.softmax does not"
    ):
        castoff.export(lambda x: ops.aten.softmax(x, "last"), (ROWS,))
    with pytest.raises(castoff.CaptureError, match=r"aten\.conv2d\.default: "):
        castoff.export(lambda x: ops.aten.conv2d(x, KERNEL), (ROWS,))


def test_unknown_operators_and_overloads_are_attribute_errors() -> None:
    with pytest.raises(AttributeError, match=r"no operator aten\.softmacks"):
        _ = ops.aten.softmacks
    with pytest.raises(AttributeError, match=r"has no overload 'Scalr'; it has Scalar, Tensor"):
        _ = ops.aten.add.Scalr
    assert "gelu" in dir(ops.aten) and "aten" in dir(ops)


def test_operators_registered_by_the_user_are_there_too() -> None:
    from castoff.compiler.ops.base import registered_targets

    assert {name.partition(".")[0] for name in registered_targets()} <= {*dir(ops)}

"""`castoff.Module`: names, state, and what becomes of them in a program."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import castoff

from .checks import assert_same


class Linear(castoff.Module):
    def __init__(self, inputs: int, outputs: int, seed: int) -> None:
        super().__init__()
        draw = np.random.default_rng(seed)
        self.weight = draw.standard_normal((inputs, outputs)).astype(np.float32)
        self.bias = draw.standard_normal(outputs).astype(np.float32)

    def forward(self, x: np.ndarray) -> np.ndarray:
        return x @ self.weight + self.bias


class Network(castoff.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = [Linear(3, 4, 1), Linear(4, 3, 2)]
        self.heads = {"out": Linear(3, 2, 3)}
        self.register_buffer("calls", np.zeros((), np.int64))
        self.register_buffer("cache", np.zeros((2, 3), np.float32), persistent=False)

    def forward(self, x: np.ndarray) -> tuple[Any, Any]:
        for each in self.layers:
            x = np.tanh(each(x))
        self.calls += 1
        self.cache = np.concatenate([self.cache[1:], x[:1]])
        return self.heads["out"](x), self.cache * self.calls.astype(np.float32)


X = np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3)
NAMES = [
    "calls", "layers.0.weight", "layers.0.bias", "layers.1.weight", "layers.1.bias",
    "heads.out.weight", "heads.out.bias",
]  # fmt: skip


def test_arrays_are_named_by_their_path() -> None:
    network = Network()
    assert sorted(network.state_dict()) == sorted(NAMES)
    assert [name for name, _ in network.named_buffers()] == ["calls", "cache"]
    assert "cache" not in [name for name, _ in network.named_parameters()]


def test_state_is_lifted_under_its_names() -> None:
    program = castoff.export(Network(), (X,))
    assert sorted(program.state_dict) == sorted(NAMES)
    assert list(program.constants) == ["cache"]


def test_state_changes_from_call_to_call(tmp_path: Path) -> None:
    network = Network()
    program = castoff.export(network, (X,), dynamic_shapes={"x": {0: castoff.Dim("batch", min=1)}})
    reference = program.module()
    compiled = castoff.aot_load(castoff.aot_compile(program, output=tmp_path / "network.so"))
    for rows in (4, 2, 3):
        expected = network(X[:rows])
        assert_same(reference(X[:rows]), expected)
        assert_same(compiled(X[:rows]), expected)


def test_capturing_leaves_the_module_as_it_was() -> None:
    network = Network()
    before = {name: array.copy() for name, array in network.state_dict().items()}
    castoff.export(network, (X,))
    after = network.state_dict()
    assert all(isinstance(array, np.ndarray) for array in after.values())
    assert_same(dict(after), before)
    assert "_capture" not in network.__dict__


def test_nodes_know_their_module() -> None:
    program = castoff.export(Network(), (X,))
    stacks = [node.metadata.get("nn_module_stack", "") for node in program.graph.nodes]
    assert any(",layers.0," in stack for stack in stacks)


def test_state_is_loaded_by_name() -> None:
    network, other = Network(), Network()
    other.layers[0].weight = other.layers[0].weight * 2
    network.load_state_dict(other.state_dict())
    assert_same(network(X), other(X))


def test_loading_names_all_that_does_not_fit() -> None:
    state: dict[str, Any] = Network().state_dict()
    state["layers.0.bias"] = np.zeros(7, np.float32)
    state["extra"] = state.pop("calls")
    with pytest.raises(castoff.CastoffError) as caught:
        Network().load_state_dict(state)
    message = str(caught.value)
    assert "calls: missing" in message and "extra: the module has no such array" in message
    assert "layers.0.bias: expected the shape (4,), got (7,)" in message


def test_a_buffer_that_grows_is_refused() -> None:
    class Growing(castoff.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("seen", np.zeros((1, 3), np.float32))

        def forward(self, x: np.ndarray) -> np.ndarray:
            self.seen = np.concatenate([self.seen, x])
            return self.seen.sum()

    with pytest.raises(
        castoff.CaptureError, match=r"buffer seen: forward changes it from float32\[1, 3\]"
    ):
        castoff.export(Growing(), (X,))


def test_python_attributes_that_forward_assigns_are_refused() -> None:
    class Counting(castoff.Module):
        def __init__(self) -> None:
            super().__init__()
            self.count = 0

        def forward(self, x: np.ndarray) -> np.ndarray:
            self.count += 1
            return x

    with pytest.raises(
        castoff.CaptureError, match=r"assigns its attribute 'count'.*register_buffer"
    ):
        castoff.export(Counting(), (X,))


def test_lists_that_forward_stores_arrays_in_are_refused() -> None:
    class Keeping(castoff.Module):
        def __init__(self) -> None:
            super().__init__()
            self.seen: list[Any] = []

        def forward(self, x: np.ndarray) -> np.ndarray:
            self.seen.append(x)
            return x

    with pytest.raises(castoff.CaptureError, match=r"assigns its attribute 'seen'"):
        castoff.export(Keeping(), (X,))


def test_one_array_in_two_places_is_one_input() -> None:
    class Tied(castoff.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = np.ones((4, 3), np.float32)
            self.project = self.embed

        def forward(self, x: np.ndarray) -> np.ndarray:
            return x @ self.embed.T @ self.project

    module = Tied()
    program = castoff.export(module, (X,))
    assert list(program.state_dict) == ["embed"]
    assert_same(program.module()(X), module(X))


@pytest.mark.torch
def test_pytorch_opens_a_module_with_state(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    network = Network()
    castoff.save(castoff.export(network, (X,)), tmp_path / "network.pt2")
    opened = torch.export.load(tmp_path / "network.pt2").module()
    for _ in range(3):
        got = opened(torch.from_numpy(X))
        assert_same([each.numpy() for each in got], list(network(X)))

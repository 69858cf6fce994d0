"""Graphs of training: the loss and the gradients of all parameters in one exported program."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

from torch.export import Dim, export  # noqa: E402
from torch.export.experimental import _export_forward_backward  # noqa: E402
from torch.export.graph_signature import OutputKind  # noqa: E402

import castoff  # noqa: E402
from castoff.compiler.exported import schema  # noqa: E402

from .programs import floats, nn  # noqa: E402

LABELS = [2, 0, 1, 1]


class Loss(nn.Module):
    """The cross entropy of a net that gives three scores, and the scores."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Any, labels: Any) -> Any:
        scores = self.net(x)
        return nn.functional.cross_entropy(scores, labels), scores.detach()


def norms() -> tuple[nn.Module, Any]:
    layers = (nn.Linear(5, 8), nn.LayerNorm(8), nn.GELU(), nn.Linear(8, 3))
    return nn.Sequential(*layers), floats(4, 5)


def convolutions() -> tuple[nn.Module, Any]:
    layers = (
        nn.Conv2d(2, 4, 3, stride=2, padding=1), nn.GroupNorm(2, 4), nn.ReLU(),
        nn.Conv2d(4, 6, 3, padding=2, dilation=2, groups=2), nn.AdaptiveAvgPool2d(2), nn.Flatten(),
        nn.Linear(24, 3),
    )  # fmt: skip
    return nn.Sequential(*layers), floats(4, 2, 9, 8).sin()


def transposed_convolutions() -> tuple[nn.Module, Any]:
    layers = (
        nn.ConvTranspose2d(2, 4, 3, stride=2, output_padding=1, groups=2), nn.ReplicationPad2d(1),
        nn.Conv2d(4, 2, 3), nn.MaxPool2d(2), nn.Flatten(), nn.LazyLinear(3),
    )  # fmt: skip
    return nn.Sequential(*layers), floats(4, 2, 3, 4).sin()


def tables() -> tuple[nn.Module, Any]:
    bags = nn.EmbeddingBag(7, 5, mode="mean", padding_idx=2)
    return nn.Sequential(bags, nn.Linear(5, 3)), torch.arange(24).reshape(4, 6) % 7


def sums() -> tuple[nn.Module, Any]:
    return nn.Sequential(nn.EmbeddingBag(7, 5, mode="sum"), nn.Linear(5, 3)), tables()[1]


def maxima() -> tuple[nn.Module, Any]:
    return nn.Sequential(nn.EmbeddingBag(7, 5, mode="max"), nn.Linear(5, 3)), tables()[1]


def batch_norms() -> tuple[nn.Module, Any]:
    layers = (
        nn.Conv2d(2, 4, 3, padding=1, padding_mode="circular"), nn.BatchNorm2d(4), nn.ReLU(),
        nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect"), nn.AvgPool2d(2), nn.Flatten(),
        nn.LazyLinear(3),
    )  # fmt: skip
    return nn.Sequential(*layers), floats(4, 2, 6, 7).sin()


def attention() -> tuple[nn.Module, Any]:
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
    return nn.Sequential(layer, nn.Flatten(), nn.LazyLinear(3)), floats(4, 5, 8).sin()


def training_program(net: nn.Module, x: Any, dynamic_shapes: Any = None) -> bytes:
    """The `.pt2` of a step forward and back."""
    program = export(Loss(net), (x, torch.tensor(LABELS)), dynamic_shapes=dynamic_shapes)
    file = io.BytesIO()
    torch.export.save(_export_forward_backward(program), file)
    return file.getvalue()


def wanted(net: nn.Module, x: Any, labels: Any) -> list[np.ndarray]:
    """Loss, scores and gradients by autograd."""
    loss, scores = Loss(net)(x, labels)
    gradients = torch.autograd.grad(loss, list(net.parameters()))
    return [each.detach().numpy() for each in (loss, scores, *gradients)]


NETS = (
    norms, convolutions, transposed_convolutions, tables, sums, maxima, batch_norms, attention,
)  # fmt: skip


@pytest.mark.parametrize("make", NETS)
def test_a_step_of_training_gives_loss_and_gradients(make: Any) -> None:
    torch.manual_seed(0)
    net, x = make()
    net(x)  # lazy layers see their sizes
    program = castoff.load(training_program(net, x))
    got = program.module()(x.numpy(), np.array(LABELS))
    assert isinstance(got, tuple)
    for left, right in zip(got, wanted(net, x, torch.tensor(LABELS)), strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-4, atol=1e-6)


class Bags(nn.Module):
    """The weighted sum of three bags, of which the second has no members."""

    def __init__(self, mode: str, include_last_offset: bool) -> None:
        super().__init__()
        self.bags = nn.EmbeddingBag(5, 2, mode=mode, include_last_offset=include_last_offset)

    def forward(self, indices: Any, offsets: Any) -> Any:
        return (self.bags(indices, offsets) * floats(3, 2)).sum()


@pytest.mark.parametrize("include_last_offset", [False, True])
@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
def test_bags_without_members_give_no_gradient(mode: str, include_last_offset: bool) -> None:
    torch.manual_seed(0)
    net, indices = Bags(mode, include_last_offset), torch.tensor([1, 2, 2])
    offsets = torch.tensor([0, 2, 2, 3] if include_last_offset else [0, 2, 2])
    file = io.BytesIO()
    torch.export.save(_export_forward_backward(export(net, (indices, offsets))), file)
    got = castoff.load(file.getvalue()).module()(indices.numpy(), offsets.numpy())
    loss = net(indices, offsets)
    (gradient,) = torch.autograd.grad(loss, list(net.parameters()))
    for left, right in zip(got, (loss, gradient), strict=True):
        np.testing.assert_allclose(left, right.detach().numpy(), rtol=1e-5)


class Attention(nn.Module):
    """A weighted sum of what attention gives."""

    def __init__(self, mask: Any, is_causal: bool) -> None:
        super().__init__()
        self.query, self.key, self.value = (
            nn.Parameter(3 * torch.randn(2, 2, n, 8)) for n in (5, 7, 7)
        )
        self.mask, self.is_causal = mask, is_causal

    def forward(self, x: Any) -> Any:
        operands = (self.query, self.key, self.value)
        result = nn.functional.scaled_dot_product_attention(
            *operands, attn_mask=self.mask, is_causal=self.is_causal
        )
        return (result * x).sum()


@pytest.mark.parametrize("kind", ["plain", "causal", "masked"])
def test_attention_gives_the_gradients_of_autograd(kind: str) -> None:
    """Those of PyTorch's own exported graph are wrong: it takes weights for sums."""
    torch.manual_seed(0)
    mask = torch.rand(5, 7) > 0.4 if kind == "masked" else None
    net, x = Attention(mask, kind == "causal"), torch.randn(2, 2, 5, 8)
    file = io.BytesIO()
    torch.export.save(_export_forward_backward(export(net, (x,))), file)
    got = castoff.load(file.getvalue()).module()(x.numpy())
    loss = net(x)
    gradients = torch.autograd.grad(loss, list(net.parameters()))
    for left, right in zip(got, (loss, *gradients), strict=True):
        np.testing.assert_allclose(left, right.detach().numpy(), rtol=1e-4, atol=1e-4)


def test_a_step_of_training_in_functional_form_is_one_that_pytorch_reads() -> None:
    torch.manual_seed(0)
    net, x = norms()
    program = castoff.load(training_program(net, x)).run_decompositions()
    file = io.BytesIO()
    castoff.save(program, file)
    data = file.getvalue()
    got = castoff.load(data).module()(x.numpy(), np.array(LABELS))
    for left, right in zip(got, wanted(net, x, torch.tensor(LABELS)), strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-4, atol=1e-6)
    specs = torch.export.load(io.BytesIO(data)).graph_signature.output_specs
    names = {spec.target for spec in specs if spec.kind is OutputKind.GRADIENT_TO_PARAMETER}
    assert names == {f"net.{name}" for name, _ in net.named_parameters()}


def test_gradients_of_inputs_stay_such_in_functional_form() -> None:
    """PyTorch 2.13 cannot save such a program, as it has another name for the input: one is made of another."""
    torch.manual_seed(0)
    net, x = norms()
    program = castoff.load(training_program(net, x))
    signature = program.graph_signature
    *others, last = signature.output_specs
    assert isinstance(last, schema.GradientToParameter)
    specs = (*others, schema.GradientToUserInput(last.name, "x"))
    changed = replace(program, graph_signature=replace(signature, output_specs=specs))
    *_, last_kept = changed.run_decompositions().graph_signature.output_specs
    assert isinstance(last_kept, schema.GradientToUserInput)
    assert last_kept.user_input_name == "x"


def test_a_step_of_training_compiles_and_takes_other_batches(tmp_path: Any) -> None:
    torch.manual_seed(0)
    net, x = convolutions()
    batch = Dim("batch")
    data = training_program(net, x, ({0: batch}, {0: batch}))
    options = {"target_cpu": "x86-64-v3", "opt_level": 1}
    step = castoff.aot_load(castoff.aot_compile(data, output=tmp_path / "step.so", options=options))
    for count in (4, 6):
        images, labels = floats(count, 2, 9, 8).cos(), torch.arange(count) % 3
        for left, right in zip(
            step(images.numpy(), labels.numpy()), wanted(net, images, labels), strict=True
        ):
            np.testing.assert_allclose(left, right, rtol=1e-4, atol=1e-6)

"""Modules and callables of PyTorch, compiled by one call and run on its tensors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

import castoff  # noqa: E402

from ..graphs import QUICK  # noqa: E402

nn = torch.nn


def compiled(f: object, folder: Path, args: tuple[Any, ...], **given: Any) -> Callable[..., Any]:
    path = castoff.aot_compile(f, args, output=folder / "program.so", options=QUICK, **given)
    runner: Callable[..., Any] = castoff.aot_load(path)
    return runner


def assert_equal(got: Any, want: Any) -> None:
    assert isinstance(got, torch.Tensor)
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)


class Classifier(nn.Module):  # type: ignore[misc,name-defined]
    """A convolution, a norm, a pool and a linear layer, for inference."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2)
        )
        self.head = nn.Linear(4 * 4 * 4, 3)

    def forward(self, images: Any) -> Any:
        return self.head(self.features(images).flatten(1))


class Block(nn.Module):  # type: ignore[misc,name-defined]
    """A transformer layer."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(16, 2, batch_first=True)
        self.norm = nn.LayerNorm(16)
        self.feed = nn.Sequential(nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 16))

    def forward(self, x: Any) -> Any:
        y = self.norm(x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        return x + self.feed(x)


class Counter(nn.Module):  # type: ignore[misc,name-defined]
    """Counts its calls in a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

    def forward(self, x: Any) -> Any:
        self.calls.add_(1)
        return x * self.calls


@pytest.fixture(autouse=True)
def fixed_weights() -> None:
    torch.manual_seed(0)


def test_a_module_gives_what_it_gave_in_torch(tmp_path: Path) -> None:
    module = Classifier().eval()
    images = torch.randn(2, 1, 8, 8)
    run = compiled(module, tmp_path, (images,))
    with torch.no_grad():
        assert_equal(run(images), module(images))


def written_results(x: Any) -> tuple[Any, ...]:
    ints, whole = torch.zeros(4, dtype=torch.int64), torch.zeros(4, 4)
    return (
        *torch.sort(x, 1, out=(whole, torch.zeros(4, 4, dtype=torch.int64))),
        *torch.sort(
            x, dim=0, stable=True, out=(torch.zeros(4, 4), torch.zeros(4, 4, dtype=torch.int64))
        ),
        *torch.topk(x, 2, 0, out=(torch.zeros(2, 4), torch.zeros(2, 4, dtype=torch.int64))),
        *torch.max(x, 1, out=(torch.zeros(4), ints)),
        torch.div(x[0], x[1], rounding_mode="floor", out=torch.zeros(4)),
        torch.xlogy(2.0, x[0].abs(), out=torch.zeros(4)),
        torch.add(x[0], x[1], alpha=2, out=torch.zeros(4)),
        x[0].clone().ldexp_(x[1]),
        x[0].abs().polygamma_(1),
        whole,
    )


def test_results_may_be_written_to_given_tensors(tmp_path: Path) -> None:
    x = torch.randn(4, 4)
    for got, want in zip(
        compiled(written_results, tmp_path, (x,))(x), written_results(x), strict=True
    ):
        assert_equal(got, want)


def resized(x: Any) -> tuple[Any, ...]:
    first, turned, part, kept = x * 2, (x + 1).t(), (x * 3)[1:], x * 4
    row = first[1]
    first.resize_(2, 3)
    row.add_(1)  # still the same memory
    turned.resize_(2, 2)
    part.resize_as_(x[:1, :3])
    kept.resize_(4, 4).add_(5)
    return first, row, turned, part, kept


def test_tensors_may_be_resized_over_their_memory(tmp_path: Path) -> None:
    x = torch.randn(4, 4)
    for got, want in zip(compiled(resized, tmp_path, (x,))(x), resized(x), strict=True):
        assert_equal(got, want)


def test_custom_operators_that_change_their_arguments_are_named(tmp_path: Path) -> None:
    def bump(x: torch.Tensor, by: float) -> None:
        x.add_(by)

    def changed(x: Any) -> Any:
        y = x * 2
        torch.ops.castofftest.bump(y, 1.0)
        return y

    operator = torch.library.custom_op("castofftest::bump", bump, mutates_args=("x",))
    operator.register_fake(lambda x, by: None)
    program = torch.export.export(_Function(changed), (torch.ones(3),), strict=False)
    with pytest.raises(castoff.CastoffError, match="castofftest::bump"):
        castoff.aot_compile(program, output=tmp_path / "program.so")
    with pytest.raises(castoff.CastoffError, match="castofftest::bump changes its arguments"):
        castoff.aot_compile(program.run_decompositions(), output=tmp_path / "program.so")


class _Function(nn.Module):  # type: ignore[misc,name-defined]
    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Any) -> Any:
        return self.function(x)


def test_dynamic_shapes_are_those_of_torch(tmp_path: Path) -> None:
    module = Block().eval()
    batch, length = torch.export.Dim("batch", max=64), torch.export.Dim("length", max=64)
    run = compiled(
        module, tmp_path, (torch.randn(2, 5, 16),), dynamic_shapes=({0: batch, 1: length},)
    )
    for shape in ((2, 5, 16), (1, 9, 16), (7, 3, 16)):
        x = torch.randn(shape)
        with torch.no_grad():
            assert_equal(run(x), module(x))
    with pytest.raises(castoff.InputMismatchError, match=r"args\[0\]"):
        run(torch.randn(65, 5, 16))


def test_state_goes_on_from_call_to_call_and_starts_anew_in_a_fresh_load(tmp_path: Path) -> None:
    x = torch.ones(3)
    path = castoff.aot_compile(Counter(), (x,), output=tmp_path / "counter.so", options=QUICK)
    first, second = castoff.aot_load(path), castoff.aot_load(path)
    assert [float(first(x)[0]) for _ in range(3)] == [1.0, 2.0, 3.0]
    assert float(second(x)[0]) == 1.0


def test_a_plain_function_keeps_its_names_and_containers(tmp_path: Path) -> None:
    def combine(x: Any, *, scale: Any) -> dict[str, Any]:
        return {"sum": x + scale, "parts": (x * scale, x - scale)}

    x, scale = torch.randn(4), torch.randn(4)
    path = castoff.aot_compile(
        combine, (x,), {"scale": scale}, output=tmp_path / "f.so", options=QUICK
    )
    got = castoff.aot_load(path)(x, scale=scale)
    want = combine(x, scale=scale)
    assert list(got) == list(want)
    assert_equal(got["sum"], want["sum"])
    assert_equal(got["parts"][1], want["parts"][1])


def test_torchs_exported_programs_are_taken_as_they_are(tmp_path: Path) -> None:
    module = Classifier().eval()
    images = torch.randn(2, 1, 8, 8)
    program = torch.export.export(module, (images,)).run_decompositions()
    run = compiled(program, tmp_path, ())
    with torch.no_grad():
        assert_equal(run(images), module(images))


def test_arrays_and_tensors_come_back_as_what_was_given(tmp_path: Path) -> None:
    module = nn.Linear(3, 2)
    x = torch.randn(4, 3)
    run = compiled(module, tmp_path, (x,))
    assert isinstance(run(x), torch.Tensor)
    assert isinstance(run(x.numpy()), np.ndarray)


def test_torchs_own_keywords_are_accepted(tmp_path: Path) -> None:
    x = torch.randn(4, 3)
    run = compiled(
        nn.Linear(3, 2), tmp_path, (x,), disable_constraint_solver=True, same_signature=False
    )
    assert run(x).shape == (4, 2)


def _from_memory(x: Any) -> Any:
    return x.as_strided((2, 2), (1, 2), 1) * 2


def test_memory_is_looked_at_where_it_is_as_it_was(tmp_path: Path) -> None:
    x = torch.arange(12.0).reshape(3, 4)
    run = compiled(_Function(lambda x: _from_memory(x.t())), tmp_path, (x,))
    assert_equal(run(x), _from_memory(x.t()))


@pytest.mark.parametrize(
    ("function", "x"),
    [
        pytest.param(
            lambda x: x[2:].clone().as_strided((2,), (1,), 0) * 1, torch.arange(6.0), id="beginning"
        ),
        pytest.param(_from_memory, torch.arange(12.0).reshape(3, 4).t(), id="input"),
        pytest.param(lambda x: _from_memory(x.t() + 1), torch.zeros(3, 4), id="result"),
    ],
)
def test_memory_that_lies_otherwise_here_is_refused(
    function: Callable[[Any], Any], x: Any, tmp_path: Path
) -> None:
    with pytest.raises(castoff.CastoffError, match="lay in memory from"):
        compiled(_Function(function), tmp_path, (x,))


class Widened(nn.Module):  # type: ignore[misc,name-defined]
    """Layers of a narrow type whose results something wider goes on with, and decisions about them."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(40, 48)
        self.conv = nn.Conv2d(8, 16, 3, padding=1)
        for weight in self.parameters():
            weight.data = torch.randint(-50, 51, weight.shape).float()

    def forward(self, x: Any, image: Any, other: Any) -> Any:
        y = self.linear(x)
        z = torch.relu(self.conv(image))
        product = x * other
        return (
            y.float(), torch.relu(y).float(), y + y.new_ones(48, dtype=torch.float32),
            z.float(), z.argmax(1), product.float(), product.sum(1, dtype=torch.float64),
            product == product[:1], product.long(), (product / 7).ceil(), product.topk(3)[1],
        )  # fmt: skip


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=["bfloat16", "float16"])
def test_what_sees_a_narrow_result_sees_the_digits_that_pytorch_gives_it(
    dtype: Any, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    model = Widened().to(dtype).eval()
    shapes = (21, 40), (2, 8, 7, 6), (21, 40)
    args = tuple(torch.randint(-20, 21, shape).to(dtype) for shape in shapes)
    with torch.no_grad():
        wanted = model(*args)
    for got, want in zip(compiled(model, tmp_path, args)(*args), wanted, strict=True):
        torch.testing.assert_close(got, want, rtol=0, atol=0)


class Spectra(nn.Module):  # type: ignore[misc,name-defined]
    """Angles of transforms of real signals, which the sign of an imaginary zero decides."""

    def forward(self, x: Any) -> Any:
        spectra = torch.fft.fft(x), torch.fft.rfft(x), torch.fft.ifft(x), torch.fft.ihfft(x)
        return [torch.angle(y) for y in spectra]


@pytest.mark.parametrize("length", [6, 7, 12, 20])
def test_angles_of_real_spectra_have_pytorchs_signs(length: int, tmp_path: Path) -> None:
    torch.manual_seed(length)
    x = torch.randn(40, length)
    for got, want in zip(compiled(Spectra(), tmp_path, (x,))(x), Spectra()(x), strict=True):
        torch.testing.assert_close(got, want, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=["float16", "bfloat16"])
def test_elements_fall_into_pytorchs_bins(dtype: Any, tmp_path: Path) -> None:
    torch.manual_seed(0)
    x = torch.randn(700).to(dtype)
    function = _Function(lambda x: (torch.histc(x, 100), torch.histc(x, 30, -1, 2)))
    for got, want in zip(compiled(function, tmp_path, (x,))(x), function(x), strict=True):
        torch.testing.assert_close(got, want, rtol=0, atol=0)


@pytest.mark.parametrize("is_first", [True, False], ids=["norm first", "norm last"])
@pytest.mark.parametrize("is_padded", [True, False], ids=["padded", "whole"])
def test_a_fused_encoder_layer_is_that_of_its_parts(
    is_first: bool, is_padded: bool, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True, norm_first=is_first).eval()
    for weight in layer.parameters():
        weight.requires_grad_(False)
    x = torch.randn(2, 6, 16)
    hidden = torch.tensor([[False] * 6, [False] * 4 + [True] * 2])
    kwargs = {"src_key_padding_mask": hidden} if is_padded else {}
    with torch.no_grad():
        program = torch.export.export(layer, (x,), kwargs, strict=True)
        want = layer(x, **kwargs)
    if not is_padded:
        assert "_transformer_encoder_layer_fwd" in str(program.graph)
    path = castoff.aot_compile(program, output=tmp_path / "program.so", options=QUICK)
    kept = ~hidden if is_padded else torch.ones_like(hidden)
    torch.testing.assert_close(
        castoff.aot_load(path)(x, **kwargs)[kept], want[kept], rtol=1e-4, atol=1e-5
    )

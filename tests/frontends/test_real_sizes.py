"""Sizes that programs of torch.export work out from real numbers."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

import castoff  # noqa: E402
from castoff.runtime.errors import CastoffError  # noqa: E402

from .programs import Dim, Function, check, exported_bytes, floats, imported, nn  # noqa: E402


def test_images_scaled_by_real_factors_have_the_size_that_float64_gives(tmp_path: Path) -> None:
    """90 * 0.7 is 62.99999999999999, 10 * 0.7 is 7.0."""

    class Scaled(nn.Module):
        def forward(self, x: Any) -> Any:
            small = nn.functional.interpolate(x, scale_factor=0.7)
            return small + nn.functional.interpolate(x, scale_factor=0.7, mode="bilinear")

    sizes = ((10, 10), (90, 13), (30, 33))
    shapes = ({2: Dim.AUTO, 3: Dim.AUTO},)
    check(Scaled(), *[(floats(1, 2, *size),) for size in sizes], dynamic_shapes=shapes, rtol=1e-4)
    data = exported_bytes(Scaled(), (floats(1, 2, 10, 10),), core=False, dynamic_shapes=shapes)
    path = castoff.aot_compile(data, output=tmp_path / "scaled.so", options={"opt_level": 1})
    run = castoff.aot_load(path)
    castoff.save(castoff.load(data).run_decompositions(), tmp_path / "core.pt2")
    functional = torch.export.load(tmp_path / "core.pt2").module()
    for size in sizes:
        x = floats(1, 2, *size)
        want = Scaled()(x)
        np.testing.assert_allclose(run(x.numpy()), want.numpy(), rtol=1e-4)
        torch.testing.assert_close(functional(x), want)


def test_guards_on_products_with_real_factors_are_checked() -> None:
    run = imported(
        lambda x: x[: int(x.shape[0] * 0.7)], (floats(10, 2),), dynamic_shapes=(({0: Dim.AUTO},),)
    )
    assert run(floats(11, 2).numpy()).shape == (7, 2)
    with pytest.raises(CastoffError, match=r"0\.7"):
        run(floats(20, 2).numpy())


# Products are the first ones that float64 rounds: 10 * 0.7 is 7.0, 90 * 0.7 is 62.99999999999999.
GUARDED = {
    "a product": (lambda n: int(n * 0.7), (10, 11, 20, 90)),
    "a quotient": (lambda n: int(n / 0.7), (10, 7, 14, 20, 63)),
    "a sum": (lambda n: int(n * 0.7 + 1), (10, 11, 9, 90)),
    "a difference": (lambda n: int(n * 0.7 + n * 0.1 - 0.3), (10, 11, 9)),
    "a negative factor": (lambda n: int(9 - n * 0.3), (10, 11, 13, 12)),
    "a power": (lambda n: int((n * 0.3) ** 2), (10, 11, 9)),
    "a root": (lambda n: int(n**0.5), (10, 9, 15, 16)),
    "an inverse": (lambda n: int(100 / n), (10, 9, 11, 16)),
    "the next integer": (lambda n: math.ceil(n * 0.1) + int(n * 0.7), (10, 11)),
    "floor division": (lambda n: int(n * 0.7 // 0.3), (10, 11)),
    "a relation": (lambda n: 1 if n * 0.7 > 6.5 else 2, (10, 11, 9, 20)),
}


@pytest.mark.parametrize("name", GUARDED)
def test_guards_on_real_numbers_hold_where_pytorch_says_so(name: str, tmp_path: Path) -> None:
    count, sizes = GUARDED[name]
    module = Function(lambda x: x.new_zeros(int(count(x.shape[0]))) + x.sum())
    args = (floats(sizes[0], 2),)
    shapes = (({0: Dim.AUTO},),)
    data = exported_bytes(module, args, core=False, dynamic_shapes=shapes)
    theirs = torch.export.load(io.BytesIO(data)).module()
    ours = [
        castoff.load(data).module(),
        castoff.aot_load(
            castoff.aot_compile(data, output=tmp_path / "a.so", options={"opt_level": 0})
        ),
    ]
    for size in sizes:
        x = floats(size, 2)
        try:
            want = theirs(x).numpy()
        except Exception:
            for run in ours:
                with pytest.raises(CastoffError):
                    run(x.numpy())
        else:
            assert want.shape == module(x).shape
            for run in ours:
                np.testing.assert_allclose(run(x.numpy()), want, rtol=1e-5)


COUNTED = {
    "a quotient": lambda n: torch.sym_int(n / 0.7),
    "a sum": lambda n: torch.sym_int(n * 0.7 + 1),
    "a difference": lambda n: torch.sym_int(9.1 + n * 0.3 - n * 0.1),
    "a root": lambda n: torch.sym_int(n**0.5),
    "a third": lambda n: torch.sym_int(n / 3 + n / 3),
    "an inverse": lambda n: torch.sym_int(100 / n),
}


@pytest.mark.parametrize("name", COUNTED)
def test_sizes_of_real_numbers_are_those_of_float64(name: str, tmp_path: Path) -> None:
    count = COUNTED[name]
    module = Function(lambda x: x.new_zeros(count(x.shape[0])) + x.sum())
    sizes = (10, 7, 9, 14, 20, 45)
    shapes = (({0: Dim.AUTO},),)
    data = exported_bytes(module, (floats(10, 2),), core=False, dynamic_shapes=shapes)
    path = castoff.aot_compile(data, output=tmp_path / "counted.so", options={"opt_level": 0})
    castoff.save(castoff.load(data).run_decompositions(), tmp_path / "core.pt2")
    runs = [castoff.load(data).module(), castoff.aot_load(path)]
    again = torch.export.load(tmp_path / "core.pt2").module()
    for size in sizes:
        x = floats(size, 2)
        want = module(x)
        assert again(x).shape == want.shape
        for run in runs:
            np.testing.assert_allclose(run(x.numpy()), want.numpy(), rtol=1e-5)

"""Sizes that programs of torch.export work out from real numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

import castoff  # noqa: E402
from castoff.runtime.errors import CastoffError  # noqa: E402

from .programs import Dim, check, exported_bytes, floats, imported, nn  # noqa: E402


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

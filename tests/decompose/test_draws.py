"""Draws of distributions are written as PyTorch's own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import castoff


@pytest.mark.torch
def test_draws_are_spelled_and_drawn_again(tmp_path: Any) -> None:
    torch = pytest.importorskip("torch")

    class Draws(torch.nn.Module):
        def forward(self, rate: Any, count: Any, prob: Any) -> Any:
            return torch.poisson(rate), torch.binomial(count, prob), torch._standard_gamma(rate)

    arguments = torch.full((4, 500), 50.0), torch.full((500,), 20.0), torch.full((4, 1), 0.5)
    path = tmp_path / "draws.pt2"
    torch.export.save(torch.export.export(Draws(), arguments), path)
    functional = castoff.load(path).run_decompositions()
    castoff.save(functional, tmp_path / "functional.pt2")
    ours = functional.module()(*(x.numpy() for x in arguments))
    theirs = torch.export.load(tmp_path / "functional.pt2").module()(*arguments)
    for results in (ours, theirs):
        means = [float(np.asarray(result).mean()) for result in results]
        np.testing.assert_allclose(means, [50, 10, 50], rtol=0.05)

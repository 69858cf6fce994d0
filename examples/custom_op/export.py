"""Exports a model that calls an operator of its own, `mylib::soft_shrink`. Needs torch; what it
writes is checked in.

    python examples/custom_op/export.py         writes model.pt2 and sample.npz beside itself
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import torch
from torch import nn

HERE = Path(__file__).resolve().parent


@torch.library.custom_op("mylib::soft_shrink", mutates_args=())
def soft_shrink(x: torch.Tensor, threshold: float = 0.5) -> torch.Tensor:
    """Every element moved towards zero by the threshold."""
    return torch.sign(x) * torch.clamp(x.abs() - threshold, min=0)


@soft_shrink.register_fake
def _(x: torch.Tensor, threshold: float = 0.5) -> torch.Tensor:
    return torch.empty_like(x)


class Denoiser(nn.Module):
    """A linear code, shrunk, and back."""

    def __init__(self) -> None:
        super().__init__()
        self.encode = nn.Linear(8, 16)
        self.decode = nn.Linear(16, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.decode(soft_shrink(self.encode(x), 0.25))


def main() -> None:
    """Exports with a dynamic batch, and keeps an answer of PyTorch's."""
    torch.manual_seed(0)
    model = Denoiser().eval()
    x = torch.randn(5, 8)
    batch = torch.export.Dim("batch", min=1, max=1024)
    program = torch.export.export(model, (x,), dynamic_shapes=({0: batch},))
    for node in program.graph.nodes:  # leave this machine's folders out of the file
        if trace := node.meta.get("stack_trace"):
            node.meta["stack_trace"] = re.sub(r'File "/[^"]*/', 'File "', trace)
    torch.export.save(program, HERE / "model.pt2")
    with torch.no_grad():
        np.savez(HERE / "sample.npz", x=x.numpy(), y=model(x).numpy())


if __name__ == "__main__":
    main()

"""Image patches as columns of a matrix, and back."""

from __future__ import annotations

from collections.abc import Sequence

from ..ir import shapes
from ..ir.graph import Value
from ..ir.shapes import Dim
from .base import Builder, OperatorError, target
from .convolution import per_axis
from .pooling import pooled_count
from .window_reduction import OverlapAdd, RegularWindow
from .windows import Unfold

Sizes = Sequence[Dim]


def _patches(
    sizes: Sizes, kernel_size: Sizes, dilation: Sizes, padding: Sizes, stride: Sizes
) -> tuple[RegularWindow, ...]:
    rank = len(sizes)
    arguments = zip(
        sizes, per_axis(kernel_size, rank), per_axis(stride, rank), per_axis(padding, rank),
        per_axis(dilation, rank), strict=True,
    )  # fmt: skip
    return tuple(
        RegularWindow(pooled_count(size, k, s, p, d, False), k, s, p, d)
        for size, k, s, p, d in arguments
    )


@target("aten.im2col.default")
def im2col(
    b: Builder, self: Value, kernel_size: Sizes, dilation: Sizes, padding: Sizes, stride: Sizes
) -> Value:
    """Patches of images [N, C, H, W] as [N, C * patch, number of patches]."""
    if self.rank not in (3, 4):
        raise OperatorError(f"patches of {self}: an image has 3 or 4 dimensions")
    x = self if self.rank == 4 else b.unsqueeze(self, 0)
    windows = _patches(x.shape[2:], kernel_size, dilation, padding, stride)
    if any(window.padding != 0 for window in windows):
        x = b.pad(x, [(0, 0), (0, 0), *((w.padding, w.padding) for w in windows)])
    for axis, window in enumerate(windows, start=2):
        kernel, gap, step = window.kernel, window.dilation, window.stride
        if not (isinstance(kernel, int) and isinstance(gap, int) and isinstance(step, int)):
            raise OperatorError(f"patches of {self}: symbolic kernel, dilation or stride")
        x = b.emit1(Unfold(axis, (kernel - 1) * gap + 1, step), x)
        x = b.slice(x, -1, 0, kernel, gap)
    x = b.permute(x, (0, 1, 4, 5, 2, 3))
    columns = (x.shape[1] * x.shape[2] * x.shape[3], x.shape[4] * x.shape[5])
    return b.reshape(x, (x.shape[0], *columns) if self.rank == 4 else columns)


@target("aten.col2im.default")
def col2im(
    b: Builder, self: Value, output_size: Sizes, kernel_size: Sizes, dilation: Sizes,
    padding: Sizes, stride: Sizes,
) -> Value:  # fmt: skip
    """The sum of patches [N, C * patch, number of patches] where they lie in images."""
    sizes = per_axis(output_size, 2)
    windows = _patches(sizes, kernel_size, dilation, padding, stride)
    box = tuple(window.kernel for window in windows)
    counts = tuple(window.count for window in windows)
    lead = self.shape[:-2]
    channels = shapes.floordiv(self.shape[-2], shapes.element_count(box))
    columns = b.reshape(self, (*lead, channels, *box, *counts))
    return b.emit1(OverlapAdd(windows, sizes), columns)

# mypy: disable-error-code="no-any-return"
"""Small models of images, sound and points."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.export import Dim
from torch.nn import functional
from torch.nn.utils import parametrizations

from .case import Case


class VisionTransformer(nn.Module):
    """Patches by a convolution, a class token, PyTorch's own encoder layers; places resized."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 32, 4, stride=4)
        self.first = nn.Parameter(torch.randn(1, 1, 32))
        self.places = nn.Parameter(torch.randn(1, 32, 4, 4))
        layer = nn.TransformerEncoderLayer(
            32, 4, 64, activation="gelu", batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(32, 10)

    def forward(self, images: Tensor) -> Tensor:
        x = self.patches(images)
        x = x + functional.interpolate(self.places, x.shape[2:], mode="bicubic")
        x = torch.cat((self.first.expand(x.shape[0], -1, -1), x.flatten(2).mT), 1)
        return self.head(self.encoder(x)[:, 0])


class Twice(nn.Sequential):
    """Two convolutions with group norms."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__(
            nn.Conv2d(before, after, 3, padding=1, padding_mode="reflect"),
            nn.GroupNorm(2, after),
            nn.SiLU(),
            nn.Conv2d(after, after, 3, padding=1),
            nn.GroupNorm(2, after),
            nn.Hardswish(),
        )


class UNet(nn.Module):
    """Down twice, up twice by transposed convolutions, with skip connections."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.ModuleList((Twice(3, 8), Twice(8, 12), Twice(12, 16)))
        self.up = nn.ModuleList(
            (nn.ConvTranspose2d(16, 12, 2, stride=2), nn.ConvTranspose2d(12, 8, 4, 2, padding=1))
        )
        self.join = nn.ModuleList((Twice(24, 12), Twice(16, 8)))
        self.head = nn.Conv2d(8, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        kept = []
        for block in self.down[:2]:
            x = block(x)
            kept.append(x)
            x = functional.max_pool2d(x, 2)
        x = self.down[2](x)
        for up, join, skipped in zip(self.up, self.join, reversed(kept), strict=True):
            x = join(torch.cat((up(x), skipped), 1))
        return self.head(x).softmax(1)


class UnevenUNet(nn.Module):
    """Sizes that do not halve: what comes up is cropped and padded to what was kept."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Conv2d(1, 4, 3, stride=2, padding=1)
        self.up = nn.ConvTranspose2d(4, 4, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        y = self.up(self.down(x).relu())
        resized = functional.interpolate(y, size=(height, width), mode="bilinear")
        padded = functional.pad(y, (0, 0, 1, 0), value=0.5)[..., :height, :width]
        return torch.cat((resized, padded, x.expand(-1, 2, -1, -1)), 1)


class Windows(nn.Module):
    """Swin's shifted windows over a grid whose sides may change."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.merge = nn.Linear(32, 16, bias=False)
        self.norm = nn.LayerNorm(32)

    def forward(self, x: Tensor) -> Tensor:
        batch, height, width, channels = x.shape
        shifted = torch.roll(x, (-2, -2), (1, 2))
        windows = shifted.view(batch, height // 4, 4, width // 4, 4, channels)
        windows = windows.permute(0, 1, 3, 2, 4, 5).reshape(-1, 16, channels)
        mixed, _ = self.attention(windows, windows, windows, need_weights=False)
        mixed = mixed.view(batch, height // 4, width // 4, 4, 4, channels)
        mixed = mixed.permute(0, 1, 3, 2, 4, 5).reshape(batch, height, width, channels)
        y = x + torch.roll(mixed, (2, 2), (1, 2))
        quarters = [y[:, i::2, j::2] for j in (0, 1) for i in (0, 1)]
        return self.merge(self.norm(torch.cat(quarters, -1)))


class MobileBlocks(nn.Module):
    """Depthwise convolutions, squeeze and excite, batch norm, residuals, pooling."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU6()
        )
        self.deep = nn.Sequential(
            nn.Conv2d(16, 16, 5, padding=4, dilation=2, groups=16, bias=False),
            nn.BatchNorm2d(16),
            nn.Hardswish(inplace=True),
        )
        self.excite = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(16, 4, 1), nn.ReLU(inplace=True), nn.Conv2d(4, 16, 1)
        )
        self.grouped = nn.Conv2d(16, 32, 3, padding=1, groups=4)
        self.pool = nn.AvgPool2d(3, 2, ceil_mode=True, count_include_pad=False)
        self.head = nn.Linear(32 * 3 * 2, 7)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        y = self.deep(x)
        x = x + y * functional.hardsigmoid(self.excite(y))
        x = self.grouped(x.view(-1, 4, 4, *x.shape[2:]).transpose(1, 2).flatten(1, 2))
        return self.head(functional.adaptive_max_pool2d(self.pool(x), (3, 2)).flatten(1))


class Warp(nn.Module):
    """A spatial transformer: the image chooses how it is turned, then is sampled."""

    def __init__(self) -> None:
        super().__init__()
        self.choose = nn.Sequential(
            nn.Conv2d(1, 4, 3, 2), nn.Tanh(), nn.Flatten(), nn.LazyLinear(6)
        )
        self.choose(torch.zeros(1, 1, 8, 8))

    def forward(self, x: Tensor) -> Tensor:
        turn = self.choose(x).view(-1, 2, 3) * 0.2 + torch.eye(2, 3)
        grid = functional.affine_grid(turn, [x.shape[0], 1, 12, 10], align_corners=False)
        sampled = functional.grid_sample(x, grid, padding_mode="border", align_corners=False)
        return functional.pixel_unshuffle(sampled, 2)


class Waves(nn.Module):
    """Dilated causal convolutions with weight norm and gates, one output per sample."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            parametrizations.weight_norm(nn.Conv1d(6, 12, 2, dilation=2**i)) for i in range(3)
        )
        self.enter = nn.Conv1d(1, 6, 1)
        self.leave = nn.ConvTranspose1d(6, 1, 4, stride=2, output_padding=1, groups=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.enter(x)
        skipped = torch.zeros_like(x)
        for i, layer in enumerate(self.layers):
            y = functional.glu(layer(functional.pad(x, (2**i, 0))), dim=1)
            skipped += y
            x = x + y.tanh()
        return self.leave(functional.leaky_relu(skipped, 0.1))


class Spectrum(nn.Module):
    """A logarithmic spectrogram, as speech models begin with."""

    window: Tensor
    bands: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("window", torch.hann_window(32))
        self.register_buffer("bands", torch.rand(10, 17))

    def forward(self, sound: Tensor) -> Tensor:
        frames = torch.stft(sound, 32, 16, window=self.window, return_complex=True)
        power = frames[..., :-1].abs() ** 2
        levels = (self.bands @ power).clamp(min=1e-10).log10()
        levels = torch.maximum(levels, levels.amax((-1, -2), keepdim=True) - 8)
        return (levels + 4) / 4


class Volume(nn.Module):
    """Convolutions and pools in three dimensions."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Conv3d(1, 4, 3, stride=(1, 2, 2), padding=1)
        self.norm = nn.InstanceNorm3d(4, affine=True)
        self.leave = nn.ConvTranspose3d(4, 2, 2, stride=2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = functional.elu(self.norm(self.enter(x)))
        pooled, places = functional.max_pool3d(y, 2, return_indices=True)
        return self.leave(pooled), functional.max_unpool3d(
            pooled, places, [2, 2, 2], output_size=y.shape[2:]
        )


class Boxes(nn.Module):
    """Boxes from offsets, their overlaps, and which of them greedy suppression keeps."""

    def forward(self, offsets: Tensor, anchors: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
        centre = offsets[:, :2] * anchors[:, 2:] + anchors[:, :2]
        size = offsets[:, 2:].clamp(max=4).exp() * anchors[:, 2:]
        boxes = torch.cat((centre - size / 2, centre + size / 2), 1)
        order = scores.argsort(descending=True)
        boxes = boxes[order]
        least = torch.maximum(boxes[:, None, :2], boxes[None, :, :2])
        most = torch.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
        shared = (most - least).clamp(min=0).prod(-1)
        area = (boxes[:, 2:] - boxes[:, :2]).prod(-1)
        overlap = shared / (area[:, None] + area - shared)
        suppresses = (overlap > 0.4).triu(1)
        kept = torch.ones_like(scores, dtype=torch.bool)
        for i in range(scores.shape[0]):
            kept = kept & ~(suppresses[i] & kept[i])
        return boxes[kept], order[kept]


class Messages(nn.Module):
    """A graph network: messages along edges, summed, averaged and maximised at the nodes."""

    def __init__(self) -> None:
        super().__init__()
        self.message = nn.Linear(8 + 8 + 2, 8)
        self.update = nn.GRUCell(24, 8)

    def forward(self, nodes: Tensor, edges: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        source, target = edges
        message = functional.mish(
            self.message(torch.cat((nodes[source], nodes.index_select(0, target), lengths), -1))
        )
        places = target[:, None].expand_as(message)
        parts = [
            torch.zeros_like(nodes).scatter_reduce(0, places, message, how, include_self=False)
            for how in ("sum", "mean", "amax")
        ]
        degree = torch.zeros(nodes.shape[0]).index_add(0, target, torch.ones(target.shape[0]))
        return self.update(torch.cat(parts, -1), nodes), degree


class Pixels(nn.Module):
    """What is done to a photograph before a network sees it, from bytes."""

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = image.permute(2, 0, 1).float() / 255
        small = functional.interpolate(
            x[None], size=(7, 5), mode="bilinear", antialias=True, align_corners=False
        )
        normed = (small - torch.tensor([0.5, 0.4, 0.3]).view(3, 1, 1)) / 0.25
        grey = (image.int() * torch.tensor([77, 150, 29], dtype=torch.int32)).sum(-1) >> 8
        return normed, grey.to(torch.uint8), torch.histc(grey.float(), 8, 0, 256)


BATCH, HALF = Dim("batch", max=32), Dim("half", max=16)
ROWS, COLUMNS = Dim("rows", min=4, max=64), Dim("columns", min=4, max=64)
NODES, EDGES = Dim("nodes", max=64), Dim("edges", max=256)


def graph(nodes: int, edges: int) -> tuple[object, ...]:
    ends = torch.randint(0, nodes, (2, edges))
    return torch.randn(nodes, 8), ends, torch.randn(edges, 2)


CASES = {
    "vision_transformer": Case(
        VisionTransformer,
        lambda: [(torch.randn(b, 3, h, w),) for b, h, w in ((2, 16, 16), (1, 24, 20))],
        ({0: BATCH, 2: 4 * Dim("h", max=16), 3: 4 * Dim("w", max=16)},),
    ),
    "u_net": Case(
        UNet,
        lambda: [(torch.randn(b, 3, h, w),) for b, h, w in ((2, 16, 16), (1, 8, 24))],
        ({0: BATCH, 2: 4 * Dim("h", max=16), 3: 4 * Dim("w", max=16)},),
    ),
    "u_net_of_any_size": Case(
        UnevenUNet,
        lambda: [(torch.randn(1, 1, h, w),) for h, w in ((9, 12), (15, 8))],
        ({2: Dim.AUTO, 3: Dim.AUTO},),
    ),
    "shifted_windows": Case(
        Windows,
        lambda: [(torch.randn(b, h, w, 8),) for b, h, w in ((2, 8, 12), (1, 16, 8))],
        ({0: BATCH, 1: 4 * Dim("h", max=16), 2: 4 * Dim("w", max=16)},),
    ),
    "mobile_blocks": Case(
        MobileBlocks, lambda: [(torch.randn(b, 3, 20, 18),) for b in (2, 1)], ({0: BATCH},)
    ),
    "warp": Case(Warp, lambda: [(torch.randn(b, 1, 8, 8),) for b in (2, 5)], ({0: BATCH},)),
    "waves": Case(
        Waves,
        lambda: [(torch.randn(b, 1, n),) for b, n in ((2, 20), (1, 33))],
        ({0: BATCH, 2: Dim("samples", min=4, max=64)},),
    ),
    "spectrum": Case(Spectrum, lambda: [(torch.randn(b, 160),) for b in (2, 1)], ({0: BATCH},)),
    "volume": Case(
        Volume, lambda: [(torch.randn(b, 1, 4, 10, 12),) for b in (3, 1)], ({0: BATCH},)
    ),
    "boxes": Case(
        Boxes,
        lambda: [(torch.randn(12, 4) / 4, torch.rand(12, 4), torch.rand(12)) for _ in range(2)],
    ),
    "messages": Case(
        Messages,
        lambda: [graph(6, 20), graph(11, 9)],
        ({0: NODES}, {1: EDGES}, {0: EDGES}),
    ),
    "pixels": Case(
        Pixels,
        lambda: [
            (torch.randint(0, 256, (h, w, 3), dtype=torch.uint8),) for h, w in ((16, 20), (9, 31))
        ],
        ({0: ROWS, 1: COLUMNS},),
    ),
}

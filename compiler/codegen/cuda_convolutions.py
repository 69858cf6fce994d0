"""Convolutions as CUDA: which of the constant kernels computes one, with which tile, and the call with its epilogue."""

from __future__ import annotations

from ..ir import shapes
from ..ir.dtypes import DType
from ..ir.shapes import Dim
from ..lowering.packing import ROW_BYTES, conv_rows_shape, is_depthwise
from ..lowering.program import ConvolutionStep, ProductStep, StridedView
from ..records import dataclass
from .convolutions import ConvolutionSizes
from .cuda_products import DeviceProductWriter, element_type, write_product
from .kernel_text import KernelCode, KernelText
from .render import render

WANTED_BLOCKS = 128
"""Blocks that keep a large GPU busy: it has 108 to 142 multiprocessors. With fewer, the depth of the sums is split."""
LEAST_DEPTH_TILES = 4
"""Tiles of the depth that a part has: `castoff_convolution_parts()`."""


@dataclass(frozen=True, slots=True)
class Tile:
    """Output pixels and channels of a block, and of each of its warps; tiles in shared memory; blocks to a
    multiprocessor. `rate`: about what share of the best tile's rate it reaches.
    """

    pixels: int
    channels: int
    warp_pixels: int
    warp_channels: int
    stages: int
    blocks: int
    rate: float

    def blocks_of(self, pixels: int, channels: int, groups: int) -> int:
        """How many blocks make so many pixels, of so many channels a group."""
        return -(-pixels // self.pixels) * -(-channels // self.channels) * groups


@dataclass(frozen=True, slots=True)
class Tiles:
    """The tiles of one kind of kernel, from large to small; those for up to 32 and up to 16 channels."""

    kind: str
    header: str
    large: Tile | None
    middle: Tile | None
    small: Tile
    narrow: Tile
    narrowest: Tile


_TENSOR = Tiles(
    "castoff_tensor_tile",
    "cuda/tensor_convolution.cuh",
    Tile(128, 128, 64, 64, 4, 2, 1.0),
    Tile(128, 64, 64, 32, 3, 3, 0.8),
    Tile(64, 64, 32, 32, 4, 4, 0.6),
    Tile(128, 32, 32, 32, 3, 4, 0.5),
    Tile(128, 16, 32, 16, 4, 4, 0.3),
)
_BLOCKED = Tiles(
    "castoff_blocked_tile",
    "cuda/blocked_convolution.cuh",
    None,
    Tile(128, 64, 32, 64, 3, 3, 1.0),
    Tile(64, 64, 32, 32, 3, 3, 0.8),
    Tile(128, 32, 32, 32, 3, 3, 0.75),
    Tile(128, 16, 32, 16, 3, 4, 0.6),
)
_DOUBLE = Tiles(
    "castoff_blocked_tile",
    "cuda/blocked_convolution.cuh",
    None,
    None,
    Tile(64, 64, 16, 32, 3, 2, 1.0),
    Tile(64, 32, 16, 32, 3, 4, 0.8),
    Tile(64, 16, 16, 16, 3, 4, 0.6),
)
TILES = {
    DType.FLOAT16: _TENSOR, DType.BFLOAT16: _TENSOR, DType.FLOAT32: _BLOCKED, DType.FLOAT64: _DOUBLE,
}  # fmt: skip


PRODUCT_CHANNELS = 64
"""Channels on either side, at least, of a convolution of single pixels that is left to the library of products."""


@dataclass(frozen=True, slots=True)
class TileForm:
    """A convolution as a product: `tiles`, one, or a large one and a small one that the run chooses from.

    piece: bytes of channels that are copied at a time. may_split: whether the small one splits the depth.
    """

    tiles: tuple[Tile, ...]
    piece: int
    is_packed: bool
    may_split: bool


@dataclass(frozen=True, slots=True)
class DepthwiseForm:
    """A convolution of every channel by itself: `outputs` pixels and `channels` of a thread.

    kernel, stride: of the last axis, where the kernel is made for them; 0 and 0: any.
    """

    kernel: int
    stride: int
    outputs: int
    channels: int


@dataclass(frozen=True, slots=True)
class DeviceConvolutionText:
    """What `convolution.cu.j2` needs; channels are those of a group."""

    kernel: KernelText
    element: str
    kind: str
    form: TileForm | DepthwiseForm
    sizes: ConvolutionSizes
    weight: str
    wanted_blocks: int = WANTED_BLOCKS

    @property
    def is_depthwise(self) -> bool:
        """Which of the two kinds of kernel it is."""
        return isinstance(self.form, DepthwiseForm)


def form_of(step: ConvolutionStep, tiles: Tiles) -> TileForm | DepthwiseForm:
    """How a convolution is computed, with one of these tiles unless it is depthwise.

    [32, 56, 56, 64] by [256, 64, 1, 1] of float16: 128 x 128 pixels and channels, 16 bytes at a time.
    [1, 7, 7, 512] by [512, 512, 3, 3]: 64 x 64, and the depth of 4608 in 16 parts.
    [32, 56, 56, 96] by [96, 1, 3, 3] in 96 groups: depthwise, two pixels of 8 channels a thread.
    """
    sizes = tuple(size for size in step.weight_type.shape if isinstance(size, int))
    is_static = len(sizes) == len(step.weight_type.shape)
    if step.packed_weight and is_depthwise(sizes, step.attributes.groups):
        return _depthwise_form(step, sizes)
    piece = piece_bytes(step.x, step.weight_type.shape[1])
    large = tiles.large if piece == 16 else None
    groups, pixels = step.attributes.groups, shapes.element_count(step.output.shape[:-1])
    channels = sizes[0] // groups if is_static else 0
    middle = large if large is not None and channels > 64 else tiles.middle
    if is_static and channels <= 32:
        narrow = tiles.narrow if channels > 16 else tiles.narrowest
        return TileForm((narrow,), piece, step.packed_weight, may_split=True)
    if not (isinstance(pixels, int) and is_static):
        chosen = (tiles.small,) if middle is None else (middle, tiles.small)
        return TileForm(chosen, piece, step.packed_weight, may_split=True)
    depth_tiles = -(-shapes_product(sizes[1:]) * step.output.dtype.itemsize // ROW_BYTES)

    def time(tile: Tile) -> float:
        blocks = tile.blocks_of(pixels, channels, groups)
        parts = max(1, min(WANTED_BLOCKS // max(blocks, 1), depth_tiles // LEAST_DEPTH_TILES))
        parts = parts if tile is tiles.small else 1
        waves = -(-blocks * parts // WANTED_BLOCKS)
        return waves * tile.pixels * tile.channels / parts / tile.rate

    candidates = [t for t in (large, tiles.middle, tiles.small) if t is not None]
    best = min(candidates, key=time)
    few = best.blocks_of(pixels, channels, groups) * 2 <= WANTED_BLOCKS
    may_split = few and best is tiles.small and depth_tiles >= 2 * LEAST_DEPTH_TILES
    return TileForm((best,), piece, step.packed_weight, may_split)


def shapes_product(sizes: tuple[int, ...]) -> int:
    """How many elements there are."""
    count = shapes.element_count(sizes)
    assert isinstance(count, int), "sizes that are numbers"
    return count


def piece_bytes(x: StridedView, channels: Dim) -> int:
    """How many bytes of neighbouring channels lie together, at a multiple of their size: 16, 8, 4, or one element."""
    itemsize = x.buffer.dtype.itemsize
    steps = [stride for size, stride in zip(x.shape[:-1], x.strides[:-1], strict=True) if size != 1]
    for piece in (16, 8, 4):
        count = piece // itemsize
        if count >= 1 and all(
            shapes.is_equal(shapes.mod(dim, count), 0) is True
            for dim in (channels, x.offset, *steps)
        ):
            return piece
    return itemsize


def _depthwise_form(step: ConvolutionStep, sizes: tuple[int, ...]) -> DepthwiseForm:
    itemsize = step.output.dtype.itemsize
    channels = piece_bytes(step.x, sizes[0]) // itemsize
    kernel, stride = sizes[-1], step.attributes.stride[-1]
    is_known = step.attributes.dilation[-1] == 1 and kernel in (3, 5, 7) and stride in (1, 2)
    outputs = 2 if channels * itemsize == 16 else 4
    return DepthwiseForm(kernel if is_known else 0, stride if is_known else 0, outputs, channels)


def as_product(step: ConvolutionStep) -> ProductStep | None:
    """A convolution of single pixels as the product that it is; None where it is none, or has too few channels.

    [32, 56, 56, 64] by [256, 64, 1, 1]: of each image [3136, 64] by [64, 256].
    """
    attributes, channels = step.attributes, step.weight_type.shape[:2]
    is_pointwise = (
        all(size == 1 for size in step.weight_type.shape[2:])
        and all(stride == 1 for stride in attributes.stride)
        and all(padding == (0, 0) for padding in attributes.padding)
        and attributes.groups == 1
        and step.packed_weight
    )
    if not is_pointwise or min(map(shapes.lower_bound, channels)) < PRODUCT_CHANNELS:
        return None
    out_channels, in_channels = channels
    sizes = tuple(size for size in step.weight_type.shape if isinstance(size, int))
    assert len(sizes) == step.weight_type.rank, "only weights whose sizes are known are packed"
    _, row = conv_rows_shape(sizes, 1, step.weight.buffer.dtype.itemsize)
    pixel = step.x.strides[-2]
    pixels: Dim = 1
    for size, stride in zip(step.x.shape[-2:0:-1], step.x.strides[-2:0:-1], strict=True):
        if shapes.is_equal(stride, pixel * pixels) is not True:
            return None  # pixels of one image are not as far from each other
        pixels = pixels * size
    image = step.x.strides[0]
    left = StridedView(
        step.x.buffer,
        step.x.offset,
        (step.x.shape[0], pixels, in_channels),
        (image, pixel, step.x.strides[-1]),
    )
    right = StridedView(
        step.weight.buffer,
        step.weight.offset,
        (step.x.shape[0], in_channels, out_channels),
        (0, 1, row),
    )
    return ProductStep(
        step.name, left, right, (step.x.shape[0],), pixels, out_channels, in_channels, step.dtype,
        step.epilogue, step.origins,
    )  # fmt: skip


def write_convolution(step: ConvolutionStep, *, is_tf32: bool) -> KernelCode:
    """The code of a convolution; float32 may be multiplied as TF32 where it `is_tf32`."""
    attributes = step.attributes
    assert attributes.channels_last, "convolutions have their channels last"
    if (product := as_product(step)) is not None:
        return write_product(product, is_tf32=is_tf32)
    writer = DeviceProductWriter(step.epilogue)
    out_channels = shapes.floordiv(step.weight_type.shape[0], attributes.groups)
    sizes = ConvolutionSizes.of(step, writer.sizes, step.weight_type.shape[1], out_channels)
    weight = writer.sizes.operand(step.weight)
    tiles = _TENSOR if is_tf32 and step.output.dtype is DType.FLOAT32 else TILES[step.output.dtype]
    form = form_of(step, tiles)
    element = element_type(
        step.output.dtype, is_tf32=is_tf32 and not isinstance(form, DepthwiseForm)
    )
    text = DeviceConvolutionText(
        writer.device_text(step), element, tiles.kind, form, sizes, weight.pointer
    )
    rendered = render("cuda/convolution.cu.j2", c=text)
    header = "cuda/depthwise_convolution.cuh" if text.is_depthwise else tiles.header
    return writer.code(step.name, rendered, text.kernel, (header,))

"""What was measured: how products are cut, which form convolutions take.

`cuts.json` has the cuts of the shapes of common models that beat the rules of `templates/cpu/gemm.h`, as `python3
build.py bench cuts` measured them; `max_autotune` measures on the machine that builds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path

from ..ir.dtypes import DType
from ..ir.shapes import Dim, Shape
from ..kernels import Convolution
from .packing import suits_winograd, takes_winograd


@dataclass(frozen=True, slots=True)
class Cut:
    """How a product is cut, as `castoff_gemm_cut` of `templates/cpu/gemm.h`; 0 follows its rules."""

    tile_rows: int = 0
    rows: int = 0
    depth: int = 0


@dataclass(frozen=True, slots=True, order=True)
class ProductShape:
    """A float32 product of static sizes; `is_packed` where its right operand is a constant."""

    batch: int
    rows: int
    columns: int
    depth: int
    is_packed: bool

    def __str__(self) -> str:
        packed = " packed" if self.is_packed else ""
        return f"product {self.batch} x {self.rows} x {self.depth} x {self.columns}{packed}"


@dataclass(frozen=True, slots=True, order=True)
class ConvolutionShape:
    """A float32 convolution that can be computed by transforms (`takes_winograd`), by its output."""

    batch: int
    in_channels: int
    out_channels: int
    height: int
    width: int
    padding: tuple[int, int]

    def __str__(self) -> str:
        channels = f"{self.in_channels} -> {self.out_channels} channels"
        return f"convolution {self.batch} x {self.height} x {self.width}, {channels}"


@dataclass(frozen=True, slots=True)
class Tuning:
    """Choices by shape; a shape that is not there follows the rules.

    cuts: by the bytes of a vector of the level they were measured at. by_transforms: whether a convolution is computed
    that way.
    """

    cuts: Mapping[ProductShape, Mapping[int, Cut]] = field(default_factory=dict)
    by_transforms: Mapping[ConvolutionShape, bool] = field(default_factory=dict)

    def report(self) -> tuple[str, ...]:
        """A sentence for each choice, as the manifest keeps them."""
        lines = [
            f"{shape}: {8 * vector_bytes} bit vectors, tiles of {cut.tile_rows or 'any'} rows, blocks of "
            f"{cut.rows or 'any'} rows, depth {cut.depth or 'any'}"
            for shape, cuts in sorted(self.cuts.items())
            for vector_bytes, cut in sorted(cuts.items())
        ]
        lines += [
            f"{shape}: {'by transforms' if transforms else 'directly'}"
            for shape, transforms in sorted(self.by_transforms.items())
        ]
        return tuple(lines)

    def cuts_of(
        self, dtype: DType, batch: Shape, rows: Dim, columns: Dim, depth: Dim, is_packed: bool
    ) -> tuple[tuple[int, Cut], ...]:
        """What was chosen for a product, (bytes of a vector, cut) each, ascending."""
        shape = product_shape(dtype, batch, rows, columns, depth, is_packed)
        return tuple(sorted(self.cuts.get(shape, {}).items())) if shape is not None else ()

    def uses_winograd(self, weight: Shape, attributes: Convolution, output: Shape) -> bool:
        """Whether a float32 convolution that gives this shape, [N, *spatial, O], is computed by transforms."""
        shape = convolution_shape(weight, attributes, output)
        if shape is not None and shape in self.by_transforms:
            return self.by_transforms[shape]
        return suits_winograd(weight, attributes, output)


RULES = Tuning()
"""Nothing was measured."""

CUTS = Path(__file__).with_name("cuts.json")


@cache
def default_tuning() -> Tuning:
    """The cuts of `cuts.json`."""
    return Tuning(read_cuts(CUTS.read_text(encoding="utf-8")))


def read_cuts(text: str) -> dict[ProductShape, dict[int, Cut]]:
    """What `cuts_text` wrote."""
    cuts: dict[ProductShape, dict[int, Cut]] = {}
    for entry in json.loads(text)["cuts"]:
        shape = ProductShape(**entry["product"])
        cuts.setdefault(shape, {})[entry["vector_bytes"]] = Cut(**entry["cut"])
    return cuts


def cuts_text(
    cuts: Mapping[ProductShape, Mapping[int, Cut]], measured_on: Mapping[str, object]
) -> str:
    """The text of `cuts.json`: on which machine and when, and a line for each cut."""
    entries = [
        json.dumps({"product": asdict(shape), "vector_bytes": vector_bytes, "cut": asdict(cut)})
        for shape, chosen in sorted(cuts.items())
        for vector_bytes, cut in sorted(chosen.items())
    ]
    lines = ",\n".join(f"    {entry}" for entry in entries)
    return f'{{\n  "measured_on": {json.dumps(measured_on)},\n  "cuts": [\n{lines}\n  ]\n}}\n'


def product_shape(
    dtype: DType, batch: Shape, rows: Dim, columns: Dim, depth: Dim, is_packed: bool
) -> ProductShape | None:
    """The shape of a product whose cut can be chosen: float32, all sizes known, none of them 0."""
    count = 1
    for size in batch:
        if not isinstance(size, int):
            return None
        count *= size
    if not (isinstance(rows, int) and isinstance(columns, int) and isinstance(depth, int)):
        return None
    if dtype is not DType.FLOAT32 or min(count, rows, columns, depth) < 1:
        return None
    return ProductShape(count, rows, columns, depth, is_packed)


def convolution_shape(
    weight: Shape, attributes: Convolution, output: Shape
) -> ConvolutionShape | None:
    """The shape of a float32 convolution whose form can be chosen: transforms could compute it, all
    sizes are known, and padding is the same before and after.
    """
    sizes = tuple(size for size in (*weight, *output) if isinstance(size, int))
    if len(sizes) != len(weight) + len(output) or not takes_winograd(weight, attributes):
        return None
    batch, height, width, _ = sizes[len(weight) :]
    (top, bottom), (left, right) = attributes.padding
    if (top, left) != (bottom, right) or min(batch, height, width) < 1:
        return None
    return ConvolutionShape(batch, sizes[1], sizes[0], height, width, (top, left))

"""What lowering may choose, and what all graphs of one program share."""

from __future__ import annotations

from dataclasses import field

from ..ir.dtypes import DType
from ..ir.graph import Value
from ..ir.shapes import Shape
from ..kernels import Convolution
from ..records import dataclass
from .layouts import Layout
from .program import Buffer, PackedConstant, Space
from .tuning import Tuning, default_tuning


@dataclass(frozen=True, slots=True)
class Choices:
    """What a target and the options leave to lowering.

    packs_constants: whether constant operands of products take the layouts of the CPU's kernels, as `layouts.py` has
    them, and rows of few channels their zeros (`channels_last.py`). Otherwise weights of convolutions are rows, and
    codes of weights come channel by channel rather than in panels.
    splits_keys: whether attention reads keys and values that are joined, or rounded to bfloat16, for it alone where
    they or their two parts lie.
    keeps_rows: whether temporary rows that are too long for a thread's own memory, or of unknown length, are kept in
    the arena rather than computed again.
    compute: what float32 is multiplied as: "bf16", or by itself. weights: how constant right operands of products are
    kept, "full", "int8" or "int4". tuning: what was measured where the program is built; else the
    table that comes with the compiler holds.
    """

    packs_constants: bool = True
    compute: str = "f32"
    weights: str = "full"
    tuning: Tuning | None = None
    splits_keys: bool = True
    keeps_rows: bool = True

    @property
    def tuned(self) -> Tuning:
        """What was measured, where the program is built or before."""
        return default_tuning() if self.tuning is None else self.tuning

    def multiplied(self, dtype: DType) -> DType:
        """What the operands of a product of this type are multiplied as."""
        narrows = self.compute == "bf16" and dtype is DType.FLOAT32
        return DType.BFLOAT16 if narrows else dtype

    def uses_winograd(
        self, dtype: DType, weight: Shape, attributes: Convolution, output: Shape
    ) -> bool:
        """Whether a convolution with a packed weight, multiplied as `dtype`, is computed by transforms."""
        is_float = dtype is DType.FLOAT32
        return is_float and self.tuned.uses_winograd(weight, attributes, output)


DEFAULT = Choices()


@dataclass(slots=True)
class Context:
    """What all graphs of one program share: constants that were packed, names that were given."""

    choices: Choices = DEFAULT
    constants: dict[tuple[Value, Layout | None], tuple[Buffer, PackedConstant]] = field(
        default_factory=dict
    )
    names: dict[str, int] = field(default_factory=dict)

    def constant(self, value: Value, name: str, layout: Layout | None = None) -> Buffer:
        """The buffer of a constant in a layout, or as it is; the same one every time it is asked for."""
        key = (value, layout)
        if key not in self.constants:
            array_type = value.type if layout is None else layout.type
            buffer = Buffer(name, array_type, Space.CONSTANT, len(self.constants))
            self.constants[key] = (buffer, PackedConstant(value, layout))
        return self.constants[key][0]

    def unique(self, name: str) -> str:
        """`name`, numbered where it was given before."""
        count = self.names.get(name, 0)
        self.names[name] = count + 1
        return f"{name}_{count}" if count else name

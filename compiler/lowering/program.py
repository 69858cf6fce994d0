"""The lowered program: steps over buffers, ready for text.

A `Program` is a list of steps. A `LoopKernel` is a loop nest that computes scalars; the other steps call the constant
C code of `templates/`. Buffers say where elements lie; `memory.py` gives those in the arena their offsets.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping

from ..ir.dtypes import DType
from ..ir.graph import Graph, Origin, TensorType, Value
from ..ir.shapes import Dim, Shape, Symbol
from ..kernels import Argument, Attention, Convolution, HeaderText, Scalar
from ..records import dataclass
from .coding import Coding
from .layouts import Layout
from .tuning import Cut


class Space(enum.Enum):
    """Where a buffer lies."""

    INPUT = "inputs"
    OUTPUT = "outputs"
    CONSTANT = "constants"
    STATE = "buffers"
    ARENA = "arena"
    DYNAMIC = "scratch"
    """Its size is known only mid-run: taken from the frame when its symbols are there."""


@dataclass(frozen=True, slots=True, eq=False)
class Buffer:
    """Contiguous memory for the elements of one value; compared by identity."""

    name: str
    type: TensorType
    space: Space
    index: int = -1
    """Position among the inputs, outputs, constants or states of the frame."""

    @property
    def dtype(self) -> DType:
        """Element type."""
        return self.type.dtype


@dataclass(frozen=True, slots=True, eq=False)
class Element(Scalar):
    """The element at an address (in elements) of a buffer."""

    buffer: Buffer
    address: Dim

    def __str__(self) -> str:
        return f"{self.buffer.name}[{self.address}]"


@dataclass(frozen=True, slots=True, eq=False)
class Accumulated(Scalar):
    """The result of a reduction of an earlier phase of the same row."""

    name: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True, eq=False)
class TileElement(Scalar):
    """The element of the register tile that an epilogue is called with."""

    def __str__(self) -> str:
        return "tile"


@dataclass(frozen=True, slots=True)
class Loop:
    """A loop variable and how often it runs."""

    variable: Symbol
    extent: Dim


@dataclass(frozen=True, slots=True)
class Store:
    """`buffer[address] = value`, combined with what is there where `combine` is not "set"."""

    buffer: Buffer
    address: Dim
    value: Scalar
    combine: str = "set"
    condition: Scalar | None = None


@dataclass(frozen=True, slots=True)
class Accumulate:
    """Combine `value` into the accumulator `name`; for argmax and argmin `position` is what is kept."""

    name: str
    kind: str
    value: Scalar
    dtype: DType
    position: Dim = 0


@dataclass(frozen=True, slots=True)
class Phase:
    """One pass over the inner loops of a row, between what is done once before it."""

    before: tuple[Store, ...]
    loops: tuple[Loop, ...]
    body: tuple[Store | Accumulate, ...]


@dataclass(frozen=True, slots=True)
class LoopKernel:
    """For every iteration of `rows` (in parallel unless `is_serial`): the phases one after the other.

    `tile`: a loop innermost of all, over which accumulators are arrays: reductions along strides read memory in order.
    `locals`: temporary rows of a thread, as (buffer, element count).
    """

    name: str
    rows: tuple[Loop, ...]
    phases: tuple[Phase, ...]
    origins: tuple[Origin, ...]
    tile: Loop | None = None
    locals: tuple[tuple[Buffer, int], ...] = ()
    is_serial: bool = False


@dataclass(frozen=True, slots=True)
class StridedView:
    """Elements of a buffer: `offset + sum(index * strides)`, all in elements."""

    buffer: Buffer
    offset: Dim
    shape: Shape
    strides: tuple[Dim, ...]


@dataclass(frozen=True, slots=True)
class Epilogue:
    """What is done with each finished tile: stores over `loops` (batch, rows, columns)."""

    batch: Loop
    row: Loop
    column: Loop
    stores: tuple[Store, ...]


@dataclass(frozen=True, slots=True)
class CodedRight:
    """What a product needs beside the codes of its right operand."""

    scales: Buffer
    coding: Coding


@dataclass(frozen=True, slots=True)
class Levels:
    """What a product of 8-bit levels needs beside its operands: the level that stands for 0, and the sums of the
    constant operand's columns, or output channels.
    """

    zero: int
    column_sums: Buffer


@dataclass(frozen=True, slots=True)
class ProductStep:
    """A (batched) matrix product: left [batch…, M, K], right [batch…, K, N], finished by the epilogue."""

    name: str
    left: StridedView
    right: StridedView
    batch: Shape
    rows: Dim
    columns: Dim
    depth: Dim
    dtype: DType
    """What elements are multiplied as; an operand that is wider is rounded to it."""
    epilogue: Epilogue
    origins: tuple[Origin, ...]
    packed_right: bool = False
    """The right operand is a constant that was packed into panels when the program was built."""
    coded_right: CodedRight | None = None
    """The right operand is a constant whose numbers were rounded to codes when the program was built."""
    cuts: tuple[tuple[int, Cut], ...] = ()
    """How it is cut, by the bytes of a vector, where that was measured."""
    levels: Levels | None = None
    """Operands are levels of 8 bits, the right one packed; sums are int32."""


@dataclass(frozen=True, slots=True)
class ConvolutionStep:
    """A convolution. The epilogue's rows are output channels and its columns flattened output
    positions; the other way round where channels are last.
    """

    name: str
    x: StridedView
    weight: StridedView
    attributes: Convolution
    dtype: DType
    """What elements are multiplied as; an operand that is wider is rounded to it."""
    output: TensorType
    weight_type: TensorType
    epilogue: Epilogue
    origins: tuple[Origin, ...]
    packed_weight: bool = False
    by_transforms: bool = False
    levels: Levels | None = None


@dataclass(frozen=True, slots=True)
class AttentionStep:
    """Fused attention over strided operands [batch, heads, rows, columns]; the epilogue's batch is batch * heads.

    tail: more keys and their values, after the others, which lie elsewhere. The others may be wider than `dtype`: they
    are rounded as they are read.
    """

    name: str
    query: StridedView
    key: StridedView
    value: StridedView
    mask: StridedView | None
    attributes: Attention
    dtype: DType
    epilogue: Epilogue
    origins: tuple[Origin, ...]
    tail: tuple[StridedView, StridedView] | None = None

    @property
    def keys(self) -> Dim:
        """How many keys there are."""
        own = self.key.shape[-2]
        return own if self.tail is None else own + self.tail[0].shape[-2]

    @property
    def columns(self) -> Dim | None:
        """How many queries share the keys of a head; None where that is not known."""
        heads, key_heads = self.query.shape[1], self.key.shape[1]
        if isinstance(heads, int) and isinstance(key_heads, int):
            return heads // max(key_heads, 1) * self.query.shape[2]
        return None

    @property
    def operands(self) -> tuple[StridedView, ...]:
        """Everything that is read but by the epilogue."""
        tail = self.tail or ()
        mask = () if self.mask is None else (self.mask,)
        return (self.query, self.key, self.value, *tail, *mask)


@dataclass(frozen=True, slots=True)
class CallStep:
    """A call of a C function of the headers on whole buffers."""

    function: str
    headers: tuple[str, ...]
    arguments: tuple[Argument, ...]
    inputs: tuple[StridedView, ...]
    outputs: tuple[Buffer, ...]
    failure: str
    scratch: tuple[Buffer, ...]
    origins: tuple[Origin, ...]
    carried: tuple[HeaderText, ...] = ()


@dataclass(frozen=True, slots=True)
class SymbolStep:
    """Sets a symbol from a 0-d int64 buffer, failing where it is out of its range."""

    symbol: Symbol
    source: StridedView
    origins: tuple[Origin, ...]


@dataclass(frozen=True, slots=True)
class CheckStep:
    """Fails with a message unless a 0-d bool is true."""

    source: StridedView
    message: str
    origins: tuple[Origin, ...]


@dataclass(frozen=True, slots=True)
class CopyStep:
    """Copies a whole buffer into another of the same type."""

    source: Buffer
    target: Buffer


@dataclass(frozen=True, slots=True)
class BranchStep:
    """Runs one of two lists of steps."""

    condition: StridedView
    then: tuple[Step, ...]
    otherwise: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class WhileStep:
    """`test` steps, then, while the 0-d bool `condition` holds, `body` and `test` again."""

    test: tuple[Step, ...]
    condition: StridedView
    body: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class CountedStep:
    """`body` for `counter` from 0 to `count` - 1 (backwards where `reverse`); `counter` is a symbol
    the body may use.
    """

    counter: Symbol
    count: Dim
    reverse: bool
    body: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class AllocateStep:
    """Takes memory for a buffer whose size the run has just decided."""

    buffer: Buffer


Step = (
    AllocateStep
    | LoopKernel
    | ProductStep
    | ConvolutionStep
    | AttentionStep
    | CallStep
    | SymbolStep
    | CheckStep
    | CopyStep
    | BranchStep
    | WhileStep
    | CountedStep
)


@dataclass(frozen=True, slots=True)
class PackedConstant:
    """A constant in the layout a kernel reads: which value it comes from and how it is packed.

    No layout: as it is.
    """

    source: Value
    layout: Layout | None


@dataclass(frozen=True, slots=True)
class Slot:
    """A piece of the arena whose size has symbols; slots follow the static part in order."""

    number: int


@dataclass(frozen=True, slots=True)
class Program:
    """Steps over buffers, with the arena planned."""

    graph: Graph
    steps: tuple[Step, ...]
    constants: tuple[tuple[Buffer, PackedConstant], ...]
    places: Mapping[Buffer, int | Slot]
    """Byte offset in the arena, or the slot, of every temporary whose size is known when a run starts."""
    static_bytes: int
    slots: tuple[Dim, ...]
    """Sizes in bytes of the slots."""
    unbacked: frozenset[Symbol]
    """Symbols that the run itself sets."""

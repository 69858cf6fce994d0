"""What a program is made of: how often each operator is called, what each tensor weighs."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping

from ..records import dataclass
from .arguments import subgraphs
from .program import ExportedProgram
from .schema import BufferInput, Graph, ParameterInput
from .tensors import TensorData
from .torch_save import DTYPE_NAMES

_DTYPE_NAMES = {dtype: name for name, dtype in DTYPE_NAMES.items()}


@dataclass(frozen=True, slots=True)
class TensorRow:
    """One tensor of the file; `bytes` is 0 where it lies in memory that an earlier row counts."""

    name: str
    kind: str
    dtype: str
    shape: tuple[int, ...]
    elements: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Summary:
    """Calls of each operator, most frequent first, with those in subgraphs; the tensors in their
    order in the file."""

    operators: Mapping[str, int]
    tensors: tuple[TensorRow, ...]

    @property
    def calls(self) -> int:
        """How many nodes there are, in subgraphs too."""
        return sum(self.operators.values())

    def elements(self, kind: str) -> int:
        """Elements of all tensors of a kind; those in shared memory count for each."""
        return sum(row.elements for row in self.tensors if row.kind == kind)

    def bytes(self, kind: str | None = None) -> int:
        """Bytes of the tensors of a kind, or of all; shared memory counts once."""
        return sum(row.bytes for row in self.tensors if kind in (None, row.kind))


def summarize(program: ExportedProgram) -> Summary:
    """The summary of a program. Nothing of its weights is read."""
    counts = Counter(_targets(program.graph))
    return Summary(
        dict(sorted(counts.items(), key=lambda item: (-item[1], item[0]))),
        tuple(_rows(program)),
    )


def _targets(graph: Graph) -> Iterator[str]:
    for node in graph.nodes:
        yield node.target
        for subgraph in subgraphs(node):
            yield from _targets(subgraph)


def _rows(program: ExportedProgram) -> Iterator[TensorRow]:
    kinds: dict[str, str] = {}
    for spec in program.graph_signature.input_specs:
        match spec:
            case ParameterInput(_, name):
                kinds[name] = "parameter"
            case BufferInput(_, name):
                kinds[name] = "buffer"
    seen: set[int] = set()
    for name, data in {**program.state_dict, **program.constants}.items():
        if not isinstance(data, TensorData):
            yield TensorRow(name, "object", data.reason, (), 0, 0)
            continue
        # Tied weights and views of one another lie in one storage.
        size = 0 if id(data.storage) in seen else data.storage.size_bytes
        seen.add(id(data.storage))
        dtype = _DTYPE_NAMES.get(data.dtype, data.dtype.name.lower())
        kind = kinds.get(name, "constant")
        yield TensorRow(name, kind, dtype, data.shape, math.prod(data.shape), size)


def summary_text(summary: Summary) -> str:
    """The summary as two tables."""
    operators = [(str(count), target) for target, count in summary.operators.items()]
    lines = ["calls  operator", *(f"{count:>5}  {target}" for count, target in operators)]
    lines.append(f"{summary.calls:>5}  calls of {len(summary.operators)} operators")
    lines.append("")
    cells = [("tensor", "kind", "dtype", "shape", "elements", "bytes")]
    cells += [
        (row.name, row.kind, row.dtype, str(list(row.shape)), f"{row.elements:,}", _bytes(row))
        for row in summary.tensors
    ]
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    for row in cells:
        words = [f"{cell:<{width}}" for cell, width in zip(row[:4], widths, strict=False)]
        numbers = [f"{cell:>{width}}" for cell, width in zip(row[4:], widths[4:], strict=True)]
        lines.append("  ".join((*words, *numbers)))
    for kind in ("parameter", "buffer", "constant"):
        count = sum(row.kind == kind for row in summary.tensors)
        lines.append(
            f"{count} {kind}{'' if count == 1 else 's'}: {summary.elements(kind):,} elements, "
            f"{summary.bytes(kind):,} bytes"
        )
    lines.append(f"in all {summary.bytes():,} bytes")
    return "\n".join(lines)


def _bytes(row: TensorRow) -> str:
    return f"{row.bytes:,}" if row.bytes or not row.elements else "shared"

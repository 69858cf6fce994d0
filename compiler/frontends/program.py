"""What importing a program gives: the graph, and how its inputs and outputs are called from
Python."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from ..ir.graph import Graph
from ..records import dataclass

ConstantValue = None | bool | int | float | complex | str


@dataclass(frozen=True, slots=True)
class TensorInput:
    """A leaf of the call that is a tensor: input `index` of the graph."""

    name: str
    index: int


@dataclass(frozen=True, slots=True)
class ScalarInput:
    """A leaf that is a Python "int", "float" or "bool": input `index` of the graph, as a 0-d int64,
    float64 or bool."""

    name: str
    index: int
    kind: str


@dataclass(frozen=True, slots=True)
class FixedInput:
    """A leaf that was specialised at export: only this value is accepted, nothing is passed to the
    graph."""

    name: str
    value: ConstantValue


InputLeaf = TensorInput | ScalarInput | FixedInput


@dataclass(frozen=True, slots=True)
class TensorOutput:
    """A leaf of the result that is a tensor: output `index` of the graph. Two leaves with one index
    are one tensor."""

    name: str
    index: int


@dataclass(frozen=True, slots=True)
class ScalarOutput:
    """A leaf that is a Python "int", "float" or "bool": output `index` of the graph, which is
    0-d."""

    name: str
    index: int
    kind: str


@dataclass(frozen=True, slots=True)
class FixedOutput:
    """A leaf that is the same in every call."""

    name: str
    value: ConstantValue


@dataclass(frozen=True, slots=True)
class InputAlias:
    """A leaf that is leaf `leaf` of the call itself, unchanged; output `index` of the graph has its
    elements too."""

    name: str
    leaf: int
    index: int


OutputLeaf = TensorOutput | ScalarOutput | FixedOutput | InputAlias


@dataclass(frozen=True, slots=True, eq=False)
class ImportedProgram:
    """A graph with the call spec of the program it came from.

    `inputs` are the leaves of `in_spec` and `outputs` those of `out_spec`, in order; the specs are
    pytree specs in JSON text as torch writes them ("" where the file has none). `mutated_inputs`
    are leaves that a call changes in place, `mutated_buffers` the qualified names of the state it
    changes: the graph lists both in `mutations`.
    """

    graph: Graph
    in_spec: str
    out_spec: str
    forward_arg_names: tuple[str, ...] | None
    inputs: tuple[InputLeaf, ...]
    outputs: tuple[OutputLeaf, ...]
    mutated_inputs: tuple[int, ...] = ()
    mutated_buffers: tuple[str, ...] = ()
    namedtuple_fields: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    schema_version: tuple[int, int] = (0, 0)
    torch_version: str = ""

"""An exported program: its graph, how it is called, and the tensors it holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .schema import (
    Graph,
    GraphSignature,
    ModuleCallEntry,
    RangeConstraint,
    SchemaVersion,
)
from .tensors import TensorData


@dataclass(frozen=True, slots=True)
class OpaqueConstant:
    """A constant that is no tensor, left unread: a script object or a pickled Python object."""

    entry: str
    reason: str


Constant = TensorData | OpaqueConstant


@dataclass(frozen=True, slots=True, eq=False)
class ExampleInputs:
    """What the program was exported with: containers, Python numbers, None and `TensorData`."""

    args: tuple[object, ...]
    kwargs: Mapping[str, object]


@dataclass(frozen=True, slots=True, eq=False)
class ExportedProgram:
    """A program as torch.export saved it.

    `graph.inputs` and `graph_signature.input_specs` run in parallel, as do the outputs.
    `state_dict` holds parameters and persistent buffers, `constants` non-persistent buffers and
    lifted tensor constants, both by qualified name. `dialect` is the name of torch's verifier:
    TRAINING allows in-place operators and views, ATEN is functional. `guards_code` are
    conditions on the inputs, as Python text (see `symbols.parse_guards`).
    """

    graph: Graph
    graph_signature: GraphSignature
    state_dict: Mapping[str, TensorData]
    constants: Mapping[str, Constant]
    range_constraints: Mapping[str, RangeConstraint]
    module_call_graph: tuple[ModuleCallEntry, ...]
    guards_code: tuple[str, ...]
    opset_version: Mapping[str, int]
    schema_version: SchemaVersion
    torch_version: str
    dialect: str
    example_inputs: ExampleInputs | None = None
    extra_files: Mapping[str, bytes] = field(default_factory=dict)
    treespec_namedtuple_fields: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def call_entry(self) -> ModuleCallEntry | None:
        """The entry of the root module, which says how the program is called."""
        return next((entry for entry in self.module_call_graph if entry.fqn == ""), None)

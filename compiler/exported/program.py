"""An exported program: its graph, how it is called, and the tensors it holds."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import field
from typing import TYPE_CHECKING

from ..records import dataclass
from .schema import (
    Graph,
    GraphSignature,
    ModuleCallEntry,
    PayloadMeta,
    RangeConstraint,
    SchemaVersion,
)
from .tensors import TensorData

if TYPE_CHECKING:
    from ..verify import ReferenceProgram


@dataclass(frozen=True, slots=True)
class OpaqueConstant:
    """A constant that is no tensor, left unread: a script object or a pickled Python object.

    `payload` is what the file holds for it, to be written again; None where it is part of a larger
    pickle and cannot be.
    """

    entry: str
    reason: str
    payload: memoryview | None = None
    meta: PayloadMeta | None = None


Constant = TensorData | OpaqueConstant


@dataclass(frozen=True, slots=True, eq=False)
class ExampleInputs:
    """What the program was exported with: containers, Python numbers, None and `TensorData`."""

    args: tuple[object, ...]
    kwargs: Mapping[str, object]


@dataclass(frozen=True, slots=True, eq=False)
class InputsRecord:
    """The example inputs as the torch.save payload they were read from, to be written again.

    It serves as long as `of` is the program's `example_inputs`; None is for inputs of classes that
    are not known here.
    """

    payload: memoryview
    of: ExampleInputs | None


@dataclass(frozen=True, slots=True, eq=False)
class ExportedProgram:
    """A program as torch.export saved it.

    `graph.inputs` and `graph_signature.input_specs` run in parallel, as do the outputs.
    `state_dict` holds parameters and persistent buffers, `constants` non-persistent buffers and
    lifted tensor constants, both by qualified name. `dialect` is the name of torch's verifier:
    TRAINING allows in-place operators and views, ATEN is functional; a file may name
    `further_dialects`. `guards_code` are conditions on the inputs, as Python text (see
    `symbols.parse_guards`).
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
    inputs_record: InputsRecord | None = None
    further_dialects: tuple[str, ...] = ()

    @property
    def call_entry(self) -> ModuleCallEntry | None:
        """The entry of the root module, which says how the program is called."""
        return next((entry for entry in self.module_call_graph if entry.fqn == ""), None)

    def digest(self) -> str:
        """SHA-256 of the program's canonical file, in hexadecimal.

        Programs that differ only in what `canonicalize` drops have one digest.
        """
        from .serialize import write_canonical

        digest = hashlib.sha256()
        write_canonical(self, digest.update)
        return digest.hexdigest()

    def module(self) -> ReferenceProgram:
        """The program as a callable on NumPy arrays: the reference interpreter, slow and simple.

        Each has buffers of its own, which start from the saved values. Raises
        `UnsupportedOperatorError` for a program that castoff could not compile.
        """
        from ..verify import ReferenceProgram

        return ReferenceProgram.of(self)

    def run_decompositions(self) -> ExportedProgram:
        """The program in functional form, of core ATen operators, in the dialect ATEN.

        What it changes in place becomes entries of its signature; composites are taken apart. What
        core ATen has no operator for (eigenvalues, Bessel functions) keeps the one that PyTorch's
        own decompositions leave. Raises `UnsupportedOperatorError` for a program that castoff could
        not compile, or whose operators ATen cannot spell.
        """
        from ..decompose.program import decompose

        return decompose(self)

    def to_dot(self) -> str:
        """The graph in Graphviz's DOT language, with the graphs within as clusters."""
        from .dot import program_dot

        return program_dot(self.graph)

    def __str__(self) -> str:
        """The program for people: its graph, its signature and the ranges of its symbols."""
        from .listing import program_listing

        return program_listing(self)

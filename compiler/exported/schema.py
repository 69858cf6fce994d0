"""The records of a `.pt2` program, as torch.export's schema 8.20 defines them.

Tagged unions of the wire format (`{"as_tensor": {"name": "x"}}`) become one small class per
member, so that readers use `match`:

    match argument:
        case AsTensor(name): ...
        case AsInt(value): ...

Two shorthands keep that pleasant. A union of "name or literal" is a plain Python value: the
sizes of a tensor are `int | SymExpr`, an element of `AsSymInts` is an `int` or the `str` name
of a symbolic value. A record that only wraps a name is that name.

`json_records` turns JSON into these classes; no other module knows the JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum

from ..records import dataclass

SCHEMA_VERSION = (8, 20)
"""The newest schema this reader knows; any minor of the same major is read."""


class ScalarType(IntEnum):
    """Element types, by their number in the file."""

    UNKNOWN = 0
    BYTE = 1
    CHAR = 2
    SHORT = 3
    INT = 4
    LONG = 5
    HALF = 6
    FLOAT = 7
    DOUBLE = 8
    COMPLEXHALF = 9
    COMPLEXFLOAT = 10
    COMPLEXDOUBLE = 11
    BOOL = 12
    BFLOAT16 = 13
    UINT16 = 28
    FLOAT8E4M3FN = 29
    FLOAT8E5M2 = 30
    FLOAT8E4M3FNUZ = 31
    FLOAT8E5M2FNUZ = 32
    FLOAT8E8M0FNU = 33
    UINT32 = 34
    UINT64 = 35


class Layout(IntEnum):
    UNKNOWN = 0
    SPARSE_COO = 1
    SPARSE_CSR = 2
    SPARSE_CSC = 3
    SPARSE_BSR = 4
    SPARSE_BSC = 5
    MKLDNN = 6
    STRIDED = 7


class MemoryFormat(IntEnum):
    UNKNOWN = 0
    CONTIGUOUS = 1
    CHANNELS_LAST = 2
    CHANNELS_LAST_3D = 3
    PRESERVE = 4


class ArgumentKind(IntEnum):
    UNKNOWN = 0
    POSITIONAL = 1
    KEYWORD = 2


@dataclass(frozen=True, slots=True)
class Device:
    type: str
    index: int | None = None


@dataclass(frozen=True, slots=True)
class SymExpr:
    """A symbolic expression as text (see `symbols.parse_expression`), and its value at export."""

    expr_str: str
    hint: int | float | bool | None = None


SymInt = int | SymExpr
SymFloat = float | SymExpr
SymBool = bool | SymExpr


@dataclass(frozen=True, slots=True)
class TensorMeta:
    dtype: ScalarType
    sizes: tuple[SymInt, ...]
    requires_grad: bool
    device: Device
    strides: tuple[SymInt, ...]
    storage_offset: SymInt
    layout: Layout


# --- Argument: what a node takes and gives -----------------------------------------------------


@dataclass(frozen=True, slots=True)
class AsNone:
    pass


@dataclass(frozen=True, slots=True)
class AsTensor:
    name: str


@dataclass(frozen=True, slots=True)
class AsTensors:
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AsOptionalTensor:
    name: str | None


@dataclass(frozen=True, slots=True)
class AsOptionalTensors:
    names: tuple[str | None, ...]


@dataclass(frozen=True, slots=True)
class AsNestedTensors:
    names: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class AsInt:
    value: int


@dataclass(frozen=True, slots=True)
class AsInts:
    values: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class AsIntLists:
    values: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class AsFloat:
    value: float


@dataclass(frozen=True, slots=True)
class AsFloats:
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class AsFloatLists:
    values: tuple[tuple[float, ...], ...]


@dataclass(frozen=True, slots=True)
class AsBool:
    value: bool


@dataclass(frozen=True, slots=True)
class AsBools:
    values: tuple[bool, ...]


@dataclass(frozen=True, slots=True)
class AsString:
    value: str


@dataclass(frozen=True, slots=True)
class AsStrings:
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AsComplex:
    value: complex


@dataclass(frozen=True, slots=True)
class AsSymInt:
    """An `int`, or the name of an entry of `Graph.sym_int_values`."""

    value: int | str


@dataclass(frozen=True, slots=True)
class AsSymInts:
    values: tuple[int | str, ...]


@dataclass(frozen=True, slots=True)
class AsSymFloat:
    """A `float`, or the name of an entry of `Graph.sym_float_values`."""

    value: float | str


@dataclass(frozen=True, slots=True)
class AsSymFloats:
    values: tuple[float | str, ...]


@dataclass(frozen=True, slots=True)
class AsSymBool:
    """A `bool`, or the name of an entry of `Graph.sym_bool_values`."""

    value: bool | str


@dataclass(frozen=True, slots=True)
class AsSymBools:
    values: tuple[bool | str, ...]


@dataclass(frozen=True, slots=True)
class AsScalarType:
    value: ScalarType


@dataclass(frozen=True, slots=True)
class AsMemoryFormat:
    value: MemoryFormat


@dataclass(frozen=True, slots=True)
class AsLayout:
    value: Layout


@dataclass(frozen=True, slots=True)
class AsDevice:
    value: Device


@dataclass(frozen=True, slots=True)
class AsOperator:
    """An operator passed as a value, by its target name."""

    target: str


@dataclass(frozen=True, slots=True)
class AsGraph:
    """A subgraph of a higher-order operator, and the attribute it hangs on."""

    name: str
    graph: Graph


@dataclass(frozen=True, slots=True)
class AsCustomObject:
    name: str
    class_fqn: str


@dataclass(frozen=True, slots=True)
class AsStringToArgument:
    items: Mapping[str, Argument]


Argument = (
    AsNone
    | AsTensor
    | AsTensors
    | AsOptionalTensor
    | AsOptionalTensors
    | AsNestedTensors
    | AsInt
    | AsInts
    | AsIntLists
    | AsFloat
    | AsFloats
    | AsFloatLists
    | AsBool
    | AsBools
    | AsString
    | AsStrings
    | AsComplex
    | AsSymInt
    | AsSymInts
    | AsSymFloat
    | AsSymFloats
    | AsSymBool
    | AsSymBools
    | AsScalarType
    | AsMemoryFormat
    | AsLayout
    | AsDevice
    | AsOperator
    | AsGraph
    | AsCustomObject
    | AsStringToArgument
)


# --- Graph -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class NamedArgument:
    """An argument under its name in the operator's schema ("" where the operator has none)."""

    name: str
    arg: Argument
    kind: ArgumentKind | None = None


@dataclass(frozen=True, slots=True)
class Node:
    """One call. Arguments equal to the operator's defaults are left out by the exporter."""

    target: str
    inputs: tuple[NamedArgument, ...]
    outputs: tuple[Argument, ...]
    metadata: Mapping[str, str]
    is_hop_single_tensor_return: bool | None = None
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Graph:
    """Nodes in execution order; the `*_values` describe every name used in them."""

    inputs: tuple[Argument, ...]
    outputs: tuple[Argument, ...]
    nodes: tuple[Node, ...]
    tensor_values: Mapping[str, TensorMeta]
    sym_int_values: Mapping[str, SymInt]
    sym_bool_values: Mapping[str, SymBool]
    is_single_tensor_return: bool
    custom_obj_values: Mapping[str, AsCustomObject]
    sym_float_values: Mapping[str, SymFloat]


# --- Signature: where inputs come from and where outputs go; `name` is the graph's value -------

ConstantValue = None | bool | int | float | str


@dataclass(frozen=True, slots=True)
class UserInput:
    arg: Argument


@dataclass(frozen=True, slots=True)
class ParameterInput:
    name: str
    parameter_name: str


@dataclass(frozen=True, slots=True)
class BufferInput:
    """A buffer; its value is in the state dict when persistent, else in the constants."""

    name: str
    buffer_name: str
    persistent: bool


@dataclass(frozen=True, slots=True)
class TensorConstantInput:
    name: str
    tensor_constant_name: str


@dataclass(frozen=True, slots=True)
class CustomObjectInput:
    arg: AsCustomObject
    custom_obj_name: str


@dataclass(frozen=True, slots=True)
class TokenInput:
    name: str


@dataclass(frozen=True, slots=True)
class ConstantInput:
    """A user input that was specialised at export: only this value is accepted."""

    name: str
    value: ConstantValue


InputSpec = (
    UserInput
    | ParameterInput
    | BufferInput
    | TensorConstantInput
    | CustomObjectInput
    | TokenInput
    | ConstantInput
)


@dataclass(frozen=True, slots=True)
class UserOutput:
    arg: Argument


@dataclass(frozen=True, slots=True)
class LossOutput:
    name: str


@dataclass(frozen=True, slots=True)
class BufferMutation:
    name: str
    buffer_name: str


@dataclass(frozen=True, slots=True)
class ParameterMutation:
    name: str
    parameter_name: str


@dataclass(frozen=True, slots=True)
class UserInputMutation:
    name: str
    user_input_name: str


@dataclass(frozen=True, slots=True)
class GradientToParameter:
    name: str
    parameter_name: str


@dataclass(frozen=True, slots=True)
class GradientToUserInput:
    name: str
    user_input_name: str


@dataclass(frozen=True, slots=True)
class TokenOutput:
    name: str


OutputSpec = (
    UserOutput
    | LossOutput
    | BufferMutation
    | ParameterMutation
    | UserInputMutation
    | GradientToParameter
    | GradientToUserInput
    | TokenOutput
)


@dataclass(frozen=True, slots=True)
class GraphSignature:
    """One spec per graph input and output, in the graph's order."""

    input_specs: tuple[InputSpec, ...]
    output_specs: tuple[OutputSpec, ...]


# --- Program -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RangeConstraint:
    """Inclusive bounds of a symbol; None is unbounded."""

    min_val: int | None
    max_val: int | None


@dataclass(frozen=True, slots=True)
class ModuleCallSignature:
    """How one module is called; `in_spec` and `out_spec` are pytree specs in JSON text."""

    inputs: tuple[Argument, ...]
    outputs: tuple[Argument, ...]
    in_spec: str
    out_spec: str
    forward_arg_names: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class ModuleCallEntry:
    """The module called `fqn`; the root module is ""."""

    fqn: str
    signature: ModuleCallSignature | None = None


@dataclass(frozen=True, slots=True)
class GraphModule:
    graph: Graph
    signature: GraphSignature
    module_call_graph: tuple[ModuleCallEntry, ...]
    metadata: Mapping[str, str]
    treespec_namedtuple_fields: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class SchemaVersion:
    major: int
    minor: int


@dataclass(frozen=True, slots=True)
class SerializedProgram:
    """The program record of the file, without its weights."""

    graph_module: GraphModule
    opset_version: Mapping[str, int]
    range_constraints: Mapping[str, RangeConstraint]
    schema_version: SchemaVersion
    verifiers: tuple[str, ...]
    torch_version: str
    guards_code: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PayloadMeta:
    """Where one weight or constant lies; `tensor_meta` is None for custom objects."""

    path_name: str
    is_param: bool
    use_pickle: bool
    tensor_meta: TensorMeta | None


@dataclass(frozen=True, slots=True)
class PayloadConfig:
    config: Mapping[str, PayloadMeta]

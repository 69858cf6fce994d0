"""The tables and checks a program gives to the ABI layer, and the manifest that says the same in JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ...runtime.callspec import CallSpec
from ...runtime.manifest import (
    Argument,
    BufferSpec,
    ConstantSpec,
    Manifest,
    Result,
    SymbolSpec,
    TensorSpec,
)  # fmt: skip
from ..frontends.program import (
    FixedInput,
    FixedOutput,
    ImportedProgram,
    InputAlias,
    ScalarInput,
    ScalarOutput,
    TensorOutput,
)  # fmt: skip
from ..ir import shapes
from ..ir.dtypes import DType, Kind
from ..ir.graph import Graph, TensorType
from ..ir.shapes import Dim, Symbol
from ..records import dataclass
from ..targets import cpu
from .expr import Expressions, Parameters
from .program import c_string
from .render import render
from .statements import Block, IfBlock, Line, Statement, flatten

_DLPACK_CODE = {
    Kind.BOOL: 6,
    Kind.FLOAT: 2,
    Kind.COMPLEX: 5,
}
_DLPACK_SPECIAL = {
    DType.BFLOAT16: 4, DType.FLOAT8_E4M3FN: 10, DType.FLOAT8_E4M3FNUZ: 11, DType.FLOAT8_E5M2: 12,
    DType.FLOAT8_E5M2FNUZ: 13, DType.FLOAT8_E8M0FNU: 14,
}  # fmt: skip


def dlpack_text(dtype: DType) -> str:
    """A DLDataType initialiser."""
    code = _DLPACK_SPECIAL.get(dtype)
    if code is None:
        code = (0 if dtype.is_signed else 1) if dtype.is_integer else _DLPACK_CODE[dtype.kind]
    return f"{{{code}, {dtype.itemsize * 8}, 1}}"


@dataclass(frozen=True, slots=True)
class DimText:
    """A `castoff_dim` initialiser."""

    size: int
    symbol: int
    low: int
    high: str
    text: str


@dataclass(frozen=True, slots=True)
class TensorText:
    """A `castoff_tensor_spec` initialiser."""

    name: str
    path: str
    dtype: str
    dims: tuple[DimText, ...]
    flags: str


@dataclass(frozen=True, slots=True)
class ArrayText:
    """A constant or buffer spec initialiser."""

    name: str
    dtype: str
    sizes: tuple[int, ...]
    offset_bytes: int
    size_bytes: int
    is_replaceable: bool = False
    initial: int = -1


@dataclass(frozen=True, slots=True)
class DefinitionText:
    """What `definition.c.j2` needs."""

    name: str
    inputs: tuple[TensorText, ...]
    outputs: tuple[TensorText, ...]
    constants: tuple[ArrayText, ...]
    buffers: tuple[ArrayText, ...]
    symbol_count: int
    symbols: tuple[tuple[str, int], ...]
    weights_size_bytes: int
    resolve: tuple[Line, ...]
    output_shape: tuple[Line, ...]
    arena: tuple[Line, ...]
    arena_size: str
    levels: tuple[tuple[str, str], ...]
    headers: tuple[str, ...]
    needs_blas: bool
    architectures: tuple[int, ...]
    """Of GPUs; empty for a CPU."""


def is_data_dependent(value_type: TensorType, known: Sequence[Symbol]) -> bool:
    """Whether a shape has symbols that the inputs do not decide."""
    names = {symbol.name for symbol in known}
    return any(s.name not in names for size in value_type.shape for s in shapes.symbols_in(size))


def make_manifest(
    program: ImportedProgram, name: str, constants: tuple[ConstantSpec, ...],
    buffers: tuple[BufferSpec, ...], weights_size_bytes: int, target: str, levels: tuple[str, ...], machine: str,
    version: str, device: str,
) -> Manifest:  # fmt: skip
    """The manifest of an imported program."""
    graph = program.graph
    spec = CallSpec(
        program.in_spec,
        program.out_spec,
        program.forward_arg_names or (),
        program.namedtuple_fields,
    )
    return Manifest(
        name=name,
        in_spec=program.in_spec,
        out_spec=program.out_spec,
        arguments=tuple(
            Argument("constant", value=leaf.value)
            if isinstance(leaf, FixedInput)
            else Argument("input", leaf.index)
            for leaf in program.inputs
        ),
        results=tuple(_result(leaf) for leaf in program.outputs),
        inputs=_input_specs(program, spec),
        outputs=_output_specs(program, spec),
        constants=constants,
        buffers=buffers,
        symbols=tuple(
            SymbolSpec(s.name, max(s.low, 0), None if s.high >= shapes.INFINITY else s.high)
            for s in graph.symbols
        ),
        forward_arg_names=tuple(program.forward_arg_names or ()),
        namedtuple_fields=dict(program.namedtuple_fields) or None,
        device=device,
        levels=levels,
        machine=machine,
        target=target,
        weights_size_bytes=weights_size_bytes,
        castoff_version=version,
        builder=f"castoff {version}",
        source_schema=".".join(map(str, program.schema_version)),
    )


def _result(leaf: object) -> Result:
    match leaf:
        case FixedOutput():
            return Result("constant", value=leaf.value)
        case InputAlias():
            return Result("argument", leaf.leaf)
        case TensorOutput() | ScalarOutput():
            return Result("output", leaf.index)
    raise AssertionError(f"an output leaf is not {type(leaf).__name__}")


def _input_specs(program: ImportedProgram, spec: CallSpec) -> tuple[TensorSpec, ...]:
    found: dict[int, TensorSpec] = {}
    for number, (leaf, path) in enumerate(zip(program.inputs, spec.argument_paths, strict=True)):
        if isinstance(leaf, FixedInput):
            continue
        value = program.graph.inputs[leaf.index]
        kind = leaf.kind if isinstance(leaf, ScalarInput) else "tensor"
        found[leaf.index] = TensorSpec(
            leaf.name, path, value.dtype.value, _shape_text(value.type), kind,
            mutated=number in program.mutated_inputs,
        )  # fmt: skip
    return tuple(found[index] for index in range(len(program.graph.inputs)))


def _output_specs(program: ImportedProgram, spec: CallSpec) -> tuple[TensorSpec, ...]:
    found: dict[int, TensorSpec] = {}
    for leaf, path in zip(program.outputs, spec.result_paths, strict=True):
        if isinstance(leaf, FixedOutput) or leaf.index in found:
            continue
        value = program.graph.outputs[leaf.index]
        kind = leaf.kind if isinstance(leaf, ScalarOutput) else "tensor"
        found[leaf.index] = TensorSpec(
            leaf.name, path, value.dtype.value, _shape_text(value.type), kind,
            data_dependent=is_data_dependent(value.type, program.graph.symbols),
        )  # fmt: skip
    return tuple(found[index] for index in range(len(program.graph.outputs)))


def _shape_text(value_type: TensorType) -> tuple[int | str, ...]:
    return tuple(size if isinstance(size, int) else str(size) for size in value_type.shape)


def write_definition(
    graph: Graph, manifest: Manifest, slots: Sequence[Dim], static_bytes: int,
    levels: Sequence[tuple[str, str]], architectures: Sequence[int] = (),
) -> str:  # fmt: skip
    """The C unit that defines `castoff_program_definition`; `levels` are (enumerator, run function).

    architectures: of the GPUs the program has machine code for; none where it is for a CPU.
    """
    numbers = {symbol.name: number for number, symbol in enumerate(graph.symbols)}
    writer = _Checks(graph, manifest)
    resolve = writer.resolve()
    arena, arena_size = writer.arena(slots, static_bytes)
    text = DefinitionText(
        name=c_string(manifest.name),
        inputs=tuple(
            _tensor(spec, value.type, numbers) for spec, value in zip(manifest.inputs, graph.inputs, strict=True)
        ),
        outputs=tuple(
            _tensor(spec, value.type, numbers) for spec, value in zip(manifest.outputs, graph.outputs, strict=True)
        ),
        constants=tuple(
            ArrayText(
                c_string(c.name), dlpack_text(DType(c.dtype)), c.shape, c.offset_bytes,
                c.size_bytes, c.replaceable,
            )
            for c in manifest.constants
        ),
        buffers=tuple(
            ArrayText(
                c_string(b.name), dlpack_text(DType(b.dtype)), b.shape, 0,
                manifest.constants[b.initial_constant].size_bytes, initial=b.initial_constant,
            )
            for b in manifest.buffers
        ),
        symbol_count=len(graph.symbols),
        symbols=tuple(numbers.items()),
        weights_size_bytes=manifest.weights_size_bytes,
        resolve=resolve,
        output_shape=writer.output_shapes(),
        arena=arena,
        arena_size=arena_size,
        levels=tuple(levels),
        headers=tuple(writer.headers),
        needs_blas=bool(manifest.libraries),
        architectures=tuple(architectures),
    )  # fmt: skip
    return render("cpu/definition.c.j2", d=text)


def _tensor(spec: TensorSpec, value_type: TensorType, numbers: Mapping[str, int]) -> TensorText:
    flags = [
        name
        for name, is_set in (
            ("CASTOFF_SCALAR", spec.kind != "tensor"),
            ("CASTOFF_MUTATED", spec.mutated),
            ("CASTOFF_DATA_DEPENDENT", spec.data_dependent),
        )
        if is_set
    ]
    dims: list[DimText] = []
    for size in value_type.shape:
        if isinstance(size, int):
            dims.append(DimText(size, -1, size, str(size), ""))
            continue
        atom = shapes.atom_of(size)
        number = numbers.get(atom.name, -1) if isinstance(atom, Symbol) else -1
        low, high = shapes.bounds(size)
        top = "INT64_MAX" if high >= shapes.INFINITY else str(high)
        dims.append(DimText(-1, number, max(low, 0), top, c_string(str(size))))
    return TensorText(
        c_string(spec.name),
        c_string(spec.path),
        dlpack_text(value_type.dtype),
        tuple(dims),
        " | ".join(flags) or "0",
    )


class _Checks:
    """Writes what is computed from symbols: bindings, guards, output shapes, the size of the arena."""

    def __init__(self, graph: Graph, manifest: Manifest) -> None:
        self.graph = graph
        self.manifest = manifest
        self.headers: dict[str, None] = {}

    def _expressions(self, statements: list[Statement]) -> Expressions:
        expressions = Expressions(Parameters())
        expressions.push(statements)
        return expressions

    def _dim(self, statements: list[Statement], expression: Dim) -> str:
        expressions = self._expressions(statements)
        text = expressions.dim(expression)
        self.headers.update(expressions.parameters.headers)
        return text

    def resolve(self) -> tuple[Line, ...]:
        """Integer inputs are bound, derived sizes and guards checked."""
        out: list[Statement] = []
        numbers = {symbol.name: number for number, symbol in enumerate(self.graph.symbols)}
        for binding in self.graph.bindings:
            number = numbers[binding.symbol.name]
            if binding.axis is None:
                spec = self.manifest.inputs[binding.input_index]
                out.append(
                    f"symbols[{number}] = *(const int64_t *)inputs[{binding.input_index}].data;"
                )
                out.extend(self._range(binding.symbol, number, spec.path))
            else:
                out.append(f"if (symbols[{number}] == INT64_MIN)")
                out.append(
                    f"    symbols[{number}] = inputs[{binding.input_index}].shape[{binding.axis}];"
                )
        for symbol, number in numbers.items():
            out.append(f"const int64_t {symbol} = symbols[{number}];")
            out.append(f"(void){symbol};")
        for index, value in enumerate(self.graph.inputs):
            for axis, size in enumerate(value.shape):
                if isinstance(size, int) or isinstance(shapes.atom_of(size), Symbol):
                    continue
                block = Block("")
                text = self._dim(block.body, size)
                message = c_string(
                    f"{self.manifest.inputs[index].path}: dimension {axis} has to be {size} = %lld, it is %lld"
                )
                failed = IfBlock(f"inputs[{index}].shape[{axis}] != {text}")
                failed.then.append(
                    f"snprintf(error, error_size, {message}, (long long)({text}), "
                    f"(long long)inputs[{index}].shape[{axis}]);"
                )
                failed.then.append("return CASTOFF_INPUT_MISMATCH;")
                block.body.append(failed)
                out.append(block)
        for guard in self.graph.guards:
            block = Block("")
            failed = IfBlock(f"{self._dim(block.body, guard.expression)} == 0")
            message = c_string(f"the inputs do not satisfy {guard.text}")
            failed.then.append(f'snprintf(error, error_size, "%s", {message});')
            failed.then.append("return CASTOFF_INPUT_MISMATCH;")
            block.body.append(failed)
            out.append(block)
        return tuple(flatten(out, 1))

    def _range(self, symbol: Symbol, number: int, path: str) -> list[Statement]:
        tests = []
        if symbol.low > -shapes.INFINITY:
            tests.append(f"symbols[{number}] < {cpu.literal_text(symbol.low, DType.INT64)}")
        if symbol.high < shapes.INFINITY:
            tests.append(f"symbols[{number}] > {cpu.literal_text(symbol.high, DType.INT64)}")
        if not tests:
            return []
        low = "" if symbol.low <= -shapes.INFINITY else f" of at least {symbol.low}"
        high = "" if symbol.high >= shapes.INFINITY else f" of at most {symbol.high}"
        message = c_string(f"{path}: expected an int{low}{high}, got %lld")
        failed = IfBlock(" || ".join(tests))
        failed.then.append(f"snprintf(error, error_size, {message}, (long long)symbols[{number}]);")
        failed.then.append("return CASTOFF_INPUT_MISMATCH;")
        return [failed]

    def output_shapes(self) -> tuple[Line, ...]:
        """A case per output with symbolic sizes."""
        out: list[Statement] = []
        known = {symbol.name for symbol in self.graph.symbols}
        for index, value in enumerate(self.graph.outputs):
            if shapes.is_static(value.shape):
                continue
            block = Block(f"if (output == {index})")
            expressions = self._expressions(block.body)  # one for all sizes: its names are unique
            for axis, size in enumerate(value.shape):
                is_known = all(s.name in known for s in shapes.symbols_in(size))
                text = expressions.dim(size) if is_known else "-1"
                block.body.append(f"shape[{axis}] = {text};")
            self.headers.update(expressions.parameters.headers)
            out.append(block)
        return tuple(flatten(out, 1))

    def arena(self, slots: Sequence[Dim], static_bytes: int) -> tuple[tuple[Line, ...], str]:
        """Statements and the expression of the arena's size in bytes."""
        out: list[Statement] = [f"size_t total = {static_bytes};"]
        for size in slots:
            block = Block("")
            text = self._dim(block.body, size)
            block.body.append(f"total += ((size_t)({text}) + 63) & ~(size_t)63;")
            out.append(block)
        return tuple(flatten(out, 1)), "total"

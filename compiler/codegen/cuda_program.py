"""A whole program for CUDA: kernels, the host function that launches them, and what is computed on the host."""

from __future__ import annotations

from ..ir import shapes
from ..ir.graph import Origin
from ..kernels import Fault
from ..lowering.program import (
    AttentionStep,
    CallStep,
    ConvolutionStep,
    CopyStep,
    LoopKernel,
    ProductStep,
    Program,
    StridedView,
)
from ..records import dataclass
from ..targets import cpu
from .cuda_convolutions import write_convolution
from .cuda_loops import CudaLoopWriter
from .cuda_products import element_type, write_attention, write_product
from .cuda_rows import RowWriter
from .cuda_scatter import ScatterWriter, schedule_scatter
from .cuda_schedule import ScheduledKernel, is_elementwise, schedule
from .cuda_transpose import TransposeWriter, schedule_transpose
from .cuda_wide import WideLoopWriter
from .expr import Expressions, Parameters
from .kernel_text import KernelCode, describe
from .program import CallPlaces, ProgramWriter, RunText, c_string, message_at
from .render import render
from .statements import Block, IfBlock, Line, Statement, flatten

BLAS_UNIT = "cuda/blas.cu"
"""Opens cuBLASLt and calls it: where a program has this unit, it needs the library."""

_SORT_UNIT = "cuda/sort_positions.cu"


@dataclass(frozen=True, slots=True)
class DeviceCall:
    """What a program needs to call a function on the device: a header and, maybe, a unit of `templates/`.

    is_typed: whether it is a template over elements of the first input.
    """

    header: str
    unit: str | None = None
    is_typed: bool = True


_DEVICE_CALLS = {
    "castoff_copy_bytes": DeviceCall("cuda/launch.cuh", is_typed=False),
    "castoff_grouped_product": DeviceCall("cuda/grouped.cuh"),
    "castoff_grouped_depths": DeviceCall("cuda/grouped.cuh"),
    "castoff_nonzero": DeviceCall("cuda/selection.cuh", is_typed=False),
    "castoff_searchsorted": DeviceCall("cuda/search.cuh"),
    **{
        f"castoff_scan_{kind}": DeviceCall("cuda/scan.cuh")
        for kind in ("sum", "prod", "logsumexp", "max", "min")
    },
    **{
        f"castoff_{name}": DeviceCall("cuda/sort.cuh", _SORT_UNIT)
        for name in ("sort", "topk", "kthvalue", "median", "mode", "sort_rows")
    },
    **{
        f"castoff_rnn_{name}": DeviceCall("cuda/recurrent.cuh")
        for name in ("lstm", "lstm_projected", "gru", "tanh", "relu")
    },
}
"""C functions, without the suffix for their type if they have one, that the device has too: as
`castoff_device_…`, whose arguments are the frame and then the same."""


def _on_device(function: str) -> str | None:
    """The name of a C function in `_DEVICE_CALLS`; None where only the host has it."""
    names = (function, function.rpartition("_")[0])
    return next((name for name in names if name in _DEVICE_CALLS), None)


@dataclass(frozen=True, slots=True)
class DeviceRunText:
    """What `program.cu.j2` needs beside what every program has."""

    run: RunText
    faults: tuple[str, ...]
    """The sentence of each step that may read an index out of range, as C strings."""
    host_calls: tuple[str, ...]
    """Names of the functions of `host_calls.c`."""


@dataclass(frozen=True, slots=True)
class HostCall:
    """One call that the host computes: a function of `host_calls.c`."""

    name: str
    comment: tuple[str, ...]
    symbols: tuple[str, ...]
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class HostCallsText:
    """What `host_calls.c.j2` needs."""

    headers: tuple[str, ...]
    calls: tuple[HostCall, ...]


class CudaProgramWriter(ProgramWriter):
    """Writes the steps of a program as launches on one stream."""

    def __init__(self, program: Program, *, is_tf32: bool) -> None:
        super().__init__(program)
        self.is_tf32 = is_tf32
        self.headers = {"cuda/launch.cuh": None, "cuda/strided.cuh": None}
        self.host_headers: dict[str, None] = {"abi/castoff_program.h": None, "common/types.h": None}
        self.host_calls: list[HostCall] = []
        self.faults: list[str] = []
        self.units: dict[str, None] = {}
        """Units of `templates/` that the program calls."""
        self._read_count = 0

    def write(self) -> str:
        """The unit with the kernels and the run function."""
        run = self.run_text()
        faults = tuple(self.faults)
        calls = tuple(call.name for call in self.host_calls)
        return render("cuda/program.cu.j2", d=DeviceRunText(run, faults, calls))

    def write_host_calls(self) -> str | None:
        """The C unit of what the host computes; None where that is nothing."""
        if not self.host_calls:
            return None
        text = HostCallsText(tuple(self.host_headers), tuple(self.host_calls))
        return render("cuda/host_calls.c.j2", h=text)

    # ---- values that the host needs

    def _read(
        self, statements: list[Statement], view: StridedView, expressions: Expressions
    ) -> str:
        name = f"read{self._read_count}"
        self._read_count += 1
        pointer = self.element_pointer(view, expressions)
        statements.append(f"{cpu.C_TYPE[view.buffer.dtype]} {name};")
        statements.append(f"CASTOFF_TRY(castoff_read(frame, &{name}, {pointer}, sizeof {name}));")
        return name

    # ---- steps

    def _arguments(self, block: Block, code: KernelCode, name: str) -> None:
        fields: list[str] = []
        for pointer, buffer in zip(code.pointer_names, code.buffers, strict=True):
            ctype, ahead = cpu.C_TYPE[buffer.dtype], code.offsets.get(buffer, 0)
            place = f"({ctype} *)({self.pointer(buffer)})"
            fields.append(f".{pointer} = {place} + {ahead}" if ahead else f".{pointer} = {place}")
        fields += [f".{symbol} = {symbol}" for symbol in code.symbols]
        if code.has_fault:
            fields.append(f".fault = faults + {len(self.faults)}")
        text = ", ".join(fields) or ".unused = 0"
        block.body.append(f"const struct {name}_arguments arguments = {{{text}}};")

    def _note_fault(self, code: KernelCode, origins: tuple[Origin, ...]) -> None:
        if code.has_fault:
            self.faults.append(c_string(message_at("index out of range", origins)))

    def _loop(self, block: Block, expressions: Expressions, kernel: LoopKernel) -> None:
        writers = device_kernels(kernel)
        if writers[0].scheduled.count == 0:
            return
        codes = [writer.write() for writer in writers]
        place = block.body
        for writer, code in zip(writers, codes, strict=True):
            conditions = [
                f"{expressions.dim(small)} <= {expressions.dim(large)}"
                for small, large in writer.scheduled.conditions
            ]
            if not conditions:
                self._launch(place, expressions, writer, code)
                break
            fitting = IfBlock(" && ".join(conditions))
            expressions.push(fitting.then)
            self._launch(fitting.then, expressions, writer, code)
            expressions.pop()
            place.append(fitting)
            place = fitting.otherwise
        self._note_fault(codes[0], kernel.origins)

    def _launch(
        self,
        body: list[Statement],
        expressions: Expressions,
        writer: CudaLoopWriter,
        code: KernelCode,
    ) -> None:
        scheduled = writer.scheduled
        launch, count = scheduled.launch, expressions.dim(scheduled.count)
        name = self._place(code)
        self._arguments(Block("", body), code, name)
        if isinstance(writer, ScatterWriter):
            self.units[_SORT_UNIT] = None
            targets = expressions.dim(writer.target_count)
            body.append(f"CASTOFF_TRY({name}_run(frame, arguments, {count}, {targets}));")
            return
        if launch.is_wide:
            inner = expressions.dim(scheduled.inner_count)
            body.append(f"CASTOFF_TRY({name}_run(frame, arguments, {count}, {inner}));")
            return
        body.append(
            f"CASTOFF_TRY(castoff_launch(frame, {name}, {count}, {launch.rows}, {launch.threads}, "
            f"{expressions.dim(launch.shared_bytes)}, arguments));"
        )

    def _product(self, block: Block, step: ProductStep | ConvolutionStep | AttentionStep) -> None:
        match step:
            case ProductStep():
                code = write_product(step, is_tf32=self.is_tf32)
            case ConvolutionStep():
                code = write_convolution(step, is_tf32=self.is_tf32)
            case AttentionStep():
                code = write_attention(step)
        if "cuda/blas_product.cuh" in code.headers:
            self.units[BLAS_UNIT] = None
        name = self._place(code)
        self._arguments(block, code, name)
        self._note_fault(code, step.origins)
        block.body.append(f"CASTOFF_TRY({name}_run(frame, arguments));")

    def _copy(self, block: Block, expressions: Expressions, step: CopyStep) -> None:
        count = shapes.element_count(step.source.type.shape) * step.source.dtype.itemsize
        size = expressions.dim(count)
        block.body.append(
            f"CASTOFF_TRY(castoff_copy(frame, {self.pointer(step.target)}, "
            f"{self.pointer(step.source)}, {size}));"
        )

    def _call(self, block: Block, expressions: Expressions, step: CallStep) -> None:
        name = _on_device(step.function)
        if name is None:
            self._call_on_host(block, expressions, step)
        else:
            self._device_call(block, expressions, step, name)

    def _call_on_host(self, block: Block, expressions: Expressions, step: CallStep) -> None:
        """Inputs to the host, the call there, outputs back: operators without a kernel for the device."""
        name = f"castoff_host_call_{len(self.host_calls)}"
        symbols = self._host_call(name, step)
        block.body.append(
            f"void *host[{len(step.inputs) + len(step.outputs) + len(step.scratch)}];"
        )
        place = 0
        for view in step.inputs:
            size = self._bytes(expressions, view.shape, view.buffer.dtype.itemsize)
            pointer = self.element_pointer(view, expressions)
            block.body.append(
                f"CASTOFF_TRY(castoff_to_host(frame, &host[{place}], {pointer}, {size}));"
            )
            place += 1
        sizes: list[str] = []
        for buffer in (*step.outputs, *step.scratch):
            size = self._bytes(expressions, buffer.type.shape, buffer.dtype.itemsize)
            sizes.append(size)
            block.body.append(f"CASTOFF_TRY(castoff_on_host(frame, &host[{place}], {size}));")
            place += 1
        block.body.append("CASTOFF_TRY(castoff_synchronize(frame));")
        block.body.append(f"const int64_t symbols[] = {{{', '.join(symbols) or '0'}}};")
        block.body.append(f"CASTOFF_TRY({name}(frame, host, symbols));")
        for number, (buffer, size) in enumerate(zip(step.outputs, sizes, strict=False)):
            place = len(step.inputs) + number
            block.body.append(
                f"CASTOFF_TRY(castoff_to_device(frame, {self.pointer(buffer)}, host[{place}], {size}));"
            )

    def _device_call(
        self, block: Block, expressions: Expressions, step: CallStep, name: str
    ) -> None:
        """The same function on the device, for which nothing has to be copied."""
        assert not step.failure, "a function of the device says itself what failed"
        found = _DEVICE_CALLS[name]
        self.headers[found.header] = None
        if found.unit is not None:
            self.units[found.unit] = None
        function = name.replace("castoff_", "castoff_device_", 1)
        if found.is_typed:
            function += f"<{element_type(step.inputs[0].buffer.dtype)}>"
        block.body += [f"/* origin: {line} */" for line in describe(step.origins)]
        places = self.call_places(expressions, step)
        arguments = ", ".join(self.call_arguments(block, expressions, step, places))
        block.body.append(f"CASTOFF_TRY({function}(frame, {arguments}));")

    def _bytes(self, expressions: Expressions, shape: shapes.Shape, itemsize: int) -> str:
        return expressions.dim(shapes.element_count(shape) * itemsize)

    def _host_call(self, name: str, step: CallStep) -> tuple[str, ...]:
        """Adds the function that makes a call with host pointers; the symbols it needs."""
        expressions = Expressions(Parameters())
        block = Block("")
        expressions.push(block.body)
        places = iter(range(len(step.inputs) + len(step.outputs) + len(step.scratch)))
        inputs = tuple(
            f"((const {cpu.C_TYPE[view.buffer.dtype]} *)host[{next(places)}])"
            for view in step.inputs
        )
        outputs = tuple(
            f"(({cpu.C_TYPE[buffer.dtype]} *)host[{next(places)}])" for buffer in step.outputs
        )
        scratch = tuple(f"host[{next(places)}]" for _ in step.scratch)
        kept, self.headers = self.headers, self.host_headers
        self.write_call(block, expressions, step, CallPlaces(inputs, outputs, scratch))
        self.headers.update(expressions.parameters.headers)
        self.headers = kept
        if any(isinstance(argument, Fault) for argument in step.arguments):
            block.body.insert(0, "int fault = 0;")
        symbols = tuple(expressions.parameters.symbols)
        self.host_calls.append(
            HostCall(name, describe(step.origins), symbols, tuple(flatten(block.body, 1)))
        )
        return symbols


def device_kernels(kernel: LoopKernel) -> tuple[CudaLoopWriter, ...]:
    """The writers of a loop kernel, each of which knows how it is laid out, and when."""
    if kernel.is_serial:
        return (ScatterWriter(schedule_scatter(kernel)),)
    if is_elementwise(kernel) and (transposed := schedule_transpose(kernel)) is not None:
        return (TransposeWriter(transposed),)
    return tuple(map(_writer, schedule(kernel)))


def _writer(scheduled: ScheduledKernel) -> CudaLoopWriter:
    if scheduled.launch.is_wide:
        return WideLoopWriter(scheduled)
    return CudaLoopWriter(scheduled) if scheduled.row is None else RowWriter(scheduled)

"""A whole program as C: kernels, the function that runs them, the tables the ABI layer reads."""

from __future__ import annotations

from ...runtime.manifest import StepSpec
from ..ir import shapes
from ..ir.dtypes import DType
from ..ir.graph import Origin
from ..ir.shapes import Dim
from ..kernels import Fault, In, Out, Pool, Real, Reals, Scratch, Size, Sizes, Tensors, Text
from ..lowering.memory import buffers_touched, is_dynamic
from ..lowering.program import (
    AllocateStep,
    AttentionStep,
    BranchStep,
    Buffer,
    CallStep,
    CheckStep,
    ConvolutionStep,
    CopyStep,
    CountedStep,
    LoopKernel,
    ProductStep,
    Program,
    Slot,
    Space,
    Step,
    StridedView,
    SymbolStep,
    WhileStep,
)  # fmt: skip
from ..lowering.work import WorkingStep, work_of
from ..records import dataclass
from ..targets import cpu
from .attention import write_attention
from .convolutions import write_convolution
from .expr import Expressions, Parameters
from .iterations import grain, iteration_count
from .kernel_text import KernelCode, describe
from .loops import LoopWriter
from .products import kernel_limits, write_product
from .render import render
from .statements import Block, IfBlock, Line, Statement, flatten


@dataclass(frozen=True, slots=True)
class RunText:
    """What `program.c.j2` needs: kernels in order, and the body of the run function."""

    name: str
    limits: tuple[tuple[str, int], ...]
    headers: tuple[str, ...]
    kernels: tuple[str, ...]
    symbols: tuple[tuple[str, int], ...]
    unbacked: tuple[str, ...]
    slots: tuple[tuple[str, str], ...]
    static_bytes: int
    watched_bytes: str
    """The size of the arena, where the address sanitizer is told what a step may touch of it."""
    dynamic: tuple[str, ...]
    has_workspace: bool
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class CallPlaces:
    """Where the operands of a call lie, as C expressions."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    scratch: tuple[str, ...]


class ProgramWriter:
    """Writes the steps of a program; equal kernels are written once.

    With `notes_steps` the program notes when each step ran and what it did: `steps` says which they are.
    With `watches_memory` a step sees of the arena the buffers it touches, if the address sanitizer looks on:

        castoff_hide(arena, arena_bytes);
        castoff_show(arena + 128, 96);
        castoff_cumsum_f32(…);
    """

    def __init__(
        self, program: Program, *, notes_steps: bool = False, watches_memory: bool = False
    ) -> None:
        self.program = program
        self.notes_steps = notes_steps
        self.watches_memory = watches_memory
        self.steps: list[StepSpec] = []
        self.kernels: dict[str, str] = {}
        self.headers: dict[str, None] = {"abi/castoff_program.h": None, "common/types.h": None}
        self.carried: dict[str, str] = {}
        """Headers that came with operators: path -> text."""
        self.dynamic: dict[Buffer, str] = {}
        self.has_workspace = False
        self._names: dict[str, int] = {}
        self._products: list[ProductStep | ConvolutionStep | AttentionStep] = []
        self._placed: dict[str, str] = {}
        if watches_memory:
            self.headers["abi/castoff_watch.h"] = None

    def write(self) -> str:
        """The unit that is compiled once per CPU level."""
        return render("cpu/program.c.j2", r=self.run_text())

    def run_text(self) -> RunText:
        """Every step written: what a template of the program needs."""
        program = self.program
        body: list[Statement] = []
        for step in program.steps:
            self._step(body, step)
        slots, offset = [], str(program.static_bytes)
        for number, size in enumerate(program.slots):
            slots.append((f"slot{number}", offset))
            aligned = f"(((size_t)({self._plain_dim(size)}) + 63) & ~(size_t)63)"
            offset = f"slot{number} + {aligned}"
        return RunText(
            program.graph.name,
            kernel_limits(self._products, (*self.headers, *self.carried)),
            tuple(self.headers),
            tuple(self.kernels),
            tuple((symbol.name, number) for number, symbol in enumerate(program.graph.symbols)),
            tuple(sorted(symbol.name for symbol in program.unbacked)),
            tuple(slots),
            program.static_bytes,
            offset if self.watches_memory else "",
            tuple(self.dynamic.values()),
            self.has_workspace,
            tuple(flatten(body, 1)),
        )

    def _plain_dim(self, expression: Dim) -> str:
        """An expression over symbols as one C expression."""
        statements: list[Statement] = []
        expressions = Expressions(Parameters())
        expressions.push(statements)
        text = expressions.dim(expression)
        for statement in reversed(statements):  # put what got a name of its own back in its place
            assert isinstance(statement, str), "dims are straight-line code"
            name, _, value = (
                statement.removeprefix("const int64_t ").removesuffix(";").partition(" = ")
            )
            text = text.replace(name, f"({value})")
        self.headers["common/integer.h"] = None
        return text

    # ---- pointers

    def pointer(self, buffer: Buffer) -> str:
        """Where a buffer lies, as a `void *`."""
        match buffer.space:
            case Space.INPUT:
                return f"frame->inputs[{buffer.index}]"
            case Space.OUTPUT:
                return f"frame->outputs[{buffer.index}]"
            case Space.CONSTANT:
                return f"frame->constants[{buffer.index}]"
            case Space.STATE:
                return f"frame->buffers[{buffer.index}]"
        if is_dynamic(buffer, self.program.unbacked):
            return self.dynamic.setdefault(buffer, f"dynamic{len(self.dynamic)}")
        return f"(void *)({self._arena_pointer(buffer)})"

    def _arena_pointer(self, buffer: Buffer) -> str:
        place = self.program.places[buffer]
        return f"arena + slot{place.number}" if isinstance(place, Slot) else f"arena + {place}"

    def element_pointer(
        self, view: StridedView, expressions: Expressions, is_const: bool = True
    ) -> str:
        """A typed pointer to the first element of a view."""
        pointer = self.pointer(view.buffer)
        ctype = ("const " if is_const else "") + cpu.C_TYPE[view.buffer.dtype]
        offset = expressions.dim(view.offset)
        return (
            f"(({ctype} *)({pointer}) + {offset})" if offset != "0" else f"(({ctype} *)({pointer}))"
        )

    def _read(
        self, statements: list[Statement], view: StridedView, expressions: Expressions
    ) -> str:
        """The first element of a view, as an expression of the run function."""
        return f"*{self.element_pointer(view, expressions)}"

    # ---- steps

    def _step(self, out: list[Statement], step: Step) -> None:
        block = Block("")
        expressions = Expressions(Parameters())
        expressions.push(block.body)
        match step:
            case LoopKernel():
                self._loop(block, expressions, step)
            case ProductStep() | ConvolutionStep() | AttentionStep():
                self._product(block, step)
            case CallStep():
                self._call(block, expressions, step)
            case CopyStep():
                self._copy(block, expressions, step)
            case SymbolStep():
                self._symbol(block, expressions, step)
            case CheckStep():
                holds = self._read(block.body, step.source, expressions)
                message = c_string(message_at(step.message, step.origins))
                block.body.append(
                    f'if (!{holds}) return castoff_fail(frame, CASTOFF_RUNTIME_ERROR, "%s", {message});'
                )
            case AllocateStep():
                self._allocate(block, expressions, step)
            case BranchStep():
                branch = IfBlock(self._read(block.body, step.condition, expressions))
                for statements, steps in (
                    (branch.then, step.then),
                    (branch.otherwise, step.otherwise),
                ):
                    for inner in steps:
                        self._step(statements, inner)
                block.body.append(branch)
            case WhileStep():
                loop = Block("for (;;)")
                for inner in step.test:
                    self._step(loop.body, inner)
                self._watch(loop.body, len(loop.body), step)
                holds = self._read(loop.body, step.condition, expressions)
                loop.body.append(f"if (!{holds}) break;")
                for inner in step.body:
                    self._step(loop.body, inner)
                block.body.append(loop)
            case CountedStep():
                count, name = expressions.dim(step.count), step.counter.name
                header = (
                    f"for (int64_t {name} = {count} - 1; {name} >= 0; --{name})"
                    if step.reverse
                    else f"for (int64_t {name} = 0; {name} < {count}; ++{name})"
                )
                loop = Block(header)
                for inner in step.body:
                    self._step(loop.body, inner)
                block.body.append(loop)
        if block.body and not isinstance(step, WhileStep | CountedStep):
            self._watch(block.body, 0, step)
        if block.body and self.notes_steps and isinstance(step, WorkingStep):
            self._note(block, expressions, step)
        self.headers.update(expressions.parameters.headers)
        if block.body:
            out.append(block)

    def _watch(self, statements: list[Statement], position: int, step: Step) -> None:
        """Shows what a step itself touches of the arena, and hides the rest."""
        if not self.watches_memory or isinstance(step, AllocateStep) or not self.program.places:
            return
        lines = ["castoff_hide(arena, arena_bytes);"]
        for buffer in dict.fromkeys(buffers_touched(step)):
            if buffer in self.program.places:
                count = shapes.element_count(buffer.type.shape)
                size = self._plain_dim(count * buffer.dtype.itemsize)
                pointer = self._arena_pointer(buffer)
                lines.append(f"castoff_show({pointer}, (size_t)({size}));")
        statements[position:position] = lines

    def _note(self, block: Block, expressions: Expressions, step: WorkingStep) -> None:
        """Puts the clock around a step."""
        work = work_of(step)
        match step:
            case CopyStep():
                spec = StepSpec("copy")
            case CallStep():
                spec = StepSpec(step.function, describe(step.origins))
            case _:
                spec = StepSpec(step.name, describe(step.origins))
        block.body.insert(0, "const int64_t began = castoff_now_ns();")
        size, operations = expressions.dim(work.size_bytes), expressions.dim(work.operations)
        block.body.append(f"castoff_note_step({len(self.steps)}, began, {size}, {operations});")
        self.steps.append(spec)

    def _place(self, code: KernelCode) -> str:
        """The name of a kernel: a new one, or that of an equal kernel."""
        self.headers.update(dict.fromkeys(code.headers))
        key = "\n".join(
            line for line in code.text.splitlines() if not line.startswith("/* origin:")
        )
        if key in self._placed:
            return self._placed[key]
        count = self._names.get(code.hint, 0)
        self._names[code.hint] = count + 1
        name = f"{code.hint}_{count}"
        self._placed[key] = name
        self.kernels[code.text.replace("KERNEL_NAME", name)] = name
        return name

    def _arguments(self, block: Block, code: KernelCode, name: str) -> None:
        fields = [
            f".{pointer} = {self._ahead(buffer, code.offsets.get(buffer, 0))}"
            for pointer, buffer in zip(code.pointer_names, code.buffers, strict=True)
        ]
        fields += [f".{symbol} = {symbol}" for symbol in code.symbols]
        if code.has_fault:
            fields.append(".fault = &fault")
        block.body.append(f"struct {name}_arguments arguments = {{{', '.join(fields) or '0'}}};")

    def _ahead(self, buffer: Buffer, offset: int) -> str:
        """A pointer to an element of a buffer."""
        pointer = self.pointer(buffer)
        return f"({cpu.C_TYPE[buffer.dtype]} *){pointer} + {offset}" if offset else pointer

    def _loop(self, block: Block, expressions: Expressions, kernel: LoopKernel) -> None:
        count, piece = iteration_count(kernel), grain(kernel)
        if count == 0:
            return  # what is read before the loop may not be there: an empty tensor has no memory
        code = LoopWriter(kernel).write()
        name = self._place(code)
        self._arguments(block, code, name)
        text = expressions.dim(count)
        if kernel.is_serial or (isinstance(count, int) and count <= piece):
            condition = "" if shapes.lower_bound(count) > 0 else f"if ({text} > 0) "
            block.body.append(f"{condition}{name}(&arguments, 0, {text}, 0);")
        else:
            block.body.append(
                f"castoff_parallel_for(frame->pool, {text}, {piece}, {name}, &arguments);"
            )
        if code.has_fault:
            block.body.append(fault_check(kernel.origins))

    def _product(self, block: Block, step: ProductStep | ConvolutionStep | AttentionStep) -> None:
        match step:
            case ProductStep():
                code = write_product(step)
            case ConvolutionStep():
                code = write_convolution(step)
            case AttentionStep():
                code = write_attention(step)
        self._products.append(step)
        name = self._place(code)
        self.has_workspace = True
        self._arguments(block, code, name)
        block.body.append(
            f"if (!castoff_workspace_reserve(frame, &workspace, {name}_scratch(&arguments, threads))) "
            "return CASTOFF_OUT_OF_MEMORY;"
        )
        block.body.append(f"{name}(&arguments, frame->pool, workspace.memory);")
        if code.has_fault:
            block.body.append(fault_check(step.origins))

    def _call(self, block: Block, expressions: Expressions, step: CallStep) -> None:
        self.write_call(block, expressions, step, self.call_places(expressions, step))

    def call_places(self, expressions: Expressions, step: CallStep) -> CallPlaces:
        """What the arguments of a call point to."""
        return CallPlaces(
            tuple(self.element_pointer(view, expressions) for view in step.inputs),
            tuple(
                f"(({cpu.C_TYPE[buffer.dtype]} *)({self.pointer(buffer)}))"
                for buffer in step.outputs
            ),
            tuple(self.pointer(buffer) for buffer in step.scratch),
        )

    def write_call(
        self, block: Block, expressions: Expressions, step: CallStep, places: CallPlaces
    ) -> None:
        """The call of a C function, what its arguments point to, and what is checked after it."""
        block.body += [f"/* origin: {line} */" for line in describe(step.origins)]
        self.headers.update(dict.fromkeys(step.headers))
        arguments = self.call_arguments(block, expressions, step, places)
        call = f"{step.function}({', '.join(arguments)})"
        if step.failure:
            message = c_string(message_at(step.failure, step.origins))
            block.body.append(
                f'if ({call} != 0) return castoff_fail(frame, CASTOFF_RUNTIME_ERROR, "%s", {message});'
            )
        else:
            block.body.append(f"{call};")
        if any(isinstance(argument, Fault) for argument in step.arguments):
            block.body.append(fault_check(step.origins))

    def call_arguments(
        self, block: Block, expressions: Expressions, step: CallStep, places: CallPlaces
    ) -> list[str]:
        """The arguments of a call; what they need stands in `block` then."""
        self.carried.update((header.path, header.text) for header in step.carried)
        texts: list[str] = []
        scratch = iter(places.scratch)
        for number, argument in enumerate(step.arguments):
            match argument:
                case In():
                    texts.append(places.inputs[argument.position])
                case Out():
                    texts.append(places.outputs[argument.position])
                case Scratch():
                    texts.append(next(scratch))
                case Size():
                    texts.append(expressions.dim(argument.value))
                case Real():
                    texts.append(cpu.literal_text(argument.value, DType.FLOAT64))
                case Sizes():
                    values = ", ".join(expressions.dim(value) for value in argument.values) or "0"
                    block.body.append(f"const int64_t sizes{number}[] = {{{values}}};")
                    texts.append(f"sizes{number}")
                case Reals():
                    values = (
                        ", ".join(cpu.literal_text(v, DType.FLOAT64) for v in argument.values)
                        or "0"
                    )
                    block.body.append(f"const double reals{number}[] = {{{values}}};")
                    texts.append(f"reals{number}")
                case Text():
                    texts.append(c_string(argument.value))
                case Tensors():
                    texts.append(
                        self._operands(block, expressions, step, places, argument.is_output)
                    )
                case Pool():
                    texts.append("frame->pool")
                case Fault():
                    texts.append("&fault")
        return texts

    def _operands(
        self,
        block: Block,
        expressions: Expressions,
        step: CallStep,
        places: CallPlaces,
        is_output: bool,
    ) -> str:
        """Adds the array that describes the inputs or outputs of a call; its name."""
        name = "outputs" if is_output else "inputs"
        types = (
            [(buffer.type.shape, buffer.dtype) for buffer in step.outputs]
            if is_output
            else [(view.shape, view.buffer.dtype) for view in step.inputs]
        )
        pointers = places.outputs if is_output else places.inputs
        rows: list[str] = []
        for number, (pointer, (shape, dtype)) in enumerate(zip(pointers, types, strict=True)):
            sizes = ", ".join(expressions.dim(size) for size in shape) or "0"
            count = expressions.dim(shapes.element_count(shape))
            block.body.append(f"const int64_t {name}{number}_shape[] = {{{sizes}}};")
            code = f"CASTOFF_{dtype.value.upper()}"
            rows.append(
                f"{{(void *){pointer}, {name}{number}_shape, {len(shape)}, {count}, {code}}}"
            )
        block.body.append(f"const castoff_operand {name}[] = {{{', '.join(rows) or '{0}'}}};")
        return name

    def _copy(self, block: Block, expressions: Expressions, step: CopyStep) -> None:
        count = shapes.element_count(step.source.type.shape) * step.source.dtype.itemsize
        self.headers["common/copy.h"] = None
        size = expressions.dim(count)
        block.body.append(
            f"castoff_copy_bytes({self.pointer(step.target)}, {self.pointer(step.source)}, {size});"
        )

    def _symbol(self, block: Block, expressions: Expressions, step: SymbolStep) -> None:
        name = step.symbol.name
        block.body.append(f"{name} = {self._read(block.body, step.source, expressions)};")
        low, high = step.symbol.low, step.symbol.high
        tests = []
        if low > -shapes.INFINITY:
            tests.append(f"{name} < {cpu.literal_text(low, DType.INT64)}")
        if high < shapes.INFINITY:
            tests.append(f"{name} > {cpu.literal_text(high, DType.INT64)}")
        if tests:
            top = f" and at most {high}" if high < shapes.INFINITY else ""
            where = message_at("", step.origins).replace("%", "%%")
            message = c_string(f"{name} must be at least {low}{top}, it is %lld{where}")
            block.body.append(
                f"if ({' || '.join(tests)}) return castoff_fail(frame, CASTOFF_RUNTIME_ERROR, {message}, "
                f"(long long){name});"
            )

    def _allocate(self, block: Block, expressions: Expressions, step: AllocateStep) -> None:
        buffer = step.buffer
        sizes = [expressions.dim(size) for size in buffer.type.shape]
        if buffer.space is Space.OUTPUT:
            block.body.append(f"const int64_t shape[] = {{{', '.join(sizes)}}};")
            block.body.append(
                f"if (!castoff_frame_allocate_output(frame, {buffer.index}, {len(sizes)}, shape)) "
                "return CASTOFF_OUT_OF_MEMORY;"
            )
            return
        size = expressions.dim(shapes.element_count(buffer.type.shape) * buffer.dtype.itemsize)
        name = self.pointer(buffer)
        block.body.append(
            f"if (!({name} = castoff_frame_scratch(frame, (size_t)({size})))) return CASTOFF_OUT_OF_MEMORY;"
        )


def message_at(text: str, origins: tuple[Origin, ...]) -> str:
    """A message with the place in the user's program."""
    places = describe(origins)
    return f"{text} ({places[0]})" if places else text


def fault_check(origins: tuple[Origin, ...]) -> str:
    """What follows a step that may have read an index out of range."""
    message = c_string(message_at("index out of range", origins))
    return f'if (fault) return castoff_fail(frame, CASTOFF_RUNTIME_ERROR, "%s", {message});'


def c_string(text: str) -> str:
    """A C string literal."""
    escaped = "".join(
        {"\\": "\\\\", '"': '\\"', "\n": "\\n"}.get(letter)
        or (
            letter
            if letter.isascii() and letter.isprintable()
            else "".join(f"\\{b:03o}" for b in letter.encode())
        )
        for letter in text
    )
    return f'"{escaped}"'

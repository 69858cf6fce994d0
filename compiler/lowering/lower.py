"""Graph -> Program: definitions, storage, fusion, then one step after the other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from .. import kernels
from ..ir import shapes
from ..ir.dtypes import DType
from ..ir.graph import Graph, Node, TensorType, Value
from ..ir.shapes import Dim, Shape, Symbol
from ..ops.base import OperatorError
from .emit_loops import LoopEmitter
from .emit_products import EpilogueEmitter
from .expand import Definitions, Expander, loop_variables
from .group import Group, Grouping, Item, Single
from .memory import plan_memory
from .program import (
    AttentionStep, BranchStep, Buffer, CallStep, CheckStep, ConvolutionStep, CopyStep, CountedStep, Element,
    Epilogue, Loop, LoopKernel, PackedConstant, Phase, ProductStep, Program, Space, Step, Store,
    StridedView, SymbolStep, WhileStep,
)  # fmt: skip
from .storage import StoragePlan, view_layout


_NOWHERE = Buffer("nowhere", TensorType(DType.UINT8, ()), Space.ARENA)


@dataclass(slots=True)
class Context:
    """What all graphs of one program share: constants that were packed, names that were given."""

    constants: dict[tuple[object, ...], tuple[Buffer, PackedConstant]] = field(default_factory=dict)
    names: dict[str, int] = field(default_factory=dict)

    def constant(self, value: Value, name: str, array_type: TensorType, layout: str = "plain") -> Buffer:
        """The buffer of a constant in a layout; the same one every time it is asked for."""
        key = (value, layout, array_type)
        if key not in self.constants:
            buffer = Buffer(name, array_type, Space.CONSTANT, len(self.constants))
            self.constants[key] = (buffer, PackedConstant(value, layout))
        return self.constants[key][0]

    def unique(self, name: str) -> str:
        """`name`, numbered where it was given before."""
        count = self.names.get(name, 0)
        self.names[name] = count + 1
        return f"{name}_{count}" if count else name


def lower(graph: Graph) -> Program:
    """The program that computes a graph."""
    context = Context()
    lowering = GraphLowering(graph, context, None)
    steps = lowering.run()
    return plan_memory(graph, steps, tuple(context.constants.values()))


class GraphLowering:
    """Lowers one graph: the program's, or one that a control-flow operator runs."""

    def __init__(self, graph: Graph, context: Context, inputs: tuple[Buffer, ...] | None) -> None:
        self.graph = graph
        self.context = context
        self.is_program = inputs is None
        self.definitions = Definitions(graph)
        self.plan = StoragePlan(self.definitions)
        self.grouping = Grouping(self.definitions, self.plan)
        self.buffers: dict[Value, Buffer] = {}
        self._readers: dict[Value, set[Item]] = {}
        self._results = set(graph.results())
        self.steps: list[Step] = []
        if inputs is not None:
            self.buffers.update(zip(graph.inputs, inputs, strict=True))
        else:
            for index, value in enumerate(graph.inputs):
                self.buffers[value] = Buffer(value.name, value.type, Space.INPUT, index)
            for index, value in enumerate(graph.buffers):
                self.buffers[value] = Buffer(value.name, value.type, Space.STATE, index)
            self._place_outputs()
        self._find_readers()

    def _place_outputs(self) -> None:
        """Outputs that the program computes are computed in the caller's memory."""
        for index, value in enumerate(self.graph.outputs):
            if value in self.definitions.of and value not in self.buffers:
                self.buffers[value] = Buffer(value.name, value.type, Space.OUTPUT, index)

    def _find_readers(self) -> None:
        for item in self.grouping.items:
            if isinstance(item, Group):
                for value in item.reads:
                    self._readers.setdefault(value, set()).add(item)
                if item.kind != "loops":
                    node = self.definitions.node_of[item.members[0].value]
                    for base in self.plan.operands(node):
                        self._readers.setdefault(base, set()).add(Single(-1, node))
            else:
                for value in item.node.inputs:
                    for base in (value, self.plan.strided_base(value), self.plan.contiguous_base(value)):
                        self._readers.setdefault(base, set()).add(item)
                for value in self._loop_reads(item.node):
                    self._readers.setdefault(value, set()).add(item)

    def _loop_reads(self, node: Node) -> list[Value]:
        """The stored values that the loops of a scatter read."""
        definition = self.definitions.of.get(node.outputs[0]) if node.outputs else None
        if not isinstance(definition, kernels.Scatter):
            return []
        found: list[Value] = []

        def leaf(value: Value, index: kernels.Index) -> kernels.Scalar:
            found.append(value)
            return kernels.Load(value.dtype.compute, value, index)

        expander = Expander(self.definitions.of, self.plan.stored, leaf)
        expander.scalar(definition.base(loop_variables(node.outputs[0].shape)))
        position = loop_variables(definition.domain)
        expander.scalar(definition.value(position))
        for dim in definition.target(position):
            expander.dim(dim)
        if definition.condition is not None:
            expander.scalar(definition.condition(position))
        return found

    def buffer_of(self, value: Value) -> Buffer:
        """The memory of a stored value."""
        buffer = self.buffers.get(value)
        if buffer is None:
            constant = self.graph.constants.get(value)
            if constant is not None:
                return self.context.constant(value, constant.name, value.type)
            buffer = Buffer(self.context.unique(value.name), value.type, Space.ARENA)
            self.buffers[value] = buffer
        return buffer

    def run(self) -> tuple[Step, ...]:
        """All steps, the copies to outputs and mutated buffers included."""
        for item in self.grouping.items:
            if isinstance(item, Group):
                self.steps.extend(self._group(item))
            else:
                self.steps.extend(self._single(item.node))
        if self.is_program:
            self._finish()
        return tuple(self.steps)

    def _finish(self) -> None:
        for index, value in enumerate(self.graph.outputs):
            buffer = self.buffer_of(value)
            if buffer.space is not Space.OUTPUT or buffer.index != index:
                target = Buffer(f"{value.name}_out{index}", value.type, Space.OUTPUT, index)
                self.steps.append(CopyStep(buffer, target))
        targets = {target for target, _ in self.graph.mutations}
        saved: dict[Value, Buffer] = {}
        for _, value in self.graph.mutations:  # a value that is itself overwritten is saved first
            if value in targets and value not in saved:
                saved[value] = Buffer(self.context.unique(f"{value.name}_saved"), value.type, Space.ARENA)
                self.steps.append(CopyStep(self.buffer_of(value), saved[value]))
        for target, value in self.graph.mutations:
            if target is not value:
                source = saved.get(value) or self.buffer_of(value)
                self.steps.append(CopyStep(source, self.buffer_of(target)))

    # ---- groups

    def _is_needed(self, item: Item) -> Callable[[Value], bool]:
        def is_needed(value: Value) -> bool:
            if value in self._results or value in self.buffers and self.buffers[value].space is Space.OUTPUT:
                return True
            return any(reader is not item for reader in self._readers.get(value, ()))

        return is_needed

    def _group(self, group: Group) -> list[Step]:
        if group.kind == "product":
            match self.definitions.of[group.members[0].value]:
                case kernels.Convolution():
                    return [self._convolution(group)]
                case kernels.Attention():
                    return [self._attention(group)]
            return [self._product(group)]
        needed = self._is_needed(group)
        emitter = LoopEmitter(self.grouping, group, self.buffer_of, needed)
        if emitter.keeps_rows_in_memory():
            kept = set(emitter.local_values())
            emitter = LoopEmitter(
                self.grouping, group, self.buffer_of, lambda value: value in kept or needed(value)
            )
        return [emitter.emit(self._kernel_name(group))]

    def _kernel_name(self, group: Group) -> str:
        names: list[str] = []
        for member in group.members:
            name = str(self.definitions.node_of[member.value].op).split("[")[0].lower()
            definition = self.definitions.of[member.value]
            if isinstance(definition, kernels.Reduction):
                name = definition.kind
            if not names or names[-1] != name:
                names.append(name)
        return "_".join(names[:4])

    def strided(self, value: Value) -> StridedView:
        """An operand as strides over the memory it lies in."""
        return replace(self._unplaced(value), buffer=self.buffer_of(self.plan.strided_base(value)))

    def _unplaced(self, value: Value) -> StridedView:
        """An operand as strides over memory that is still to be chosen."""
        base = self.plan.strided_base(value)
        layout = view_layout(self.definitions, value, base)
        assert layout is not None, "strided_base gives a base with strides"
        return StridedView(_NOWHERE, layout[0], value.shape, layout[1])

    def contiguous(self, value: Value) -> StridedView:
        """An operand as a contiguous piece of the memory it lies in."""
        base = self.plan.contiguous_base(value)
        layout = view_layout(self.definitions, value, base)
        assert layout is not None, "contiguous_base gives a base with strides"
        return StridedView(
            self.buffer_of(base), layout[0], value.shape, shapes.contiguous_strides(value.shape)
        )

    def _product(self, group: Group) -> ProductStep:
        value = group.members[0].value
        node = self.definitions.node_of[value]
        definition = self.definitions.of[value]
        assert isinstance(definition, kernels.MatrixProduct), "a product group"
        # Not yet in a buffer: a constant that is packed is not kept as it was.
        left, right = (self._unplaced(x) for x in node.inputs)
        if definition.left_transposed:
            left = _transposed(left)
        if definition.right_transposed:
            right = _transposed(right)
        batch = value.shape[:-2]
        left, right = _broadcast(left, batch), _broadcast(right, batch)
        rows, columns = value.shape[-2:]
        depth = left.shape[-1]
        packed = self._packed_right(node.inputs[1], right, depth, columns)
        left = replace(left, buffer=self.buffer_of(self.plan.strided_base(node.inputs[0])))
        if packed is None:
            right = replace(right, buffer=self.buffer_of(self.plan.strided_base(node.inputs[1])))
        row_shape: Shape = (rows,)
        if (merged := _merged_rows(left, right)) is not None:
            # One tall product rather than a batch of short ones that read the same right operand.
            left, batch, row_shape = merged, (), (*batch, rows)
            right = StridedView(right.buffer, right.offset, right.shape[-2:], right.strides[-2:])
            rows = merged.shape[0]
            packed = packed and StridedView(packed.buffer, 0, right.shape, (0, 0))
        epilogue = EpilogueEmitter(self.grouping, group, self.buffer_of, self._is_needed(group)).emit(
            batch, row_shape, (columns,)
        )
        return ProductStep(
            "matmul", left, packed or right, batch, rows, columns, depth, value.dtype, epilogue,
            self._origins(group), packed is not None,
        )  # fmt: skip

    def _origins(self, group: Group) -> tuple[object, ...]:
        return tuple(self.definitions.node_of[m.value].origin for m in group.members)

    def _packed_right(self, value: Value, view: StridedView, depth: Dim, columns: Dim) -> StridedView | None:
        """A constant right operand, packed into panels when the program is built."""
        source = self.plan.strided_base(value)
        if source not in self.graph.constants or not (isinstance(depth, int) and isinstance(columns, int)):
            return None
        if value.dtype not in (DType.FLOAT32, DType.FLOAT64, DType.BFLOAT16, DType.FLOAT16):
            return None
        if any(stride != 0 for stride in view.strides[:-2]) or not isinstance(view.offset, int):
            return None
        row, column = view.strides[-2:]
        layout = f"panels:{view.offset}:{row}:{column}:{depth}:{columns}"
        panels = TensorType(value.dtype, (-(-columns // 16) * 16 * depth,))
        buffer = self.context.constant(source, f"{self.graph.constants[source].name}.panels", panels, layout)
        return StridedView(buffer, 0, view.shape, (*(0 for _ in view.strides[:-2]), 0, 0))

    def _convolution(self, group: Group) -> ConvolutionStep:
        value = group.members[0].value
        node = self.definitions.node_of[value]
        definition = self.definitions.of[value]
        assert isinstance(definition, kernels.Convolution), "a convolution group"
        x, weight = node.inputs
        spatial = value.shape[2:]
        epilogue = EpilogueEmitter(self.grouping, group, self.buffer_of, self._is_needed(group)).emit(
            value.shape[:1], value.shape[1:2], spatial
        )
        packed = self._packed_weight(weight, definition.groups)
        return ConvolutionStep(
            "convolution", self.strided(x), packed or self.contiguous(weight), definition, value.type,
            weight.type, epilogue, self._origins(group), packed is not None,
        )  # fmt: skip

    def _packed_weight(self, weight: Value, groups: int) -> StridedView | None:
        """A constant weight, packed when the program is built; narrow floats are widened there too."""
        source = self.plan.contiguous_base(weight)
        if source not in self.graph.constants or source.shape != weight.shape:
            return None
        if weight.dtype not in (DType.FLOAT32, DType.BFLOAT16, DType.FLOAT16):
            return None
        outputs, inputs, *kernel = (size for size in weight.shape if isinstance(size, int))
        depth = inputs
        for size in kernel:
            depth *= size
        elements = outputs * depth if inputs == 1 else -(-(outputs // groups) // 16) * 16 * depth * groups
        packed = TensorType(DType.FLOAT32, (elements,))
        name = f"{self.graph.constants[source].name}.packed"
        buffer = self.context.constant(source, name, packed, f"convolution:{groups}")
        return StridedView(buffer, 0, weight.shape, shapes.contiguous_strides(weight.shape))

    def _attention(self, group: Group) -> AttentionStep:
        value = group.members[0].value
        node = self.definitions.node_of[value]
        definition = self.definitions.of[value]
        assert isinstance(definition, kernels.Attention), "an attention group"
        query, key, keyed, *mask = node.inputs
        *batch, queries, width = value.shape
        epilogue = EpilogueEmitter(self.grouping, group, self.buffer_of, self._is_needed(group)).emit(
            tuple(batch), (queries,), (width,)
        )
        scores = (*query.shape[:-1], key.shape[-2])
        return AttentionStep(
            "attention", _four(self.rows(query)), _four(self.rows(key)), _four(self.rows(keyed)),
            _four(_stretched(self.strided(mask[0]), scores)) if mask else None, definition, value.dtype,
            epilogue, self._origins(group),
        )  # fmt: skip

    def rows(self, value: Value) -> StridedView:
        """An operand with contiguous rows over the memory it lies in."""
        base = self.plan.row_base(value)
        layout = view_layout(self.definitions, value, base)
        assert layout is not None, "row_base gives a base with strides"
        return StridedView(self.buffer_of(base), layout[0], value.shape, layout[1])

    # ---- single steps

    def _single(self, node: Node) -> list[Step]:
        definition = (
            self.definitions.of[node.outputs[0]]
            if node.outputs
            else node.op.define(node.inputs, node.outputs)[0]
        )
        origins = (node.origin,)
        match definition:
            case kernels.Scatter():
                return self._scatter(node, definition)
            case kernels.LibraryCall():
                scratch = tuple(
                    Buffer(
                        self.context.unique("scratch"),
                        TensorType(DType.UINT8, (argument.size_bytes,)),
                        Space.ARENA,
                    )
                    for argument in definition.arguments
                    if isinstance(argument, kernels.Scratch)
                )
                return [
                    CallStep(
                        definition.function,
                        definition.headers,
                        definition.arguments,
                        tuple(self.contiguous(value) for value in node.inputs),
                        tuple(self.buffer_of(value) for value in node.outputs),
                        definition.failure,
                        scratch,
                        origins,
                        definition.carried,
                    )
                ]
            case kernels.SymbolRead():
                return [SymbolStep(definition.symbol, self.contiguous(node.inputs[0]), origins)]
            case kernels.Check():
                return [CheckStep(self.contiguous(node.inputs[0]), definition.message, origins)]
            case kernels.Branch():
                return self._branch(node, definition)
            case kernels.WhileLoop():
                return self._while(node, definition)
            case kernels.ScanLoop():
                return self._scan(node, definition)
        raise OperatorError(f"{node.op} has no lowering")

    def _scatter(self, node: Node, definition: kernels.Scatter) -> list[Step]:
        """A loop that fills the base, then a serial one that combines the updates into it."""
        output = node.outputs[0]
        target = self.buffer_of(output)

        def leaf(value: Value, index: kernels.Index) -> kernels.Scalar:
            address = shapes.flatten_index(index, value.shape)
            return Element(value.dtype.compute, self.buffer_of(value), address)

        expander = Expander(self.definitions.of, self.plan.stored, leaf)
        index = loop_variables(output.shape)
        base = Store(
            target, shapes.flatten_index(index, output.shape), expander.scalar(definition.base(index))
        )
        position = loop_variables(definition.domain)
        place = tuple(expander.dim(dim) for dim in definition.target(position))
        update = Store(
            target,
            shapes.flatten_index(place, output.shape),
            expander.scalar(definition.value(position)),
            definition.combine,
            expander.scalar(definition.condition(position)) if definition.condition else None,
        )
        name = type(node.op).__name__.lower()
        return [
            _nest(f"{name}_base", index, output.shape, base, node),
            _nest(name, position, definition.domain, update, node, is_serial=True),
        ]

    # ---- control flow

    def _subgraph(self, graph: Graph, inputs: tuple[Buffer, ...]) -> tuple[tuple[Step, ...], list[Buffer]]:
        lowering = GraphLowering(graph, self.context, inputs)
        steps = lowering.run()
        return steps, [lowering.buffer_of(value) for value in graph.outputs]

    def _operands(self, node: Node) -> tuple[list[Step], tuple[Buffer, ...]]:
        """Inputs of a control-flow node as whole buffers, copied where they are only pieces of one."""
        steps: list[Step] = []
        buffers: list[Buffer] = []
        for value in node.inputs:
            view = self.contiguous(value)
            whole = view.offset == 0 and shapes.element_count(value.shape) == shapes.element_count(
                view.buffer.type.shape
            )
            if whole:
                buffers.append(view.buffer)
                continue
            copy = Buffer(self.context.unique(value.name), value.type, Space.ARENA)
            index = loop_variables(value.shape)
            address = shapes.flatten_index(index, value.shape)
            element = Element(value.dtype.compute, view.buffer, view.offset + address)
            steps.append(_nest("copy", index, value.shape, Store(copy, address, element), node))
            buffers.append(copy)
        return steps, tuple(buffers)

    def _branch(self, node: Node, definition: kernels.Branch) -> list[Step]:
        steps, (_, *operands) = self._operands(node)
        outputs = [self.buffer_of(value) for value in node.outputs]
        branches: list[tuple[Step, ...]] = []
        for graph in (definition.then, definition.otherwise):
            body, results = self._subgraph(graph, tuple(operands))
            copies = tuple(CopyStep(a, b) for a, b in zip(results, outputs, strict=True))
            branches.append((*body, *copies))
        condition = self.contiguous(node.inputs[0])
        return [*steps, BranchStep(condition, branches[0], branches[1])]

    def _carried(self, operands: tuple[Buffer, ...], outputs: list[Buffer]) -> list[Step]:
        return [CopyStep(a, b) for a, b in zip(operands, outputs) if a is not b]

    def _update(self, results: list[Buffer], outputs: list[Buffer]) -> tuple[Step, ...]:
        """Copies results over the carried buffers; all are read before any is written."""
        direct = not any(result in outputs for result in results)
        if direct:
            return tuple(CopyStep(a, b) for a, b in zip(results, outputs))
        saved = [Buffer(self.context.unique("carried"), b.type, Space.ARENA) for b in outputs]
        return (
            *(CopyStep(a, b) for a, b in zip(results, saved)),
            *(CopyStep(a, b) for a, b in zip(saved, outputs)),
        )

    def _while(self, node: Node, definition: kernels.WhileLoop) -> list[Step]:
        steps, operands = self._operands(node)
        carried = [self.buffer_of(value) for value in node.outputs]
        arguments = (*carried, *operands[definition.carried :])
        test, (condition,) = self._subgraph(definition.condition, arguments)
        body, results = self._subgraph(definition.body, arguments)
        update = self._update(results, carried)
        start = self._carried(operands[: definition.carried], carried)
        return [*steps, *start, WhileStep(test, _whole(condition), (*body, *update))]

    def _scan(self, node: Node, definition: kernels.ScanLoop) -> list[Step]:
        steps, operands = self._operands(node)
        count, scanned = definition.carried, definition.scanned
        outputs = [self.buffer_of(value) for value in node.outputs]
        carried, stacked = outputs[:count], outputs[count:]
        counter = Symbol(self.context.unique("step"), 0, shapes.INFINITY, None)
        position = shapes.of_atom(counter)
        body: list[Step] = []
        slices: list[Buffer] = []
        for graph_input, source in zip(
            definition.body.inputs[count : count + scanned], operands[count : count + scanned], strict=True
        ):
            piece = Buffer(self.context.unique(graph_input.name), graph_input.type, Space.ARENA)
            index = loop_variables(graph_input.shape)
            address = shapes.flatten_index(index, graph_input.shape)
            size = shapes.element_count(graph_input.shape)
            element = Element(graph_input.dtype.compute, source, position * size + address)
            body.append(_nest("slice", index, graph_input.shape, Store(piece, address, element), node))
            slices.append(piece)
        inner, results = self._subgraph(
            definition.body, (*carried, *slices, *operands[count + scanned :])
        )
        body.extend(inner)
        for result, target in zip(results[count:], stacked, strict=True):
            shape = result.type.shape
            index = loop_variables(shape)
            address = shapes.flatten_index(index, shape)
            element = Element(result.dtype.compute, result, address)
            store = Store(target, position * shapes.element_count(shape) + address, element)
            body.append(_nest("stack", index, shape, store, node))
        body.extend(self._update(results[:count], carried))
        start = self._carried(operands[:count], carried)
        loop = CountedStep(counter, definition.length, definition.reverse, tuple(body))
        return [*steps, *start, loop]


def _nest(
    name: str, index: kernels.Index, shape: Shape, store: Store, node: Node, is_serial: bool = False
) -> LoopKernel:
    """A kernel of one store over a loop per dimension."""
    loops = tuple(
        Loop(atom, size)
        for i, size in zip(index, shape)
        if isinstance(i, shapes.SymExpr) and isinstance(atom := shapes.atom_of(i), Symbol)
    )
    phase = Phase((), loops[-1:], (store,))
    return LoopKernel(name, loops[:-1], (phase,), (node.origin,), is_serial=is_serial)


def _merged_rows(left: StridedView, right: StridedView) -> StridedView | None:
    """The left operand as one matrix, where the right one is the same for the whole batch and rows follow on."""
    if len(left.shape) < 3 or any(stride != 0 for stride in right.strides[:-2]):
        return None
    size, stride = left.shape[-2], left.strides[-2]
    for outer, step in zip(reversed(left.shape[:-2]), reversed(left.strides[:-2])):
        if outer == 1:
            continue
        if size == 1:
            size, stride = outer, step
            continue
        if step != stride * size:
            return None
        size = size * outer
    return StridedView(left.buffer, left.offset, (size, left.shape[-1]), (stride, left.strides[-1]))


def _whole(buffer: Buffer) -> StridedView:
    shape = buffer.type.shape
    return StridedView(buffer, 0, shape, shapes.contiguous_strides(shape))


def _four(view: StridedView) -> StridedView:
    """Four dimensions: [batch, heads, rows, columns]."""
    missing = 4 - len(view.shape)
    assert missing >= 0, "attention was given one batch dimension"
    return StridedView(view.buffer, view.offset, (1,) * missing + view.shape, (0,) * missing + view.strides)


def _stretched(view: StridedView, shape: Shape) -> StridedView:
    """A view broadcast to a shape, with stride 0 where it is stretched."""
    missing = len(shape) - len(view.shape)
    strides = tuple(0 if size == 1 else stride for size, stride in zip(view.shape, view.strides))
    return StridedView(view.buffer, view.offset, shape, (0,) * missing + strides)


def _transposed(view: StridedView) -> StridedView:
    shape = (*view.shape[:-2], view.shape[-1], view.shape[-2])
    strides = (*view.strides[:-2], view.strides[-1], view.strides[-2])
    return StridedView(view.buffer, view.offset, shape, strides)


def _broadcast(view: StridedView, batch: Shape) -> StridedView:
    """Batch dimensions stretched to `batch`, with stride 0 where they are."""
    own = len(view.shape) - 2
    missing = len(batch) - own
    strides: list[Dim] = [0] * missing
    for size, stride in zip(view.shape[:own], view.strides[:own]):
        strides.append(0 if size == 1 else stride)
    return StridedView(
        view.buffer, view.offset, (*batch, *view.shape[own:]), (*strides, *view.strides[own:])
    )


__all__ = ["Epilogue", "lower"]

"""Graph -> Program: definitions, storage, fusion, then one step after the other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from .. import kernels
from ..ir import shapes
from ..ir.dtypes import DType
from ..ir.graph import Graph, Node, Origin, TensorType, Value
from ..ir.shapes import Shape
from ..ops.base import OperatorError
from .channels_last import carry_channels_last
from .choices import DEFAULT, Choices, Context
from .constant_operands import ConstantOperands
from .control_flow import lower_branch, lower_scan, lower_while
from .emit_loops import LoopEmitter
from .emit_products import EpilogueEmitter
from .expand import Definitions, Expander, loop_variables
from .group import Group, Grouping, Item, Single
from .loop_nest import nest
from .memory import plan_memory
from .program import (
    AttentionStep,
    Buffer,
    CallStep,
    CheckStep,
    ConvolutionStep,
    CopyStep,
    Element,
    Levels,
    ProductStep,
    Program,
    Space,
    Step,
    Store,
    StridedView,
    SymbolStep,
)  # fmt: skip
from .storage import StoragePlan, view_layout
from .strided import broadcast_batch, four_dimensional, merged_rows, stretched, transposed

_NOWHERE = Buffer("nowhere", TensorType(DType.UINT8, ()), Space.ARENA)


def lower(graph: Graph, choices: Choices = DEFAULT) -> Program:
    """The program that computes a graph."""
    context = Context(choices=choices)
    lowering = GraphLowering(graph, context, None)
    steps = lowering.run()
    return plan_memory(lowering.graph, steps, tuple(context.constants.values()))


class GraphLowering:
    """Lowers one graph: the program's, or one that a control-flow operator runs."""

    def __init__(self, graph: Graph, context: Context, inputs: tuple[Buffer, ...] | None) -> None:
        graph = carry_channels_last(graph, pads_rows=context.choices.packs_constants)
        self.graph = graph
        self.context = context
        self.is_program = inputs is None
        self.definitions = Definitions(graph)
        self.plan = StoragePlan(self.definitions, splits_keys=context.choices.splits_keys)
        self.constants = ConstantOperands(context, graph, self.plan)
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
                    for base in (
                        value,
                        self.plan.strided_base(value),
                        self.plan.contiguous_base(value),
                    ):
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
                return self.context.constant(value, constant.name)
            buffer = Buffer(self.context.unique(value.name), value.type, Space.ARENA)
            self.buffers[value] = buffer
        return buffer

    def subgraph(self, graph: Graph, inputs: tuple[Buffer, ...]) -> GraphLowering:
        """The lowering of a graph that a control-flow operator runs on these buffers."""
        return GraphLowering(graph, self.context, inputs)

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
                saved[value] = Buffer(
                    self.context.unique(f"{value.name}_saved"), value.type, Space.ARENA
                )
                self.steps.append(CopyStep(self.buffer_of(value), saved[value]))
        for changed, value in self.graph.mutations:
            if changed is not value:
                source = saved.get(value) or self.buffer_of(value)
                self.steps.append(CopyStep(source, self.buffer_of(changed)))

    # ---- groups

    def _is_needed(self, item: Item) -> Callable[[Value], bool]:
        def is_needed(value: Value) -> bool:
            if value in self._results or (
                value in self.buffers and self.buffers[value].space is Space.OUTPUT
            ):
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
        if emitter.has_long_rows() and not self.context.choices.keeps_rows:
            emitter = LoopEmitter(self.grouping, group, self.buffer_of, needed, has_locals=False)
        elif emitter.has_long_rows():
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
            left = transposed(left)
        if definition.right_transposed:
            right = transposed(right)
        batch = value.shape[:-2]
        left, right = broadcast_batch(left, batch), broadcast_batch(right, batch)
        rows, columns = value.shape[-2:]
        depth = left.shape[-1]
        dtype = self.context.choices.multiplied(value.dtype)
        merged = merged_rows(left, right)
        constant = self.constants.right(
            node.inputs[1],
            right,
            dtype,
            may_code=merged is not None or not batch,
            is_levels=definition.zero is not None,
        )
        left = replace(left, buffer=self.buffer_of(self.plan.strided_base(node.inputs[0])))
        levels: Levels | None = None
        if definition.zero is not None:
            assert constant is not None and constant.column_sums is not None, (
                "levels have packed weights"
            )
            levels = Levels(definition.zero, constant.column_sums)
        if constant is None:
            right = replace(right, buffer=self.buffer_of(self.plan.strided_base(node.inputs[1])))
        else:
            right = StridedView(constant.buffer, 0, right.shape, tuple(0 for _ in right.strides))
        row_shape: Shape = (rows,)
        if merged is not None:
            merged = replace(merged, buffer=left.buffer)
            # One tall product rather than a batch of short ones that read the same right operand.
            left, batch, row_shape = merged, (), (*batch, rows)
            right = StridedView(right.buffer, right.offset, right.shape[-2:], right.strides[-2:])
            rows = merged.shape[0]
        epilogue = EpilogueEmitter(
            self.grouping, group, self.buffer_of, self._is_needed(group)
        ).emit(batch, row_shape, (columns,))
        return ProductStep(
            "matmul", left, right, batch, rows, columns, depth, dtype, epilogue, self._origins(group),
            constant is not None, constant.coded if constant is not None else None,
            self.context.choices.tuned.cuts_of(
                dtype, batch, rows, columns, depth, constant is not None
            ) if constant is None or constant.coded is None else (),
            levels,
        )  # fmt: skip

    def _origins(self, group: Group) -> tuple[Origin, ...]:
        return tuple(self.definitions.node_of[m.value].origin for m in group.members)

    def _convolution(self, group: Group) -> ConvolutionStep:
        value = group.members[0].value
        node = self.definitions.node_of[value]
        definition = self.definitions.of[value]
        assert isinstance(definition, kernels.Convolution), "a convolution group"
        x, weight = node.inputs
        cut = value.type.rank - 1 if definition.channels_last else 2
        epilogue = EpilogueEmitter(
            self.grouping, group, self.buffer_of, self._is_needed(group)
        ).emit(value.shape[:1], value.shape[1:cut], value.shape[cut:])
        dtype = self.context.choices.multiplied(value.dtype)
        packed = self.constants.weight(weight, definition, value.shape, dtype)
        levels: Levels | None = None
        if definition.zero is not None:
            assert packed is not None, "levels have packed weights"
            levels = Levels(definition.zero, self.constants.channel_sums(weight))
        image = self.rows(x) if definition.channels_last else self.strided(x)
        return ConvolutionStep(
            "convolution", image, packed or self.contiguous(weight), definition, dtype, value.type,
            weight.type, epilogue, self._origins(group), packed is not None,
            packed is not None
            and self.context.choices.uses_winograd(dtype, weight.shape, definition, value.shape),
            levels,
        )  # fmt: skip

    def _attention(self, group: Group) -> AttentionStep:
        value = group.members[0].value
        node = self.definitions.node_of[value]
        definition = self.definitions.of[value]
        assert isinstance(definition, kernels.Attention), "an attention group"
        query, key, keyed, *mask = node.inputs
        *batch, queries, width = value.shape
        epilogue = EpilogueEmitter(
            self.grouping, group, self.buffer_of, self._is_needed(group)
        ).emit(tuple(batch), (queries,), (width,))
        scores = (*query.shape[:-1], key.shape[-2])
        keys, values = (
            [four_dimensional(self.rows(part)) for part in self.plan.parts(x)] for x in (key, keyed)
        )
        return AttentionStep(
            "attention", four_dimensional(self.rows(query)), keys[0], values[0],
            four_dimensional(stretched(self.strided(mask[0]), scores)) if mask else None, definition, value.dtype,
            epilogue, self._origins(group), (keys[1], values[1]) if len(keys) == 2 else None,
        )  # fmt: skip

    def rows(self, value: Value) -> StridedView:
        """An operand with contiguous rows over the memory it lies in."""
        found = self.plan.row_layout(value, *self.plan.rounded)
        if found is None:
            strides = shapes.contiguous_strides(value.shape)
            return StridedView(self.buffer_of(value), 0, value.shape, strides)
        base, offset, row_strides = found
        return StridedView(self.buffer_of(base), offset, value.shape, row_strides)

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
                return lower_branch(self, node, definition)
            case kernels.WhileLoop():
                return lower_while(self, node, definition)
            case kernels.ScanLoop():
                return lower_scan(self, node, definition)
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
            target,
            shapes.flatten_index(index, output.shape),
            expander.scalar(definition.base(index)),
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
            nest(f"{name}_base", index, output.shape, base, node),
            nest(name, position, definition.domain, update, node, is_serial=True),
        ]

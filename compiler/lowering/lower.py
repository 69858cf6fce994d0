"""Graph -> Program: definitions, storage, fusion, then one step after the other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from .. import kernels
from ..ir import shapes
from ..ir.dtypes import DType
from ..ir.graph import Graph, Node, Origin, TensorType, Value
from ..ir.shapes import Dim, Shape
from ..ops.base import OperatorError
from .channels_last import carry_channels_last
from .control_flow import lower_branch, lower_scan, lower_while
from .emit_loops import LoopEmitter
from .emit_products import EpilogueEmitter
from .expand import Definitions, Expander, loop_variables
from .group import Group, Grouping, Item, Single
from .loop_nest import nest
from .memory import plan_memory
from .packing import (
    bf16_size,
    conv_pairs_size,
    conv_weight_size,
    is_depthwise,
    panels_size,
    suits_winograd,
)
from .program import (
    AttentionStep,
    Buffer,
    CallStep,
    CheckStep,
    ConvolutionStep,
    CopyStep,
    Element,
    PackedConstant,
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


@dataclass(slots=True)
class Context:
    """What all graphs of one program share: constants that were packed, names that were given."""

    constants: dict[tuple[object, ...], tuple[Buffer, PackedConstant]] = field(default_factory=dict)
    names: dict[str, int] = field(default_factory=dict)
    packs_constants: bool = True

    def constant(
        self, value: Value, name: str, array_type: TensorType, layout: str = "plain"
    ) -> Buffer:
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


def lower(graph: Graph, *, packs_constants: bool = True) -> Program:
    """The program that computes a graph.

    packs_constants: whether operands take the layouts of the CPU's kernels: constant ones of products go into
    the artefact as `packing.py` lays them out, and images have their channels last (`channels_last.py`).
    """
    context = Context(packs_constants=packs_constants)
    lowering = GraphLowering(graph, context, None)
    steps = lowering.run()
    return plan_memory(lowering.graph, steps, tuple(context.constants.values()))


class GraphLowering:
    """Lowers one graph: the program's, or one that a control-flow operator runs."""

    def __init__(self, graph: Graph, context: Context, inputs: tuple[Buffer, ...] | None) -> None:
        if context.packs_constants:
            graph = carry_channels_last(graph)
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
                return self.context.constant(value, constant.name, value.type)
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
            left = transposed(left)
        if definition.right_transposed:
            right = transposed(right)
        batch = value.shape[:-2]
        left, right = broadcast_batch(left, batch), broadcast_batch(right, batch)
        rows, columns = value.shape[-2:]
        depth = left.shape[-1]
        packed = self._packed_right(node.inputs[1], right, depth, columns)
        left = replace(left, buffer=self.buffer_of(self.plan.strided_base(node.inputs[0])))
        if packed is None:
            right = replace(right, buffer=self.buffer_of(self.plan.strided_base(node.inputs[1])))
        row_shape: Shape = (rows,)
        if (merged := merged_rows(left, right)) is not None:
            # One tall product rather than a batch of short ones that read the same right operand.
            left, batch, row_shape = merged, (), (*batch, rows)
            right = StridedView(right.buffer, right.offset, right.shape[-2:], right.strides[-2:])
            rows = merged.shape[0]
            packed = packed and StridedView(packed.buffer, 0, right.shape, (0, 0))
        epilogue = EpilogueEmitter(
            self.grouping, group, self.buffer_of, self._is_needed(group)
        ).emit(batch, row_shape, (columns,))
        return ProductStep(
            "matmul", left, packed or right, batch, rows, columns, depth, value.dtype, epilogue,
            self._origins(group), packed is not None,
        )  # fmt: skip

    def _origins(self, group: Group) -> tuple[Origin, ...]:
        return tuple(self.definitions.node_of[m.value].origin for m in group.members)

    def _packed_right(
        self, value: Value, view: StridedView, depth: Dim, columns: Dim
    ) -> StridedView | None:
        """A constant right operand, packed into panels when the program is built."""
        source = self.plan.strided_base(value)
        if (
            not self.context.packs_constants
            or source not in self.graph.constants
            or not (isinstance(depth, int) and isinstance(columns, int))
        ):
            return None
        if value.dtype not in (DType.FLOAT32, DType.FLOAT64, DType.BFLOAT16, DType.FLOAT16):
            return None
        if any(stride != 0 for stride in view.strides[:-2]) or not isinstance(view.offset, int):
            return None
        row, column = view.strides[-2:]
        is_pairs = value.dtype is DType.BFLOAT16
        size = bf16_size(columns, depth) if is_pairs else panels_size(depth, columns)
        kind = "pairs" if is_pairs else "panels"
        layout = f"{kind}:{view.offset}:{row}:{column}:{depth}:{columns}"
        panels = TensorType(value.dtype, (size,))
        buffer = self.context.constant(
            source, f"{self.graph.constants[source].name}.panels", panels, layout
        )
        return StridedView(buffer, 0, view.shape, (*(0 for _ in view.strides[:-2]), 0, 0))

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
        packed = self._packed_weight(weight, definition, value.shape)
        image = self.rows(x) if definition.channels_last else self.strided(x)
        return ConvolutionStep(
            "convolution", image, packed or self.contiguous(weight), definition, value.type,
            weight.type, epilogue, self._origins(group), packed is not None,
        )  # fmt: skip

    def _packed_weight(
        self, weight: Value, attributes: kernels.Convolution, output: Shape
    ) -> StridedView | None:
        """A constant weight, packed when the program is built; what has no kernel of its own type is
        widened there too.
        """
        source = self.plan.contiguous_base(weight)
        if not self.context.packs_constants or source not in self.graph.constants:
            return None
        if source.shape != weight.shape:
            return None
        sizes = tuple(size for size in weight.shape if isinstance(size, int))
        groups = attributes.groups
        if weight.dtype is DType.FLOAT32 and suits_winograd(sizes, attributes, output):
            layout = "convolution_winograd"
            packed = TensorType(weight.dtype, (36 * sizes[0] * sizes[1],))
        elif weight.dtype is DType.BFLOAT16 and not is_depthwise(sizes, groups):
            layout = "convolution_pairs"
            packed = TensorType(weight.dtype, (conv_pairs_size(sizes, groups),))
        else:
            layout = "convolution"
            packed = TensorType(weight.dtype.compute, (conv_weight_size(sizes, groups),))
        name = f"{self.graph.constants[source].name}.packed"
        buffer = self.context.constant(source, name, packed, f"{layout}:{groups}")
        return StridedView(buffer, 0, weight.shape, shapes.contiguous_strides(weight.shape))

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
        return AttentionStep(
            "attention", four_dimensional(self.rows(query)), four_dimensional(self.rows(key)),
            four_dimensional(self.rows(keyed)),
            four_dimensional(stretched(self.strided(mask[0]), scores)) if mask else None, definition, value.dtype,
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

"""Programs of the same meaning under other names, in another order, with other metadata."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace

from castoff.compiler.exported import ExportedProgram
from castoff.compiler.exported import schema as s
from castoff.compiler.exported.arguments import input_names, names_in, output_names, renamed
from castoff.compiler.exported.effects import order_constraints


def scrambled(program: ExportedProgram, seed: int) -> ExportedProgram:
    """The program with new names for its values, subgraphs and symbols, its nodes in a random order
    that its effects allow, its inputs and outputs mixed across kinds, and without metadata."""
    dice = random.Random(seed)
    signature = program.graph_signature
    inputs = _interleaved(
        list(zip(signature.input_specs, program.graph.inputs, strict=True)),
        dice,
        lambda pair: isinstance(pair[0], (s.UserInput, s.ConstantInput)),
    )
    outputs = _interleaved(
        list(zip(signature.output_specs, program.graph.outputs, strict=True)),
        dice,
        lambda pair: isinstance(pair[0], (s.UserOutput, s.LossOutput)),
    )
    graph = replace(
        program.graph,
        inputs=tuple(argument for _, argument in inputs),
        outputs=tuple(argument for _, argument in outputs),
    )
    symbols = _Symbols(dice)
    graph, names = _graph(graph, dice, symbols, [spec for spec, _ in inputs])
    return replace(
        program,
        graph=graph,
        graph_signature=s.GraphSignature(
            tuple(_spec(spec, names) for spec, _ in inputs),
            tuple(_spec(spec, names) for spec, _ in outputs),
        ),
        state_dict=_shuffled(program.state_dict, dice),
        constants=_shuffled(program.constants, dice),
        range_constraints={
            symbols.names.get(name, name): bounds
            for name, bounds in program.range_constraints.items()
        },
        module_call_graph=tuple(
            entry
            if entry.signature is None
            else replace(
                entry,
                signature=replace(
                    entry.signature,
                    inputs=tuple(renamed(a, _known(names)) for a in entry.signature.inputs),
                    outputs=tuple(renamed(a, _known(names)) for a in entry.signature.outputs),
                ),
            )
            for entry in program.module_call_graph
        ),
        torch_version=f"2.{seed}",
        metadata={"seed": str(seed)},
        example_inputs=None,
        inputs_record=None,
    )


class _Symbols:
    def __init__(self, dice: random.Random) -> None:
        self._dice = dice
        self.names: dict[str, str] = {}

    def __call__(self, value: object) -> object:
        if isinstance(value, s.TensorMeta):
            return replace(
                value,
                sizes=tuple(map(self, value.sizes)),
                strides=tuple(map(self, value.strides)),
                storage_offset=self(value.storage_offset),
            )
        if not isinstance(value, s.SymExpr):
            return value
        parts = value.expr_str.split("Symbol('")
        for index in range(1, len(parts)):
            name, _, rest = parts[index].partition("'")
            if name not in self.names:
                number = len(self.names) + 100 * self._dice.randrange(9)
                self.names[name] = f"{name.rstrip('0123456789')}{number}"
            parts[index] = f"{self.names[name]}'{rest}"
        return s.SymExpr("Symbol('".join(parts), self._dice.choice([None, 7]))


def _graph(
    graph: s.Graph, dice: random.Random, symbols: _Symbols, specs: list[s.InputSpec]
) -> tuple[s.Graph, dict[str, str]]:
    names: dict[str, str] = {}

    def add(name: str) -> None:
        names[name] = f"n{dice.randrange(1 << 20)}_{len(names)}"

    for place, argument in enumerate(graph.inputs):
        spec = specs[place] if specs else None
        for name in [spec.name] if isinstance(spec, s.ConstantInput) else names_in(argument):
            add(name)
    for node in graph.nodes:
        for name in output_names(node):
            add(name)
    known = _known(names)
    nodes = []
    for index in _random_order(graph, dice):
        node = graph.nodes[index]
        given = tuple(
            replace(
                each,
                arg=s.AsGraph(
                    f"g{dice.randrange(99)}_{place}", _graph(each.arg.graph, dice, symbols, [])[0]
                )
                if isinstance(each.arg, s.AsGraph)
                else renamed(each.arg, known),
            )
            for place, each in enumerate(node.inputs)
        )
        nodes.append(
            replace(
                node,
                inputs=given,
                outputs=tuple(renamed(argument, known) for argument in node.outputs),
                metadata={"stack_trace": str(dice.random())},
                name=f"node{index}",
            )
        )
    return (
        replace(
            graph,
            inputs=tuple(renamed(argument, known) for argument in graph.inputs),
            outputs=tuple(renamed(argument, known) for argument in graph.outputs),
            nodes=tuple(nodes),
            tensor_values=_values(graph.tensor_values, names, symbols, dice),
            sym_int_values=_values(graph.sym_int_values, names, symbols, dice),
            sym_bool_values=_values(graph.sym_bool_values, names, symbols, dice),
            sym_float_values=_values(graph.sym_float_values, names, symbols, dice),
            custom_obj_values={
                known(name): replace(value, name=known(name))
                for name, value in graph.custom_obj_values.items()
            },
        ),
        names,
    )


def _random_order(graph: s.Graph, dice: random.Random) -> list[int]:
    before = [set(earlier) for earlier in order_constraints(graph)]
    producers = {n: index for index, node in enumerate(graph.nodes) for n in output_names(node)}
    for index, node in enumerate(graph.nodes):
        before[index].update(producers[name] for name in input_names(node) if name in producers)
    order: list[int] = []
    waiting = set(range(len(graph.nodes)))
    done: set[int] = set()
    while waiting:
        # A few candidates suffice: looking at all of them would take quadratic time.
        candidates = []
        for index in sorted(waiting):
            if before[index] <= done:
                candidates.append(index)
                if len(candidates) == 5:
                    break
        chosen = dice.choice(candidates)
        order.append(chosen)
        waiting.discard(chosen)
        done.add(chosen)
    return order


def _values(values, names, symbols, dice):  # type: ignore[no-untyped-def]
    return _shuffled({names.get(n, n): symbols(value) for n, value in values.items()}, dice)


def _known(names: Mapping[str, str]):  # type: ignore[no-untyped-def]
    return lambda name: names.get(name, name)


def _spec(spec, names):  # type: ignore[no-untyped-def]
    known = _known(names)
    if isinstance(spec, (s.UserInput, s.UserOutput)):
        return replace(spec, arg=renamed(spec.arg, known))
    if isinstance(spec, s.CustomObjectInput):
        return replace(spec, arg=replace(spec.arg, name=known(spec.arg.name)))
    if isinstance(spec, (s.UserInputMutation, s.GradientToUserInput)):
        return replace(spec, name=known(spec.name), user_input_name=known(spec.user_input_name))
    return replace(spec, name=known(spec.name))


def _interleaved(pairs, dice, keeps_place):  # type: ignore[no-untyped-def]
    """The pairs in random order, those that keep their place among one another in theirs."""
    kept = [pair for pair in pairs if keeps_place(pair)]
    others = [pair for pair in pairs if not keeps_place(pair)]
    dice.shuffle(others)
    marks = [True] * len(kept) + [False] * len(others)
    dice.shuffle(marks)
    return [kept.pop(0) if mark else others.pop(0) for mark in marks]


def _shuffled(values, dice):  # type: ignore[no-untyped-def]
    items = list(values.items())
    dice.shuffle(items)
    return dict(items)

"""`ExportedProgram` -> `ImportedProgram`: a functional, typed graph, and how it is called."""

from __future__ import annotations

import json

from ...runtime.treespec import containers, is_unknown, parse_treespec, unknown_container
from ..errors import CompileError, UnsupportedOperatorError
from ..exported import schema
from ..exported.program import ExportedProgram
from ..exported.symbols import parse_guards
from ..ir.graph import Graph, Guard, Value
from ..ops import load_all
from ..ops.base import OperatorError
from ..ops.random_streams import RandomStreams
from .functionalize import ImportBuilder
from .guards import guard_of, guard_text, leaf_paths, refuse_unknown_guards
from .nodes import import_nodes
from .program import ImportedProgram
from .scope import ImportContext, Scope
from .signature import Inputs, bind_inputs, collect_outputs
from .symbols import SymbolTable


def import_program(
    program: ExportedProgram, *, remove_runtime_assertions: bool = False, random_seed: int = 0
) -> ImportedProgram:
    """The program as a graph of primitives; in-place operators, views and wrappers are gone.

    Raises `UnsupportedOperatorError`, which names every operator that cannot be compiled, and
    `CompileError` for programs whose signature has no meaning here.
    """
    load_all()
    _check_containers(program)
    context = ImportContext(
        SymbolTable(program.range_constraints),
        random=RandomStreams(random_seed),
        remove_runtime_assertions=remove_runtime_assertions,
    )
    context.names.taken.update(program.range_constraints)
    scope = Scope(
        context, ImportBuilder(context.names, context.random), program.graph, is_root=True
    )
    inputs = bind_inputs(program, scope)
    context.guards.extend(_recorded_guards(program, scope, inputs))
    import_nodes(scope)
    if context.unsupported:
        raise UnsupportedOperatorError(context.unsupported)
    try:
        return _finish(program, scope, inputs)
    except OperatorError as error:
        raise CompileError(f"outputs of the program: {error}") from error


def _check_containers(program: ExportedProgram) -> None:
    """Raise `CompileError` where a call takes or gives a container that nobody has made known, or takes
    no arguments and keyword arguments."""
    entry = program.call_entry
    if entry is None or entry.signature is None:
        return
    fields = program.treespec_namedtuple_fields
    taken = parse_treespec(entry.signature.in_spec, fields)
    if [child.kind for child in taken.children] != ["tuple", "dict"]:
        raise CompileError(
            "the program's in_spec is no pair of a tuple of arguments and a dict of keyword arguments"
        )
    for tree in (taken, parse_treespec(entry.signature.out_spec, fields)):
        for node in containers(tree):
            if is_unknown(node):
                raise CompileError(str(unknown_container(node)))


def _finish(program: ExportedProgram, scope: Scope, inputs: Inputs) -> ImportedProgram:
    outputs = collect_outputs(program, scope, inputs)
    written = {
        ref.storage.initial for ref in inputs.state.tensors.values() if ref.storage.is_written
    }
    constants = {**inputs.constants, **scope.builder.constants}
    graph = Graph(
        name="main",
        inputs=tuple(inputs.values),
        outputs=tuple(outputs.values),
        nodes=tuple(scope.builder.nodes),
        constants={v: c for v, c in constants.items() if v not in written},
        buffers={v: c for v, c in constants.items() if v in written},
        mutations=tuple(_mutations(inputs)),
        symbols=tuple(binding.symbol for binding in inputs.bindings),
        bindings=inputs.bindings,
        guards=tuple(scope.context.guards),
    )
    entry = program.call_entry
    signature = entry.signature if entry is not None else None
    return ImportedProgram(
        graph=graph,
        in_spec=signature.in_spec if signature else "",
        out_spec=_out_spec(program),
        forward_arg_names=signature.forward_arg_names if signature else None,
        inputs=tuple(inputs.leaves),
        outputs=tuple(outputs.leaves),
        mutated_inputs=tuple(
            leaf for leaf, ref in inputs.user_tensors.items() if ref.storage.is_written
        ),
        mutated_buffers=tuple(
            name for name, ref in inputs.state.tensors.items() if ref.storage.is_written
        ),
        namedtuple_fields=program.treespec_namedtuple_fields,
        schema_version=(program.schema_version.major, program.schema_version.minor),
        torch_version=program.torch_version,
    )


_GRADIENTS = (schema.GradientToParameter, schema.GradientToUserInput)


def _out_spec(program: ExportedProgram) -> str:
    """The containers of a result.

    The file says how the results of the source's forward lie. What a graph of training gives beside them has no
    place there, so that such a program gives one tuple: the results, then the gradients.
    """
    entry = program.call_entry
    if entry is None or entry.signature is None:
        return ""
    specs = program.graph_signature.output_specs
    if not any(isinstance(spec, _GRADIENTS) for spec in specs):
        return entry.signature.out_spec
    given = (schema.UserOutput, schema.LossOutput, *_GRADIENTS)
    leaf: dict[str, object] = {"type": None, "context": None, "children_spec": []}
    leaves = [leaf for spec in specs if isinstance(spec, given)]
    root = {"type": "builtins.tuple", "context": "null", "children_spec": leaves}
    return json.dumps([1, root])


def _mutations(inputs: Inputs) -> list[tuple[Value, Value]]:
    refs = list(inputs.state.tensors.values()) + list(inputs.user_tensors.values())
    storages = dict.fromkeys(ref.storage for ref in refs if ref.storage.is_written)
    return [(storage.initial, storage.value) for storage in storages]


def _recorded_guards(program: ExportedProgram, scope: Scope, inputs: Inputs) -> list[Guard]:
    """The conditions on inputs that the exporter wrote down; those about other things than sizes
    are dropped.

    Raises `CompileError` for a condition that cannot be checked.
    """
    entry = program.call_entry
    if entry is None or entry.signature is None:
        return []
    signature = entry.signature
    tree = parse_treespec(signature.in_spec, program.treespec_namedtuple_fields)
    paths = leaf_paths(tree, signature.forward_arg_names or ())
    table = scope.context.symbols
    table.guard_inputs = {
        path: inputs.leaf_value(leaf, scope)
        for path, leaf in paths.items()
        if leaf < len(inputs.leaves)
    }
    parsed = parse_guards(program.guards_code)
    refuse_unknown_guards(parsed.unparsed)
    guards = []
    for guard in parsed.guards:
        built = guard_of(table, guard.condition, guard_text(guard.text))
        if built is not None:
            guards.append(built)
    return guards


__all__ = ["import_program"]

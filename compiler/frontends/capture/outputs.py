"""What a captured function gives back and what it changed, as the outputs of its graph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field

import numpy as np

from ...errors import CaptureError
from ...exported import schema
from ...records import dataclass
from .array import TracedArray, tensor_of
from .conversion import as_array
from .pytrees import leaves_of
from .recorder import Recorder
from .sizes import SymbolicInt
from .state import CapturedState


@dataclass(slots=True)
class Outputs:
    """The outputs of a graph, beside what each is."""

    arguments: list[schema.Argument] = field(default_factory=list)
    specs: list[schema.OutputSpec] = field(default_factory=list)


def finished_graph(
    recorder: Recorder,
    result: object,
    inputs: Sequence[tuple[str, TracedArray]],
    state: CapturedState,
) -> Outputs:
    """Outputs for the state and the arguments that were changed, then those of the result."""
    outputs = Outputs()
    stored: set[str] = set()
    for spec, name in [*state.mutations(), *_changed_inputs(inputs)]:
        outputs.specs.append(spec)
        outputs.arguments.append(schema.AsTensor(name))
        stored.add(name)
    own = stored | {spec.name for spec, _ in state.inputs if not isinstance(spec, _UNNAMED)}
    for path, leaf in leaves_of(result):
        argument = _output(recorder, leaf, own, path)
        outputs.specs.append(schema.UserOutput(argument))
        outputs.arguments.append(argument)
    return outputs


_UNNAMED = (schema.UserInput, schema.CustomObjectInput)


def _changed_inputs(
    inputs: Sequence[tuple[str, TracedArray]],
) -> list[tuple[schema.OutputSpec, str]]:
    """NumPy changes arguments in place, and so does the program."""
    changed: list[tuple[schema.OutputSpec, str]] = []
    for input_name, array in inputs:
        memory = array._reference.memory
        if memory.version:
            name = memory.tensor.name
            changed.append((schema.UserInputMutation(name, input_name), name))
    return changed


def _output(recorder: Recorder, leaf: object, own: set[str], path: str) -> schema.Argument:
    if isinstance(leaf, (np.ndarray, np.generic)):
        leaf = as_array(recorder, np.asarray(leaf)).copy()
    match leaf:
        case TracedArray():
            tensor = tensor_of(leaf)
            if tensor.name in own:  # state keeps its memory to itself
                tensor = recorder.record("clone.default", self=tensor)
            return schema.AsTensor(tensor.name)
        case SymbolicInt(dim=dim):
            name = recorder.writer.sizes.argument(dim)
            return schema.AsSymInt(name)
        case None:
            return schema.AsNone()
        case bool():
            return schema.AsBool(leaf)
        case int():
            return schema.AsInt(leaf)
        case float():
            return schema.AsFloat(leaf)
        case str():
            return schema.AsString(leaf)
    raise CaptureError(
        f"the result{path.replace('_', ' ')} is of type {type(leaf).__name__}; a program gives back arrays, "
        "numbers, texts, None and containers of them"
    )

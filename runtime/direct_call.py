"""The way of most calls: straight-line Python, written for one program when it is loaded.

A loop over the inputs and one over the outputs would cost as much again as what is in them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import numpy as np

from ._abi_cdef import ffi
from .callspec import TreeNode, Unflatten
from .library import CData
from .plan import Key, Plan

# Takes the runner, which it must not keep alive, and the leaves of the arguments; gives the result.
DirectCall = Callable[[Any, Sequence[Any]], object]

# For two inputs and one output, `x0, x1` and so on are what is said in its name.
_SOURCE = """\
def call(runner, leaves):
    try:
        ({leaves}) = leaves
        stack = plans[({shapes})]
        if not ({are_plain}):
            return runner._call_generally(leaves)
        plan = stack.pop()
    except (AttributeError, IndexError, KeyError, TypeError):
        return runner._call_generally(leaves)
    ({structures}) = plan.direct
    try:
        {bind_inputs}
    except (BufferError, ValueError):
        stack.append(plan)
        return runner._call_generally(leaves)
    {bind_outputs}
    status = run(handle, structures)
    stack.append(plan)
    if status:
        raise runner._refusal(status, leaves)
    return {result}
"""


def make_direct_call(
    inputs: Sequence[np.dtype[Any]],
    outputs: Sequence[np.dtype[Any]],
    out_tree: TreeNode,
    unflatten: Unflatten,
    plans: Mapping[Key, list[Plan]],
    run: Callable[[CData, CData], int],
    handle: CData,
) -> DirectCall:
    """Calls a program whose leaves are its inputs, in order, and whose results are its outputs.

    `inputs` and `outputs` are the dtypes of their elements. What is no plain array that can be read
    where it lies, and shapes for which `plans` has no free plan, are left to the runner's general
    way, before anything ran.
    """
    names = {
        "empty": np.empty,
        "from_buffer": ffi.from_buffer,
        "handle": handle,
        "ndarray": np.ndarray,
        "plans": plans,
        "run": run,
        "unflatten": unflatten,
    }
    names |= {f"input_dtype{i}": dtype for i, dtype in enumerate(inputs)}
    names |= {f"output_dtype{i}": dtype for i, dtype in enumerate(outputs)}
    exec(_source(len(inputs), len(outputs), out_tree), names)  # counts decide all of its text
    return cast(DirectCall, names["call"])


def _source(input_count: int, output_count: int, out_tree: TreeNode) -> str:
    inputs, outputs = range(input_count), range(output_count)
    tests = [f"type(x{i}) is ndarray and x{i}.dtype is input_dtype{i}" for i in inputs]
    structures = [f"input{i}" for i in inputs]
    bind_inputs = [f"input{i}.data = from_buffer(x{i})" for i in inputs]
    bind_outputs = []
    for i in outputs:
        structures += [f"output{i}", f"shape{i}"]
        bind_outputs += [
            f"result{i} = empty(shape{i}, output_dtype{i})",
            f"output{i}.data = from_buffer(result{i})",
        ]
    results = "".join(f"result{i}, " for i in outputs)
    if out_tree.kind == "leaf":
        result = "result0"
    elif out_tree.kind == "tuple" and all(child.kind == "leaf" for child in out_tree.children):
        result = f"({results})"
    else:
        result = f"unflatten(({results}))"
    return _SOURCE.format(
        leaves="".join(f"x{i}, " for i in inputs),
        shapes="".join(f"x{i}.shape, " for i in inputs),
        are_plain=" and ".join(tests) or "True",
        structures=", ".join([*structures, "structures"]) + ",",
        bind_inputs="\n        ".join(bind_inputs) or "pass",
        bind_outputs="\n    ".join(bind_outputs),
        result=result,
    )

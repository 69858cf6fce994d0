"""What the steps of a program did: for artefacts that were built with the option `profile`."""

from __future__ import annotations

from typing import NamedTuple

from ._abi_cdef import ffi
from .errors import ArtefactError
from .instance import Instance

_CAPACITY = 65536


class StepRun(NamedTuple):
    """One run of one step.

    `number` is its place in `manifest.steps`, `begin_ns` and `end_ns` are of a clock that never
    goes back, `size_bytes` is what the step has to read and write at least, `operations` are
    additions, multiplications and functions of floating-point elements.
    """

    number: int
    begin_ns: int
    end_ns: int
    size_bytes: int
    operations: int


def take_steps(instance: Instance) -> list[StepRun]:
    """The steps that ran in this process since they were last taken, the oldest first.

    The first 65536 are kept. Raises ArtefactError where the artefact keeps none.
    """
    if not instance.manifest.steps:
        raise ArtefactError(
            f"{instance.path} does not time its steps: compile it with the option profile"
        )
    steps = ffi.new("castoff_step[]", _CAPACITY)
    count = instance._api.take_steps(steps, _CAPACITY)
    return [
        StepRun(step.number, step.begin_ns, step.end_ns, step.size_bytes, step.operations)
        for step in steps[0:count]
    ]

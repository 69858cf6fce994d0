"""Exports one model into a case folder: python -m bench.prepare NAME FOLDER. Needs torch."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from .case import Work, write_case
from .models import Inputs, Subject, make_subject


def prepare(name: str, folder: Path) -> None:
    """Exports the named model and writes it with its inputs and eager float32 answers."""
    made = make_subject(name)
    program = exported(made.program, made)
    float32 = exported(made.module, made) if made.program is not made.module else b""
    all_inputs = made.calls or (made.example,)
    with torch.inference_mode():
        all_answers = [answers(made.module, inputs) for inputs in all_inputs]
    calls = [
        ([value.numpy() for value in inputs], [value.numpy() for value in wanted])
        for inputs, wanted in zip(all_inputs, all_answers, strict=True)
    ]
    work = least_work(made.module, all_inputs[0], all_answers[0])
    write_case(folder, program, calls, work, made.terms, float32)


def exported(module: torch.nn.Module, made: Subject) -> bytes:
    """The module as a `.pt2`."""
    with torch.no_grad():
        program = torch.export.export(module, made.example, dynamic_shapes=made.dynamic_shapes)
        buffer = io.BytesIO()
        torch.export.save(program, buffer)
    return buffer.getvalue()


def least_work(module: torch.nn.Module, inputs: Inputs, wanted: Inputs) -> Work:
    """What a call has to do at least. Every weight is counted as read once: of an embedding that is
    more than the call reads, so those do not count.
    """
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(*inputs)
    tables = {id(part.weight) for part in module.modules() if isinstance(part, torch.nn.Embedding)}
    weights = [value for value in module.parameters() if id(value) not in tables]
    size_bytes = sum(value.nbytes for value in (*weights, *inputs, *wanted))
    return Work(counter.get_total_flops(), size_bytes)


def answers(module: torch.nn.Module, inputs: Inputs) -> Inputs:
    """What the module gives, as a flat tuple."""
    result = module(*inputs)
    return (result,) if isinstance(result, torch.Tensor) else tuple(result)


if __name__ == "__main__":
    prepare(sys.argv[1], Path(sys.argv[2]))

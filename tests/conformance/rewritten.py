"""Writes the programs of the corpus again: `python -m tests.conformance.rewritten --way saved`.

    form       without torch: load, save, load gives an equal program, saving twice equal bytes, and
               the program under other names and in another order has the same canonical file
    saved      what `castoff.save` writes opens in PyTorch and gives the answers of the original
    canonical  so does the canonical form
    decomposed so does `run_decompositions()`, within the tolerances of the case

Every case has to pass but those that PyTorch itself does not open or run.
"""

from __future__ import annotations

import argparse
import io
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from castoff.compiler.exported import ExportedProgram, load_program, program_bytes

from ..exported.scramble import scrambled
from .compare import differences
from .corpus import FAMILIES, Box, Case, Family, Point, find_corpus
from .run import matching
from .workers import run_tasks

NOT_IN_TORCH = "PyTorch does not run the original"
_SEED = 7


def check_form(case: Case) -> str | None:
    """What is wrong with how a program is written; None where nothing is."""
    program = load_program(case.program)
    saved = program_bytes(program)
    back = load_program(saved)
    for part in (
        *("graph", "graph_signature", "module_call_graph", "range_constraints"),
        *("guards_code", "dialect", "opset_version", "treespec_namedtuple_fields", "extra_files"),
    ):
        # Texts are compared: a NaN is unequal to itself.
        if repr(getattr(back, part)) != repr(getattr(program, part)):
            return f"{part} changed when it was saved"
    for part in ("state_dict", "constants"):
        if _tensors(getattr(back, part)) != _tensors(getattr(program, part)):
            return f"{part} changed when it was saved"
    if program_bytes(back) != saved:
        return "saving it again gave other bytes"
    if back.digest() != program.digest():
        return "its canonical form changed when it was saved"
    if scrambled(program, len(case.name)).digest() != program.digest():
        return "the canonical form depends on names or order"
    return None


def _tensors(values: Mapping[str, Any]) -> list[tuple[object, ...]]:
    """All that tells tensors from one another."""
    return [
        (
            *(name, value.dtype, value.array.shape, value.strides_elements, value.array.tobytes()),
            *(value.storage_offset_elements, value.requires_grad, value.is_parameter, value.device),
        )
        if hasattr(value, "array")
        else (name, bytes(value.payload or b""))
        for name, value in values.items()
    ]


# --- In PyTorch --------------------------------------------------------------------------------


def _saved(program: ExportedProgram) -> bytes:
    return program_bytes(program)


def _canonical(program: ExportedProgram) -> bytes:
    return program_bytes(program, canonical=True)


def _decomposed(program: ExportedProgram) -> bytes:
    return program_bytes(program.run_decompositions())


REWRITES: Mapping[str, Callable[[ExportedProgram], bytes]] = {
    "saved": _saved,
    "canonical": _canonical,
    "decomposed": _decomposed,
}
WAYS = ("form", *REWRITES)


def prepare_torch() -> None:
    """Make the containers of the corpus known to PyTorch."""
    import torch

    if "corpus_types" in sys.modules:
        return
    home = sys.modules["corpus_types"] = ModuleType("corpus_types")
    home.Point, home.Box = Point, Box  # type: ignore[attr-defined]
    pytree = torch.utils._pytree
    pytree._register_namedtuple(Point, serialized_type_name="corpus.Point")
    torch.export.register_dataclass(Box, serialized_type_name="corpus.Box")


def check_in_torch(case: Case, way: str) -> str | None:
    """Whether what castoff writes gives the answers that the original gives, on each call."""
    try:
        want = _answers(case.program, case)
    except Exception as error:
        return f"{NOT_IN_TORCH}: {type(error).__name__}: {error}".splitlines()[0]
    written = REWRITES[way](load_program(case.program))
    got = _answers(written, case)
    rtol, atol = (case.rtol, case.atol) if way == "decomposed" else (0.0, 0.0)
    return next(iter(differences(got, want, rtol, atol)), None)


def _answers(program: bytes, case: Case) -> list[Any]:
    """Results of each call, and what it left in its arguments, as arrays."""
    import torch

    torch.set_num_threads(1)
    module = None
    found: list[Any] = []
    for call in case.calls:
        if module is None or not case.stateful:
            module = torch.export.load(io.BytesIO(program)).module()
        torch.manual_seed(_SEED)
        args, kwargs = to_torch(call.args), to_torch(call.kwargs)
        try:
            result = module(*args, **kwargs)
        except Exception:
            if call.raises is None:
                raise
            found.append("refused")  # which of two reasons comes first is not promised
            continue
        found.append([_leaves(result), _leaves(args), _leaves(kwargs)])
    return found


def to_torch(value: Any) -> Any:
    """Arguments of a case with tensors of PyTorch for its arrays."""
    import torch

    def leaf(item: Any) -> Any:
        if not isinstance(item, np.ndarray):
            return item
        name = item.dtype.name
        if hasattr(np, name) or name == "bool":
            return torch.from_numpy(np.require(item, requirements="W")).clone()
        raw = np.ascontiguousarray(item).view(f"i{item.itemsize}")
        return torch.from_numpy(raw).clone().view(getattr(torch, name)).reshape(item.shape)

    return torch.utils._pytree.tree_map(leaf, value)


def _leaves(value: Any) -> list[Any]:
    """Leaves of a result, tensors as arrays that compare exactly."""
    import torch

    leaves = []
    for leaf in torch.utils._pytree.tree_leaves(value):
        if isinstance(leaf, torch.Tensor):
            leaf = leaf.detach().resolve_conj().resolve_neg()
            if leaf.dtype.itemsize < 4 and leaf.is_floating_point():
                leaf = leaf.float()
            leaf = leaf.numpy()
        leaves.append(leaf)
    return leaves


# --- Many cases --------------------------------------------------------------------------------

_Task = tuple[Path, str, str, str]
_FAMILIES: dict[tuple[Path, str], Family] = {}


def _check(task: _Task) -> tuple[str | None]:
    """What is wrong with a case, in a tuple: a bare string would mean that the worker died."""
    corpus, family, name, way = task
    if (corpus, family) not in _FAMILIES:
        _FAMILIES[corpus, family] = Family(corpus, family)
    try:
        case = _FAMILIES[corpus, family].load(name)
        return (check_form(case) if way == "form" else check_in_torch(case, way),)
    except Exception as error:
        return (f"{type(error).__name__}: {error}",)


def check_cases(
    corpus: Path, family: str, names: Sequence[str], way: str, *, jobs: int = 1
) -> dict[str, str | None]:
    """What is wrong with each case."""
    if way != "form":
        prepare_torch()
    _FAMILIES.clear()  # forked processes would share one position in the zip file
    tasks = [(corpus, family, name, way) for name in names]
    outcomes = run_tasks(_check, tasks, jobs=jobs, seconds=300)
    return {
        task[2]: outcome if isinstance(outcome, str) else outcome[0] for task, outcome in outcomes
    }


def main() -> int:
    """The command line; exit status 1 where a case fails, 2 where there is no corpus."""
    parser = argparse.ArgumentParser(prog="python -m tests.conformance.rewritten")
    parser.add_argument("--way", choices=WAYS, action="append")
    parser.add_argument("--family", choices=FAMILIES, action="append")
    parser.add_argument("--match", action="append", default=[], metavar="PATTERN")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="only each N-th case")
    parser.add_argument("-j", "--jobs", type=int, default=1)
    options = parser.parse_args()
    corpus = find_corpus()
    if corpus is None:
        print("no corpus: set CASTOFF_CORPUS to its folder", file=sys.stderr)
        return 2
    failed = 0
    for way in options.way or WAYS:
        for family in options.family or FAMILIES:
            names = matching(Family(corpus, family).names, options.match)[:: options.every]
            started = time.monotonic()
            outcomes = check_cases(corpus, family, names, way, jobs=options.jobs)
            failed += report(f"{family}, {way}", outcomes, time.monotonic() - started)
    return 1 if failed else 0


def report(what: str, outcomes: Mapping[str, str | None], seconds: float) -> int:
    """Print what failed, and how many cases passed; how many did not."""
    absent = [name for name, why in outcomes.items() if why and why.startswith(NOT_IN_TORCH)]
    failed = [name for name, why in outcomes.items() if why and name not in absent]
    for name in (*absent, *failed):
        print(f"  {name}: {outcomes[name]}")
    passed = len(outcomes) - len(absent) - len(failed)
    print(
        f"{what}: {passed} of {len(outcomes) - len(absent)} pass, PyTorch runs no "
        f"original for {len(absent)} more ({seconds:.0f} s)",
        flush=True,
    )
    return len(failed)


if __name__ == "__main__":
    sys.exit(main())

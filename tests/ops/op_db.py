"""PyTorch's own list of operators with arguments for each, `op_db`, exported and held against castoff.

    python -m tests.ops.op_db --mode reference -j 2
    python -m tests.ops.op_db --mode compiled -j 2 --match linalg

A program is one operator in one type: of the calls PyTorch tests it with as many as `--samples` says, evenly from
first to last, with their tensors as inputs; those of every second call lie in strides. Calls that PyTorch cannot export
are left out, and the case where there is no other; what castoff refuses is listed with the reason; what differs ends
the command with 1. Of what `UNDETERMINED` names only the types and shapes of the results are compared; `LEFT_OUT` has
what is not asked, and why.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.testing._internal.common_methods_invocations import op_db
from torch.utils import _pytree as pytree

from castoff.compiler.exported import load_program
from castoff.compiler.frontends.exported import import_program
from castoff.compiler.ir.dtypes import DType
from castoff.compiler.verify import ReferenceProgram
from castoff.runtime.errors import CastoffError

from ..conformance.check import QUICK
from ..conformance.workers import run_tasks
from .sampling import TOLERANCES

DTYPES = (
    "float32",
    "float64",
    "bfloat16",
    "float16",
    "int64",
    "int32",
    "int8",
    "uint8",
    "bool",
    "complex64",
)

UNDETERMINED: Mapping[str, str] = {
    **dict.fromkeys(
        (
            "bernoulli", "cauchy", "exponential", "geometric", "log_normal", "multinomial", "normal",
            "normal.in_place", "normal.number_mean", "rand_like", "randint", "randint_like", "randn",
            "randn_like", "uniform", "nn.functional.alpha_dropout", "nn.functional.dropout",
            "nn.functional.dropout2d", "nn.functional.dropout3d", "nn.functional.feature_alpha_dropout.with_train",
            "nn.functional.fractional_max_pool2d", "nn.functional.fractional_max_pool3d",
            "nn.functional.rrelu", "nn.functional.multi_head_attention_forward",
            "pca_lowrank", "svd_lowrank",
        ),
        "gives other random numbers",
    ),
    **dict.fromkeys(
        ("empty", "empty_like", "empty_permuted", "empty_strided", "new_empty", "new_empty_strided"),
        "gives whatever was in memory",
    ),
    **dict.fromkeys(
        ("linalg.eig", "linalg.eigh", "linalg.svd", "svd", "geqrf"),
        "has several right answers",
    ),
    "histogramdd": "some of its samples have edges out of order",
    "matrix_exp": "PyTorch in float32 is further from float64 than castoff",
}  # fmt: skip
"""What has no one right answer, and why."""

LEFT_OUT: Mapping[str, str] = {
    "masked_select": "PyTorch's own exported program fails: its bound forgets that the arguments broadcast",
}


@dataclass(frozen=True, slots=True)
class Case:
    """An operator in a type: which of `op_db`, and how many of its samples."""

    number: int
    dtype: str
    samples: int

    @property
    def name(self) -> str:
        """The operator's name, with the variant where there are several."""
        info = op_db[self.number]
        return str(info.name) + (f".{info.variant_test_name}" if info.variant_test_name else "")

    def __str__(self) -> str:
        return f"{self.name} {self.dtype}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a case: `passed`, `differs`, `refused`, `failed` or `not exported`."""

    kind: str
    what: str = ""


def cases(
    samples: int, match: str = "", dtypes: Sequence[str] = DTYPES, every: int = 1
) -> Iterator[Case]:
    """The cases of all operators that are asked; with `every` a share of them."""
    found = (
        case
        for number, info in enumerate(op_db)
        for dtype in dtypes
        if getattr(torch, dtype) in info.supported_dtypes("cpu")
        and (case := Case(number, dtype, samples)).name not in LEFT_OUT
        and match in case.name
    )
    return (case for position, case in enumerate(found) if position % every == 0)


class Calls(torch.nn.Module):
    """Calls of one function with what is no tensor fixed; gives all their results in one list."""

    def __init__(self, function: Callable[..., Any], samples: Sequence[Any]) -> None:
        super().__init__()
        self.function = function
        self.specs = []
        self.leaves: list[list[Any]] = []
        self.inputs: list[torch.Tensor] = []
        for sample in samples:
            leaves, spec = pytree.tree_flatten((sample.input, sample.args, sample.kwargs))
            self.specs.append(spec)
            self.leaves.append([_Place() if isinstance(x, torch.Tensor) else x for x in leaves])
            self.inputs += [x.detach() for x in leaves if isinstance(x, torch.Tensor)]

    def forward(self, *tensors: torch.Tensor) -> list[Any]:
        given = iter(tensors)
        results: list[Any] = []
        for spec, leaves in zip(self.specs, self.leaves, strict=True):
            filled = [next(given) if isinstance(x, _Place) else x for x in leaves]
            first, args, kwargs = pytree.tree_unflatten(filled, spec)
            results += pytree.tree_leaves(self.function(first, *args, **kwargs))
        return results


class _Place:
    """Where a tensor goes."""


def run_case(case: Case, mode: str) -> Outcome:
    """Exports a case, runs it by the reference or compiled, and compares with PyTorch."""
    torch.manual_seed(0)
    warnings.simplefilter("ignore")
    info = op_db[case.number]
    dtype = getattr(torch, case.dtype)
    given = islice(info.sample_inputs("cpu", dtype, requires_grad=False), 1000)
    samples = _spread([x for x in given if _is_asked(x)], case.samples)
    if "as_strided" not in case.name:  # it looks at memory, which in a program has no gaps
        samples = [x.noncontiguous() if n % 2 else x for n, x in enumerate(samples)]
    if not samples:
        return Outcome("not exported", "only sparse tensors")
    exports = [_export(info.op, samples)]
    if exports[0].error:  # one call that fails is not to hide the others
        exported = [x for x in samples if not _export(info.op, [x]).error]
        exports.append(_export(info.op, exported) if exported else exports[0])
    if exports[-1].error:
        return Outcome("not exported", exports[-1].error)
    module, data, wanted = exports[-1].module, exports[-1].data, exports[-1].wanted
    try:
        run, folder_to_keep = _program(data, mode)
        arrays = [_array(x) for x in module.inputs]
        got = run(*arrays)
    except CastoffError as error:
        return Outcome("refused", str(error)[:1500])
    except Exception as error:
        return Outcome("failed", f"{type(error).__name__}: {str(error)[:600]}")
    del folder_to_keep
    what = _difference(got, wanted, case.dtype, case.name in UNDETERMINED)
    return Outcome("differs", what) if what else Outcome("passed")


def _spread(items: Sequence[Any], count: int) -> list[Any]:
    """Some of the items, evenly from the first to the last."""
    if len(items) <= count:
        return list(items)
    return [items[n * (len(items) - 1) // max(count - 1, 1)] for n in range(count)]


def _is_asked(sample: Any) -> bool:
    """Whether a call is of dense tensors, and drops nothing at random."""
    leaves = pytree.tree_leaves((sample.input, sample.args, sample.kwargs))
    is_dense = all(x.layout is torch.strided for x in leaves if isinstance(x, torch.Tensor))
    return is_dense and not sample.kwargs.get("dropout_p")


@dataclass(frozen=True, slots=True)
class _Export:
    """Calls as a program, and what PyTorch gives for them; or why there is none."""

    module: Calls
    data: bytes = b""
    wanted: Sequence[Any] = ()
    error: str = ""


def _export(function: Callable[..., Any], samples: Sequence[Any]) -> _Export:
    module = Calls(function, samples)
    try:
        with torch.no_grad():
            wanted = module(*map(_copy, module.inputs))
            inputs = tuple(map(_copy, module.inputs))
            program = torch.export.export(module, inputs, strict=False)
        with tempfile.TemporaryDirectory(prefix="op-db-") as folder:
            path = Path(folder) / "program.pt2"
            torch.export.save(program, path)
            return _Export(module, path.read_bytes(), wanted)
    except Exception as error:
        return _Export(module, error=f"{type(error).__name__}: {str(error)[:200]}")


def _copy(x: torch.Tensor) -> torch.Tensor:
    """A tensor with the same strides, where its elements lie apart, and memory of its own."""
    if 0 in x.stride():
        return x.clone()
    copied = torch.empty_strided(x.shape, x.stride(), dtype=x.dtype)
    return copied.copy_(x)


def _program(data: bytes, mode: str) -> tuple[Callable[..., Any], Any]:
    if mode == "reference":
        return ReferenceProgram(import_program(load_program(data))), None
    import castoff

    folder = tempfile.TemporaryDirectory(prefix="op-db-")
    path = castoff.aot_compile(data, output=Path(folder.name) / "program.so", options=QUICK)
    run: Callable[..., Any] = castoff.aot_load(path)
    return run, folder


_BITS = {"bfloat16": torch.int16, "float8_e4m3fn": torch.uint8, "float8_e5m2": torch.uint8}


def _array(x: torch.Tensor) -> np.ndarray:
    x = x.detach().resolve_conj().resolve_neg()
    name = str(x.dtype).removeprefix("torch.")
    if name in _BITS:
        return np.asarray(x.view(_BITS[name]).numpy()).view(DType(name).numpy)
    return np.asarray(x.numpy())


def _difference(got: Sequence[Any], wanted: Sequence[Any], dtype: str, shapes_only: bool) -> str:
    """What is wrong, or the empty text."""
    if len(got) != len(wanted):
        return f"{len(got)} results, not {len(wanted)}"
    for number, (left, right) in enumerate(zip(got, wanted, strict=True)):
        if not isinstance(right, torch.Tensor):
            if not shapes_only and left != right and not (left != left and right != right):
                return f"result {number}: {left!r}, not {right!r}"
            continue
        a, b = np.asarray(left), _array(right)
        if a.dtype != b.dtype or a.shape != b.shape:
            return f"result {number}: {a.dtype}{list(a.shape)}, not {b.dtype}{list(b.shape)}"
        if shapes_only:
            continue
        types = (DType(dtype), DType(b.dtype.name))
        tolerance = max(TOLERANCES.get(each, 0.0) for each in types)
        wide = np.complex128 if b.dtype.kind == "c" else np.float64
        a, b = a.astype(wide), b.astype(wide)
        with np.errstate(all="ignore"):
            close = np.isclose(a, b, rtol=10 * tolerance, atol=10 * tolerance, equal_nan=True)
        if not close.all():
            place = np.unravel_index(int(np.argmin(close)), close.shape)
            off = int(close.size - close.sum())
            return f"result {number} {list(map(int, place))}: {a[place]}, not {b[place]}, {off} of {close.size} off"
    return ""


@dataclass(frozen=True, slots=True)
class _Run:
    mode: str

    def __call__(self, case: Case) -> Outcome:
        return run_case(case, self.mode)


def outcomes(asked: Iterable[Case], mode: str, jobs: int) -> Iterator[tuple[Case, Outcome]]:
    """What comes of cases, in the order they finish; a case that takes minutes has failed."""
    for case, outcome in run_tasks(_Run(mode), asked, jobs=jobs, seconds=300):
        yield case, Outcome("failed", outcome) if isinstance(outcome, str) else outcome


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the cases; the exit status is 1 where one differs or fails."""
    parser = argparse.ArgumentParser(prog="python -m tests.ops.op_db", description=__doc__)
    parser.add_argument("--mode", choices=("reference", "compiled"), default="reference")
    parser.add_argument("--samples", type=int, default=4, help="calls of an operator in a type")
    parser.add_argument("--match", default="", help="only operators whose names contain this")
    parser.add_argument("--dtypes", nargs="+", default=DTYPES)
    parser.add_argument("--every", type=int, default=1, metavar="N", help="each N-th case")
    parser.add_argument("-j", "--jobs", type=int, default=1)
    options = parser.parse_args(arguments)
    started = time.monotonic()
    torch.set_num_threads(1)
    counted: Counter[str] = Counter()
    asked = list(cases(options.samples, options.match, options.dtypes, options.every))
    for case, outcome in outcomes(asked, options.mode, options.jobs):
        counted[outcome.kind] += 1
        if outcome.kind != "passed":
            print(f"{outcome.kind}: {case}: {outcome.what}", flush=True)
    summary = ", ".join(f"{count} {kind}" for kind, count in counted.most_common())
    print(f"{len(asked)} cases, {options.mode}: {summary} ({time.monotonic() - started:.0f} s)")
    for title, named in (("types and shapes only", UNDETERMINED), ("left out", LEFT_OUT)):
        for reason in dict.fromkeys(named.values()):
            print(f"{title}, {reason}: {', '.join(n for n, r in named.items() if r == reason)}")
    return 1 if counted["differs"] or counted["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())

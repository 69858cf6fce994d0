"""Runs samples of operators: by the reference interpreter, compiled, and by PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np

from castoff.compiler.ir.dtypes import DType
from castoff.compiler.ir.graph import Value
from castoff.compiler.ir.shapes import Dim
from castoff.compiler.ops.base import find_target
from castoff.compiler.ops.samples import Argument, Sample, SampleSize, SampleTensor
from castoff.runtime.errors import CastoffError

from ..graphs import GraphBuilder, reference, size

TOLERANCES: Mapping[DType, float] = {
    DType.FLOAT16: 4e-3,
    DType.BFLOAT16: 3e-2,
    DType.FLOAT32: 2e-5,
    DType.COMPLEX64: 4e-5,
    DType.FLOAT64: 1e-9,
    DType.COMPLEX128: 1e-9,
}
"""Relative and absolute, by the narrowest type of a sample."""


_RAW = {"bfloat16": np.int16, "float8_e4m3fn": np.uint8, "float8_e5m2": np.uint8}
"""Types that NumPy and PyTorch exchange as integers."""


class SampleBuilder(GraphBuilder):
    """Keeps what targets write to their arguments."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[Value] = []

    def write(self, value: Value, updated: Value) -> None:
        self.written.append(updated)


def arguments_of(
    sample: Sample,
    tensor: Callable[[np.ndarray], Any],
    dtype: Callable[[DType], Any],
    length: Callable[[int], Any] = lambda n: n,
) -> tuple[list[Any], dict[str, Any]]:
    """The arguments of a sample, its tensors, types and sizes made by these functions."""
    random = sample.random

    def made(argument: Argument) -> Any:
        if isinstance(argument, SampleTensor):
            return tensor(argument.array(random))
        if isinstance(argument, DType):
            return dtype(argument)
        if isinstance(argument, SampleSize):
            return length(argument.value)
        return [made(item) for item in argument] if isinstance(argument, list) else argument

    positional = [made(argument) for argument in sample.positional]
    return positional, {name: made(argument) for name, argument in sample.named.items()}


def add_sample(
    b: SampleBuilder, sample: Sample, symbolic: Collection[int] = ()
) -> tuple[list[Value], list[np.ndarray]]:
    """Builds a sample: its results, in order, and the arrays for the inputs it adds.

    Sizes that are in `symbolic` become symbols, equal ones the same symbol; an input of a shape of nothing else gives
    their values where no tensor of the sample has them.
    """
    arrays: list[np.ndarray] = []

    def length(n: int) -> Dim:
        return size(f"s{n}") if n in symbolic else n

    def tensor(array: np.ndarray) -> Value:
        arrays.append(array)
        return b.input("x", *map(length, array.shape), dtype=DType(array.dtype.name))

    positional, named = arguments_of(sample, tensor, lambda dtype: dtype, length)
    if lacking := sorted(set(symbolic) - {n for array in arrays for n in array.shape}):
        tensor(np.zeros(lacking, np.float32))
    function = find_target(sample.target)
    assert function is not None, f"{sample.target} is not registered"
    return flat_results(function(b, *positional, **named)), arrays


def flat_results(result: Any) -> list[Any]:
    """Results in one list, without those that are None."""
    if isinstance(result, (tuple, list)):
        return [each for item in result for each in flat_results(item)]
    return [] if result is None else [result]


def symbolic_sizes(sample: Sample) -> frozenset[int]:
    """The sizes of a sample, those above 1, that can be symbols together; the largest are tried first."""
    return tried_symbolic_sizes(sample)[0]


def tried_symbolic_sizes(sample: Sample) -> tuple[frozenset[int], dict[int, str]]:
    """The sizes of a sample that can be symbols together, and of the others what castoff says."""
    found: frozenset[int] = frozenset()
    refused: dict[int, str] = {}
    for n in sorted((n for n in sample.sizes() if n > 1), reverse=True):
        try:
            add_sample(SampleBuilder(), sample, found | {n})
        except CastoffError as error:
            refused[n] = str(error)
        else:
            found |= {n}
    return found, refused


def reference_results(sample: Sample, symbolic: Collection[int] = ()) -> list[np.ndarray]:
    """What the reference interpreter gives."""
    b = SampleBuilder()
    results, arrays = add_sample(b, sample, symbolic)
    values = [value if isinstance(value, Value) else b.tensor(value) for value in results]
    return reference(b.graph(*values, *b.written), *arrays)[: len(values)]


def torch_results(sample: Sample) -> list[np.ndarray] | None:
    """What PyTorch gives; None for what it has no kernel for on the CPU, and for functional forms
    that are there for the sake of their in-place ones alone."""
    import torch

    def tensor(array: np.ndarray) -> Any:
        if array.dtype.name in _RAW:
            return torch.from_numpy(array.view(_RAW[array.dtype.name])).view(
                getattr(torch, array.dtype.name)
            )
        return torch.from_numpy(array)

    positional, named = arguments_of(sample, tensor, lambda dtype: getattr(torch, dtype.value))
    function = torch_operator(sample.target)
    if function is None:
        return None

    def array(result: Any) -> np.ndarray:
        if not isinstance(result, torch.Tensor):
            return np.asarray(result)
        result = result.detach().resolve_conj().resolve_neg().contiguous()
        dtype = DType(str(result.dtype).removeprefix("torch."))
        if dtype.value in _RAW:
            bits = result.view(torch.int16 if dtype.itemsize == 2 else torch.uint8)
            return np.asarray(bits.numpy()).view(dtype.numpy)
        return np.asarray(result.numpy())

    if sample.target.split(".")[1] in _NEEDS_A_DEVICE:
        return None
    try:
        results = flat_results(function(*positional, **named))
    except NotImplementedError:
        return None
    except RuntimeError as error:
        if "needs the cpu support" in str(error):  # bfloat16 convolutions, without AVX-512
            return None
        raise
    comparable = _COMPARABLE_RESULTS.get(sample.target, len(results))
    return [array(result) for result in results[:comparable]]


def torch_operator(target: str) -> Any:
    """PyTorch's operator of a target, or None."""
    import torch
    import torch.ao.quantization.fx._decomposed  # registers quantized_decomposed

    found: Any = torch.ops
    for name in target.split("."):
        try:
            found = getattr(found, name)
        except AttributeError:
            return None
    return found


_SEVERAL_RIGHT = {
    **dict.fromkeys(
        ("_linalg_eigh", "linalg_eigh", "linalg_eig", "_linalg_svd", "linalg_svd", "svd", "geqrf"),
        "factors are unique but for signs and phases",
    ),
    **dict.fromkeys(
        ("_linalg_det", "_linalg_slogdet"), "the factors are those of A or of its transpose"
    ),
    "log_sigmoid_backward": "PyTorch reads what the forward pass kept, castoff computes it again",
}


def has_several_answers(target: str) -> bool:
    """Whether more than one result is right."""
    return target.split(".")[1] in _SEVERAL_RIGHT


_COMPARABLE_RESULTS = {"aten.mkldnn_rnn_layer.default": 3}
"""Targets whose last results are a library's own, and how many come before."""

_NEEDS_A_DEVICE = ("pin_memory", "_pin_memory", "_lazy_clone")


def is_open(target: str) -> bool:
    """Whether PyTorch's answer depends on a seed, on what was in memory, or on a choice among several right ones."""
    import torch

    function, name = torch_operator(target), target.split(".")[1]
    tags = {torch.Tag.nondeterministic_seeded, torch.Tag.nondeterministic_bitwise}
    is_seeded = function is not None and bool(tags & set(function.tags))
    is_whatever = "empty" in name or "_random" in name or name == "_make_dep_token"
    return is_seeded or is_whatever or has_several_answers(target)


def difference(
    sample: Sample, got: Sequence[np.ndarray], wanted: Sequence[np.ndarray], *, values: bool = True
) -> str:
    """What is wrong with results, or the empty text; without `values`, types and shapes count."""
    if len(got) < len(wanted):
        return f"{len(got)} results, not {len(wanted)}"
    narrow = [TOLERANCES.get(dtype, 0.0) for dtype in (*sample.dtypes, DType.FLOAT32)]
    for number, (left, right) in enumerate(zip(got, wanted, strict=False)):
        if left.dtype != right.dtype or left.shape != right.shape:
            return f"result {number}: {left.dtype}{left.shape}, not {right.dtype}{right.shape}"
        if not values:
            continue
        wide = np.complex128 if right.dtype.kind == "c" else np.float64
        a, b = left.astype(wide), right.astype(wide)
        tolerance = max(narrow) if sample.dtypes != (DType.FLOAT64,) else 1e-6
        with np.errstate(all="ignore"):
            if not np.allclose(a, b, rtol=tolerance, atol=tolerance, equal_nan=True):
                return f"result {number}: {left.tolist()}, not {right.tolist()}"
    return ""

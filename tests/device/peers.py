"""castoff beside PyTorch and AOTInductor on a GPU, engines in turns, on the same tensors. Needs torch with CUDA."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import castoff

from .builds import MODELS, build, saved

BUILT_MODEL = "bert-base-128"
"""Of which both builds are timed, on two cores."""
PRODUCT = "bf16 product 8192³"
ATTENTION = "bf16 causal attention, 8k tokens"
CALL = "a call, the sum of two small inputs"
BATCHES = (1, 32)
BATCH_AXES: Mapping[str, tuple[int | None, ...]] = {"llama-decode-512": (0, None, 1, 1)}
"""Where the inputs of a model have the batch; others have it first."""
ROUNDS = 10

Call = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Compared:
    """What engines took for one program."""

    milliseconds: Mapping[str, float]
    """Of a call, by engine."""
    code_bytes: int = 0
    """What castoff's file has beside its weights."""
    build_seconds: float = 0.0
    """On two cores; 0 where that was not asked for."""
    peer_build_seconds: float = 0.0


@contextmanager
def two_cores() -> Iterator[None]:
    """What is started here has two processors at most."""
    given = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(given)[:2])
    try:
        yield
    finally:
        os.sched_setaffinity(0, given)


def missing() -> str:
    """Why nothing can be compared, "" where it can."""
    try:
        import torch
    except ImportError:
        return "PyTorch is not installed"
    return "" if torch.cuda.is_available() else f"PyTorch {torch.__version__} has no CUDA"


def seconds_in_turns(calls: Mapping[str, Call], budget: float) -> dict[str, float]:
    """The median time of a call of each engine, asked in turns; `budget` seconds for all."""
    import torch

    counts: dict[str, int] = {}
    for name, call in calls.items():
        call()
        torch.cuda.synchronize()
        start = time.perf_counter()
        call()
        torch.cuda.synchronize()
        once = max(time.perf_counter() - start, 1e-5)
        counts[name] = max(1, int(budget / ROUNDS / len(calls) / once))
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(ROUNDS):
        for name, call in calls.items():
            start = time.perf_counter()
            for _ in range(counts[name]):
                call()
            torch.cuda.synchronize()
            times[name].append((time.perf_counter() - start) / counts[name])
    return {name: median(values) for name, values in times.items()}


def compare_module(
    module: Any,
    inputs: tuple[Any, ...],
    options: Mapping[str, object],
    budget: float,
    is_build_compared: bool = False,
) -> Compared:
    """castoff, castoff with CUDA graphs, eager PyTorch and AOTInductor, whose answers are compared. Where builds are
    too, they have two cores each, and AOTInductor no cache.
    """
    import torch
    from torch._inductor import config

    module, inputs = module.cuda(), tuple(x.cuda() for x in inputs)
    with torch.inference_mode(), tempfile.TemporaryDirectory(prefix="castoff-peers-") as folder:
        exported = torch.export.export(module, inputs)
        program_bytes = saved(exported)
        with two_cores() if is_build_compared else nullcontext():
            built = build(program_bytes, Path(folder) / "model.so", options)
            patch = (
                {"force_disable_caches": True, "compile_threads": 2} if is_build_compared else {}
            )
            start = time.perf_counter()
            with config.patch(patch):
                package = torch._inductor.aoti_compile_and_package(
                    exported, package_path=f"{folder}/model.pt2"
                )
            peer_seconds = time.perf_counter() - start
        program, recorded = (
            castoff.aot_load(built.path, "cuda", cuda_graphs=graphs) for graphs in (False, True)
        )
        inductor = torch._inductor.aoti_load_package(package)
        calls: dict[str, Call] = {
            "castoff": lambda: program(*inputs),
            "castoff, graphs": lambda: recorded(*inputs),
            "eager": lambda: module(*inputs),
            "AOTInductor": lambda: inductor(*inputs),
        }
        _assert_close(program(*inputs), module(*inputs))
        times = seconds_in_turns(calls, budget)
        milliseconds = {name: 1e3 * seconds for name, seconds in times.items()}
        seconds = (built.seconds, peer_seconds) if is_build_compared else (0.0, 0.0)
        return Compared(milliseconds, built.code_bytes, *seconds)


def _assert_close(got: Any, wanted: Any) -> None:
    import torch

    for mine, right in zip(_flat(got), _flat(wanted), strict=True):
        scale = right.abs().max().item() or 1.0
        error = (mine - right).abs().max().item() / scale
        assert error < 2e-2, f"an answer differs by {error:.2g} of the largest value"
        assert not torch.isnan(mine).any(), "an answer is NaN"


def _flat(result: Any) -> list[Any]:
    return list(result) if isinstance(result, (tuple, list)) else [result]


def reason_of(error: Exception) -> str:
    """What failed, short enough for a line of a table."""
    text = " ".join(str(error).replace("|", "/").split())
    return f"{type(error).__name__}: {text[:200]}"


def attempt(compare: Callable[[], Compared]) -> Compared | str:
    """What is found, or why there is nothing: what a package refuses is a line of the table."""
    try:
        return compare()
    except Exception as error:
        return reason_of(error)


def compare_kernels(options: Mapping[str, object], budget: float) -> dict[str, Compared | str]:
    """The matrix product and the attention whose rates are promised, and what a call costs."""
    import torch
    from torch import nn

    class Product(nn.Module):
        def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
            return a @ b

    class Attention(nn.Module):
        def forward(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
            return nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)

    class Sum(nn.Module):
        def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
            return a + b

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, dtype=torch.bfloat16, device="cuda")

    wanted: Mapping[str, tuple[nn.Module, Sequence[tuple[int, ...]]]] = {
        PRODUCT: (Product(), [(8192, 8192)] * 2),
        ATTENTION: (Attention(), [(1, 16, 8192, 128)] * 3),
        CALL: (Sum(), [(8, 8)] * 2),
    }
    torch.backends.cuda.preferred_blas_library("cublaslt")

    def compare(module: nn.Module, shapes: Sequence[tuple[int, ...]]) -> Compared:
        return compare_module(module, tuple(normal(*shape) for shape in shapes), options, budget)

    return {name: attempt(partial(compare, *of)) for name, of in wanted.items()}


def widened(inputs: Sequence[Any], axes: Sequence[int | None], batch: int) -> tuple[Any, ...]:
    """The first entry of a batch, as often as `batch` says; `axes`: where each input has the batch."""
    return tuple(
        x if axis is None else x.narrow(axis, 0, 1).repeat_interleave(batch, axis)
        for x, axis in zip(inputs, axes, strict=True)
    )


def compare_models(
    options: Mapping[str, object], budget: float, deadline: float
) -> dict[str, Compared | str]:
    """The models of the benchmarks, one entry and then a batch of them, as far as their packages are
    installed and the time allows: none is begun that may take longer than there is.
    """
    from bench.models import make_subject

    def compare(name: str, batch: int) -> Compared:
        subject = make_subject(name)
        axes = BATCH_AXES.get(name, (0,) * len(subject.example))
        inputs = widened(subject.example, axes, batch)
        is_build_compared = name == BUILT_MODEL and batch == 1
        return compare_module(subject.program, inputs, options, budget, is_build_compared)

    found: dict[str, Compared | str] = {}
    longest = 0.0
    for batch in BATCHES:
        for name in MODELS:
            row = f"{name}, batch {batch}"
            begin = time.monotonic()
            if begin + longest > deadline:
                found[row] = "no time was left"
                continue
            found[row] = attempt(partial(compare, name, batch))
            longest = max(longest, time.monotonic() - begin)
    return found

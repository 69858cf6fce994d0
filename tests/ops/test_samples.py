"""Every operator has a sample, and every sample runs: by NumPy, compiled, and as PyTorch has it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from castoff.compiler import ops
from castoff.compiler.ir.graph import Value
from castoff.compiler.ops.base import registered_targets
from castoff.compiler.ops.custom import find_custom_op
from castoff.compiler.ops.samples import (
    FOLDER,
    Sample,
    SampleError,
    all_samples,
    family_samples,
    parse_samples,
)

from ..graphs import load, reference
from .sampling import (
    SampleBuilder,
    add_sample,
    difference,
    has_several_answers,
    is_open,
    reference_results,
    torch_results,
)

ops.load_families()

WITHOUT_SAMPLES = Path(__file__).parent / "without_samples.txt"
"""Targets that have no sample yet: what is new is not added, what gets one is taken out."""


def builtin_targets() -> dict[str, str]:
    """The targets of castoff's own, each with its family module."""
    return {
        name: function.__module__.rpartition(".")[2]
        for name, function in registered_targets().items()
        if find_custom_op("::".join(name.split(".")[:2])) is None
    }


FAMILIES = sorted(file.stem for file in FOLDER.glob("*.txt"))


def test_every_target_has_a_sample() -> None:
    listed = set(WITHOUT_SAMPLES.read_text(encoding="utf-8").split())
    missing = set(builtin_targets()) - set(all_samples())
    assert not missing - listed, "these targets need samples= (see castoff/compiler/ops/samples)"
    assert not listed - missing, f"have a sample now, take them out of {WITHOUT_SAMPLES.name}"


def test_samples_stand_in_the_file_of_their_family() -> None:
    families = builtin_targets()
    misplaced = {
        sample.target: family
        for family in FAMILIES
        for sample in family_samples(family)
        if families.get(sample.target) != family
    }
    assert not misplaced


@pytest.mark.parametrize("family", FAMILIES)
def test_samples_run_by_the_reference(family: str) -> None:
    for sample in family_samples(family):
        try:
            reference_results(sample)
        except Exception as error:
            raise AssertionError(f"{sample}: {error}") from error


@pytest.mark.torch
@pytest.mark.parametrize("family", FAMILIES)
def test_samples_are_what_pytorch_gives(family: str) -> None:
    pytest.importorskip("torch")
    import torch.ao.quantization.fx._decomposed  # noqa: F401 - it registers quantized_decomposed

    wrong = {}
    for sample in family_samples(family):
        wanted = torch_results(sample)
        if wanted is None:
            continue
        values = not is_open(sample.target)
        what = difference(sample, reference_results(sample), wanted, values=values)
        if what:
            wrong[str(sample)] = what
    assert not wrong


def first_samples(family: str) -> Iterator[list[Sample]]:
    """One sample of each target, in groups that make a program of moderate size."""
    first = {sample.target: sample for sample in reversed(family_samples(family))}
    samples = iter([first[target] for target in sorted(first)])
    while group := list(itertools.islice(samples, 40)):
        yield group


GROUPS = {
    f"{family}-{number}": group
    for family in FAMILIES
    for number, group in enumerate(first_samples(family))
}


@pytest.mark.slow
@pytest.mark.parametrize("group", GROUPS.values(), ids=GROUPS.keys())
def test_samples_compiled_give_what_the_reference_gives(
    group: Sequence[Sample], tmp_path: Path
) -> None:
    b = SampleBuilder()
    outputs: list[Value] = []
    arrays: list[np.ndarray] = []
    spans: list[tuple[Sample, int, int]] = []
    for sample in group:
        results, given = add_sample(b, sample)
        spans.append((sample, len(outputs), len(outputs) + len(results)))
        outputs += [result if isinstance(result, Value) else b.tensor(result) for result in results]
        arrays += given
    graph = b.graph(*outputs)
    wanted = reference(graph, *arrays)
    got = [np.asarray(array) for array in load(graph, tmp_path)(*arrays)]
    wrong = {}
    for sample, start, stop in spans:
        values = not has_several_answers(sample.target)
        if what := difference(sample, got[start:stop], wanted[start:stop], values=values):
            wrong[str(sample)] = what
    assert not wrong


# ---- the language of samples


def test_sample_with_types_is_one_sample_for_each() -> None:
    first, second = parse_samples("a.b.c", "(T[3, 4], [T[()] , None], k=T) | float32 int64")
    assert str(second) == "a.b.c(int64[3, 4], [int64[()] , None], k=int64)"
    assert [tensor.shape for tensor in first.tensors()] == [(3, 4), ()]
    assert [dtype.value for dtype in first.dtypes] == ["float32"]


def test_elements_are_as_wished_and_the_same_each_time() -> None:
    (sample,) = parse_samples("a.b.c", "(int64[50] % 3, unit(float32[9]), definite(float64[4, 4]))")
    random, again = sample.random, sample.random
    index, unit, matrix = (tensor.array(random) for tensor in sample.tensors())
    assert set(index) == {0, 1, 2} and unit.min() >= 0 and unit.max() < 1
    assert np.linalg.eigvalsh(matrix).min() > 0
    assert np.array_equal(index, next(sample.tensors()).array(again))


@pytest.mark.parametrize("text", ["(", "(float31[3])", "(x.y)", "(3 % 2)", "(float32[n])"])
def test_samples_that_cannot_be_read_are_refused(text: str) -> None:
    with pytest.raises(SampleError, match=r"the sample a\.b\.c"):
        list(parse_samples("a.b.c", text))

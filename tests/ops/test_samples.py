"""Every operator has a sample, and every sample runs by NumPy, as PyTorch has it; `sweep.py` compiles them."""

from __future__ import annotations

import numpy as np
import pytest

from castoff.compiler import ops
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

from .sampling import reference_results
from .sweep import Case, torch_wrong

ops.load_families()


def builtin_targets() -> dict[str, str]:
    """The targets of castoff's own, each with its family module."""
    return {
        name: function.__module__.rpartition(".")[2]
        for name, function in registered_targets().items()
        if find_custom_op("::".join(name.split(".")[:2])) is None
    }


def samples_by_family() -> dict[str, list[Sample]]:
    """Samples in files and beside registrations."""
    families = builtin_targets()
    found: dict[str, list[Sample]] = {}
    for target, samples in all_samples().items():
        if target in families:
            found.setdefault(families[target], []).extend(samples)
    return found


SAMPLES = samples_by_family()


def test_every_target_has_a_sample() -> None:
    missing = set(builtin_targets()) - set(all_samples())
    assert not missing, "these targets need samples= (see castoff/compiler/ops/samples)"


def test_samples_stand_in_the_file_of_their_family() -> None:
    families = builtin_targets()
    misplaced = {
        sample.target: family
        for family in (file.stem for file in FOLDER.glob("*.txt"))
        for sample in family_samples(family)
        if families.get(sample.target) != family
    }
    assert not misplaced


@pytest.mark.parametrize("family", sorted(SAMPLES))
def test_samples_run_by_the_reference(family: str) -> None:
    for sample in SAMPLES[family]:
        try:
            reference_results(sample)
        except Exception as error:
            raise AssertionError(f"{sample}: {error}") from error


@pytest.mark.torch
@pytest.mark.parametrize("family", sorted(SAMPLES))
def test_samples_are_what_pytorch_gives(family: str) -> None:
    pytest.importorskip("torch")
    wrong = torch_wrong(Case(sample) for sample in SAMPLES[family])
    assert not {str(case): what for case, what in wrong}


# ---- the language of samples


def test_sample_with_types_is_one_sample_for_each() -> None:
    first, second = parse_samples("a.b.c", "(T[3, 4], [T[()] , None], k=T) | float32 int64")
    assert str(second) == "a.b.c(int64[3, 4], [int64[()] , None], k=int64)"
    assert [tensor.shape for tensor in first.tensors()] == [(3, 4), ()]
    assert [dtype.value for dtype in first.dtypes] == ["float32"]


def test_sizes_are_numbers_that_may_be_symbols() -> None:
    (sample,) = parse_samples("a.b.c", "(float32[3, 1], [size(4), -1], 7)")
    assert sample.sizes() == {1, 3, 4}


def test_a_group_is_several_types() -> None:
    samples = list(parse_samples("a.b.c", "(T[3]) | floats bool"))
    names = [sample.dtypes[0].value for sample in samples]
    assert names == ["float32", "float64", "float16", "bfloat16", "bool"]


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

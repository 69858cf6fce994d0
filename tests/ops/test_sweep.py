"""A share of the sweep with every test run, the whole of it with the slow ones; and what it leaves out."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable, Sequence

import pytest

from castoff.compiler import ops
from castoff.compiler.ir.dtypes import DType
from castoff.compiler.ops.base import registered_targets
from castoff.compiler.ops.samples import Sample, all_samples

from .left_out import SIZES, TYPES, left_out, left_out_by_target, samples_of_other_types
from .sampling import (
    difference,
    is_open,
    reference_results,
    symbolic_sizes,
    torch_results,
    tried_symbolic_sizes,
)
from .sweep import (
    Case,
    calls,
    compiled_wrong,
    static_cases,
    symbolic_cases,
    torch_wrong,
)

ops.load_families()


def assert_compiled(cases: Sequence[Case], *, jobs: int = 1) -> None:
    wrong = compiled_wrong(cases, jobs=jobs)
    assert not wrong, "\n".join(f"{case}: {what[:500]}" for case, what in wrong)


def test_a_share_compiled_gives_what_the_reference_gives() -> None:
    assert_compiled(static_cases(150))


def test_a_share_with_symbolic_sizes_gives_what_the_reference_gives() -> None:
    assert_compiled(symbolic_cases(250))


def test_bytes_are_resized_from_and_to_symbolic_sizes() -> None:
    samples = [sample for group in all_samples().values() for sample in group]
    resized = [s for s in samples if "upsample_bi" in s.target and s.dtypes[0] is DType.UINT8]
    assert_compiled([Case(sample, symbolic_sizes(sample)) for sample in resized])


@pytest.mark.torch
def test_a_share_with_symbolic_sizes_gives_what_pytorch_gives() -> None:
    pytest.importorskip("torch")
    assert not {str(case): what for case, what in torch_wrong(symbolic_cases(150))}


@pytest.mark.slow
def test_all_samples_compiled_give_what_the_reference_gives() -> None:
    assert_compiled(static_cases(), jobs=os.cpu_count() or 1)


@pytest.mark.slow
def test_all_samples_with_symbolic_sizes_give_what_the_reference_gives() -> None:
    assert_compiled(symbolic_cases(), jobs=os.cpu_count() or 1)


@pytest.mark.slow
@pytest.mark.torch
def test_all_samples_with_symbolic_sizes_give_what_pytorch_gives() -> None:
    pytest.importorskip("torch")
    assert not {str(case): what for case, what in torch_wrong(symbolic_cases())}


@pytest.mark.parametrize("strictness", ["--warnings", "--sanitize"])
def test_a_share_is_clean(strictness: str) -> None:
    command = [sys.executable, "-m", "tests.ops.sweep", "--every", "300", strictness]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


# ---- what is left out


def test_lines_about_what_is_left_out_name_targets_types_and_reasons() -> None:
    for line in left_out():
        assert line.target in registered_targets()
        assert line.what == (SIZES,) or (line.what and set(line.what) <= set(TYPES)), line
        assert line.reason


def test_what_is_left_out_has_no_sample() -> None:
    samples = all_samples()
    for target, what in left_out_by_target().items():
        sampled = {dtype.value for sample in samples[target] for dtype in sample.dtypes}
        assert not sampled & what, target


def test_all_sizes_can_be_symbols_but_for_those_left_out() -> None:
    assert_refused_are_left_out(calls())


@pytest.mark.slow
def test_all_sizes_can_be_symbols_in_every_type() -> None:
    assert_refused_are_left_out(sample for group in all_samples().values() for sample in group)


def assert_refused_are_left_out(samples: Iterable[Sample]) -> None:
    refused = {sample.target for sample in samples if tried_symbolic_sizes(sample)[1]}
    assert refused == {target for target, what in left_out_by_target().items() if SIZES in what}


@pytest.mark.slow
@pytest.mark.torch
def test_types_no_sample_has_give_what_pytorch_gives_but_for_those_left_out() -> None:
    pytest.importorskip("torch")
    listed = left_out_by_target()
    wrong = {}
    for target, samples in all_samples().items():
        for dtype, sample in samples_of_other_types(target, samples):
            if dtype in listed.get(target, ()):
                continue
            try:
                wanted = torch_results(sample)
            except (RuntimeError, TypeError, ValueError, IndexError, AssertionError):
                continue  # it does not take this type
            if wanted is not None:
                got = reference_results(sample)
                if what := difference(sample, got, wanted, values=not is_open(target)):
                    wrong[str(sample)] = what
    assert not wrong

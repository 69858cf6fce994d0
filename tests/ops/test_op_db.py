"""A share of PyTorch's own samples of operators; all of them: `python -m tests.ops.op_db`."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")
pytest.importorskip("expecttest", reason="PyTorch's samples need expecttest")

from .op_db import Case, Outcome, cases, outcomes

pytestmark = pytest.mark.torch


def wrong(found: list[tuple[Case, Outcome]]) -> list[str]:
    return [f"{case}: {o.what}" for case, o in found if o.kind in ("differs", "failed")]


def test_a_share_of_the_operators_gives_what_pytorch_gives() -> None:
    asked = cases(2, dtypes=("float32", "int64"), every=60)
    found = list(outcomes(asked, "reference", jobs=1))
    assert not wrong(found)
    assert sum(outcome.kind == "passed" for _, outcome in found) > len(found) / 2


def test_compiled_operators_give_what_pytorch_gives() -> None:
    found = list(outcomes(cases(2, "logaddexp2", ("float32",)), "compiled", jobs=1))
    assert [outcome for _, outcome in found] == [Outcome("passed")]

"""What castoff writes opens in PyTorch and gives the same answers there."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

import castoff  # noqa: E402
from castoff.compiler.exported import ExampleInputs  # noqa: E402

from ..conformance import reexported  # noqa: E402
from ..conformance.corpus import FAMILIES, Family, find_corpus  # noqa: E402
from ..conformance.rewritten import NOT_IN_TORCH, REWRITES, check_cases  # noqa: E402

nn = torch.nn
Dim = torch.export.Dim


class Tied(nn.Module):  # type: ignore[misc,name-defined]
    """Weights that share memory: tied, a transposed view, a slice; and numbers that are odd."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(6, 4)
        self.head = nn.Linear(4, 6, bias=False)
        self.head.weight = self.embed.weight
        base = torch.arange(12.0).reshape(3, 4)
        base[0] = torch.tensor([float("nan"), float("inf"), -0.0, -float("inf")])
        self.register_buffer("base", base)
        self.register_buffer("column", base.t()[1])
        self.register_buffer("rows", base[1:], persistent=False)
        self.register_buffer("nothing", torch.empty(0, 3))
        self.narrow = nn.Parameter(torch.tensor([1.5, -2.0], dtype=torch.bfloat16))

    def forward(self, x: Any) -> Any:
        looked_up = self.head(self.embed(x))
        return looked_up, self.base * 2, self.column, self.rows.t(), self.nothing, self.narrow + 1


class Counting(nn.Module):  # type: ignore[misc,name-defined]
    """A buffer that is written, an input that is written."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))

    def forward(self, x: Any) -> Any:
        before = x.view(-1) * 2
        self.count.add_(1)
        x.mul_(3)
        return before, x + self.count


class Branching(nn.Module):  # type: ignore[misc,name-defined]
    """Subgraphs of two nodes, with weights of their own, and symbolic sizes in the answer."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 3)

    def forward(self, x: Any, *, scale: float) -> Any:
        y = torch.cond(x.sum() > 0, lambda x: self.linear(x), lambda x: x.sin(), (x,))
        y = torch.cond(y.sum() > 0, lambda y: y.cos(), lambda y: y * 2, (y,))
        return {"y": y[: x.shape[0] // 2], "size": x.shape[0] * 2, "scaled": y * scale}


PROGRAMS: dict[str, Callable[[], Any]] = {
    "tied": lambda: torch.export.export(Tied(), (torch.tensor([1, 5]),)),
    "counting": lambda: torch.export.export(Counting(), (torch.ones(2, 2),)),
    "counting_functional": lambda: torch.export.export(
        Counting(), (torch.ones(2, 2),)
    ).run_decompositions(),
    "branching": lambda: torch.export.export(
        Branching(),
        (torch.randn(4, 3),),
        {"scale": 2.0},
        dynamic_shapes={"x": {0: Dim.DYNAMIC}, "scale": None},
    ),
}


def answers(program: Any, inputs: tuple[Any, Any]) -> Sequence[Any]:
    """Results of a call, and what it left in its arguments."""
    args, kwargs = copy.deepcopy(inputs)
    results = program.module()(*args, **kwargs)
    leaves: Sequence[Any] = torch.utils._pytree.tree_leaves((results, args, kwargs))
    return leaves


def assert_same(got: Sequence[Any], want: Sequence[Any]) -> None:
    assert len(got) == len(want)
    for one, other in zip(got, want, strict=True):
        if isinstance(other, torch.Tensor):
            torch.testing.assert_close(one, other, rtol=0, atol=0, equal_nan=True)
        else:
            assert one == other


@pytest.mark.parametrize("canonical", [False, True], ids=["as it is", "canonical"])
@pytest.mark.parametrize("name", PROGRAMS)
def test_saved_programs_open_in_torch(name: str, canonical: bool, tmp_path: Path) -> None:
    source, path = tmp_path / "source.pt2", tmp_path / "saved.pt2"
    exported = PROGRAMS[name]()
    torch.export.save(exported, source)
    castoff.save(castoff.load(source), path, canonical=canonical)
    want = answers(torch.export.load(source), exported.example_inputs)
    opened = torch.export.load(path)
    assert_same(answers(opened, exported.example_inputs), want)
    if not canonical:
        assert opened.graph_signature == torch.export.load(source).graph_signature
        # Buffers that the first call wrote are the program's own: the second needs another one.
        assert_same(answers(torch.export.load(path), opened.example_inputs), want)


def test_memory_that_is_shared_is_shared_in_torch(tmp_path: Path) -> None:
    source, path = tmp_path / "source.pt2", tmp_path / "saved.pt2"
    torch.export.save(PROGRAMS["tied"](), source)
    castoff.save(castoff.load(source), path)
    state = torch.export.load(path).state_dict
    assert state["head.weight"].data_ptr() == state["embed.weight"].data_ptr()
    assert state["column"].untyped_storage().data_ptr() == state["base"].data_ptr()
    assert state["column"].stride() == (4,)
    assert isinstance(state["narrow"], nn.Parameter)
    assert not isinstance(state["base"], nn.Parameter)
    assert torch.signbit(state["base"][0, 2])


def test_exporting_again_under_other_names_gives_the_same_digest(tmp_path: Path) -> None:
    class Renamed(nn.Module):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(3, 3)

        def forward(self, x: Any) -> Any:
            scaled = x * 2
            return self.linear(x) + scaled.relu()

    class Original(Renamed):
        def forward(self, x: Any) -> Any:
            product = self.linear(x)
            return product + (x * 2).relu()

    digests = []
    for module, rows in ((Original, 4), (Renamed, 6)):
        torch.manual_seed(0)
        exported = torch.export.export(
            module(), (torch.randn(rows, 3),), dynamic_shapes={"x": {0: Dim.DYNAMIC}}
        )
        torch.export.save(exported, tmp_path / "model.pt2")
        digests.append(castoff.load(tmp_path / "model.pt2").digest())
    assert digests[0] == digests[1]


def test_extra_files_and_new_example_inputs_are_read_by_torch(tmp_path: Path) -> None:
    source, path = tmp_path / "source.pt2", tmp_path / "saved.pt2"
    torch.export.save(PROGRAMS["tied"](), source)
    program = castoff.load(source)
    state = program.state_dict
    inputs = ExampleInputs(
        (state["column"], [None, True, -7, 1 << 40, 0.5, 1j, "ä"]),
        {"narrow": state["narrow"], "d": {"k": (state["base"],)}},
    )
    castoff.save(
        replace(program, example_inputs=inputs), path, extra_files={"note.txt": "hällo", "b": b"1"}
    )
    extra = {"note.txt": "", "b": ""}
    opened = torch.export.load(path, extra_files=extra)
    assert extra == {"note.txt": "hällo", "b": "1"}
    (column, values), named = opened.example_inputs
    assert values == [None, True, -7, 1 << 40, 0.5, 1j, "ä"]
    torch.testing.assert_close(column, opened.state_dict["column"], rtol=0, atol=0)
    assert isinstance(named["narrow"], nn.Parameter)
    assert named["d"]["k"][0].shape == (3, 4)


class Pair:
    """A container of the test's own."""

    def __init__(self, left: Any, right: Any) -> None:
        self.left, self.right = left, right


class Span(NamedTuple):
    """A named tuple of the test's own."""

    low: Any
    high: Any


@dataclass
class Bounds:
    """A dataclass of the test's own."""

    inner: Any
    outer: Any = None


def test_registered_containers_keep_their_names_and_come_back(tmp_path: Path) -> None:
    pytree = torch.utils._pytree
    pytree.register_pytree_node(
        Pair,
        lambda pair: ([pair.left, pair.right], "both"),
        lambda items, context: Pair(*items),
        serialized_type_name="test.Pair",
        to_dumpable_context=lambda context: {"which": context},
        from_dumpable_context=lambda stored: stored["which"],
    )
    pytree._register_namedtuple(Span, serialized_type_name="test.Span")
    torch.export.register_dataclass(Bounds, serialized_type_name="test.Bounds")

    class Packing(nn.Module):  # type: ignore[misc,name-defined]
        def forward(self, span: Any) -> Any:
            return Pair(span.low + 1, Bounds(span.high * 2))

    source, path = tmp_path / "source.pt2", tmp_path / "saved.pt2"
    inputs = (Span(torch.ones(2), torch.full((2,), 3.0)),)
    torch.export.save(torch.export.export(Packing(), inputs), source)
    # PyTorch does not unpickle example inputs of classes that it has not been told to trust.
    program = replace(castoff.load(source), example_inputs=None, inputs_record=None)
    for canonical in (False, True):
        castoff.save(program, path, canonical=canonical)
        entry = castoff.load(path).call_entry
        assert entry is not None and entry.signature is not None
        for name in ("test.Pair", "test.Bounds"):
            assert f'"{name}"' in entry.signature.out_spec
        assert "test.Span" in entry.signature.in_spec
        result = torch.export.load(path).module()(*inputs)
        assert isinstance(result, Pair)
        assert isinstance(result.right, Bounds)
        assert_same(
            [result.left, result.right.inner], [torch.full((2,), 2.0), torch.full((2,), 6.0)]
        )


@pytest.mark.parametrize("way", REWRITES)
@pytest.mark.parametrize("family", FAMILIES)
def test_programs_of_the_corpus_give_the_same_answers_in_torch(family: str, way: str) -> None:
    corpus = find_corpus()
    if corpus is None or not Family.exists(corpus, family):
        pytest.skip("there is no corpus")
    names = Family(corpus, family).names
    outcomes = check_cases(corpus, family, names[:: 12 if family == "structure" else 90], way)
    assert not [why for why in outcomes.values() if why and not why.startswith(NOT_IN_TORCH)]
    assert None in outcomes.values()


def test_programs_of_the_corpus_have_one_canonical_form_however_often_they_are_exported() -> None:
    corpus = find_corpus()
    if corpus is None or not Family.exists(corpus, "models"):
        pytest.skip("there is no corpus")
    names = ["models/poolformer.dynamic", "models/clip_vision.static"]
    assert reexported.check_cases(corpus, "models", names) == dict.fromkeys(names)

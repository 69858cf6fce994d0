"""Records are what the standard library's dataclasses are."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from collections.abc import Callable
from typing import Any, ClassVar

import pytest

from castoff.compiler import records

STANDARD, RECORD = dataclasses.dataclass, records.dataclass


def made_by(decorate: Callable[..., Any]) -> tuple[Any, Any, Any]:
    """A frozen record, one that inherits from it, and one that changes."""

    @decorate(frozen=True, slots=True)
    class Point:
        """With a default and a constant."""

        scale: ClassVar[int] = 3
        x: int
        y: tuple[int, ...] = ()

        def __post_init__(self) -> None:
            if self.x < 0:
                raise ValueError("left of the axis")

    @decorate(frozen=True, slots=True)
    class Named(Point):
        """With fields that only some methods see."""

        name: str = dataclasses.field(default="p", repr=False)
        note: str = dataclasses.field(default="", compare=False)
        seen: list[int] = dataclasses.field(default_factory=list, compare=False)

    @decorate(slots=True)
    class Count:
        """With a field that is set later."""

        values: list[int] = dataclasses.field(default_factory=list)
        total: int = dataclasses.field(init=False)

        def __post_init__(self) -> None:
            self.total = sum(self.values)

    return Point, Named, Count


CLASSES = {"standard": made_by(STANDARD), "record": made_by(RECORD)}


def seen_of(point: Any, named: Any, count: Any) -> list[object]:
    """What can be asked of the classes, without what differs between runs."""
    a, b, c = point(1), point(x=1, y=()), named(2, (3,), "q", note="n")
    tally = count([1, 2])
    return [
        [f"{value!r}".rpartition(".")[2] for value in (a, c, tally)],
        [a == b, a != c, a == named(1), c == named(2, (3,), "q"), hash(a) == hash(b)],
        [hash(a), hash(c) == hash(named(2, (3,), "q", note="other"))],
        [dataclasses.asdict(value) for value in (a, c, tally)],
        dataclasses.astuple(c),
        [[(f.name, f.type, f.init, f.repr) for f in dataclasses.fields(k)] for k in (point, named)],
        dataclasses.asdict(dataclasses.replace(c, x=5)),
        [named.__match_args__, point.__slots__, named.__slots__, count.__match_args__],
        [named.scale, point.__doc__, count.__hash__, dataclasses.is_dataclass(a)],
        copy.copy(c) == c,
        copy.deepcopy(c).seen,
        [tally == count([1, 2]), tally.total, named(1).seen is named(1).seen],
        hasattr(a, "__dict__"),
    ]


def test_records_answer_as_dataclasses_do() -> None:
    assert seen_of(*CLASSES["record"]) == seen_of(*CLASSES["standard"])


@pytest.mark.parametrize("kind", CLASSES)
def test_a_frozen_record_refuses_to_change(kind: str) -> None:
    point, _, count = CLASSES[kind]
    with pytest.raises(dataclasses.FrozenInstanceError, match="cannot assign to field 'x'"):
        point(1).x = 2
    with pytest.raises(dataclasses.FrozenInstanceError, match="cannot delete field 'x'"):
        del point(1).x
    changing = count([])
    changing.total = 4
    assert changing.total == 4
    with pytest.raises(TypeError, match="unhashable"):
        hash(changing)


@pytest.mark.parametrize("kind", CLASSES)
def test_a_record_refuses_wrong_arguments(kind: str) -> None:
    point, named, _ = CLASSES[kind]
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'x'"):
        point()
    with pytest.raises(TypeError, match="unexpected keyword argument 'z'"):
        named(1, z=2)
    with pytest.raises(ValueError, match="left of the axis"):
        point(-1)


@RECORD(frozen=True, slots=True)
class Pickled:
    """At the top of a module, where pickle finds it."""

    x: int
    name: str = "p"


def test_a_record_is_pickled() -> None:
    assert pickle.loads(pickle.dumps(Pickled(3))) == Pickled(3)


def test_methods_of_its_own_and_identity_stay() -> None:
    @RECORD(frozen=True, slots=True, eq=False)
    class Value:
        name: str

        def __repr__(self) -> str:
            return f"%{self.name}"

    x, y = Value("x"), Value("x")
    assert x != y and repr(x) == "%x" and len({x, y}) == 2

    @RECORD(frozen=True, slots=True)
    class Near:
        x: float

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Near) and abs(self.x - other.x) < 1

        def __hash__(self) -> int:
            return 7

    assert Near(1.0) == Near(1.5) and hash(Near(3.0)) == 7


def test_a_standard_dataclass_inherits_from_a_record() -> None:
    @dataclasses.dataclass(frozen=True, slots=True)
    class Further(Pickled):
        z: int = 5

    further = Further(1, z=6)
    assert dataclasses.astuple(further) == (1, "p", 6)
    assert dataclasses.replace(further, x=2) == Further(2, "p", 6)


def test_a_default_that_changes_is_refused() -> None:
    with pytest.raises(AssertionError, match="x: a default that changes"):

        @records.dataclass(slots=True)
        class Shared:
            x: list[int] = []


def test_a_frozen_record_is_of_frozen_bases() -> None:
    @records.dataclass(slots=True)
    class Changing:
        x: int

    with pytest.raises(AssertionError, match="frozen as their bases"):

        @records.dataclass(frozen=True, slots=True)
        class Frozen(Changing):
            y: int


def test_a_record_without_a_hash_has_none() -> None:
    @records.dataclass(frozen=True, slots=True)
    class Unhashable:
        x: int
        __hash__ = None  # type: ignore[assignment]

    with pytest.raises(TypeError, match="unhashable"):
        hash(Unhashable(1))

"""Mutations of JSON as a tree, which bytes changed at random seldom come to."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator

_ODD_VALUES: tuple[object, ...] = (
    *(None, True, False, 0, -1, 1 << 31, 1 << 63, 10**40, -0.5, 1e308),
    *("", "NaN", "Infinity", "\ud800", "a" * 300, "[[0]]", [], {}, [[]], {"": None}),
)
_MAX_NESTING = 1200

Place = tuple["list[object] | dict[str, object]", "int | str"]


def mutated_tree(data: bytes, seed: int) -> bytes | None:
    """The JSON text with a few values exchanged, dropped, doubled or nested; None if it is none."""
    try:
        tree = json.loads(data)
    except (ValueError, RecursionError):
        return None
    dice = random.Random(seed)
    holder: list[object] = [tree]
    try:
        for _ in range(dice.choice((1, 1, 1, 2, 4))):
            _change(holder, dice)
        return json.dumps(holder[0] if holder else None).encode()
    except RecursionError:
        return None


def _change(holder: list[object], dice: random.Random) -> None:
    places = list(_places(holder))
    if not places:
        return
    container, key = dice.choice(places)
    value = container[key]  # type: ignore[index]
    match dice.randrange(6):
        case 0:
            new = dice.choice(_ODD_VALUES)
        case 1 | 2:
            other, other_key = dice.choice(places)
            new = copy.deepcopy(other[other_key])  # type: ignore[index]
        case 3:
            del container[key]  # type: ignore[arg-type]
            return
        case 4:
            new = value
            if isinstance(value, list) and value:
                new = [*value, dice.choice(value)]
            elif isinstance(value, dict) and value:
                new = {**value, f"{dice.choice(list(value))}_": dice.choice(list(value.values()))}
        case _:
            new = value
            for _ in range(dice.choice((1, 2, 100, _MAX_NESTING))):
                new = [new] if dice.random() < 0.5 or not isinstance(key, str) else {key: new}
    container[key] = copy.deepcopy(new)  # type: ignore[index]


def _places(holder: list[object]) -> Iterator[Place]:
    waiting: list[object] = [holder]
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            yield from ((value, index) for index in range(len(value)))
            waiting.extend(value)
        elif isinstance(value, dict):
            yield from ((value, key) for key in value)
            waiting.extend(value.values())

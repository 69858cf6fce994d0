"""A pickle reader that runs nothing: opcodes build plain data, names come from a closed table.

Python's own unpickler can be told which globals to resolve, but not how much memory to reserve
for a memo index or a length that the data does not back. This one is a plain interpreter of the
opcodes that protocols 2 to 5 emit for data; it never imports, and it calls only what the table
it is given holds. Costs stay proportional to the pickle.
"""

from __future__ import annotations

import struct
import sys
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence

from .constructors import Constructor, Globals, checked_key, new_frozenset
from .errors import ProgramFormatError, UnsafePickleError


class ForeignClassError(UnsafePickleError):
    """A pickle names a class of some other package: harmless, but nothing we can construct."""


PersistentLoad = Callable[[object], object]

_NO_MARK = "no mark"


def unpickle(
    data: memoryview, allowed: Globals, persistent_load: PersistentLoad, source: str
) -> object:
    """The object that a pickle describes, built from `allowed` globals alone.

    Raises `ForeignClassError` for a global of a package that is neither Python's nor `allowed`,
    `UnsafePickleError` for any other global outside `allowed`, and `ProgramFormatError` for a
    damaged pickle; `source` names it.
    """
    return _Machine(data, allowed, persistent_load, source).run()


class _Machine:
    def __init__(
        self, data: memoryview, allowed: Globals, persistent_load: PersistentLoad, source: str
    ) -> None:
        self._data = data
        self._position = 0
        self._allowed = allowed
        self._persistent_load = persistent_load
        self._source = source
        self._stack: list[object] = []
        self._marks: list[int] = []
        self._memo: dict[int, object] = {}
        # Copying constructors over one memoised list could otherwise grow without bound.
        self._copy_budget = 1024 + 8 * len(data)

    def run(self) -> object:
        try:
            while True:
                opcode = self._data[self._position]
                self._position += 1
                if opcode == _STOP:
                    result = self._stack.pop()
                    if self._stack:
                        raise ValueError("values left over at the end")
                    return result
                step = _STEPS.get(opcode)
                if step is None:
                    raise ValueError(f"opcode {bytes((opcode,))!r} is not one of plain data")
                step(self)
        except (
            IndexError,
            KeyError,
            ValueError,
            TypeError,
            OverflowError,
            AttributeError,
            struct.error,
        ) as error:
            raise ProgramFormatError(
                f"{self._source}: damaged pickle at byte {self._position}: {error}"
            ) from None

    # --- reading ---

    def take(self, length: int) -> memoryview:
        end = self._position + length
        if length < 0 or end > len(self._data):
            raise ValueError(f"{length} bytes are promised, {len(self._data)} in all are there")
        taken = self._data[self._position : end]
        self._position = end
        return taken

    def number(self, length: int, *, signed: bool = False) -> int:
        return int.from_bytes(self.take(length), "little", signed=signed)

    def text(self, length_bytes: int) -> str:
        return str(self.take(self.number(length_bytes)), "utf-8", "surrogatepass")

    def line(self) -> str:
        # Names in protocol 2 are lines; no genuine one is longer than this.
        window = bytes(self._data[self._position : self._position + 1024])
        end = window.index(b"\n")
        self._position += end + 1
        return window[:end].decode("utf-8")

    # --- stack ---

    def push(self, value: object) -> None:
        self._stack.append(value)

    def pop(self) -> object:
        if self._marks and self._marks[-1] >= len(self._stack):
            raise ValueError("stack ends at a mark")
        return self._stack.pop()

    def pop_many(self, count: int) -> tuple[object, ...]:
        values = [self.pop() for _ in range(count)]
        return tuple(reversed(values))

    def top(self) -> object:
        return self._stack[-1]

    def mark(self) -> None:
        self._marks.append(len(self._stack))

    def pop_to_mark(self) -> list[object]:
        if not self._marks:
            raise ValueError(_NO_MARK)
        start = self._marks.pop()
        values = self._stack[start:]
        del self._stack[start:]
        return values

    # --- memo ---

    def remember(self, index: int) -> None:
        self._memo[index] = self.top()

    def remember_next(self) -> None:
        self.remember(len(self._memo))

    def recall(self, index: int) -> None:
        self.push(self._memo[index])

    # --- globals and construction ---

    def push_global(self, module: str, name: str) -> None:
        found = self._allowed.get((module, name))
        if found is not None:
            self.push(found)
            return
        package = module.split(".", 1)[0]
        message = (
            f"{self._source}: the pickle names '{module}.{name}', which is not on the list of "
            "constructors that are safe; nothing was run"
        )
        if package in sys.stdlib_module_names or package in ("", "__builtin__", "copy_reg"):
            raise UnsafePickleError(message)
        raise ForeignClassError(message)

    def push_stack_global(self) -> None:
        module, name = self.pop_many(2)
        if not isinstance(module, str) or not isinstance(name, str):
            raise ValueError("a global whose name is no text")
        self.push_global(module, name)

    def construct(self) -> None:
        constructor, arguments = self.pop_many(2)
        if not isinstance(constructor, Constructor):
            raise UnsafePickleError(
                f"{self._source}: the pickle calls a value of type "
                f"{type(constructor).__name__}, which is no constructor; nothing was run"
            )
        if not isinstance(arguments, tuple):
            raise ValueError(f"{constructor.name} is called without a tuple of arguments")
        if constructor.copies_argument:
            for argument in arguments:
                if isinstance(argument, (list, tuple, dict, set, frozenset, deque, bytes, str)):
                    self._copy_budget -= len(argument)
            if self._copy_budget < 0:
                raise ValueError("containers are copied more often than data warrants")
        self.push(constructor.build(*arguments))

    def load_persistent(self) -> None:
        self.push(self._persistent_load(self.pop()))

    def set_state(self) -> None:
        state, target = self.pop(), self.top()
        # torch hangs `_metadata` on the OrderedDict of a state dict; it says nothing of the data.
        if not isinstance(target, OrderedDict) or not isinstance(state, dict):
            raise UnsafePickleError(
                f"{self._source}: the pickle sets the state of a {type(target).__name__}; "
                "nothing was run"
            )

    # --- containers ---

    def set_items(self, items: Sequence[object]) -> None:
        target = self.top()
        if not isinstance(target, dict) or len(items) % 2:
            raise ValueError("items are set on what is no dict")
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[checked_key(key)] = value

    def append_items(self, items: Sequence[object]) -> None:
        target = self.top()
        if not isinstance(target, (list, deque)):
            raise ValueError("items are appended to what is no list")
        target.extend(items)

    def add_items(self, items: Sequence[object]) -> None:
        target = self.top()
        if not isinstance(target, set):
            raise ValueError("items are added to what is no set")
        target.update(checked_key(item) for item in items)


# --- The opcodes, as the pickletools module of Python documents them ---------------------------

_STOP = ord(".")


def _protocol(machine: _Machine) -> None:
    version = machine.number(1)
    if not 2 <= version <= 5:
        raise ValueError(f"protocol {version}; expected 2 to 5")


def _frame(machine: _Machine) -> None:
    machine.take(8)  # the length of a frame, a hint for buffered reading


def _drop(machine: _Machine) -> None:
    machine.pop()


def _drop_to_mark(machine: _Machine) -> None:
    machine.pop_to_mark()


def _long(machine: _Machine, length_bytes: int) -> None:
    machine.push(machine.number(machine.number(length_bytes), signed=True))


def _float(machine: _Machine) -> None:
    machine.push(struct.unpack(">d", machine.take(8))[0])


def _new_object_with_keywords(machine: _Machine) -> None:
    keywords = machine.pop()
    if keywords != {}:
        raise ValueError("a construction with keywords")
    machine.construct()


_Step = Callable[[_Machine], None]


def _pushing(value: object) -> _Step:
    return lambda machine: machine.push(value)


_STEPS: dict[int, _Step] = {
    ord(opcode): step
    for opcode, step in {
        "\x80": _protocol,
        "\x95": _frame,
        "(": _Machine.mark,
        "0": _drop,
        "1": _drop_to_mark,
        # constants
        "N": _pushing(None),
        "\x88": _pushing(True),
        "\x89": _pushing(False),
        # numbers
        "K": lambda m: m.push(m.number(1)),
        "M": lambda m: m.push(m.number(2)),
        "J": lambda m: m.push(m.number(4, signed=True)),
        "\x8a": lambda m: _long(m, 1),
        "\x8b": lambda m: _long(m, 4),
        "G": _float,
        # text and bytes
        "\x8c": lambda m: m.push(m.text(1)),
        "X": lambda m: m.push(m.text(4)),
        "\x8d": lambda m: m.push(m.text(8)),
        "C": lambda m: m.push(bytes(m.take(m.number(1)))),
        "B": lambda m: m.push(bytes(m.take(m.number(4)))),
        "\x8e": lambda m: m.push(bytes(m.take(m.number(8)))),
        "\x96": lambda m: m.push(bytearray(m.take(m.number(8)))),
        # tuples, lists, dicts, sets
        ")": _pushing(()),
        "\x85": lambda m: m.push(m.pop_many(1)),
        "\x86": lambda m: m.push(m.pop_many(2)),
        "\x87": lambda m: m.push(m.pop_many(3)),
        "t": lambda m: m.push(tuple(m.pop_to_mark())),
        "]": lambda m: m.push([]),
        "l": lambda m: m.push(m.pop_to_mark()),
        "a": lambda m: m.append_items([m.pop()]),
        "e": lambda m: m.append_items(m.pop_to_mark()),
        "}": lambda m: m.push({}),
        "s": lambda m: m.set_items(m.pop_many(2)),
        "u": lambda m: m.set_items(m.pop_to_mark()),
        "\x8f": lambda m: m.push(set()),
        "\x90": lambda m: m.add_items(m.pop_to_mark()),
        "\x91": lambda m: m.push(new_frozenset(m.pop_to_mark())),
        # memo
        "q": lambda m: m.remember(m.number(1)),
        "r": lambda m: m.remember(m.number(4)),
        "\x94": _Machine.remember_next,
        "h": lambda m: m.recall(m.number(1)),
        "j": lambda m: m.recall(m.number(4)),
        # globals and what is made of them
        "c": lambda m: m.push_global(m.line(), m.line()),
        "\x93": _Machine.push_stack_global,
        "R": _Machine.construct,
        "\x81": _Machine.construct,
        "\x92": _new_object_with_keywords,
        "b": _Machine.set_state,
        "Q": _Machine.load_persistent,
    }.items()
}

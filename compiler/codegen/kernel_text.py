"""Kernels as text: what every kind of kernel has in common."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from ..ir.graph import Origin
from ..lowering.program import Buffer
from ..records import dataclass
from ..targets import cpu
from .expr import Parameters
from .statements import Line, names_in


@dataclass(frozen=True, slots=True)
class Pointer:
    """A pointer parameter of a kernel."""

    ctype: str
    name: str
    is_written: bool


@dataclass(frozen=True, slots=True)
class KernelText:
    """What a template needs to print a kernel. `name` is a placeholder until equal kernels were found."""

    comment: tuple[str, ...]
    pointers: tuple[Pointer, ...]
    symbols: tuple[str, ...]
    has_fault: bool
    lines: tuple[Line, ...]
    headers: tuple[str, ...]
    tile_type: str = "float"
    """Element type of the tile an epilogue is called with."""
    setup: tuple[Line, ...] = ()
    """Statements that the sizes of a product need."""

    @property
    def used(self) -> frozenset[str]:
        """Every name that `lines` mention: only these parameters are unpacked for them."""
        return frozenset(names_in(self.lines))

    @property
    def reads_arguments(self) -> bool:
        """Whether `lines` need any parameter at all."""
        names = {*self.symbols, *(pointer.name for pointer in self.pointers)}
        return self.has_fault or not names.isdisjoint(self.used)


@dataclass(frozen=True, slots=True)
class KernelCode:
    """A kernel's text template filled in except for its name, and how it is called."""

    text: str
    hint: str
    buffers: tuple[Buffer, ...]
    """The buffers that the pointer parameters stand for, in their order."""
    pointer_names: tuple[str, ...]
    symbols: tuple[str, ...]
    has_fault: bool
    headers: tuple[str, ...]
    offsets: Mapping[Buffer, int] = field(default_factory=dict)
    """Elements that the pointers are ahead of their buffers."""


def describe(origins: tuple[Origin, ...]) -> tuple[str, ...]:
    """Lines that say where a kernel comes from, each once."""
    return tuple(dict.fromkeys(text for origin in origins if (text := _safe(str(origin)))))


def _safe(text: str) -> str:
    return text.replace("*/", "* /").replace("/*", "/ *").replace("\n", " ").replace("\\", "/")


def pointers(parameters: Parameters) -> tuple[Pointer, ...]:
    """The pointer parameters in the order they were first used."""
    return tuple(
        Pointer(cpu.C_TYPE[buffer.dtype], name, buffer in parameters.written)
        for buffer, name in parameters.buffers.items()
    )

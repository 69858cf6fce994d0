"""What arrays of a captured function share: memory, seen through views, changed functionally.

b = a[1:3]; b += 1; use(a)   ->   b' = slice(a) + 1; a' = slice_scatter(a, b'); use(a')
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ...records import dataclass
from ..graph_writer import Tensor


@dataclass(frozen=True, slots=True)
class View:
    """How an array is read off the one it shares memory with, and how a change goes back there:
    `write(base, changed)` is the base with the elements that the view shows replaced."""

    read: Callable[[Tensor], Tensor]
    write: Callable[[Tensor, Tensor], Tensor] | None
    """None where NumPy forbids it: the view shows elements twice."""
    layout: Callable[[np.ndarray], np.ndarray]
    """The same view of a NumPy array, for its strides."""


@dataclass(slots=True, eq=False)
class Memory:
    """Memory that arrays share: its present elements, as the array that owns it sees them."""

    tensor: Tensor
    version: int = 0


@dataclass(slots=True, eq=False)
class Reference:
    """One array: some memory through a chain of views."""

    memory: Memory
    views: tuple[View, ...]
    _tensor: Tensor
    _version: int

    @staticmethod
    def fresh(tensor: Tensor) -> Reference:
        """An array with memory of its own."""
        return Reference(Memory(tensor), (), tensor, 0)

    def read(self) -> Tensor:
        """Its present elements."""
        if self._version != self.memory.version:
            tensor = self.memory.tensor
            for view in self.views:
                tensor = view.read(tensor)
            self._tensor, self._version = tensor, self.memory.version
        return self._tensor

    def view(self, view: View) -> Reference:
        """Another array that sees the same memory through one more view."""
        tensor = view.read(self.read())
        return Reference(self.memory, (*self.views, view), tensor, self.memory.version)

    @property
    def is_writable(self) -> bool:
        """Whether its elements can be changed."""
        return all(view.write is not None for view in self.views)

    def layout(self, shape: tuple[int, ...]) -> np.ndarray:
        """A NumPy array that lies in memory as this one does, where its memory has this shape; its
        elements mean nothing (and are never touched)."""
        array = np.empty(shape, np.int8)
        for view in self.views:
            array = view.layout(array)
        return array

    def write(self, changed: Tensor) -> None:
        """Replace its elements, in every array that shows them."""
        bases = [self.memory.tensor]
        for view in self.views[:-1]:
            bases.append(view.read(bases[-1]))
        tensor = changed
        for view, base in zip(reversed(self.views), reversed(bases), strict=False):
            assert view.write is not None, "whoever writes has asked is_writable"
            tensor = view.write(base, tensor)
        self.memory.tensor = tensor
        self.memory.version += 1
        self._tensor, self._version = changed, self.memory.version

"""Kernels of one store, made directly."""

from __future__ import annotations

from .. import kernels
from ..ir import shapes
from ..ir.graph import Node
from ..ir.shapes import Shape, Symbol
from .program import Loop, LoopKernel, Phase, Store


def nest(
    name: str, index: kernels.Index, shape: Shape, store: Store, node: Node, is_serial: bool = False
) -> LoopKernel:
    """A kernel of one store over a loop per dimension."""
    loops = tuple(
        Loop(atom, size)
        for i, size in zip(index, shape, strict=False)
        if isinstance(i, shapes.SymExpr) and isinstance(atom := shapes.atom_of(i), Symbol)
    )
    phase = Phase((), loops[-1:], (store,))
    return LoopKernel(name, loops[:-1], (phase,), (node.origin,), is_serial=is_serial)

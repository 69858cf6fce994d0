"""Where in its buffers a kernel begins, so that steps which do the same elsewhere share one kernel.

Before: `p0[i0 + 512] = p1[i0 + 512] * 2`, and another kernel for each part of a recurrence that was unrolled
After:  `p0[i0] = p1[i0] * 2`, called with pointers that are 512 elements ahead
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from .. import kernels
from ..ir.shapes import Dim
from ..kernels import Scalar
from ..lowering.expand import scalars_in
from ..lowering.program import Accumulate, Buffer, Element, Store

ALIGNMENT = 16

Place = tuple[Buffer, Dim]
"""A buffer and an address in it."""


def smallest_offsets(places: Iterable[Place]) -> dict[Buffer, int]:
    """For each buffer, the smallest constant that its addresses begin with; those of 0 or less are left out."""
    smallest: dict[Buffer, int] = {}
    for buffer, address in places:
        constant = address if isinstance(address, int) else address.terms.get((), 0)
        smallest[buffer] = min(constant, smallest.get(buffer, constant))
    return {buffer: constant for buffer, constant in smallest.items() if constant > 0}


def aligned_offsets(places: Iterable[Place]) -> dict[Buffer, int]:
    """The same, as multiples of 16 bytes: pointers stay aligned as devices want them."""
    found: dict[Buffer, int] = {}
    for buffer, constant in smallest_offsets(places).items():
        aligned = constant - constant % max(ALIGNMENT // buffer.dtype.itemsize, 1)
        if aligned:
            found[buffer] = aligned
    return found


def places_in(statements: Iterable[Store | Accumulate]) -> Iterator[Place]:
    """Every place that statements read or write."""
    roots: list[Scalar] = []
    for statement in statements:
        roots.append(statement.value)
        if isinstance(statement, Store):
            roots.append(kernels.index_value(statement.address))
            if statement.condition is not None:
                roots.append(statement.condition)
            yield statement.buffer, statement.address
    for scalar in scalars_in(roots):
        if isinstance(scalar, Element):
            yield scalar.buffer, scalar.address

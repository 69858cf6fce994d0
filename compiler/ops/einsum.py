"""einsum: parsed here, built from diagonals, permutations, sums and matrix products."""

from __future__ import annotations

from collections.abc import Sequence

from ..ir import shapes
from ..ir.graph import Value
from ..ir.shapes import Dim
from ..records import dataclass
from .base import Builder, OperatorError, target
from .windows import Diagonal

Label = str
"""One letter, or "...<i>" for the i-th dimension from the end of what an ellipsis stands for."""


@dataclass(frozen=True, slots=True)
class _Term:
    """A value whose dimensions have labels, all different."""

    value: Value
    labels: tuple[Label, ...]


@target("aten.einsum.default")
def einsum(
    b: Builder, equation: str, tensors: Sequence[Value], *, path: Sequence[int] | None = None
) -> Value:
    """Sums of products by the equation, as "bik,bkj->bij". The order of `path` is followed."""
    inputs, output = _parse(equation, [x.rank for x in tensors])
    terms = [
        _without_repeats(b, _Term(x, labels)) for x, labels in zip(tensors, inputs, strict=True)
    ]
    order = list(path or ())
    while len(terms) > 1:
        first, second = sorted(order[:2]) if order else (0, 1)
        order = order[2:]
        right, left = terms.pop(second), terms.pop(first)
        needed = set(output).union(*(term.labels for term in terms))
        product = _contract(b, left, right, needed)
        if path:
            terms.append(product)
        else:
            terms.insert(0, product)
    term = _sum_out(b, terms[0], set(output))
    return b.permute(term.value, [term.labels.index(label) for label in output])


def _parse(
    equation: str, ranks: Sequence[int]
) -> tuple[list[tuple[Label, ...]], tuple[Label, ...]]:
    """The labels of every operand and of the result."""
    left, arrow, right = equation.replace(" ", "").partition("->")
    texts = left.split(",")
    if len(texts) != len(ranks):
        raise OperatorError(f"einsum {equation!r}: {len(texts)} operands, given {len(ranks)}")
    hidden = 0
    for text, rank in zip(texts, ranks, strict=True):
        letters = len(text.replace("...", ""))
        if letters > rank or ("..." not in text and letters != rank):
            raise OperatorError(
                f"einsum {equation!r}: {text!r} names {letters} of {rank} dimensions"
            )
        hidden = max(hidden, rank - letters)
    operands = [
        _labels(text, rank - len(text.replace("...", "")))
        for text, rank in zip(texts, ranks, strict=False)
    ]
    if arrow:
        return operands, _labels(right, hidden)
    letters_used = [label for labels in operands for label in labels if label[0] != "."]
    once = sorted(label for label in set(letters_used) if letters_used.count(label) == 1)
    return operands, (*_labels("...", hidden), *once)


def _labels(text: str, hidden: int) -> tuple[Label, ...]:
    before, dots, after = text.partition("...")
    middle = tuple(f"...{i}" for i in reversed(range(hidden))) if dots else ()
    return (*before, *middle, *after)


def _without_repeats(b: Builder, term: _Term) -> _Term:
    """A label that stands twice takes the diagonal."""
    for label in term.labels:
        while term.labels.count(label) > 1:
            first = term.labels.index(label)
            second = term.labels.index(label, first + 1)
            rest = [axis for axis in range(len(term.labels)) if axis not in (first, second)]
            value = b.emit1(Diagonal(0), b.permute(term.value, [*rest, first, second]))
            term = _Term(value, (*(term.labels[axis] for axis in rest), label))
    return term


def _sum_out(b: Builder, term: _Term, needed: set[Label]) -> _Term:
    """The sum over the dimensions that nobody needs any more; of integers in int64, as sums are."""
    axes = [axis for axis, label in enumerate(term.labels) if label not in needed]
    if not axes:
        return term
    kept = tuple(label for label in term.labels if label in needed)
    total: Value = b.call("aten.sum.dim_IntList", term.value, axes)
    return _Term(total, kept)


def _drop_ones(b: Builder, term: _Term, other: _Term) -> _Term:
    """Without the dimensions of size 1 which the other operand stretches."""
    sizes = dict(zip(other.labels, other.value.shape, strict=True))
    kept = [
        axis
        for axis, (label, size) in enumerate(zip(term.labels, term.value.shape, strict=True))
        if size != 1 or sizes.get(label, 1) == 1
    ]
    if len(kept) == len(term.labels):
        return term
    value = b.reshape(term.value, [term.value.shape[axis] for axis in kept])
    return _Term(value, tuple(term.labels[axis] for axis in kept))


def _contract(b: Builder, left: _Term, right: _Term, needed: set[Label]) -> _Term:
    """The product of two operands, summed over what is not needed later."""
    left, right = _drop_ones(b, left, right), _drop_ones(b, right, left)
    left = _sum_out(b, left, needed | set(right.labels))
    right = _sum_out(b, right, needed | set(left.labels))
    values = b.promoted(left.value, right.value)
    left, right = (
        _Term(value, term.labels) for value, term in zip(values, (left, right), strict=True)
    )
    both = [label for label in left.labels if label in right.labels]
    batch = tuple(label for label in both if label in needed)
    inner = tuple(label for label in both if label not in needed)
    rows = tuple(label for label in left.labels if label not in both)
    columns = tuple(label for label in right.labels if label not in both)
    labels = (*batch, *rows, *columns)
    if not inner:
        x = _arranged(b, left, (*batch, *rows), len(columns))
        y = _arranged(b, right, (*batch, *columns), 0)
        y = b.reshape(y, (*y.shape[: len(batch)], *(1,) * len(rows), *y.shape[len(batch) :]))
        return _Term(b.apply("mul", x, y), labels)
    sizes = {
        **dict(zip(left.labels, left.value.shape, strict=True)),
        **dict(zip(right.labels, right.value.shape, strict=True)),
    }

    def size(*names: Label) -> tuple[Dim, ...]:
        return tuple(sizes[name] for name in names)

    def merged(names: tuple[Label, ...]) -> Dim:
        return shapes.element_count(size(*names))

    x = _arranged(b, left, (*batch, *rows, *inner), 0)
    y = _arranged(b, right, (*batch, *inner, *columns), 0)
    x = b.reshape(x, (*size(*batch), merged(rows), merged(inner)))
    y = b.reshape(y, (*size(*batch), merged(inner), merged(columns)))
    return _Term(b.reshape(b.matmul(x, y), size(*labels)), labels)


def _arranged(b: Builder, term: _Term, order: Sequence[Label], added: int) -> Value:
    """Dimensions in the order of labels, and `added` of size 1 at the end."""
    value = b.permute(term.value, [term.labels.index(label) for label in order])
    return b.reshape(value, (*value.shape, *(1,) * added))

"""Covariances and correlations of the rows of a matrix."""

from __future__ import annotations

from ..ir.graph import Value
from .base import Builder, OperatorError, target


@target("aten.cov.default")
def cov(
    b: Builder, self: Value, correction: int = 1, fweights: Value | None = None,
    aweights: Value | None = None,
) -> Value:  # fmt: skip
    """Rows are variables, columns observations, repeated `fweights` times, times `aweights`."""
    if self.rank > 2:
        raise OperatorError(f"cov of {self}: expected at most two dimensions")
    rows = self.shape[0] if self.rank == 2 else 1
    (x,) = b.promoted(self, floating=True)
    x = b.reshape(x, (rows, self.shape[-1] if self.rank else 1))
    inner = x.dtype.real
    weights = [b.cast(w, inner) for w in (fweights, aweights) if w is not None]
    weight = b.apply("mul", *weights) if len(weights) == 2 else weights[0] if weights else None
    count = b.dim(x.shape[1], inner)
    if weight is not None:
        count = b.reduce("sum", weight, range(weight.rank))
    lost = b.full((), correction, inner)
    if weight is not None and aweights is not None and correction:
        squares = b.apply("mul", weight, b.cast(aweights, inner))
        total = b.reduce("sum", squares, range(squares.rank))
        lost = b.apply("mul", lost, b.apply("div", total, count))
    freedom = b.apply("maximum", b.apply("sub", count, lost), b.full((), 0, inner))
    weighted = x if weight is None else b.apply("mul", x, b.cast(weight, x.dtype))
    mean = b.apply("div", b.reduce("sum", weighted, (1,), True), b.cast(count, x.dtype))
    centred = b.apply("sub", x, mean)
    other = centred if weight is None else b.apply("mul", centred, b.cast(weight, x.dtype))
    product = b.matmul(centred, b.transpose(b.call("aten.conj_physical.default", other), 0, 1))
    result = b.apply("div", product, b.cast(freedom, x.dtype))
    return b.reshape(result, ()) if self.rank < 2 or rows == 1 else result


@target("aten.corrcoef.default")
def corrcoef(b: Builder, self: Value) -> Value:
    table = cov(b, self)
    if table.rank == 0:
        return b.apply("div", table, table)
    variances = b.call("aten.diagonal.default", table)
    if table.dtype.is_complex:
        variances = b.apply("real", variances)
    deviation = b.cast(b.apply("sqrt", variances), table.dtype)
    result = b.apply("div", table, b.unsqueeze(deviation, 1))
    result = b.apply("div", result, b.unsqueeze(deviation, 0))
    if table.dtype.is_complex:
        return b.apply("complex", *(_clipped(b, b.apply(p, result)) for p in ("real", "imag")))
    return _clipped(b, result)


def _clipped(b: Builder, x: Value) -> Value:
    low = b.apply("maximum", x, b.full((), -1, x.dtype))
    return b.apply("minimum", low, b.full((), 1, x.dtype))

"""Spellings of what works on single elements, and of tensors made from numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...frontends.graph_writer import GraphWriter, Tensor
from ...ir.dtypes import DType
from ...ir.graph import Node, TensorType
from ...ir.shapes import Dim, Func, SymExpr, atom_of, of_atom
from ...ops import complex as complex_ops
from ...ops.base import OperatorError
from ...ops.creation import DimValue, Full, Iota
from ...ops.pointwise import BitCast, CastTo, PointwiseOp, Where, Widen
from ...ops.reinterpret import Reinterpret
from .table import call, dense, spells

_UNARY = """
    abs acos acosh asin asinh atan atanh bitwise_not ceil cos cosh digamma erf erfc erfinv exp exp2
    expm1 floor gelu i0 isinf isnan lgamma log log10 log1p log2 logical_not neg reciprocal round rsqrt
    sgn sigmoid sign signbit sin sinc sinh sqrt tan tanh trunc
"""
_UNARY_SPECIAL = """
    airy_ai bessel_j0 bessel_j1 bessel_y0 bessel_y1 erfcx i0e i1 i1e log_ndtr modified_bessel_k0
    modified_bessel_k1 ndtri scaled_modified_bessel_k0 scaled_modified_bessel_k1 spherical_bessel_j0
"""
_BINARY = """
    atan2 copysign.Tensor fmax fmin gcd hypot igamma igammac lcm logaddexp logaddexp2 logical_and
    logical_or logical_xor maximum minimum nextafter
"""
_BINARY_OF_TENSORS = """
    add bitwise_and bitwise_left_shift bitwise_or bitwise_right_shift bitwise_xor div eq fmod ge gt
    le lt mul ne remainder sub
"""
_BINARY_SPECIAL = """
    chebyshev_polynomial_t chebyshev_polynomial_u chebyshev_polynomial_v chebyshev_polynomial_w
    hermite_polynomial_h hermite_polynomial_he laguerre_polynomial_l legendre_polynomial_p
    shifted_chebyshev_polynomial_t shifted_chebyshev_polynomial_u shifted_chebyshev_polynomial_v
    shifted_chebyshev_polynomial_w
"""
_NAMED_X = (
    "airy_ai",
    "scaled_modified_bessel_k0",
    "scaled_modified_bessel_k1",
    "spherical_bessel_j0",
)
"""Operators of one tensor that call it `x`, not `self`."""
UNARY_TARGETS: dict[str, str] = {
    **{name: f"{name}.default" for name in _UNARY.split()},
    **{name: f"special_{name}.default" for name in _UNARY_SPECIAL.split()},
    "exp_decay": "exp.default",
}
BINARY_TARGETS: dict[str, tuple[str, str, str]] = {
    **{
        name.partition(".")[0]: (name if "." in name else f"{name}.default", "self", "other")
        for name in _BINARY.split()
    },
    **{name: (f"{name}.Tensor", "self", "other") for name in _BINARY_OF_TENSORS.split()},
    **{name: (f"special_{name}.default", "x", "n") for name in _BINARY_SPECIAL.split()},
    "pow": ("pow.Tensor_Tensor", "self", "exponent"),
    "zeta": ("special_zeta.default", "self", "other"),
    "complex": ("complex.default", "real", "imag"),
}
_WITH_NUMBER = """
    add bitwise_and bitwise_or bitwise_xor div eq fmod ge gt le lt mul ne pow remainder sub
"""
_SCALAR_TARGETS: dict[str, tuple[str, str]] = {
    **{name: (f"{name}.Scalar", "other") for name in _WITH_NUMBER.split()},
    "pow": ("pow.Tensor_Scalar", "exponent"),
}
"""Operators whose second operand may be a Python number, and what they call it."""
DIVISIONS = {"floor_divide": "floor", "trunc_divide": "trunc"}


@spells(PointwiseOp)
def _pointwise(w: GraphWriter, node: Node, op: PointwiseOp, *inputs: Tensor) -> Sequence[Tensor]:
    name = op.name
    dense = all(x.is_dense for x in inputs)
    if name == "bitwise_right_shift" and node.outputs[0].dtype is DType.UINT64:
        return _unsigned_shift(w, node, *inputs)
    if name in UNARY_TARGETS:
        own = "x" if name in _NAMED_X else "self"
        return call(w, node, UNARY_TARGETS[name], dense=dense, **{own: inputs[0]})
    if name in DIVISIONS:
        x, y = inputs
        mode = DIVISIONS[name]
        return call(w, node, "div.Tensor_mode", dense=dense, self=x, other=y, rounding_mode=mode)
    if name in _SCALAR_TARGETS:
        x, y = inputs
        number = w.numbers.get(y.name)
        if number is not None and _is_exact(number, x.dtype):
            target, second = _SCALAR_TARGETS[name]
            return call(w, node, target, dense=x.is_dense, self=x, **{second: number})
    if name in BINARY_TARGETS:
        target, first, second = BINARY_TARGETS[name]
        given = {first: inputs[0], second: inputs[1]}
        return call(w, node, target, dense=dense, **given)
    match name:
        case "isfinite":
            return _is_finite(w, node, inputs[0])
        case "ndtr":
            return _normal_area(w, node, inputs[0])
        case "real" | "imag":
            return [_part(w, node, inputs[0], name == "imag")]
        case "frexp_mantissa" | "frexp_exponent":
            types = [inputs[0].type, TensorType(DType.INT32, inputs[0].shape)]
            return [w.calls("frexp.Tensor", types, self=inputs[0])[name == "frexp_exponent"]]
    raise OperatorError(f"{name} has no operator in ATen")


def _is_exact(number: int | float, dtype: DType) -> bool:
    """Whether a Python number beside a tensor of this type is what a tensor of it would be.

    Beside narrow floats PyTorch computes with the number as it is, not rounded to their type.
    """
    if dtype is DType.BOOL or (isinstance(number, float) and not dtype.is_float):
        return False
    if not dtype.is_float:
        return dtype.is_integer
    return dtype.itemsize >= 4 or float(np.asarray(number, dtype.numpy)) == number


def _unsigned_shift(w: GraphWriter, node: Node, x: Tensor, count: Tensor) -> Sequence[Tensor]:
    """PyTorch shifts int64 alone, which keeps the sign: what it fills in is masked away."""
    result = TensorType(DType.INT64, node.outputs[0].shape)
    wide = [TensorType(DType.INT64, tensor.shape) for tensor in (x, count)]
    bits = w.call("view.dtype", wide[0], dense=x.is_dense, self=x, dtype=DType.INT64)
    places = w.call("view.dtype", wide[1], dense=count.is_dense, self=count, dtype=DType.INT64)
    shifted = w.call("bitwise_right_shift.Tensor", result, self=bits, other=places)
    ones = w.call(
        "full.default", TensorType(DType.INT64, ()), size=[], fill_value=-1, dtype=DType.INT64
    )
    width = w.call("rsub.Scalar", wide[1], self=places, other=64)
    filled = w.call("bitwise_left_shift.Tensor", wide[1], self=ones, other=width)
    kept = w.call("bitwise_not.default", wide[1], self=filled)
    masked = w.call("bitwise_and.Tensor", result, self=shifted, other=kept)
    return call(w, node, "view.dtype", self=masked, dtype=DType.UINT64)


def _normal_area(w: GraphWriter, node: Node, x: Tensor) -> Sequence[Tensor]:
    """(1 + erf(x sqrt(1/2))) / 2, as PyTorch has it in gelu."""
    scaled = w.call("mul.Scalar", x.type, dense=x.is_dense, self=x, other=np.sqrt(0.5).item())
    curve = w.call("erf.default", x.type, self=scaled)
    raised = w.call("add.Scalar", x.type, self=curve, other=1)
    return call(w, node, "mul.Scalar", self=raised, other=0.5)


def _is_finite(w: GraphWriter, node: Node, x: Tensor) -> Sequence[Tensor]:
    """Neither infinite nor NaN: the difference to itself is 0."""
    truth = node.outputs[0].type
    if not (x.dtype.is_float or x.dtype.is_complex):
        return call(w, node, "full.default", size=list(x.shape), fill_value=True, dtype=DType.BOOL)
    rest = w.call("sub.Tensor", x.type, self=x, other=x)
    return [w.call("eq.Scalar", truth, name=node.outputs[0].name, self=rest, other=0)]


@spells(CastTo)
def _cast(w: GraphWriter, node: Node, op: CastTo, x: Tensor) -> Sequence[Tensor]:
    (output,) = node.outputs
    if x.dtype.is_complex and not output.dtype.is_complex and output.dtype is not DType.BOOL:
        x = _real_part(w, x, is_imaginary=False)
    if output.dtype is DType.BOOL:
        return call(w, node, "ne.Scalar", dense=x.is_dense, self=x, other=0)
    return call(w, node, "_to_copy.default", dense=x.is_dense, self=x, dtype=output.dtype)


@spells(Widen)
def _widen(w: GraphWriter, node: Node, op: Widen, x: Tensor) -> Sequence[Tensor]:
    return call(w, node, "_to_copy.default", dense=x.is_dense, self=x, dtype=node.outputs[0].dtype)


@spells(Where)
def _where(
    w: GraphWriter, node: Node, op: Where, condition: Tensor, then: Tensor, other: Tensor
) -> Sequence[Tensor]:
    dense = condition.is_dense and then.is_dense and other.is_dense
    return call(w, node, "where.self", dense=dense, condition=condition, self=then, other=other)


@spells(BitCast, Reinterpret)
def _reinterpret(
    w: GraphWriter, node: Node, op: BitCast | Reinterpret, x: Tensor
) -> Sequence[Tensor]:
    return call(w, node, "view.dtype", self=dense(w, x), dtype=node.outputs[0].dtype)


@spells(complex_ops.RealPart)
def _real(w: GraphWriter, node: Node, op: complex_ops.RealPart, x: Tensor) -> Sequence[Tensor]:
    return [_part(w, node, x, op.is_imaginary)]


def _part(w: GraphWriter, node: Node, x: Tensor, is_imaginary: bool) -> Tensor:
    if not x.dtype.is_complex:
        raise OperatorError(f"a part of {x.type}, which is not complex")
    return _real_part(w, x, is_imaginary, node.outputs[0].name)


def _real_part(w: GraphWriter, x: Tensor, is_imaginary: bool, name: str = "") -> Tensor:
    pairs = TensorType(x.dtype.real, (*x.shape, 2))
    viewed = w.call("view_as_real.default", pairs, dense=x.is_dense, self=_resolved(w, x))
    part = TensorType(x.dtype.real, x.shape)
    return w.call(
        "select.int", part, dense=False, name=name, self=viewed, dim=x.rank, index=int(is_imaginary)
    )


def _resolved(w: GraphWriter, x: Tensor) -> Tensor:
    """A copy in which no conjugation is pending: a view as numbers does not take one."""
    return w.call("clone.default", x.type, dense=x.is_dense, self=x)


@spells(complex_ops.Conjugate)
def _conjugate(
    w: GraphWriter, node: Node, op: complex_ops.Conjugate, x: Tensor
) -> Sequence[Tensor]:
    if not x.dtype.is_complex:
        return [x]
    return call(w, node, "_conj_physical.default", dense=x.is_dense, self=x)


@spells(complex_ops.ViewAsReal)
def _as_real(w: GraphWriter, node: Node, op: complex_ops.ViewAsReal, x: Tensor) -> Sequence[Tensor]:
    return call(w, node, "view_as_real.default", dense=x.is_dense, self=_resolved(w, x))


@spells(complex_ops.ViewAsComplex)
def _as_complex(
    w: GraphWriter, node: Node, op: complex_ops.ViewAsComplex, x: Tensor
) -> Sequence[Tensor]:
    return call(w, node, "view_as_complex.default", self=dense(w, x))


@spells(Full)
def _full(w: GraphWriter, node: Node, op: Full) -> Sequence[Tensor]:
    shape, value, dtype = list(op.shape), op.value, op.dtype
    if dtype is DType.BOOL:
        value = bool(value)
    elif dtype.is_float and not isinstance(value, complex):
        value = float(value)
    result = call(w, node, "full.default", size=shape, fill_value=value, dtype=dtype)
    if not shape and not isinstance(value, (bool, complex)):
        w.numbers[result[0].name] = value
    return result


@spells(DimValue)
def _dim_value(w: GraphWriter, node: Node, op: DimValue) -> Sequence[Tensor]:
    if not _compares(op.expression):
        return call(w, node, "scalar_tensor.default", s=op.expression, dtype=DType.INT64)
    return [_number(w, op.expression)]


def _compares(expression: Dim) -> bool:
    """Whether an expression has the truth of a relation in it, which no symbolic integer has."""
    if isinstance(expression, int):
        return False
    atoms = [atom for monomial in expression.terms for atom, _ in monomial]
    return any(isinstance(atom, Func) and atom.name in _RELATIONS for atom in atoms)


_RELATIONS = {"less": "lt.Tensor", "equal": "eq.Tensor"}
_NUMBER, _TRUTH = TensorType(DType.INT64, ()), TensorType(DType.BOOL, ())


def _number(w: GraphWriter, expression: Dim) -> Tensor:
    """An expression with relations in it, computed by tensors."""
    if not _compares(expression):
        return w.call("scalar_tensor.default", _NUMBER, s=expression, dtype=DType.INT64)
    assert isinstance(expression, SymExpr), "relations are no constants"
    atom = atom_of(expression)
    if isinstance(atom, Func) and atom.name in _RELATIONS:
        left, right = (_number(w, side) for side in atom.args)
        found = w.call(_RELATIONS[atom.name], _TRUTH, self=left, other=right)
        return w.call("_to_copy.default", _NUMBER, self=found, dtype=DType.INT64)
    total = _number(w, 0)
    for monomial, coefficient in expression.sorted_terms():
        term = _number(w, coefficient)
        for factor in (of_atom(atom) for atom, power in monomial for _ in range(power)):
            term = w.call("mul.Tensor", _NUMBER, self=term, other=_number(w, factor))
        total = w.call("add.Tensor", _NUMBER, self=total, other=term)
    return total


@spells(Iota)
def _iota(w: GraphWriter, node: Node, op: Iota) -> Sequence[Tensor]:
    return call(w, node, "arange.start_step", start=0, end=op.length, dtype=DType.INT64)

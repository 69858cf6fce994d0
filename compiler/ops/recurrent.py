"""Recurrent layers: one primitive per layer and direction, after one product that projects all
inputs at once.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .. import kernels
from ..ir import shapes
from ..ir.dtypes import DType
from ..ir.graph import TensorType, Value
from ..kernels import Definition
from ..records import dataclass
from .base import Builder, Environment, Op, OperatorError, target
from .matmul import linear

_GATES = {"lstm": 4, "gru": 3, "tanh": 1, "relu": 1}


@dataclass(frozen=True, slots=True)
class RecurrentLayer(Op):
    """A layer over time in one direction. kind: "lstm", "gru", "tanh" or "relu".

    Inputs: projected inputs with biases [T, B, G*H], h0 [B, P], transposed recurrent weight [P,
    G*H]; then c0 [B, H] (lstm) or the recurrent bias [3*H] (gru), and for an lstm with projection
    the transposed projection [H, P]. Outputs: y [T, B, P], last h [B, P] and, for lstm, last c [B,
    H]. Gates stand as PyTorch orders them: i f g o; r z n.
    """

    kind: str
    reverse: bool

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        projected, h0, weight = inputs[:3]
        if projected.dtype not in (DType.FLOAT32, DType.FLOAT64):
            raise OperatorError(f"{self.kind} over {projected}")
        if any(x.dtype is not projected.dtype for x in inputs) or h0.rank != 2:
            raise OperatorError(f"{self.kind} of {', '.join(map(str, inputs))}")
        if shapes.is_equal(weight.shape[1], projected.shape[2]) is False:
            raise OperatorError(f"{self.kind}: recurrent weight {weight} for {projected}")
        output = TensorType(projected.dtype, (*projected.shape[:2], h0.shape[1]))
        return (output, h0, inputs[3]) if self.kind == "lstm" else (output, h0)

    def reference(self, env: Environment, *inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        projected, h, weight = inputs[:3]
        c = inputs[3] if self.kind == "lstm" else h
        output = np.zeros((*projected.shape[:2], h.shape[1]), h.dtype)
        steps = range(projected.shape[0])
        for t in reversed(steps) if self.reverse else steps:
            h, c = self._step(projected[t], h, c, weight, inputs)
            output[t] = h
        return (output, h, c) if self.kind == "lstm" else (output, h)

    def _step(
        self,
        x: np.ndarray,
        h: np.ndarray,
        c: np.ndarray,
        weight: np.ndarray,
        inputs: tuple[np.ndarray, ...],
    ) -> tuple[np.ndarray, np.ndarray]:
        recurrent = h @ weight
        if self.kind == "gru":
            xr, xz, xn = np.split(x, 3, axis=1)
            hr, hz, hn = np.split(recurrent + inputs[3], 3, axis=1)
            reset, update = _sigmoid(xr + hr), _sigmoid(xz + hz)
            new = np.tanh(xn + reset * hn)
            return (h - new) * update + new, c
        gates = x + recurrent
        if self.kind != "lstm":
            return (np.tanh(gates) if self.kind == "tanh" else np.maximum(gates, 0)), c
        enter, forget, cell, leave = np.split(gates, 4, axis=1)
        c = _sigmoid(forget) * c + _sigmoid(enter) * np.tanh(cell)
        h = _sigmoid(leave) * np.tanh(c)
        return (h @ inputs[4] if len(inputs) == 5 else h), c

    def define(
        self, inputs: tuple[Value, ...], outputs: tuple[Value, ...]
    ) -> tuple[Definition, ...]:
        projected, h0, _ = inputs[:3]
        time, batch, width = projected.shape
        suffix = "f32" if projected.dtype is DType.FLOAT32 else "f64"
        hidden = shapes.floordiv(width, _GATES[self.kind])
        sizes = (time, batch, hidden, h0.shape[1])
        is_projected = len(inputs) == 5
        size = projected.dtype.itemsize
        state = (kernels.Scratch(batch * hidden * size),) if is_projected else ()
        name = f"castoff_rnn_{self.kind}{'_projected' if is_projected else ''}_{suffix}"
        call = kernels.LibraryCall(
            name,
            ("common/rnn.h",),
            (
                *(kernels.Out(i) for i in range(len(outputs))),
                *(kernels.In(i) for i in range(len(inputs))),
                *(kernels.Size(size) for size in sizes),
                kernels.Size(int(self.reverse)),
                kernels.Scratch(h0.shape[1] * width * size),
                *state,
                kernels.Pool(),
            ),
        )
        return (call,)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    result: np.ndarray = 1 / (1 + np.exp(-x))
    return result


@dataclass(frozen=True, slots=True)
class _Parameters:
    """Weights of one layer and direction."""

    input_weight: Value
    recurrent_weight: Value
    input_bias: Value | None = None
    recurrent_bias: Value | None = None
    projection: Value | None = None


def _layer(
    b: Builder, kind: str, x: Value, h: Value, c: Value | None, p: _Parameters, reverse: bool
) -> tuple[Value, Value, Value | None]:
    """(outputs, last h, last c) of one layer and direction over x [T, B, I]."""
    dtype = x.dtype.compute

    def wide(value: Value) -> Value:
        return b.cast(value, dtype)

    projected = linear(b, wide(x), wide(p.input_weight))
    if p.input_bias is not None:
        projected = b.apply("add", projected, wide(p.input_bias))
    if p.recurrent_bias is not None and kind != "gru":
        projected = b.apply("add", projected, wide(p.recurrent_bias))
    inputs = [projected, wide(h), b.transpose(wide(p.recurrent_weight), 0, 1)]
    if kind == "lstm":
        assert c is not None, "an lstm has a cell state"
        inputs.append(wide(c))
    elif kind == "gru":
        none = b.full((projected.shape[2],), 0, dtype)
        inputs.append(none if p.recurrent_bias is None else wide(p.recurrent_bias))
    if p.projection is not None:
        inputs.append(b.transpose(wide(p.projection), 0, 1))
    results = [b.cast(y, x.dtype) for y in b.emit(RecurrentLayer(kind, reverse), *inputs)]
    return results[0], results[1], results[2] if kind == "lstm" else None


def _split_parameters(
    params: Sequence[Value], has_biases: bool, is_projected: bool
) -> list[_Parameters]:
    per_layer = 2 + (2 if has_biases else 0) + (1 if is_projected else 0)
    if len(params) % per_layer:
        raise OperatorError(
            f"recurrent layer with {len(params)} weights, {per_layer} for each layer"
        )
    result = []
    for start in range(0, len(params), per_layer):
        weights = params[start : start + per_layer]
        input_bias, recurrent_bias = weights[2:4] if has_biases else (None, None)
        projection = weights[-1] if is_projected else None
        parameters = _Parameters(weights[0], weights[1], input_bias, recurrent_bias, projection)
        result.append(parameters)
    return result


def _run(
    b: Builder,
    kind: str,
    input: Value,
    h0: Value,
    c0: Value | None,
    parameters: Sequence[_Parameters],
    bidirectional: bool,
    batch_first: bool,
) -> tuple[Value, Value, Value | None]:
    """(outputs, last h of every layer and direction, last c) of stacked layers."""
    x = b.transpose(input, 0, 1) if batch_first else input
    directions = 2 if bidirectional else 1
    last_h: list[Value] = []
    last_c: list[Value] = []
    for first in range(0, len(parameters), directions):
        outputs = []
        for i in range(first, first + directions):
            h = b.select(h0, 0, i)
            c = None if c0 is None else b.select(c0, 0, i)
            y, h, c = _layer(b, kind, x, h, c, parameters[i], reverse=i != first)
            outputs.append(y)
            last_h.append(b.unsqueeze(h, 0))
            if c is not None:
                last_c.append(b.unsqueeze(c, 0))
        x = b.concatenate(outputs, 2) if len(outputs) > 1 else outputs[0]
    output = b.transpose(x, 0, 1) if batch_first else x
    h_n = b.concatenate(last_h, 0) if len(last_h) > 1 else last_h[0]
    c_n = None
    if last_c:
        c_n = b.concatenate(last_c, 0) if len(last_c) > 1 else last_c[0]
    return output, h_n, c_n


def _refuse_dropout(dropout: float, train: bool, num_layers: int) -> None:
    if train and dropout > 0 and num_layers > 1:
        raise OperatorError(f"recurrent layers with dropout {dropout}: their result is random")


@target("aten.lstm.input")
def lstm(
    b: Builder,
    input: Value,
    hx: Sequence[Value],
    params: Sequence[Value],
    has_biases: bool,
    num_layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_first: bool,
) -> tuple[Value, Value, Value | None]:
    """(outputs, last hidden states, last cell states)."""
    _refuse_dropout(dropout, train, num_layers)
    h0, c0 = hx
    is_projected = h0.shape[2] != c0.shape[2]
    parameters = _split_parameters(params, has_biases, is_projected)
    return _run(b, "lstm", input, h0, c0, parameters, bidirectional, batch_first)


def _register(name: str, kind: str) -> None:
    @target(name)
    def layers(
        b: Builder,
        input: Value,
        hx: Value,
        params: Sequence[Value],
        has_biases: bool,
        num_layers: int,
        dropout: float,
        train: bool,
        bidirectional: bool,
        batch_first: bool,
    ) -> tuple[Value, Value]:
        """(outputs, last hidden states)."""
        _refuse_dropout(dropout, train, num_layers)
        parameters = _split_parameters(params, has_biases, is_projected=False)
        output, h_n, _ = _run(b, kind, input, hx, None, parameters, bidirectional, batch_first)
        return output, h_n


_register("aten.gru.input", "gru")
_register("aten.rnn_tanh.input", "tanh")
_register("aten.rnn_relu.input", "relu")

_MKLDNN_KINDS = {0: "relu", 1: "tanh", 2: "lstm", 3: "gru"}


@target("aten.mkldnn_rnn_layer.default")
def mkldnn_rnn_layer(
    b: Builder,
    input: Value,
    weight0: Value,
    weight1: Value,
    weight2: Value,
    weight3: Value,
    hx_: Value,
    cx_: Value,
    reverse: bool,
    batch_sizes: Sequence[int],
    mode: int,
    hidden_size: int,
    num_layers: int,
    has_biases: bool,
    bidirectional: bool,
    batch_first: bool,
    train: bool,
) -> tuple[Value, Value, Value, Value]:
    """One layer and direction, as decompositions on CPU leave it: (outputs, last h, last c,
    workspace).
    """
    kind = _MKLDNN_KINDS[mode]
    biases = (weight2, weight3) if has_biases else (None, None)
    size = hx_.shape[-1]
    batch = input.shape[0 if batch_first else 1]
    x = b.transpose(input, 0, 1) if batch_first else input
    h = b.reshape(hx_, (batch, size))
    c = b.reshape(cx_, (batch, size)) if kind == "lstm" else None
    y, h_n, c_n = _layer(b, kind, x, h, c, _Parameters(weight0, weight1, *biases), reverse)
    y = b.transpose(y, 0, 1) if batch_first else y
    last_c = cx_ if c_n is None else b.reshape(c_n, cx_.shape)
    return y, b.reshape(h_n, hx_.shape), last_c, b.full((0,), 0, DType.UINT8)


# ------------------------------------------------------------------------------------------ cells


def _parts(b: Builder, x: Value, count: int) -> list[Value]:
    size = shapes.floordiv(x.shape[-1], count)
    return [b.slice(x, -1, i * size, size) for i in range(count)]


@target("aten.lstm_cell.default")
def lstm_cell(
    b: Builder,
    input: Value,
    hx: Sequence[Value],
    w_ih: Value,
    w_hh: Value,
    b_ih: Value | None = None,
    b_hh: Value | None = None,
) -> tuple[Value, Value]:
    """(h, c) after one step."""
    h, c = hx
    gates = b.apply("add", linear(b, input, w_ih, b_ih), linear(b, h, w_hh, b_hh))
    enter, forget, cell, leave = _parts(b, gates, 4)
    kept = b.apply("mul", b.apply("sigmoid", forget), c)
    added = b.apply("mul", b.apply("sigmoid", enter), b.apply("tanh", cell))
    new_c = b.apply("add", kept, added)
    return b.apply("mul", b.apply("sigmoid", leave), b.apply("tanh", new_c)), new_c


@target("aten.gru_cell.default")
def gru_cell(
    b: Builder,
    input: Value,
    hx: Value,
    w_ih: Value,
    w_hh: Value,
    b_ih: Value | None = None,
    b_hh: Value | None = None,
) -> Value:
    """h after one step."""
    xr, xz, xn = _parts(b, linear(b, input, w_ih, b_ih), 3)
    hr, hz, hn = _parts(b, linear(b, hx, w_hh, b_hh), 3)
    reset = b.apply("sigmoid", b.apply("add", xr, hr))
    update = b.apply("sigmoid", b.apply("add", xz, hz))
    new = b.apply("tanh", b.apply("add", xn, b.apply("mul", reset, hn)))
    return b.apply("add", b.apply("mul", b.apply("sub", hx, new), update), new)


def _register_cell(name: str, activation: str) -> None:
    @target(name)
    def cell(
        b: Builder,
        input: Value,
        hx: Value,
        w_ih: Value,
        w_hh: Value,
        b_ih: Value | None = None,
        b_hh: Value | None = None,
    ) -> Value:
        """h after one step."""
        total = b.apply("add", linear(b, input, w_ih, b_ih), linear(b, hx, w_hh, b_hh))
        result: Value = b.call(activation, total)
        return result


_register_cell("aten.rnn_tanh_cell.default", "aten.tanh.default")
_register_cell("aten.rnn_relu_cell.default", "aten.relu.default")

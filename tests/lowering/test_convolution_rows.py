"""Weights of convolutions as rows."""

from __future__ import annotations

import numpy as np

from castoff.compiler.lowering.packing import ROW_BYTES, conv_rows_shape, pack_conv_rows


def test_a_row_has_the_channels_of_a_point_side_by_side_and_zeros_at_its_end() -> None:
    weight = np.arange(2 * 3 * 2 * 2, dtype=np.float32).reshape(2, 3, 2, 2)
    rows = pack_conv_rows(weight, 1)
    assert rows.shape == conv_rows_shape(weight.shape, 1, 4)
    assert rows.shape[1] * 4 % ROW_BYTES == 0
    for channel in range(2):
        wanted = [weight[channel, c, h, w] for h in range(2) for w in range(2) for c in range(3)]
        np.testing.assert_array_equal(rows[channel, :12], wanted)
        assert not rows[channel, 12:].any()


def test_depthwise_weights_have_the_channels_of_a_point_side_by_side() -> None:
    weight = np.arange(5 * 1 * 3, dtype=np.float16).reshape(5, 1, 3)
    rows = pack_conv_rows(weight, 5)
    assert rows.shape == conv_rows_shape(weight.shape, 5, 2) == (3, 5)
    np.testing.assert_array_equal(rows, weight[:, 0].T)

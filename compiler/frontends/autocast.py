"""What CPU autocast does to the operators in its region: some run in a narrow type, some in
float32.

The lists are PyTorch's documented ones for the CPU ("CPU Ops that can autocast to bfloat16 /
float32", "that promote to the widest input type").
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..ir.dtypes import DType, promote
from ..ir.graph import Value
from ..records import dataclass


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_NARROW = _names(
    """
    conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d bmm mm baddbmm
    addmm addbmm linear matmul _convolution conv_tbc mkldnn_rnn_layer
    scaled_dot_product_attention _native_multi_head_attention linalg_vecdot linalg_multi_dot
    """
)
_MADE_OF_PRODUCTS = _names("einsum tensordot chain_matmul matrix_power linalg_matrix_power")
"""Operators that PyTorch builds from those above: it narrows what they multiply."""

_FLOAT32 = _names(
    """
    avg_pool3d binary_cross_entropy grid_sampler grid_sampler_2d
    _grid_sampler_2d_cpu_fallback grid_sampler_3d polar prod quantile nanquantile stft cdist
    trace view_as_complex cholesky cholesky_inverse cholesky_solve inverse lu_solve orgqr
    ormqr pinverse max_pool3d max_unpool2d max_unpool3d adaptive_avg_pool3d reflection_pad1d
    reflection_pad2d replication_pad1d replication_pad2d replication_pad3d mse_loss
    cosine_embedding_loss nll_loss nll_loss2d hinge_embedding_loss poisson_nll_loss
    smooth_l1_loss cross_entropy_loss l1_loss huber_loss margin_ranking_loss
    soft_margin_loss triplet_margin_loss multi_margin_loss ctc_loss kl_div
    multilabel_margin_loss binary_cross_entropy_with_logits fft_fft fft_ifft fft_fft2
    fft_ifft2 fft_fftn fft_ifftn fft_rfft fft_irfft fft_rfft2 fft_irfft2 fft_rfftn
    fft_irfftn fft_hfft fft_ihfft linalg_cond linalg_matrix_rank linalg_solve
    linalg_cholesky linalg_svdvals linalg_eigvals linalg_eigvalsh linalg_inv
    linalg_householder_product linalg_tensorinv linalg_tensorsolve
    fake_quantize_per_tensor_affine geqrf _lu_with_info qr svd triangular_solve
    fractional_max_pool2d fractional_max_pool3d adaptive_max_pool3d
    multilabel_margin_loss_forward linalg_qr linalg_cholesky_ex linalg_svd linalg_eig
    linalg_eigh linalg_lstsq linalg_inv_ex
    """
)
_WIDEST = frozenset({"cat", "stack", "index_copy"})


@dataclass(frozen=True, slots=True)
class Autocast:
    """An enabled autocast region and the type it narrows to."""

    dtype: DType

    def cast_arguments(
        self, base_name: str, arguments: Any, cast: Callable[[Value, DType], Value]
    ) -> Any:
        """The (nested) arguments of `aten.<base_name>` as autocast passes them on."""
        if base_name in _NARROW or (base_name in _MADE_OF_PRODUCTS and _contracts(arguments)):
            wanted: DType | None = self.dtype
        elif base_name in _FLOAT32:
            wanted = DType.FLOAT32
        elif base_name in _WIDEST:
            wanted = _widest(arguments)
        else:
            return arguments
        return _mapped(arguments, lambda x: cast(x, wanted) if wanted and _is_eligible(x) else x)


def _contracts(arguments: Any) -> bool:
    """Whether an equation among the arguments, if there is one, sums over an index of several operands.
    Without such an index it is a pointwise product."""
    items = arguments.values() if isinstance(arguments, dict) else arguments
    for equation in (item for item in items if isinstance(item, str)):
        left, arrow, right = equation.partition("->")
        shared = {c for c in left if c.isalpha() and sum(c in x for x in left.split(",")) > 1}
        return bool(shared - set(right)) if arrow else bool(shared)
    return True


def _is_eligible(x: Value) -> bool:
    return x.dtype.is_float and x.dtype is not DType.FLOAT64


def _widest(arguments: Any) -> DType | None:
    if isinstance(arguments, Value):
        return arguments.dtype if _is_eligible(arguments) else None
    if not isinstance(arguments, (list, tuple, dict)):
        return None
    items = arguments.values() if isinstance(arguments, dict) else arguments
    widest: DType | None = None
    for dtype in map(_widest, items):
        if dtype is not None:
            widest = dtype if widest is None else promote(widest, dtype)
    return widest


def _mapped(arguments: Any, function: Callable[[Value], Value]) -> Any:
    if isinstance(arguments, Value):
        return function(arguments)
    if isinstance(arguments, (list, tuple)):
        return [_mapped(item, function) for item in arguments]
    if isinstance(arguments, dict):
        return {key: _mapped(item, function) for key, item in arguments.items()}
    return arguments

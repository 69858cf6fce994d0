"""What autocast does to the operators in its region: some run in a narrow type, some in float32.

The lists are PyTorch's: for the CPU those it documents ("CPU Ops that can autocast to bfloat16 /
float32", "that promote to the widest input type"), for CUDA those of its ATen/autocast_mode.h.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..ir.dtypes import DType, promote
from ..ir.graph import Value
from ..records import dataclass


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


@dataclass(frozen=True, slots=True)
class Rules:
    """What happens to operators on one kind of device, by base name or by name with overload."""

    default: DType
    narrow: frozenset[str]
    made_of_products: frozenset[str]
    """Operators that PyTorch builds from those above: it narrows what they multiply."""
    float32: frozenset[str]
    float32_unless_told: frozenset[str]
    """In float32, unless a dtype for the result is among the arguments."""
    widest: frozenset[str]


_CPU = Rules(
    default=DType.BFLOAT16,
    narrow=_names(
        """
    conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d bmm mm baddbmm
    addmm addbmm linear matmul _convolution conv_tbc mkldnn_rnn_layer
    scaled_dot_product_attention _native_multi_head_attention linalg_vecdot linalg_multi_dot
    """
    ),
    made_of_products=_names("einsum tensordot chain_matmul matrix_power linalg_matrix_power"),
    float32=_names(
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
    ),
    float32_unless_told=frozenset(),
    widest=frozenset({"cat", "stack", "index_copy"}),
)

_CUDA = Rules(
    default=DType.FLOAT16,
    narrow=_names(
        """
    _convolution conv1d conv2d conv3d conv_tbc conv_transpose1d conv_transpose2d conv_transpose3d
    convolution prelu addmm addmv addr matmul einsum mm mv linalg_vecdot linear addbmm baddbmm bmm
    chain_matmul linalg_multi_dot lstm gru rnn_tanh rnn_relu lstm_cell gru_cell rnn_tanh_cell
    rnn_relu_cell _scaled_dot_product_flash_attention scaled_dot_product_attention
    """
    ),
    made_of_products=_names("matrix_power linalg_matrix_power linalg_matmul"),
    float32=_names(
        """
    acos asin cosh erfinv exp expm1 log log10 log2 log1p reciprocal rsqrt sinh tan pow softplus
    layer_norm native_layer_norm rms_norm group_norm frobenius_norm nuclear_norm cosine_similarity
    poisson_nll_loss cosine_embedding_loss nll_loss nll_loss2d nll_loss_nd cross_entropy_loss
    hinge_embedding_loss kl_div l1_loss smooth_l1_loss huber_loss mse_loss margin_ranking_loss
    multilabel_margin_loss soft_margin_loss triplet_margin_loss multi_margin_loss
    binary_cross_entropy_with_logits dist pdist cdist pairwise_distance renorm logsumexp
    upsample_nearest1d.default _upsample_nearest_exact1d.default upsample_nearest2d.default
    _upsample_nearest_exact2d.default upsample_nearest3d.default _upsample_nearest_exact3d.default
    upsample_linear1d.default upsample_bilinear2d.default _upsample_bilinear2d_aa.default
    upsample_trilinear3d.default upsample_bicubic2d.default _upsample_bicubic2d_aa.default
    """
    ),
    float32_unless_told=_names(
        """
    prod softmax log_softmax cumprod cumsum linalg_vector_norm linalg_matrix_norm sum norm
    """
    ),
    widest=_names(
        """
    addcdiv addcmul atan2 bilinear cross dot vdot grid_sampler index_put tensordot scatter_add
    """
    ),
)

RULES: Mapping[str, Rules] = {"cpu": _CPU, "cuda": _CUDA}
"""By the kind of device."""


@dataclass(frozen=True, slots=True)
class Autocast:
    """An enabled autocast region: its rules and the type it narrows to."""

    rules: Rules
    dtype: DType

    def cast_arguments(
        self,
        name: str,
        positional: list[Any],
        named: dict[str, Any],
        cast: Callable[[Value, DType], Value],
    ) -> tuple[list[Any], dict[str, Any]]:
        """The (nested) arguments of `aten.<name>`, "exp.default", as autocast passes them on."""
        wanted = self._wanted({name, name.split(".")[0]}, [*positional, *named.values()])
        if wanted is None:
            return positional, named

        def narrowed(x: Value) -> Value:
            return cast(x, wanted) if _is_eligible(x) else x

        return _mapped(positional, narrowed), _mapped(named, narrowed)

    def _wanted(self, names: set[str], arguments: list[Any]) -> DType | None:
        rules = self.rules
        if names & rules.narrow:
            return self.dtype
        if names & rules.made_of_products:
            return self.dtype if _contracts(arguments) else None
        if names & rules.float32:
            return DType.FLOAT32
        if names & rules.float32_unless_told:
            is_told = any(isinstance(argument, DType) for argument in arguments)
            return None if is_told else DType.FLOAT32
        return _widest(arguments) if names & rules.widest else None


def _contracts(arguments: list[Any]) -> bool:
    """Whether an equation among the arguments, if there is one, sums over an index of several operands.
    Without such an index it is a pointwise product."""
    for equation in (argument for argument in arguments if isinstance(argument, str)):
        left, arrow, right = equation.partition("->")
        shared = {c for c in left if c.isalpha() and sum(c in x for x in left.split(",")) > 1}
        return bool(shared - set(right)) if arrow else bool(shared)
    return True


def _is_eligible(x: Value) -> bool:
    return x.dtype.is_float and x.dtype is not DType.FLOAT64


def _widest(arguments: Any) -> DType | None:
    if isinstance(arguments, Value):
        return arguments.dtype if _is_eligible(arguments) else None
    if not isinstance(arguments, (list, tuple)):
        return None
    widest: DType | None = None
    for dtype in map(_widest, arguments):
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

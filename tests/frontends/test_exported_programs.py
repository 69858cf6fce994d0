"""Importing what real PyTorch exported: mutation, aliasing, symbols, inputs and outputs."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

from castoff.compiler.errors import CompileError  # noqa: E402
from castoff.compiler.exported import load_program  # noqa: E402
from castoff.compiler.frontends.exported import import_program  # noqa: E402
from castoff.compiler.verify import ReferenceProgram  # noqa: E402
from castoff.runtime.errors import CastoffError, InputMismatchError  # noqa: E402

from .programs import Dim, Function, check, exported_bytes, floats, imported, nn  # noqa: E402

# ------------------------------------------------------------------------------ in-place and views


def inplace_on_views_of_views(x: Any) -> Any:
    y = x.clone()
    v = y.view(2, 3, 4)[:, 1:].transpose(0, 2)
    v[1].mul_(2)
    y.view(-1)[5:9] += 1
    w = y.unsqueeze(0).expand(3, 6, 4)
    return y, v, w.sum(0), v.reshape(-1)


def reshape_that_copies(x: Any) -> Any:
    y = x.clone().t()
    z = y.reshape(-1)
    z.add_(10)
    v = y.contiguous()
    v.zero_()
    u = y.t().contiguous()
    u.mul_(3)
    return y, z, v, u


def to_and_clone(x: Any) -> Any:
    y = x.clone()
    same = y.to(torch.float32)
    same.add_(1)
    other = y.to(torch.float64)
    other.add_(1)
    copied = y.to(torch.float32, copy=True)
    copied.add_(5)
    return y, same, other, copied


def lists_in_place(x: Any) -> Any:
    y, z = x.clone(), x[0].clone()
    row = y[1]
    torch._foreach_add_([y, z], [x + 1, x[1]], alpha=2)
    torch._foreach_lerp_([row, z], [z, z + 1], 0.25)
    torch._foreach_copy_([y[2], z], [z, row])
    torch._foreach_mul_([y, z], [2.0, 3.0])
    torch._foreach_abs_([y])
    return y, z, row


def lists_in_turn(x: Any) -> Any:
    y, z = x.clone(), x + 1
    torch._foreach_mul_([y, z], [z, y])
    return y, z


def chunks_and_unbind(x: Any) -> Any:
    y = x.clone()
    a, b = y.chunk(2, dim=1)
    a.add_(b)
    rows = y.unbind(0)
    rows[1].copy_(rows[0])
    p, q = y.split([1, 3], dim=1)
    q.fill_(7)
    return y, a, b, p, rows[2]


def diagonal_and_as_strided(x: Any) -> Any:
    y = x.clone()
    torch.diagonal(y).zero_()
    y.as_strided((2, 2), (5, 1), 1).add_(100)
    y[::2, 1::2] = -1
    return y


def metadata_in_place(x: Any) -> Any:
    y = x.clone()
    z = y * 1
    z.unsqueeze_(0)
    z.transpose_(1, 2)
    z.add_(1)
    return y, z, z.squeeze_(0).t_()


def dtype_of_self_wins(x: Any) -> Any:
    y = x.clone()
    i = torch.ones(4, dtype=torch.int64)
    i.add_(2)
    y.add_(i.view(4)[:, None].t())
    y.clamp_(min=-1).neg_().sigmoid_()
    y.div_(3).pow_(2)
    i.mul_(3)
    return y, i


def index_assignments(x: Any) -> Any:
    y = x.clone()
    y[:, torch.tensor([0, 2])] = 5.0
    y[torch.tensor([1])] += 1
    y.masked_fill_(y > 4, -3)
    y[1, 2] = 9
    y.index_fill_(0, torch.tensor([0]), 0.5)
    y.scatter_(1, torch.zeros(6, 1, dtype=torch.int64), 2.0)
    return y


def dropped_in_place(x: Any) -> Any:
    y = x.clone()
    nn.functional.dropout(y.view(-1), 0.5, training=False, inplace=True).add_(1)
    nn.functional.feature_alpha_dropout(y, 0.5, training=False, inplace=True)
    return y


def mutated_arguments(x: Any, y: Any) -> Any:
    x.add_(1)
    y[0].copy_(x[1])
    return x * 2, y


def returned_input_views(x: Any) -> Any:
    return x, x.view(-1), x[1], x


def swapped_storage(x: Any) -> Any:
    a = x + 1
    b = a.detach()
    b.mul_(2)
    c = a.view(x.shape)
    a.add_(c)
    return a, b, c


def complex_parts(x: Any) -> Any:
    z = torch.complex(x, x + 1)
    r = torch.view_as_real(z)
    r[..., 0] = 3
    z.real.add_(1)
    z.imag.mul_(2)
    return z, r


def bits_in_place(x: Any) -> Any:
    y = x * 1
    bits = y.view(torch.int32)
    bits.bitwise_and_(0x7FFFFFFF)
    halves = y.view(torch.int16)
    halves[..., ::2] = 0
    bits.contiguous().view(torch.float32).add_(y)
    return y, bits, halves


@pytest.mark.parametrize("core", [False, True], ids=["training", "core"])
@pytest.mark.parametrize(
    "function",
    [
        inplace_on_views_of_views,
        reshape_that_copies,
        to_and_clone,
        lists_in_place,
        chunks_and_unbind,
        diagonal_and_as_strided,
        metadata_in_place,
        dtype_of_self_wins,
        index_assignments,
        dropped_in_place,
        returned_input_views,
        swapped_storage,
        complex_parts,
        bits_in_place,
    ],
    ids=lambda function: function.__name__,
)
def test_in_place_operators_and_views_become_functional(function: Any, core: bool) -> None:
    check(function, (floats(6, 4),), (floats(6, 4) * 2,), core=core)


def test_what_a_list_changes_in_place_is_read_for_its_next() -> None:
    check(lists_in_turn, (floats(6, 4),))


@pytest.mark.parametrize("core", [False, True], ids=["training", "core"])
def test_mutated_inputs_hold_the_new_values(core: bool) -> None:
    check(
        mutated_arguments, (floats(3, 2), floats(3, 2)), (floats(3, 2) * 3, floats(3, 2)), core=core
    )


# ----------------------------------------------------------------------------------------- symbols


def test_derived_dimensions_are_solved() -> None:
    half = Dim("half", min=1, max=40)

    def function(x: Any) -> Any:
        return x.view(-1, 2).sum(1), x.shape[0] // 2

    check(function, (floats(8),), (floats(6),), (floats(20),), dynamic_shapes=(({0: 2 * half},),))


def test_a_derived_dimension_refuses_what_it_cannot_be() -> None:
    half = Dim("half", min=1, max=40)
    reference = imported(
        lambda x: x.view(-1, 2) * 2, (floats(8),), dynamic_shapes=(({0: 2 * half},),)
    )
    with pytest.raises(CastoffError):
        reference(floats(7).numpy())


def test_batch_of_one_runs() -> None:
    batch = Dim("batch")
    check(
        lambda x: torch.cat([x, x * 2], 0).softmax(-1) + x.shape[0],
        (floats(4, 3),),
        (floats(1, 3),),
        (floats(9, 3),),
        dynamic_shapes=(({0: batch},),),
    )


def test_symbolic_numbers_take_part_in_arithmetic() -> None:
    def function(x: Any) -> Any:
        n = x.shape[0]
        scale = (n * 1.5) / (n + 1)
        return x * scale, n % 3, x.new_full((n // 2 + 1,), n * 0.25)

    check(
        function,
        (floats(6, 2),),
        (floats(9, 2),),
        (floats(5, 2),),
        dynamic_shapes=(({0: Dim("n", min=3)},),),
    )


def test_integers_and_floats_as_inputs() -> None:
    def function(x: Any, n: int, s: float) -> Any:
        return x[:, :n] * s, n + 1, torch.arange(n)

    check(
        function,
        (floats(3, 16), 4, 0.5),
        (floats(3, 16), 9, 0.5),
        dynamic_shapes=((None, Dim.DYNAMIC, None),),
    )


def test_sizes_that_the_data_decides() -> None:
    def function(x: Any) -> Any:
        picked = x[x > 0]
        rows = torch.nonzero(x)
        return picked * 2, rows.shape[0], rows, torch.zeros(picked.shape[0] * 2)

    check(function, (floats(3, 4),), (-floats(3, 4),), (floats(3, 4) - 100,))


def test_items_become_symbols() -> None:
    def function(x: Any, n: Any) -> Any:
        count = n.item()
        torch._check(count >= 1)
        torch._check(count <= 5)
        return x[:count] * 2, torch.full((count,), 3), x * n.float().item()

    check(function, (floats(6), torch.tensor(3)), (floats(6), torch.tensor(5)))
    reference = imported(function, (floats(6), torch.tensor(3)))
    with pytest.raises(CastoffError):
        reference(floats(6).numpy(), torch.tensor(0).numpy())


# --------------------------------------------------------------------------------- inputs, outputs


def test_shapes_are_given_as_tuples() -> None:
    def function(x: Any) -> Any:
        return x * 2, x.shape

    sizes = {0: Dim("rows", min=2), 1: Dim("columns", min=2)}
    reference = imported(function, (floats(2, 3),), dynamic_shapes=((sizes,),))
    assert reference(floats(4, 5).numpy())[1] == (4, 5)


def test_constants_among_inputs_and_outputs() -> None:
    def function(x: Any, options: Any, none: Any) -> Any:
        return {"y": x + options["shift"], "none": none, "name": 3, "flag": True}

    check(function, (floats(2), {"shift": 2, "mode": "fast"}, None))


def test_constants_are_checked() -> None:
    reference = imported(lambda x, n: x * n, (floats(2), 2))
    with pytest.raises(CastoffError):
        reference(floats(2).numpy(), 3)


def test_lifted_constants() -> None:
    table = torch.tensor([3.0, 1.0, 2.0])

    def function(x: Any) -> Any:
        t = torch.tensor([1, 2, 0])
        t[0] = 2
        return x[t] + table, t

    check(function, (floats(3),), (floats(3) * 2,))


def test_weights_that_are_views() -> None:
    class Views(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            base = floats(6, 4)
            self.a = nn.Parameter(base.t())
            self.register_buffer("b", base[2:5])
            self.register_buffer("c", base[0].expand(3, 4))
            self.register_buffer("d", torch.zeros(0, 2))

        def forward(self, x: Any) -> Any:
            return x @ self.a + self.b.sum() * self.c[0, 0] + self.d.sum()

    check(Views(), (floats(2, 4),))


def test_unsupported_operators_are_all_listed() -> None:
    @torch.library.custom_op("castofftest::one", mutates_args=())
    def one(x: torch.Tensor) -> torch.Tensor:
        return x + 1

    @torch.library.custom_op("castofftest::two", mutates_args=())
    def two(x: torch.Tensor) -> torch.Tensor:
        return x + 2

    one.register_fake(torch.empty_like)
    two.register_fake(torch.empty_like)
    with pytest.raises(CastoffError) as caught:
        imported(lambda x: one(x).sin() + two(x), (floats(3),))
    message = str(caught.value)
    assert "castofftest.one.default" in message and "castofftest.two.default" in message
    assert "programs.py" in message and "in forward" in message


def unfold_and_flip(x: Any) -> Any:
    y = x.clone()
    windows = y.unfold(0, 2, 2)
    windows[0, 1].fill_(4)
    y.movedim(0, 1)[2].sub_(y[:, 0])
    z = y.narrow(0, 1, 3)
    z[z > 2] = 0
    y[..., -1] = torch.arange(6)
    return y, windows, z


def writes_with_where_and_lists(x: Any) -> Any:
    y = x.clone()
    parts = [y[i] for i in range(3)]
    for part in parts:
        part.mul_(2)
    y[1:4:2].add_(y[0:3:2])
    torch.sub(y, 1, out=y) if False else None
    y[[0, 2], [1, 3]] = torch.tensor([8.0, 9.0])
    y.t()[1].copy_(torch.arange(6))
    return y, parts


def flatten_of_a_view(x: Any) -> Any:
    y = x.clone()
    y[1:3].flatten().add_(5)
    y[:, 1:3].flatten().add_(50)
    y.view(2, 12).ravel()[0] = -7
    return y


def squeeze_and_expand(x: Any) -> Any:
    y = x.clone()[None]
    y.squeeze(0)[0].add_(1)
    y.expand(2, -1, -1)[0, 1]
    y.select(0, 0).diagonal(1).mul_(-1)
    return y, y.view_as(y)[0, 0], y.swapaxes(1, 2)


def results_into_given_tensors(x: Any) -> Any:
    y = torch.empty_like(x)
    torch.add(x, 1, out=y)
    z = torch.zeros(6, 4)
    torch.mul(x, 2, out=z[:])
    return y, z


@pytest.mark.parametrize("core", [False, True], ids=["training", "core"])
@pytest.mark.parametrize(
    "function",
    [
        results_into_given_tensors,
        unfold_and_flip,
        writes_with_where_and_lists,
        flatten_of_a_view,
        squeeze_and_expand,
    ],
    ids=lambda function: function.__name__,
)
def test_more_writes_through_views(function: Any, core: bool) -> None:
    check(function, (floats(6, 4),), core=core)


def test_writes_inside_dynamic_shapes() -> None:
    def function(x: Any) -> Any:
        y = x.clone()
        y[1:, ::2] = 0
        y[: x.shape[0] // 2].add_(1)
        y.view(-1)[-1] = 5
        return y, y.reshape(-1, 2)

    check(
        function, (floats(6, 4),), (floats(4, 4),), (floats(9, 4),),
        dynamic_shapes=(({0: Dim.AUTO},),),
    )  # fmt: skip


def test_modules_with_dynamic_dimensions() -> None:
    batch, length = Dim("batch"), Dim("length", min=4)
    module = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()
    check(
        module, (torch.randn(2, 5, 8),), (torch.randn(1, 9, 8),), (torch.randn(3, 4, 8),),
        dynamic_shapes={"src": {0: batch, 1: length}}, rtol=1e-4,
    )  # fmt: skip


def test_lstm_with_a_dynamic_length() -> None:
    check(nn.LSTM(3, 4, 2, batch_first=True).eval(), (torch.randn(2, 5, 3),), rtol=1e-4)


def test_convolutions_over_dynamic_images() -> None:
    module = nn.Sequential(
        nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.BatchNorm2d(4), nn.ReLU(inplace=True),
        nn.MaxPool2d(2), nn.Flatten(2),
    ).eval()  # fmt: skip
    height = Dim("height", min=8, max=64)
    check(
        module, *[(torch.randn(2, 3, size, 16),) for size in (16, 11, 32)],
        dynamic_shapes=({2: height},), rtol=1e-4,
    )  # fmt: skip


@pytest.mark.parametrize("shape", [(5,), (2, 5), (2, 3, 4)], ids=str)
def test_what_the_file_gets_wrong_about_a_result_is_not_believed(shape: tuple[int, ...]) -> None:
    x = torch.randint(0, 2, shape).float()
    check(lambda x: torch.unique_consecutive(x, True, True, dim=-1), (x,))
    check(lambda x: torch.unique(x, return_inverse=True, return_counts=True, dim=-1), (x,))
    check(lambda x: torch.unique(x, dim=-1) * 2 + 1, (x,))


@pytest.mark.parametrize("core", [False, True], ids=["training", "core"])
def test_what_the_file_gets_wrong_about_a_result_is_wrong_of_what_follows(core: bool) -> None:
    from torch.ao.quantization.fx import _decomposed  # noqa: F401

    quantized = torch.ops.quantized_decomposed

    def function(x: Any) -> Any:
        scale, zero = quantized.choose_qparams_per_token(x, torch.int8)
        level = quantized.quantize_per_token(x, scale, zero, -128, 127, torch.int8)
        return scale * 2, zero, level

    check(function, (floats(3, 8),), core=core)


@pytest.mark.parametrize("core", [False, True], ids=["training", "core"])
def test_inputs_that_become_one_another(core: bool) -> None:
    def swap(x: Any, y: Any) -> Any:
        kept = x.clone()
        x.copy_(y)
        y.copy_(kept)
        return x + y, x

    check(swap, (floats(3), floats(3) + 1), core=core)


def test_integers_may_be_negative_where_no_size_depends_on_them() -> None:
    """Exporters record a minimum of 0 for every integer, and one with an upper bound where they mean it."""
    calls = [(floats(3), n) for n in (5, 0, -7)]
    dynamic = ((None, Dim.DYNAMIC),)
    check(lambda x, n: (x + n, n // 2, n % 3, x * (1 - n)), *calls, dynamic_shapes=dynamic)
    run = imported(lambda x, n: x[n], (floats(8), 4), dynamic_shapes=dynamic)
    with pytest.raises(InputMismatchError, match="at least 0, at most 7"):
        run(floats(8).numpy(), -1)


def test_without_guards_integers_that_a_size_depends_on_are_not_negative() -> None:
    def run(function: Any, n: int) -> Any:
        dynamic = ((None, Dim.DYNAMIC),)
        data = exported_bytes(
            Function(function), (floats(3), 4), core=False, dynamic_shapes=dynamic
        )
        program = dataclasses.replace(load_program(data), guards_code=())
        return ReferenceProgram(import_program(program))(floats(3).numpy(), n)

    assert list(run(lambda x, n: (torch.ones(n, 2) * x[0]).sum(0), 3)) == [-4.5, -4.5]
    with pytest.raises(InputMismatchError, match="at least 0"):
        run(lambda x, n: (torch.ones(n, 2) * x[0]).sum(0), -3)
    assert list(run(lambda x, n: x * 0 + n, -3)) == [-3, -3, -3]


def test_and_and_or_of_integers_are_of_their_bits() -> None:
    calls = [(floats(8), n) for n in (5, 4, -7)]
    check(
        lambda x, n: (x + (n & 3), n | 8, (n | 6) & 12),
        *calls,
        dynamic_shapes=((None, Dim.DYNAMIC),),
    )


@pytest.mark.parametrize(
    ("guard", "is_refused"),
    [
        ("gcd(L['args_0'].size()[0], 4) == 4", True),
        ("L['args_0'].size()[0] ^ 4 == 4", True),
        ("L['x'].stride()[0] == 1", False),
        ("L['x'].storage_offset() == 0", False),
    ],
)
def test_guards_that_cannot_be_checked_are_refused_unless_of_layout(
    guard: str, is_refused: bool
) -> None:
    data = exported_bytes(
        Function(lambda x: x + 1), (floats(8),), core=False, dynamic_shapes=(({0: Dim.AUTO},),)
    )
    program = dataclasses.replace(load_program(data), guards_code=(guard,))
    if is_refused:
        with pytest.raises(CompileError, match=r"args_0\.shape\[0\].*cannot be checked"):
            import_program(program)
    else:
        import_program(program)

# mypy: disable-error-code="no-any-return, no-untyped-call"
"""Programs that use what models seldom show: state, views, control flow, dtypes, structures."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch._higher_order_ops import associative_scan, scan, while_loop
from torch._higher_order_ops import map as map_rows
from torch.export import Dim

from .case import Case


class Writes(nn.Module):
    """Writes through views of views, masks and indices, and sees them everywhere."""

    def forward(self, x: Tensor, places: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        y = x.clone()
        rows = y.transpose(0, 1)
        rows[1:3].mul_(2).add_(1)
        y[:, -1] += y[:, 0]
        diagonal = y[:4, :4].diagonal()
        diagonal.fill_(7)
        flat = y.view(-1)
        flat[::5] = 0
        y[y > 1.5] = -1
        y.index_put_((places,), torch.ones(y.shape[1]), accumulate=True)
        left, right = y.chunk(2, 1)
        left.copy_(right.flip(1))
        right.zero_()[0] = 3
        return y, rows.sum(1), flat.cumsum(0)[-3:]


class ChangesItsInputs(nn.Module):
    """Changes an argument in place, and returns it, and a view of it."""

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x[:, 1:].add_(y[:, None])
        y.neg_()
        return x, x[0], y * 2


class RunningStatistics(nn.Module):
    """Batch norm in training form, a moving average, a ring of the last results."""

    history: Tensor
    place: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(4, momentum=0.3)
        self.register_buffer("history", torch.zeros(3, 4))
        self.register_buffer("place", torch.zeros((), dtype=torch.int64))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        self.norm.train()
        y = self.norm(x)
        self.history[self.place.view(1) % 3] = y.mean(0)
        self.place += 1
        variance = self.norm.running_var
        assert variance is not None
        return y, self.history.clone(), variance.clone()


class Branches(nn.Module):
    """Conditions within conditions, with captured values and weights."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
        def positive(a: Tensor) -> tuple[Tensor, Tensor]:
            return self.left(a) + shift, a.sum(0)

        def negative(a: Tensor) -> tuple[Tensor, Tensor]:
            inner = torch.cond(
                a.max() > 1, lambda b: b.sin() + shift, lambda b: self.right(b).cos(), (a,)
            )
            return inner, a.prod(0)

        return torch.cond(x.sum() > 0, positive, negative, (x,))


class Loops(nn.Module):
    """Newton's method until it stands still, a scan, a map, and a scan in any order."""

    def forward(self, x: Tensor, weight: Tensor) -> tuple[Tensor, ...]:
        def goes_on(step: Tensor, guess: Tensor) -> Tensor:
            return (step < 20) & ((guess * guess - x).abs().max() > 1e-5)

        def improve(step: Tensor, guess: Tensor) -> tuple[Tensor, Tensor]:
            return step + 1, (guess + x / guess) / 2

        steps, root = while_loop(goes_on, improve, (torch.tensor(0), torch.ones_like(x)))
        last, states = scan(
            lambda state, row: ((state @ weight + row).tanh(), state * row), x[0], x
        )
        squares = map_rows(lambda row, other: row * other.sum() - root[0], x, weight[0])  # type: ignore[arg-type, attr-defined]
        sums = associative_scan(lambda a, b: a + b * 0.5, x, 0, combine_mode="generic")
        return steps, root, last, states, squares, sums


class Counted(nn.Module):
    """Sizes that only the data tell."""

    def forward(self, x: Tensor, count: Tensor) -> tuple[Tensor, ...]:
        places = x.nonzero()
        positive = x[x > 0]
        torch._check(positive.numel() > 0)
        n = count.item()
        torch._check(n >= 0)
        torch._check(n <= x.shape[0])
        first = x[:n]
        values, inverse, counts = x.round().unique(return_inverse=True, return_counts=True)
        repeated = torch.repeat_interleave(torch.arange(x.shape[0]), (x > 0).sum(1))
        return (
            places,
            positive.sort(descending=True).values,
            first.sum(0),
            torch.cat((first, first * 2)).mean(),
            values,
            inverse,
            counts,
            repeated,
        )


class Sizes(nn.Module):
    """Arithmetic on sizes, and what is made of it."""

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
        a, b = x.shape
        c = y.shape[0]
        joined = torch.cat((x, y), 0)
        middle = joined[(a + c) // 2]
        blocks = joined.new_zeros((a + c + 3) // 4 * 4, b)
        blocks[: a + c] = joined
        pooled = blocks.view(-1, 4, b).amax(1)
        places = torch.arange(a, dtype=torch.float32) / max(a, c) + min(a, c)
        grid = torch.stack(torch.meshgrid(places, torch.linspace(0, 1, b), indexing="ij"))
        outer = (x[:, None] - y[None]).norm(dim=-1)
        halves = joined.tensor_split(2)
        padded = nn.functional.pad(x, (0, 2 * c, a - 1, 0))
        return (
            middle, pooled, grid, outer, torch.cdist(x, y, p=1.0), halves[0], padded,
            torch.full((c, a), a * 0.5), x.repeat(1, 2).unfold(1, 3, 2), x.unfold(0, 2, 1),
            torch.tril_indices(4, 4), x.mean() * (a % 3), y.flip(0).T.reshape(-1),
        )  # fmt: skip


class Narrow(nn.Module):
    """A block in bfloat16, with a float32 norm, and half precision at its end."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.Linear(16, 32, dtype=torch.bfloat16)
        self.down = nn.Linear(32, 16, dtype=torch.bfloat16)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        wide = x.float()
        y = (wide * (wide.pow(2).mean(-1, keepdim=True) + 1e-6).rsqrt()).to(x.dtype)
        y = x + self.down(nn.functional.silu(self.up(y)))
        return y, y.half().softmax(-1).cumsum(-1)


class Quantised(nn.Module):
    """Integer weights with scales per channel, activations quantised on the way."""

    weight: Tensor
    packed: Tensor
    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("weight", torch.randint(-128, 128, (12, 8), dtype=torch.int8))
        self.register_buffer("packed", torch.randint(0, 256, (12, 4), dtype=torch.uint8))
        self.register_buffer("scale", torch.rand(12, 1) / 64)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        scale = x.abs().amax(-1, keepdim=True).clamp(min=1e-6) / 127
        whole = (x / scale).round().clamp(-128, 127).to(torch.int8)
        product = whole.int() @ self.weight.int().T
        nibbles = torch.stack((self.packed & 15, self.packed >> 4), -1)
        weight = (nibbles.flatten(1).to(torch.int8) - 8) * self.scale
        return product * scale * self.scale.T, x @ weight.T, whole


class Filter(nn.Module):
    """A step of a Kalman filter, for a batch."""

    def forward(self, mean: Tensor, covariance: Tensor, seen: Tensor) -> tuple[Tensor, ...]:
        observe = torch.eye(2, 4, dtype=mean.dtype)
        noise = 0.1 * torch.eye(2, dtype=mean.dtype)
        spread = observe @ covariance @ observe.mT + noise
        gain = torch.linalg.solve(spread, observe @ covariance).mT
        change = seen - mean @ observe.T
        mean = mean + (gain @ change[..., None])[..., 0]
        covariance = (torch.eye(4, dtype=mean.dtype) - gain @ observe) @ covariance
        factor = torch.linalg.cholesky(spread)
        white = torch.linalg.solve_triangular(factor, change[..., None], upper=False)
        likelihood = -0.5 * white.square().sum((-1, -2)) - factor.diagonal(0, -1, -2).log().sum(-1)
        return mean, covariance, likelihood, torch.linalg.eigvalsh(spread)


class Structures(nn.Module):
    """Containers in containers, constants, None, the same tensor twice, inputs handed back."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3))

    def forward(
        self, given: dict[str, list[Tensor]], factor: float, flags: tuple[bool, None]
    ) -> dict[str, object]:
        first, second = given["parts"]
        total = first + second * factor
        return {
            "same": [total, total],
            "pair": (first, self.weight),
            "nothing": None,
            "number": 3 if flags[0] else 4,
            "nested": ({"empty": []}, total.new_empty(0, 3), total.sum()),
        }


class Integers(nn.Module):
    """Division and shifts of every sign, overflow, and how types meet."""

    def forward(self, a: Tensor, b: Tensor, small: Tensor) -> tuple[Tensor, ...]:
        return (
            a // b, a % b, torch.fmod(a, b), torch.div(a, b, rounding_mode="trunc"), a / b,
            small * 3, small + 200, small << 1, -small, ~a, a ^ b, a >> 1, small.sum(),
            small.float() + a, a.clamp(-3).minimum(b), torch.where(a > b, a, 0.5), a.pow(2) * small,
            torch.gcd(a, b), (a == b).sum(), a.bool() | small.bool(), torch.bitwise_not(small),
            small.prod(dtype=torch.int32), a.float().nan_to_num().to(torch.int16),
        )  # fmt: skip


def square(n: int) -> Tensor:
    x = torch.randn(3, n, n, dtype=torch.float64)
    return x @ x.mT + torch.eye(n, dtype=torch.float64)


ROWS, OTHERS = Dim("rows", min=3, max=64), Dim("others", min=3, max=64)

CASES = {
    "writes_through_views": Case(
        Writes,
        lambda: [(torch.randn(n, 6), torch.tensor([1, 0, 1, 4])) for n in (5, 5)],
    ),
    "writes_through_views_of_any_size": Case(
        Writes,
        lambda: [(torch.randn(n, 6), torch.tensor([1, 0, 1, 4])) for n in (5, 9)],
        ({0: Dim("rows", min=5, max=64)}, None),
    ),
    "changes_its_inputs": Case(
        ChangesItsInputs, lambda: [(torch.randn(3, 4), torch.randn(3)) for _ in range(2)]
    ),
    "running_statistics": Case(
        RunningStatistics, lambda: [(torch.randn(n, 4),) for n in (5, 3, 8, 2)], ({0: Dim("b")},)
    ),
    "branches_in_branches": Case(
        Branches,
        lambda: [
            (torch.rand(n, 4) * 3 + shift, torch.randn(4))
            for n, shift in ((3, 0), (3, -4), (2, -2), (5, -2.5))
        ],
        ({0: Dim("rows")}, None),
    ),
    "loops": Case(
        Loops,
        lambda: [(torch.rand(n, 4) + 0.5, torch.randn(4, 4)) for n in (4, 4)],
    ),
    "counted_by_the_data": Case(
        Counted,
        lambda: [(torch.randn(n, 4) * 2, torch.tensor(k)) for n, k in ((5, 2), (9, 9), (3, 1))],
        ({0: ROWS}, None),
    ),
    "arithmetic_on_sizes": Case(
        Sizes,
        lambda: [(torch.randn(a, 5), torch.randn(c, 5)) for a, c in ((6, 4), (3, 11), (9, 9))],
        ({0: ROWS}, {0: OTHERS}),
    ),
    "bfloat16_block": Case(
        Narrow, lambda: [(torch.randn(3, 16).bfloat16(),)], rtol=1.6e-2, atol=1e-2
    ),
    "quantised_layers": Case(
        Quantised, lambda: [(torch.randn(n, 8),) for n in (5, 1)], ({0: Dim("rows", max=64)},)
    ),
    "kalman_filter": Case(
        Filter,
        lambda: [
            (torch.randn(3, 4).double(), square(4), torch.randn(3, 2).double()) for _ in range(2)
        ],
    ),
    "structures": Case(
        Structures,
        lambda: [({"parts": [torch.randn(3), torch.randn(3)]}, 0.5, (True, None))] * 2,
    ),
    "integers": Case(
        Integers,
        lambda: [
            (
                torch.tensor([-7, 7, -8, 8, 0, 2**40]),
                torch.tensor([2, -2, 3, -3, 5, 7]),
                torch.tensor([127, -128, 1, 0, -1, 100], dtype=torch.int8),
            )
        ],
    ),
}

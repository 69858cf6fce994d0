"""State in programs that torch.export wrote: buffers that are changed, shared, overlapping."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

from castoff.runtime.errors import CastoffError  # noqa: E402

from .programs import check, floats, imported, nn  # noqa: E402


class Counter(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("n", torch.zeros((), dtype=torch.int64))
        self.register_buffer("history", torch.zeros(4, 2), persistent=False)
        self.weight = nn.Parameter(torch.ones(2))
        self.tied = self.weight

    def forward(self, x: Any) -> Any:
        self.history.copy_(torch.roll(self.history, 1, 0))
        self.history[0] = x * self.weight
        self.n += 1
        return self.history.sum(0) + self.tied, self.n


class Replaced(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("state", torch.zeros(3))

    def forward(self, x: Any) -> Any:
        old = self.state
        self.state = self.state * 0.5 + x
        return old + self.state


class SharedBuffers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("a", torch.zeros(3))
        self.register_buffer("b", self.a)

    def forward(self, x: Any) -> Any:
        self.a.add_(x)
        return self.b * 2


class BuffersInOneMemory(nn.Module):
    """A buffer, and others that are views of it; the first one registered is one of these."""

    def __init__(self) -> None:
        super().__init__()
        table = torch.arange(12.0).view(3, 4)
        self.register_buffer("column", table.t()[1])
        self.register_buffer("table", table)
        self.register_buffer("flat", table.view(-1))
        self.register_buffer("bits", torch.arange(3))

    def forward(self, x: Any) -> Any:
        before = self.column + 0
        self.table.add_(x)
        self.column.mul_(2)
        self.flat[3:5] = 7
        return before, self.table * 1, self.column * 1, self.flat * 1, self.bits + 1


class OverlappingBuffers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        base = torch.arange(10.0)
        self.register_buffer("front", base[:6])
        self.register_buffer("back", base[4:])

    def forward(self, x: Any) -> Any:
        return self.front + x, self.back + x


class WritesOneOfThem(OverlappingBuffers):
    def forward(self, x: Any) -> Any:
        self.front.add_(x)
        return self.back * 1


class Normed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(4)

    def forward(self, x: Any) -> Any:
        return self.norm(x)


@pytest.mark.parametrize("core", [False, True], ids=["training", "core"])
@pytest.mark.parametrize("make", [Counter, Replaced], ids=lambda m: m.__name__)
def test_buffers_keep_state_between_calls(make: Any, core: bool) -> None:
    size = 2 if make is Counter else 3
    check(make(), *[(floats(size) + i,) for i in range(3)], core=core)


def test_buffers_that_are_one_tensor_change_together() -> None:
    check(SharedBuffers(), *[(floats(3) + i,) for i in range(3)])


def test_buffers_that_are_views_of_one_another_change_together() -> None:
    check(BuffersInOneMemory(), *[(floats(4) + i,) for i in range(3)])


def test_buffers_that_overlap_are_read_and_not_written() -> None:
    check(OverlappingBuffers(), (floats(6),))
    with pytest.raises(CastoffError, match="changes front, of whose memory back shows a part"):
        imported(WritesOneOfThem(), (floats(6),))


@pytest.mark.parametrize("core", [False, True], ids=["training", "core"])
def test_batch_norm_in_training_updates_its_statistics(core: bool) -> None:
    check(Normed().train(), *[(floats(5, 4) * i,) for i in range(1, 4)], core=core)

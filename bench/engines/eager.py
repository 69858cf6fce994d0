"""PyTorch as it is, from the same exported program."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..case import Array, Case


class TorchSession:
    """A callable over tensors."""

    def __init__(self, function: Callable[..., object]) -> None:
        self.function = function

    def bind(self, inputs: Sequence[Array]) -> Callable[[], object]:
        import torch

        function = self.function
        tensors = tuple(torch.from_numpy(value) for value in inputs)
        torch.inference_mode().__enter__()  # for the rest of the process, which does nothing else
        return lambda: function(*tensors)

    def answers(self, result: object) -> list[Array]:
        flat = list(result) if isinstance(result, (tuple, list)) else [result]
        return [value.numpy() for value in flat]  # type: ignore[union-attr]


class Eager:
    """The operators of the original module, one call each."""

    def version(self) -> str:
        import torch

        return str(torch.__version__)

    def build(self, case: Case, folder: Path) -> None:
        import torch  # noqa: F401  (nothing is built, but it has to be there)

    def load(self, case: Case, folder: Path, threads: int) -> TorchSession:
        import torch

        from ..models import SUBJECTS, make_subject

        torch.set_num_threads(threads)
        if case.name in SUBJECTS:
            return TorchSession(make_subject(case.name).program)
        return TorchSession(torch.export.load(case.program).module())


ENGINE = Eager()

"""AOTInductor: PyTorch's own ahead-of-time compiler, with its default settings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from .eager import TorchSession

if TYPE_CHECKING:
    from ..case import Case


class Aoti:
    """The package that aoti_compile_and_package writes."""

    def version(self) -> str:
        import torch

        return str(torch.__version__)

    def build(self, case: Case, folder: Path) -> None:
        import torch
        from torch._inductor import aoti_compile_and_package

        exported = torch.export.load(case.program)
        with torch.no_grad():
            aoti_compile_and_package(exported, package_path=str(folder / "model.pt2"))

    def load(self, case: Case, folder: Path, threads: int) -> TorchSession:
        import torch
        from torch._inductor import aoti_load_package

        torch.set_num_threads(threads)
        return TorchSession(aoti_load_package(str(folder / "model.pt2")))


ENGINE = Aoti()

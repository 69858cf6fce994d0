"""The exported program as an ONNX file, where engines that read those start."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..case import Case


def onnx_file(case: Case) -> Path:
    """The path of the case's ONNX file, float32 in any case, made by torch.onnx where it is not there yet."""
    path = case.folder / "model.onnx"
    if not path.exists():
        import torch

        exported = torch.export.load(case.float32_program)
        aside = case.folder / "new.onnx"
        with torch.no_grad(), contextlib.redirect_stdout(sys.stderr):
            torch.onnx.export(
                exported, (), str(aside), dynamo=True, external_data=False, verify=False
            )
        os.replace(aside, path)
    return path

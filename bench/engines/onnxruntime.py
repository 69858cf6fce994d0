"""ONNX Runtime's CPU provider, every graph optimisation on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .onnx_file import onnx_file

if TYPE_CHECKING:
    import onnxruntime

    from ..case import Array, Case


class OnnxRuntimeSession:
    """An InferenceSession called with NumPy arrays."""

    def __init__(self, session: onnxruntime.InferenceSession) -> None:
        self.session = session

    def bind(self, inputs: Sequence[Array]) -> Callable[[], object]:
        run = self.session.run
        names = [value.name for value in self.session.get_inputs()]
        assert len(names) == len(inputs), "the ONNX program takes other inputs"
        feeds = dict(zip(names, inputs, strict=True))
        return lambda: run(None, feeds)

    def answers(self, result: object) -> list[Array]:
        return list(result)  # type: ignore[call-overload,no-any-return]


class OnnxRuntime:
    """Sessions over the ONNX file."""

    def version(self) -> str:
        import onnxruntime

        return str(onnxruntime.__version__)

    def build(self, case: Case, folder: Path) -> None:
        onnx_file(case)

    def load(self, case: Case, folder: Path, threads: int) -> OnnxRuntimeSession:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(
            str(case.folder / "model.onnx"), options, providers=["CPUExecutionProvider"]
        )
        return OnnxRuntimeSession(session)


ENGINE = OnnxRuntime()

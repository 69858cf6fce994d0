"""OpenVINO's CPU plugin in float32, for latency."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .onnx_file import onnx_file

if TYPE_CHECKING:
    import openvino

    from ..case import Array, Case


class OpenVinoSession:
    """One inference request over a compiled model."""

    def __init__(self, model: openvino.CompiledModel) -> None:
        self.model = model
        self.request = model.create_infer_request()

    def bind(self, inputs: Sequence[Array]) -> Callable[[], object]:
        infer, arrays = self.request.infer, list(inputs)
        return lambda: infer(arrays, share_inputs=True, share_outputs=True)

    def answers(self, result: object) -> list[Array]:
        return [result[output].copy() for output in self.model.outputs]  # type: ignore[index]


_HINT = {"float32": "f32", "bfloat16": "bf16"}


class OpenVino:
    """The model converted from the ONNX file, in OpenVINO's own format."""

    def version(self) -> str:
        import openvino

        return str(openvino.__version__).split("-")[0]

    def build(self, case: Case, folder: Path) -> None:
        import openvino

        converted = openvino.convert_model(onnx_file(case))
        openvino.save_model(converted, folder / "model.xml", compress_to_fp16=False)

    def load(self, case: Case, folder: Path, threads: int) -> OpenVinoSession:
        import openvino

        settings = {
            "INFERENCE_PRECISION_HINT": _HINT[case.terms.precision],
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            "PERFORMANCE_HINT": "LATENCY",
            "ENABLE_CPU_PINNING": False,
        }
        model = openvino.Core().compile_model(folder / "model.xml", "CPU", settings)
        return OpenVinoSession(model)


ENGINE = OpenVino()

"""`max_autotune`: which cut of a product, which form of a convolution is the fastest on the machine at hand."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from ..codegen.render import TEMPLATES
from ..errors import ToolchainError
from ..lowering.program import ConvolutionStep, ProductStep, Program, Step
from ..lowering.tuning import (
    RULES,
    ConvolutionShape,
    Cut,
    ProductShape,
    Tuning,
    convolution_shape,
    product_shape,
)
from ..options import CompileOptions
from ..targets import cpu
from .compilers import find_compiler, plain_environment

LEAST_PRODUCT = 1 << 18
"""Multiply-adds of a product from which on its cut matters."""
LEAST_GAIN = 0.02
"""Share of the time that a choice must save over the rules."""

_TILE_ROWS = {16: (4, 3, 1), 32: (5, 4, 3, 1), 64: (12, 10, 8, 6, 5, 4, 3)}
"""By the bytes of a vector, those below the most that `CASTOFF_MR` of `templates/cpu/gemm.h` allows."""
_DEPTHS = (256, 384, 512, 768, 1024, 1536, 2048, 4096)
_ROWS = (24, 48, 96, 192, 384)


def tune(program: Program, options: CompileOptions) -> Tuning:
    """Measures what `program` multiplies, at every CPU level that `options` name.

    Raises ToolchainError where this machine cannot run one of them.
    """
    products, convolutions = shapes_to_tune(program.steps)
    if not products and not convolutions:
        return RULES
    names = options.cpu_levels_for(is_narrow=False)
    levels = [cpu.LEVELS[name] for name in names]
    cuts = measured_cuts(products, levels, options.cc)
    by_transforms: dict[ConvolutionShape, bool] = {}
    if convolutions:
        # one packing of a weight serves all levels: the highest one decides
        with KernelTimer.at(levels[-1], options.cc) as timer:
            by_transforms = {shape: timer.prefers_transforms(shape) for shape in convolutions}
    return Tuning(cuts, by_transforms)


def measured_cuts(
    products: Sequence[ProductShape],
    levels: Sequence[cpu.Level],
    cc: str | None = None,
    least_gain: float = LEAST_GAIN,
) -> dict[ProductShape, dict[int, Cut]]:
    """The cuts that beat the rules at each level, by the bytes of its vectors.

    Raises ToolchainError where this machine cannot run one of the levels.
    """
    cuts: dict[ProductShape, dict[int, Cut]] = {}
    for level in levels:
        with KernelTimer.at(level, cc) as timer:
            for shape in products:
                cut = best_cut(timer, shape, least_gain)
                if cut != Cut():
                    cuts.setdefault(shape, {})[timer.vector_bytes] = cut
    return cuts


def shapes_to_tune(steps: Sequence[Step]) -> tuple[list[ProductShape], list[ConvolutionShape]]:
    """The shapes there is a choice for, each once, in order. Steps of loops and branches follow the rules."""
    products: dict[ProductShape, None] = {}
    convolutions: dict[ConvolutionShape, None] = {}
    for step in steps:
        match step:
            case ProductStep(coded_right=None):
                product = product_shape(
                    step.dtype, step.batch, step.rows, step.columns, step.depth, step.packed_right
                )
                if product is not None and _work(product) >= LEAST_PRODUCT:
                    products[product] = None
            case ConvolutionStep(packed_weight=True) if step.dtype is step.output.dtype:
                weight, output = step.weight_type.shape, step.output.shape
                convolution = convolution_shape(weight, step.attributes, output)
                if convolution is not None and step.dtype.value == "float32":
                    convolutions[convolution] = None
            case _:
                pass
    return sorted(products), sorted(convolutions)


def _work(shape: ProductShape) -> int:
    return shape.batch * shape.rows * shape.columns * shape.depth if shape.rows > 1 else 0


def best_cut(timer: KernelTimer, shape: ProductShape, least_gain: float = LEAST_GAIN) -> Cut:
    """The fastest cut, found one field after the other; the rules' own unless it saves `least_gain`."""
    best, best_ratio = Cut(), 1 - least_gain
    for variants in (
        [Cut(tile_rows=rows) for rows in _TILE_ROWS[timer.vector_bytes] if rows < shape.rows],
        [Cut(depth=depth) for depth in _DEPTHS if depth < shape.depth],
        [Cut(rows=rows) for rows in _ROWS if rows < 2 * shape.rows],
    ):
        combined = [_merged(best, cut) for cut in variants]
        for cut, ratio in zip(combined, timer.ratios(shape, combined), strict=True):
            if ratio < best_ratio:
                best, best_ratio = cut, ratio
    # the best of many is partly luck: it has to win once more
    return best if best != Cut() and timer.ratios(shape, [best])[0] < 1 - least_gain else Cut()


def _merged(first: Cut, second: Cut) -> Cut:
    """The fields of `second`, and those of `first` that it leaves to the rules."""
    return Cut(
        second.tile_rows or first.tile_rows,
        second.rows or first.rows,
        second.depth or first.depth,
    )


class KernelTimer:
    """A running `templates/measure/kernels.c`, compiled for one CPU level."""

    def __init__(self, process: subprocess.Popen[str], level: str) -> None:
        self._process, self._level = process, level
        self.vector_bytes = int(self._line())

    @staticmethod
    @contextmanager
    def at(level: cpu.Level, cc: str | None = None) -> Iterator[KernelTimer]:
        """Compiles and starts it. Raises CompilerNotFoundError, or ToolchainError where the machine
        does not run code of the level.
        """
        compiler = find_compiler(cc)
        with ExitStack() as opened:
            folder = opened.enter_context(tempfile.TemporaryDirectory(prefix="castoff-"))
            program = Path(folder) / "kernels"
            flags = compiler.adapt_flags(("-std=gnu11", "-O2", *cpu.FLAGS, *level.flags))
            includes = [f"-I{TEMPLATES / name}" for name in ("", "cpu", "abi")]
            source = str(TEMPLATES / "measure" / "kernels.c")
            command = [*compiler.command, *flags, *includes, source, "-o", str(program)]
            built = subprocess.run(
                command, env=plain_environment(), capture_output=True, text=True, check=False
            )
            if built.returncode != 0:
                raise ToolchainError(f"kernels cannot be measured: {built.stderr.strip()}")
            try:
                process = subprocess.Popen(
                    [program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
                )
            except OSError as error:
                raise _unmeasurable(level.name) from error
            opened.enter_context(process)
            opened.callback(process.kill)
            yield KernelTimer(process, level.name)

    def ratios(self, shape: ProductShape, cuts: Iterable[Cut]) -> list[float]:
        """The time of a product with each cut over that with the rules'."""
        forms = [Cut(), *cuts]
        sizes = (shape.batch, shape.rows, shape.columns, shape.depth, int(shape.is_packed))
        numbers = [*sizes, len(forms)]
        for cut in forms:
            numbers += [cut.tile_rows, cut.rows, cut.depth]
        return self._ask("product", numbers)[1:]

    def prefers_transforms(self, shape: ConvolutionShape) -> bool:
        """Whether a convolution is faster by transforms than directly."""
        top, left = shape.padding
        height, width = shape.height + 2 - 2 * top, shape.width + 2 - 2 * left
        numbers = [shape.batch, shape.in_channels, shape.out_channels, height, width, top, left]
        return self._ask("convolution", numbers)[1] < 1

    def _ask(self, kind: str, numbers: Sequence[int]) -> list[float]:
        assert self._process.stdin is not None, "it was started with a pipe"
        line = f"{kind} {' '.join(map(str, numbers))}\n"
        with contextlib.suppress(BrokenPipeError):  # the missing answer says so
            os.write(self._process.stdin.fileno(), line.encode())
        return [float(number) for number in self._line().split()]

    def _line(self) -> str:
        assert self._process.stdout is not None, "it was started with a pipe"
        line = self._process.stdout.readline()
        if line:
            return line
        status = self._process.wait()
        if status == -signal.SIGILL:
            raise _unmeasurable(self._level)
        raise ToolchainError(f"kernels cannot be measured at {self._level}: status {status}")


def _unmeasurable(level: str) -> ToolchainError:
    return ToolchainError(
        f"max_autotune: this machine does not run code for {level}, so nothing can be measured there; "
        'build on one that does, or name the levels it runs: target_cpu="x86-64-v3"'
    )

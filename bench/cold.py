"""What it costs before the first call: building, starting a process, memory."""

from __future__ import annotations

import compileall
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .case import Case
from .statistics import Spread, spread
from .store import Store
from .workers import ROOT, Place, Worker, WorkerFailed

if TYPE_CHECKING:
    from castoff.runtime.manifest import TensorSpec

SAMPLE = ROOT / "examples" / "digits" / "digits.pt2"


@dataclass(frozen=True, slots=True)
class Build:
    """Seconds that an engine took to build, by the wall and of the processor; one value a try."""

    wall: tuple[float, ...]
    cpu: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Start:
    """A process from its start to its end: seconds by the wall, of the processor, peak memory."""

    wall: tuple[float, ...]
    cpu: tuple[float, ...]
    peak_bytes: int

    @property
    def wall_spread(self) -> Spread:
        """Quartiles over the tries."""
        return spread(self.wall)


def compile_bytecode() -> None:
    """Does for this checkout, which is run in place, what pip does for packages that it installs."""
    for folder in ("compiler", "runtime", "templates", "src"):
        compileall.compile_dir(ROOT / folder, quiet=2)


def time_builds(
    case: Case, engines: Sequence[str], store: Store, place: Place, tries: int
) -> tuple[dict[str, Build], dict[str, str]]:
    """Builds from nothing, in turns: no object cache, no kernel cache, a fresh process each.

    The second mapping says why an engine could not build.
    """
    wall: dict[str, list[float]] = {engine: [] for engine in engines}
    cpu: dict[str, list[float]] = {engine: [] for engine in engines}
    failures: dict[str, str] = {}
    for _ in range(tries):
        for engine in engines:
            folder = store.folder / "cold" / engine
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            log = store.log(case, f"cold-{engine}")
            try:
                with Worker("build", engine, case.folder, folder, place, log) as worker:
                    answer = worker.answer()
            except WorkerFailed as error:
                failures[engine] = str(error)
                continue
            finally:
                shutil.rmtree(folder, ignore_errors=True)
            wall[engine].append(float(str(answer["seconds"])))
            cpu[engine].append(float(str(answer["cpu_seconds"])))
    built = {name: Build(tuple(wall[name]), tuple(cpu[name])) for name in engines if wall[name]}
    return built, failures


def build_sample(folder: Path) -> Path:
    """Compiles the sample program of the examples; the path of the library."""
    import castoff

    folder.mkdir(parents=True, exist_ok=True)
    return Path(castoff.aot_compile(SAMPLE, output=folder / "sample.so"))


def start_programs(library: Path) -> dict[str, str]:
    """Programs for `python -c` that are started beside each other; the first is what is compared
    with.
    """
    import castoff

    def zeros(spec: TensorSpec) -> str:
        shape = tuple(size if isinstance(size, int) else 1 for size in spec.shape)
        return f"numpy.zeros({shape!r}, {spec.dtype!r})"

    inputs = ", ".join(zeros(spec) for spec in castoff.aot_load(library).inputs)
    first_answer = f"import numpy, castoff; castoff.aot_load({os.fspath(library)!r})({inputs})"
    return {
        'python -c "import numpy"': "import numpy",
        "castoff to the first answer": first_answer,
        "python alone": "pass",
    }


FIRST_ANSWER = {
    "castoff": "import castoff; castoff.aot_load({folder!r} + '/model.so', threads=1)(*inputs)",
    "onnxruntime": (
        "import onnxruntime; options = onnxruntime.SessionOptions(); "
        "options.intra_op_num_threads = 1; options.log_severity_level = 3; "
        "session = onnxruntime.InferenceSession({case!r} + '/model.onnx', options, "
        "providers=['CPUExecutionProvider']); "
        "session.run(None, dict(zip([value.name for value in session.get_inputs()], inputs)))"
    ),
}
"""What an engine's users write to get an answer from what was built in `folder` for `case`."""


def model_programs(
    case: Case, versions: Mapping[str, str], store: Store, place: Place
) -> dict[str, str]:
    """Programs for `python -c` that give the first answer of a model, by engine.

    Raises WorkerFailed where an engine cannot build it.
    """
    read = f"import numpy; file = numpy.load({os.fspath(case.folder / 'inputs_0.npz')!r}); "
    read += "inputs = [file[name] for name in file.files]; "
    programs = {}
    for engine, version in versions.items():
        if engine in FIRST_ANSWER:
            folder = os.fspath(store.artefact(case, engine, version, place))
            program = FIRST_ANSWER[engine].format(folder=folder, case=os.fspath(case.folder))
            programs[f"{engine}, {case.name}"] = read + program
    return programs


def time_starts(programs: Mapping[str, str], place: Place, tries: int) -> dict[str, Start]:
    """Starts each program `tries` times, in turns."""
    environment = {**place.environment(Path("unused"))}
    results: dict[str, list[tuple[float, float]]] = {name: [] for name in programs}
    for number in range(tries + 1):
        for name, program in programs.items():
            measured = time_process([sys.executable, "-c", program], environment, place.pin)
            if number > 0:  # the first round warms the page cache
                results[name].append(measured)
    return {
        name: Start(
            tuple(wall for wall, _ in tried),
            tuple(cpu for _, cpu in tried),
            peak_bytes(programs[name], environment),
        )
        for name, tried in results.items()
    }


def time_process(
    command: Sequence[str], environment: Mapping[str, str], pin: Callable[[], None]
) -> tuple[float, float]:
    """Seconds of one process, by the wall and of the processor."""
    start = time.perf_counter()
    process = subprocess.Popen(command, cwd=ROOT, env=dict(environment), preexec_fn=pin)
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"{' '.join(command)} ended with status {process.returncode}")
    return wall, usage.ru_utime + usage.ru_stime


def peak_bytes(program: str, environment: Mapping[str, str]) -> int:
    """The most memory that was resident while the program ran, from what the kernel says at its end:
    the maximum that wait4 gives counts the process it was forked from, too.
    """
    ending = "print([line for line in open('/proc/self/status') if line.startswith('VmHWM')][0])"
    said = subprocess.run(
        [sys.executable, "-c", f"{program}\n{ending}"],
        cwd=ROOT, env=dict(environment), check=True, capture_output=True, text=True,
    )  # fmt: skip
    return int(said.stdout.split()[1]) * 1024

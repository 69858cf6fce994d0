"""Watching a compilation: times, numbered dumps of every stage, the debug ladder, progress.

The ladder (`CASTOFF_DEBUG`, `debug_level`): 1 shows how long each stage took, 2 adds the graph, 3
the kernels, 4 the sources and the commands that were run. All of it goes to standard error;
`CASTOFF_DUMP` writes the same texts to files, and the graph after every pass that changed it.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TextIO

from .errors import OutputError
from .options import CompileOptions
from .records import dataclass

if TYPE_CHECKING:
    from rich.progress import Progress as RichBars
    from rich.progress import TaskID

SHOW_TIMES, SHOW_GRAPH, SHOW_KERNELS, SHOW_SOURCES = 1, 2, 3, 4
DUMP_ONLY = 5
"""Above the ladder: a text that only the dump shows."""


class Progress(Protocol):
    """Told what a compilation is doing, from one thread at a time."""

    def begin(self, stage: str, units: int) -> None:
        """`stage` starts; it has `units` parts (0: it cannot be counted)."""

    def advance(self, unit: str) -> None:
        """One part of the running stage is done."""

    def end(self) -> None:
        """The running stage is done, or failed."""


class SilentProgress:
    """Says nothing: what the library does unless asked."""

    def begin(self, stage: str, units: int) -> None:
        """Nothing to do."""

    def advance(self, unit: str) -> None:
        """Nothing to do."""

    def end(self) -> None:
        """Nothing to do."""


class PlainProgress:
    """One line when a stage starts, and one for each tenth of its units: for logs."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._stage, self._units, self._done, self._started = "", 0, 0, 0.0

    def begin(self, stage: str, units: int) -> None:
        """Writes the stage's line."""
        self._stage, self._units, self._done = stage, units, 0
        self._started = time.monotonic()
        counted = f" ({units} unit{'s' if units != 1 else ''})" if units else ""
        self._write(f"castoff: {stage}{counted}")

    def advance(self, unit: str) -> None:
        """Writes a line where another tenth is done."""
        before, self._done = self._done, self._done + 1
        if self._units and (before * 10 // self._units) != (self._done * 10 // self._units):
            left = remaining_seconds(self._started, self._done, self._units)
            eta = f", about {left:.0f} s left" if left >= 1 else ""
            self._write(f"castoff: {self._stage}: {self._done} of {self._units}{eta}")

    def end(self) -> None:
        """Nothing to write."""

    def _write(self, line: str) -> None:
        self._stream.write(line + "\n")
        self._stream.flush()


class TerminalProgress:
    """A live bar with the stage, the units done and the time left."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._bars: RichBars | None = None
        self._task: TaskID | None = None

    def begin(self, stage: str, units: int) -> None:
        """Shows the bar of the stage."""
        from rich import progress as bars
        from rich.console import Console

        self.end()
        self._bars = bars.Progress(
            bars.TextColumn("castoff: {task.description}"),
            bars.BarColumn(),
            bars.MofNCompleteColumn() if units else bars.TextColumn(""),
            bars.TimeElapsedColumn(),
            bars.TextColumn("left"),
            bars.TimeRemainingColumn(),
            console=Console(file=self._stream),
            transient=True,
        )
        self._task = self._bars.add_task(stage, total=units or None)
        self._bars.start()

    def advance(self, unit: str) -> None:
        """Moves the bar."""
        if self._bars is not None and self._task is not None:
            self._bars.advance(self._task)

    def end(self) -> None:
        """Takes the bar away."""
        if self._bars is not None:
            self._bars.stop()
        self._bars = self._task = None


def remaining_seconds(started: float, done: int, units: int) -> float:
    """Estimate of the time left of a stage that started at `started` (monotonic seconds)."""
    if not done:
        return 0.0
    return (time.monotonic() - started) / done * (units - done)


def progress_to(stream: TextIO) -> Progress:
    """A live bar where `stream` is a terminal, plain lines elsewhere."""
    return TerminalProgress(stream) if stream.isatty() else PlainProgress(stream)


@dataclass(frozen=True, slots=True)
class StageTime:
    """How long one stage took."""

    stage: str
    seconds: float


class Observer:
    """Sees one compilation through: made from the options, passed down its stages.

    `times` grows with every stage that ends. Not for use from several threads.
    """

    def __init__(
        self,
        options: CompileOptions,
        *,
        progress: Progress | None = None,
        stream: TextIO | None = None,
    ) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._debug_level = options.debug_level
        self._dump_folder = None if options.dump is None else Path(options.dump)
        self._dumped = 0
        if progress is None:
            progress = progress_to(self._stream) if options.progress else SilentProgress()
        self.progress: Progress = progress
        self.times: list[StageTime] = []

    @contextmanager
    def stage(self, name: str, units: int = 0) -> Iterator[None]:
        """Times what runs inside and shows it as the running stage."""
        self.progress.begin(name, units)
        started = time.perf_counter()
        try:
            yield
        finally:
            seconds = time.perf_counter() - started
            self.progress.end()
            self._note(name, seconds)

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Times a part of the running stage, as one pass."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self._note(name, time.perf_counter() - started)

    def _note(self, name: str, seconds: float) -> None:
        self.times.append(StageTime(name, seconds))
        if self._debug_level >= SHOW_TIMES:
            self._stream.write(f"castoff: {seconds * 1e3:10.1f} ms  {name}\n")

    def wants(self, level: int) -> bool:
        """Whether anybody reads a text of this level: asked before a text that is dear to make is
        made.
        """
        return self._dump_folder is not None or self._debug_level >= level

    def record(self, name: str, text: str, level: int) -> None:
        """Dumps `text` as the next numbered file, "03-fold_constants.ir", and shows it from
        `level` upwards.

        Raises OutputError where the folder of dumps cannot be written.
        """
        if self._debug_level >= level:
            self._stream.write(f"castoff: ---- {name}\n{text.rstrip()}\n")
        if self._dump_folder is None:
            return
        path = self._dump_folder / f"{self._dumped:02}-{re.sub(r'[^A-Za-z0-9_.-]', '_', name)}"
        self._dumped += 1
        try:
            self._dump_folder.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise OutputError(f"cannot write the dump {path}: {error.strerror}") from None

"""Runs compilers as child processes that never outlive the compilation."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path

from ..errors import ToolchainError
from ..records import dataclass
from .compilers import plain_environment


@dataclass(frozen=True, slots=True)
class Finished:
    """A command that ended, and what it wrote (output and errors together)."""

    command: tuple[str, ...]
    status: int
    text: str


class ChildProcesses:
    """The children of one compilation. Each leads a process group, so that what it starts dies
    with it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[str]] = set()
        self._is_stopped = False

    def run(self, command: tuple[str, ...], folder: Path) -> Finished:
        """Runs `command` in `folder` to its end. Raises ToolchainError where it cannot be
        started.
        """
        with self._lock:
            if self._is_stopped:
                raise ToolchainError("the compilation was stopped")
            try:
                child = subprocess.Popen(
                    command,
                    cwd=folder,
                    env=plain_environment({"TMPDIR": str(folder)}),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                    errors="replace",
                    start_new_session=True,
                )
            except OSError as error:
                raise ToolchainError(
                    f"cannot start {shlex.quote(command[0])}: {error.strerror}"
                ) from None
            self._running.add(child)
        try:
            text, _ = child.communicate()
        finally:
            with self._lock:
                self._running.discard(child)
        return Finished(command, child.returncode, text)

    def stop(self) -> None:
        """Kills what runs, and keeps anything more from starting."""
        with self._lock:
            self._is_stopped = True
            for child in self._running:
                try:
                    os.killpg(child.pid, signal.SIGKILL)
                except (ProcessLookupError, PermissionError):
                    child.kill()


def run_all(
    tasks: Iterable[Callable[[ChildProcesses], str]], jobs: int, done: Callable[[str], None]
) -> None:
    """Runs every task, up to `jobs` at once, and calls `done` in this thread with what each
    returns.

    The first error, Ctrl-C included, stops the others, kills their children and is raised once
    they are gone.
    """
    children = ChildProcesses()
    with ThreadPoolExecutor(max_workers=jobs, thread_name_prefix="castoff-cc") as pool:
        pending: set[Future[str]] = set()
        try:
            pending = {pool.submit(task, children) for task in tasks}
            while pending:
                finished, pending = wait(pending, return_when=FIRST_COMPLETED)
                for future in finished:
                    done(future.result())
        except BaseException:
            for future in pending:
                future.cancel()
            children.stop()
            raise

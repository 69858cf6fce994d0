"""Runs tasks in worker processes; one that crashes or hangs costs its task and no other."""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Generic, TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")


@dataclass
class _Worker(Generic[Task]):
    process: BaseProcess
    connection: Connection
    task: Task
    deadline: float


def _serve(connection: Connection, function: Callable[[Task], Result]) -> None:
    while True:
        task = connection.recv()
        if task is None:
            return
        connection.send(function(task))


def run_tasks(
    function: Callable[[Task], Result], tasks: Iterable[Task], *, jobs: int, seconds: float
) -> Iterator[tuple[Task, Result | str]]:
    """(task, its result) in the order they finish; a string where the worker died or took too long.

    Workers are forked: they share what was loaded before.
    """
    waiting = iter(tasks)
    context = multiprocessing.get_context("fork")
    workers: dict[Connection, _Worker[Task]] = {}

    def start(task: Task) -> None:
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, function), daemon=True)
        process.start()
        theirs.close()
        workers[ours] = _Worker(process, ours, task, 0.0)
        give(workers[ours], task)

    def give(worker: _Worker[Task], task: Task) -> None:
        worker.task, worker.deadline = task, time.monotonic() + seconds
        worker.connection.send(task)

    def stop(worker: _Worker[Task]) -> None:
        worker.process.kill()
        worker.process.join()
        del workers[worker.connection]
        worker.connection.close()

    for task in waiting:
        start(task)
        if len(workers) == jobs:
            break
    while workers:
        nearest = min(worker.deadline for worker in workers.values())
        ready = wait(list(workers), max(nearest - time.monotonic(), 0.0))
        finished: list[_Worker[Task]] = [workers[c] for c in workers if c in ready]
        late = [w for w in workers.values() if w not in finished and time.monotonic() > w.deadline]
        for worker in finished:
            try:
                result: Result | str = worker.connection.recv()
            except (EOFError, OSError):
                worker.process.join()
                result = f"crashed: {_death(worker.process.exitcode)}"
            yield worker.task, result
            following = next(waiting, None)
            if isinstance(result, str) and result.startswith("crashed"):
                stop(worker)
                if following is not None:
                    start(following)
            elif following is None:
                stop(worker)
            else:
                give(worker, following)
        for worker in late:
            yield worker.task, f"took more than {seconds:.0f} seconds"
            stop(worker)
            following = next(waiting, None)
            if following is not None:
                start(following)


def _death(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        return signal.Signals(-exit_code).name
    return f"exit status {exit_code}"

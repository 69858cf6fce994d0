"""What the child of a fork finds: the thread that held a lock is not there to give it back."""

from __future__ import annotations

import os
import threading
import weakref

_locks: weakref.WeakSet[threading.Lock] = weakref.WeakSet()


def lock_free_in_children() -> threading.Lock:
    """A lock that the child of a fork gets free, whoever held it."""
    lock = threading.Lock()
    _locks.add(lock)
    return lock


def _free_locks() -> None:
    for lock in _locks:
        lock._at_fork_reinit()  # type: ignore[attr-defined]


os.register_at_fork(after_in_child=_free_locks)

"""Where in the user's program something happens, read off the Python stack."""

from __future__ import annotations

import difflib
import linecache
import os
import sys
from collections.abc import Iterable
from types import FrameType

import numpy as np

from ...errors import CaptureError

_COMPILER = __name__.removesuffix(".frontends.capture.where")
_NUMPY = os.path.dirname(np.__file__) + os.sep
_ENTRY = "run_captured"
"""The function of `export.py` that calls the user's; nothing outside of it is of interest."""


def _user_frames() -> list[FrameType]:
    """Frames of the user's code within the function that is captured, the innermost first."""
    frames: list[FrameType] = []
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if module.startswith(_COMPILER):
            if frame.f_code.co_name == _ENTRY:
                return frames
        elif not frame.f_code.co_filename.startswith((_NUMPY, "<__array_function__")):
            frames.append(frame)
        frame = frame.f_back
    return []


def user_line() -> str:
    """The innermost line of the user's code, as `model.py:12 in forward`; "" where there is none."""
    for frame in _user_frames():
        code = frame.f_code
        return f"{os.path.basename(code.co_filename)}:{frame.f_lineno} in {code.co_name}"
    return ""


def stack_trace() -> str:
    """The user's frames as the exporter writes them, the innermost last."""
    entries = []
    for frame in _user_frames():
        file, line = frame.f_code.co_filename, frame.f_lineno
        text = linecache.getline(file, line, frame.f_globals).strip()
        entry = f'  File "{file}", line {line}, in {frame.f_code.co_name}\n'
        entries.append(entry + (f"    {text}\n" if text else ""))
    return "".join(reversed(entries)).strip()


def refused(reason: str) -> CaptureError:
    """The error for something that cannot be captured, at the user's line."""
    where = user_line()
    return CaptureError(f"{where}: {reason}" if where else reason)


def unknown(name: str, known: Iterable[str]) -> CaptureError:
    """The error for one of NumPy's functions that has no counterpart, with those of similar names."""
    near = difflib.get_close_matches(name, sorted(known), cutoff=0.75)
    hint = f"near to it by name: {', '.join(near)}; " if near else ""
    return refused(f"{name} cannot be captured ({hint}docs/numpy.md lists what can)")

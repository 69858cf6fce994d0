"""`castoff export net.py:forward x:batchx3:float32`: a function or Module of a Python file as a `.pt2`."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import OptionError, OutputError
from ..exported.serialize import save_program
from ..frontends.capture.dims import Dim, DimHint
from ..frontends.capture.export import export
from ..frontends.capture.module import Module
from .tensors import arbitrary_array

_EXAMPLE_SIZE = 5


def export_function(named: str, arguments: Sequence[str], output: str | None) -> str:
    """Captures `file.py:name` with arguments as `x:4x3:float32`, `x=@x.npy` or `n=3`, and writes it.

    A word among sizes (without an x in it) is a size that varies. A class is called without arguments
    first. Raises OptionError for what cannot be read, and what `castoff.export` raises.
    """
    f, name = _loaded(named)
    kwargs: dict[str, Any] = {}
    dynamic_shapes: dict[str, Any] = {}
    for argument in arguments:
        match = re.fullmatch(r"([A-Za-z_]\w*)([=:])(.*)", argument)
        if match is None:
            raise OptionError(f"{argument!r}: expected x:4x3:float32, x=@x.npy or n=3")
        key, kind, text = match.groups()
        if kind == ":":
            kwargs[key], dynamic_shapes[key] = _of_shape(argument, text)
        else:
            kwargs[key], dynamic_shapes[key] = _value(argument, text), None
    program = export(f, (), kwargs, dynamic_shapes=dynamic_shapes)
    target = output or f"{name}.pt2"
    try:
        save_program(program, target)
    except OSError as error:
        raise OutputError(f"cannot write {target}: {error.strerror}") from None
    return target


def _loaded(named: str) -> tuple[Any, str]:
    """What `file.py:name` names, and the last part of its name."""
    file, _, name = named.rpartition(":")
    path = Path(file)
    if not name or path.suffix != ".py" or not path.is_file():
        raise OptionError(f"{named!r}: expected file.py:name, of a file that exists")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None, "a .py file has a loader"
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    sys.path.insert(0, str(path.resolve().parent))
    spec.loader.exec_module(module)
    found: Any = module
    for part in name.split("."):
        if not hasattr(found, part):
            raise OptionError(f"{file} has no {name!r}")
        found = getattr(found, part)
    if isinstance(found, type) and issubclass(found, Module):
        found = found()
    return found, name.rpartition(".")[2]


def _of_shape(argument: str, text: str) -> tuple[np.ndarray, dict[int, Dim | DimHint]]:
    """An array of arbitrary elements, and which of its sizes vary."""
    sizes_text, _, dtype = text.partition(":")
    sizes: list[int] = []
    dims: dict[int, Dim | DimHint] = {}
    for axis, word in enumerate(sizes_text.split("x") if sizes_text else []):
        if word.isdecimal():
            sizes.append(int(word))
        elif word.isidentifier():
            sizes.append(_EXAMPLE_SIZE)
            dims[axis] = Dim(word)
        else:
            raise OptionError(
                f"{argument!r}: expected sizes with x between them, as batchx3x224x224"
            )
    try:
        return arbitrary_array(tuple(sizes), dtype or "float32"), dims
    except (TypeError, ValueError) as error:
        raise OptionError(f"{argument!r}: {error}") from None


def _value(argument: str, text: str) -> Any:
    if text.startswith("@"):
        try:
            return np.load(Path(text[1:]).expanduser(), allow_pickle=False)
        except (OSError, ValueError) as error:
            raise OptionError(f"{argument!r}: {error}") from None
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text

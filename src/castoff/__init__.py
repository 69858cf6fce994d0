"""castoff: ahead-of-time compilation of exported PyTorch programs, without PyTorch.

Public names are imported when they are first used: a process that only loads artefacts imports
nothing of the compiler.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._package import package as package
    from .compiler.api import aot_compile as aot_compile
    from .compiler.errors import CaptureError as CaptureError
    from .compiler.errors import CompileError as CompileError
    from .compiler.exported.canonicalize import canonicalize as canonicalize
    from .compiler.exported.deserialize import load_program
    from .compiler.exported.handlers import register_operator_handler as register_operator_handler
    from .compiler.exported.handlers import (
        unregister_operator_handler as unregister_operator_handler,
    )
    from .compiler.exported.program import ExportedProgram as ExportedProgram
    from .compiler.exported.serialize import save_program
    from .compiler.frontends.capture.dims import Dim as Dim
    from .compiler.frontends.capture.export import export as export
    from .compiler.frontends.capture.module import Module as Module
    from .compiler.frontends.capture.operators import ops as ops
    from .compiler.ir.dtypes import DType as DType
    from .compiler.ir.graph import TensorType as TensorType
    from .compiler.ops.custom import RegistrationError as RegistrationError
    from .compiler.ops.custom import register_custom_op as register_custom_op
    from .compiler.options import CompileOptions as CompileOptions
    from .runtime.errors import ArtefactError as ArtefactError
    from .runtime.errors import CastoffError as CastoffError
    from .runtime.errors import CodeNotAllowedError as CodeNotAllowedError
    from .runtime.errors import DeviceError as DeviceError
    from .runtime.errors import InputMismatchError as InputMismatchError
    from .runtime.errors import PackageError as PackageError
    from .runtime.errors import ProgramError as ProgramError
    from .runtime.manifest import Manifest as Manifest
    from .runtime.manifest import read_manifest as read_manifest
    from .runtime.runner import Runner as Runner
    from .runtime.runner import aot_load as aot_load
    from .runtime.treespec import register_dataclass as register_dataclass
    from .runtime.treespec import register_namedtuple as register_namedtuple
    from .runtime.treespec import register_pytree_node as register_pytree_node

    load = load_program
    save = save_program

__version__ = "0.1.0"

# Public name -> the module it lives in, and its name there where that is another.
_HOMES: dict[str, str] = {
    "ArtefactError": ".runtime.errors",
    "CaptureError": ".compiler.errors",
    "CastoffError": ".runtime.errors",
    "CodeNotAllowedError": ".runtime.errors",
    "CompileError": ".compiler.errors",
    "CompileOptions": ".compiler.options",
    "DeviceError": ".runtime.errors",
    "Dim": ".compiler.frontends.capture.dims",
    "DType": ".compiler.ir.dtypes",
    "ExportedProgram": ".compiler.exported.program",
    "InputMismatchError": ".runtime.errors",
    "Manifest": ".runtime.manifest",
    "Module": ".compiler.frontends.capture.module",
    "PackageError": ".runtime.errors",
    "ProgramError": ".runtime.errors",
    "RegistrationError": ".compiler.ops.custom",
    "Runner": ".runtime.runner",
    "TensorType": ".compiler.ir.graph",
    "aot_compile": ".compiler.api",
    "aot_load": ".runtime.runner",
    "canonicalize": ".compiler.exported.canonicalize",
    "export": ".compiler.frontends.capture.export",
    "load": ".compiler.exported.deserialize:load_program",
    "ops": ".compiler.frontends.capture.operators",
    "package": "._package",
    "save": ".compiler.exported.serialize:save_program",
    "read_manifest": ".runtime.manifest",
    "register_custom_op": ".compiler.ops.custom",
    "register_dataclass": ".runtime.treespec",
    "register_namedtuple": ".runtime.treespec",
    "register_operator_handler": ".compiler.exported.handlers",
    "unregister_operator_handler": ".compiler.exported.handlers",
    "register_pytree_node": ".runtime.treespec",
}

__all__ = [*_HOMES, "__version__"]


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'castoff' has no attribute {name!r}")
    module, _, attribute = home.partition(":")
    value: object = getattr(importlib.import_module(module, __name__), attribute or name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})

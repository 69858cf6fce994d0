"""The C border as cffi sees it: `_abi_cdef.py`, generated from templates/abi/castoff.h.

cffi's out-of-line ABI mode parses nothing at run time. After a change of the header: `python -m
castoff.runtime.abi`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_REGION = re.compile(r"/\* \[cffi begin\] \*/\n(.*?)/\* \[cffi end\] \*/", re.DOTALL)
_CDEF_MODULE = "_abi_cdef"

# castoff_status
OK = 0
INVALID_ARGUMENT = 1
INPUT_MISMATCH = 2
OUT_OF_MEMORY = 3
UNSUPPORTED_CPU = 4
BAD_ARTEFACT = 5
RUNTIME_ERROR = 6
NOT_REPLACEABLE = 7
DEVICE_ERROR = 8
UNSUPPORTED_DEVICE = 9

# castoff_option_flags
STRICT_DEVICE = 1
CUDA_GRAPHS = 2

# dtype name -> (DLPack type code, bits)
DTYPE_CODES: Mapping[str, tuple[int, int]] = {
    "bool": (6, 8),
    "int8": (0, 8),
    "int16": (0, 16),
    "int32": (0, 32),
    "int64": (0, 64),
    "uint8": (1, 8),
    "uint16": (1, 16),
    "uint32": (1, 32),
    "uint64": (1, 64),
    "float16": (2, 16),
    "bfloat16": (4, 16),
    "float32": (2, 32),
    "float64": (2, 64),
    "complex32": (5, 32),
    "complex64": (5, 64),
    "complex128": (5, 128),
    "float8_e4m3fn": (10, 8),
    "float8_e4m3fnuz": (11, 8),
    "float8_e5m2": (12, 8),
    "float8_e5m2fnuz": (13, 8),
    "float8_e8m0fnu": (14, 8),
}


def declarations(header: str) -> str:
    """The C declarations of castoff.h that lie between its cffi marks."""
    return "\n".join(_REGION.findall(header))


def generate(header: Path, target: Path) -> None:
    """Writes the cffi module for `header`."""
    import cffi

    ffi = cffi.FFI()
    ffi.cdef(declarations(header.read_text(encoding="utf-8")))
    ffi.set_source(_CDEF_MODULE, None)
    ffi.emit_python_code(str(target))


if __name__ == "__main__":
    from pathlib import Path  # a program that only loads artefacts need not pay for it

    here = Path(__file__).resolve().parent
    generate(here.parent / "templates" / "abi" / "castoff.h", here / f"{_CDEF_MODULE}.py")

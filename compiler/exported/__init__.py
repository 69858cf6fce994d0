"""What torch.export writes, read and written without torch."""

from .canonicalize import canonicalize
from .deserialize import load_program
from .errors import InvalidProgramError, ProgramFormatError, SchemaVersionError, UnsafePickleError
from .program import ExampleInputs, ExportedProgram, InputsRecord, OpaqueConstant
from .serialize import program_bytes, save_program
from .tensors import Storage, TensorData
from .verifier import verify_program

__all__ = [
    "ExampleInputs",
    "ExportedProgram",
    "InputsRecord",
    "InvalidProgramError",
    "OpaqueConstant",
    "ProgramFormatError",
    "SchemaVersionError",
    "Storage",
    "TensorData",
    "UnsafePickleError",
    "canonicalize",
    "load_program",
    "program_bytes",
    "save_program",
    "verify_program",
]

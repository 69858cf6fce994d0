"""What torch.export writes, read and written without torch."""

from .deserialize import load_program
from .errors import ProgramFormatError, SchemaVersionError, UnsafePickleError
from .program import ExampleInputs, ExportedProgram, OpaqueConstant
from .tensors import Storage, TensorData

__all__ = [
    "ExampleInputs",
    "ExportedProgram",
    "OpaqueConstant",
    "ProgramFormatError",
    "SchemaVersionError",
    "Storage",
    "TensorData",
    "UnsafePickleError",
    "load_program",
]

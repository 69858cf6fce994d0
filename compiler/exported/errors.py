"""What can be wrong with a `.pt2` file."""

from __future__ import annotations

from ...runtime.errors import ProgramFormatError, UnsafePickleError

__all__ = [
    "InvalidProgramError",
    "ProgramFormatError",
    "SchemaVersionError",
    "UnsafePickleError",
]


class SchemaVersionError(ProgramFormatError):
    """The file was written for another major version of the schema."""


class InvalidProgramError(ProgramFormatError):
    """The records of the file do not fit together; the message lists all that is wrong."""

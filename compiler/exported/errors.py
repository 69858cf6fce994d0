"""What can be wrong with a `.pt2` file."""

from __future__ import annotations

from ...runtime.errors import CastoffError


class ProgramFormatError(CastoffError):
    """The file is not a readable `.pt2`: damaged, hostile, or not one at all."""


class SchemaVersionError(ProgramFormatError):
    """The file was written for another major version of the schema."""


class InvalidProgramError(ProgramFormatError):
    """The records of the file do not fit together; the message lists all that is wrong."""


class UnsafePickleError(ProgramFormatError):
    """A pickle in the file asks for something outside the closed list of constructors."""

"""What can be wrong with a `.pt2` file."""

from __future__ import annotations

from ...runtime.errors import CastoffError


class ProgramFormatError(CastoffError):
    """The file is not a readable `.pt2`: damaged, hostile, or not one at all."""


class SchemaVersionError(ProgramFormatError):
    """The file was written for another major version of the schema."""


class UnsafePickleError(ProgramFormatError):
    """A pickle in the file asks for something outside the closed list of constructors."""

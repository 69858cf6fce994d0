"""Errors that callers of castoff may catch."""


class CastoffError(Exception):
    """Base of every error castoff raises for bad input, bad use or missing support."""


class ArtefactError(CastoffError):
    """A file is no artefact, damaged, or made for another machine or version."""


class ProgramFormatError(CastoffError):
    """The file is not a readable `.pt2`: damaged, hostile, or not one at all."""


class UnsafePickleError(ProgramFormatError):
    """A pickle in the file asks for something outside the closed list of constructors."""


class PackageError(CastoffError):
    """An archive holds no artefact that fits what was asked for, or several."""


class CodeNotAllowedError(PackageError):
    """Code of an archive would have to run, and nobody allowed that; nothing ran."""


class UnsupportedCpuError(ArtefactError):
    """No CPU level in the artefact fits this processor."""


class DeviceError(CastoffError):
    """A device is unknown, or is not the one the artefact was compiled for."""


class CallSpecError(CastoffError):
    """A tree specification names a container that cannot be read or made."""


class InputMismatchError(CastoffError, TypeError, ValueError):
    """The arguments of a call are not what the program takes; nothing ran."""


class ProgramError(CastoffError, RuntimeError):
    """The program itself refused while it ran: an assertion, an index out of range, no memory."""


class ConstantError(CastoffError, KeyError):
    """A constant or buffer does not exist, or cannot be replaced."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""

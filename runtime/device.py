"""Device names."""

from __future__ import annotations

from .errors import DeviceError

DEVICES = ("cpu",)


def check_device(device: str, compiled_for: str) -> str:
    """The device, where it is known and the one compiled for. Raises DeviceError."""
    if device not in DEVICES:
        raise DeviceError(f"device: expected one of {', '.join(DEVICES)}, got {device!r}")
    if device != compiled_for:
        raise DeviceError(f"the artefact was compiled for {compiled_for}, not for {device}")
    return device

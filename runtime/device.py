"""Device names."""

from __future__ import annotations

import re
from dataclasses import dataclass

from .errors import DeviceError

KINDS = ("cpu", "cuda")

_NAME = re.compile(r"(cpu|cuda)(?::(\d{1,9}))?")


@dataclass(frozen=True, slots=True)
class Device:
    """A kind of device, and which of them."""

    kind: str
    index: int = 0

    @property
    def is_cpu(self) -> bool:
        """Whether it is the processor, whose memory arrays of NumPy lie in."""
        return self.kind == "cpu"

    def __str__(self) -> str:
        return self.kind if self.is_cpu else f"{self.kind}:{self.index}"


def parse_device(name: object) -> Device:
    """The device behind "cpu", "cuda" or "cuda:1". Raises DeviceError."""
    match = _NAME.fullmatch(name) if isinstance(name, str) else None
    if match is None or (match[1] == "cpu" and match[2] not in (None, "0")):
        raise DeviceError(f"device: expected cpu, cuda or cuda:<number>, got {name!r}")
    return Device(match[1], int(match[2] or 0))


def check_device(name: str, compiled_for: str) -> Device:
    """The device, where its kind is the one an artefact was compiled for. Raises DeviceError."""
    device = parse_device(name)
    if device.kind != compiled_for:
        raise DeviceError(f"the artefact was compiled for {compiled_for}, not for {device}")
    return device

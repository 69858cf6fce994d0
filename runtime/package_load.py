"""Loads artefacts from archives: code from a copy of the image, constants from the archive."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from ._abi_cdef import ffi
from .errors import ArtefactError
from .library import (
    CData,
    FileIdentity,
    Library,
    check_host,
    file_identity,
    load_once,
    open_image,
)
from .manifest import CONSTANT_ALIGNMENT, Manifest
from .package import Package, PackagedArtefact
from .package_choice import Request, Shapes, choose_artefacts
from .package_image import place_image

# Archives of which an artefact is loaded, and images that are, by digest; guarded by load_once.
_packages: dict[FileIdentity, Package] = {}
_images: dict[str, CData] = {}


def find_artefacts(
    path: str | os.PathLike[str], device: str, method: str | None, shapes: Shapes | None
) -> tuple[str, ...]:
    """Names of the artefacts in the archive that a caller may mean, in the order to try them.

    Raises ProgramFormatError for damage, PackageError where none fits or the choice is open,
    DeviceError for an unknown device.
    """
    package = _packages.get(file_identity(path)) or Package(path)
    return choose_artefacts(package, Request(device, method, shapes))


def open_packaged(path: str | os.PathLike[str], name: str) -> Library:
    """The artefact of that name in an archive; its code runs once all of it has been checked.

    Artefacts of one archive share its mapping, and thereby the constants they have in common.

    Raises ProgramFormatError for damage, PackageError for unknown names, ArtefactError where the
    artefact cannot run here.
    """

    def load(identity: FileIdentity) -> Library:
        package = _packages.get(identity) or Package(identity[0])
        artefact = package.artefact(name)
        content = package.image(artefact)
        manifest = package.manifest(artefact)
        label = f"{package.path}: artefact {name!r}"
        check_host(manifest, label)
        constants, memory = _constants(package, artefact, manifest)
        api = _open(content, artefact.digest, label)
        _check_constants(api, manifest, label)
        _packages[identity] = package
        return Library(package.path, manifest, api, name, constants, memory)

    return load_once(path, name, load)


def _open(content: memoryview, digest: str, label: str) -> CData:
    api = _images.get(digest)
    if api is None:
        api = _images[digest] = open_image(place_image(content, digest), label)
    return api


def _check_constants(api: CData, manifest: Manifest, label: str) -> None:
    """Code reads as many bytes as it was compiled for, whatever the archive says is there."""
    compiled = [api.constant(number).size_bytes for number in range(api.constant_count())]
    if compiled != [spec.size_bytes for spec in manifest.constants]:
        raise ArtefactError(f"{label} is damaged: its manifest describes other constants")


def _constants(
    package: Package, artefact: PackagedArtefact, manifest: Manifest
) -> tuple[CData, tuple[object, ...]]:
    """An address for each constant, and what keeps them valid."""
    addresses = ffi.new("void *[]", max(len(manifest.constants), 1))
    memory: list[object] = []
    for number, spec in enumerate(manifest.constants):
        view = package.constant(artefact, number, spec)
        if not spec.size_bytes:
            continue
        address = ffi.from_buffer(view)
        if int(ffi.cast("uintptr_t", address)) % CONSTANT_ALIGNMENT:
            address = ffi.from_buffer(_aligned_copy(view))
        addresses[number] = address
        memory.append(address)
    return addresses, tuple(memory)


def _aligned_copy(view: memoryview) -> np.ndarray[Any, np.dtype[np.uint8]]:
    room = np.empty(len(view) + CONSTANT_ALIGNMENT, np.uint8)
    start = -room.ctypes.data % CONSTANT_ALIGNMENT
    copy = room[start : start + len(view)]
    copy[:] = np.frombuffer(view, np.uint8)
    return copy

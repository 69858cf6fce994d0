"""Source tree in, finished artefact out: compile, link, append the weights, put it in its place."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shlex
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TypeAlias

from ...runtime.manifest import Manifest, append_payload
from ..codegen.source_tree import SourceTree, SourceUnit
from ..errors import CompilerNotFoundError, OutputError
from ..observe import SHOW_SOURCES, Observer
from ..options import CompileOptions
from .cache import ObjectCache, object_key
from .commands import (
    LINKED_NAME,
    RESPONSE_FILE,
    Tools,
    compile_command,
    compile_flags,
    find_tools,
    link_command,
    prefix_map,
    response_text,
)
from .diagnostics import failure
from .header import ABI_HEADER, artefact_header
from .processes import ChildProcesses, run_all

Weights: TypeAlias = Iterable[tuple[int, bytes | bytearray | memoryview]]
"""Constants as (offset in the weights, bytes), ascending: what castoff.runtime.manifest writes."""


def build_shared_library(
    tree: SourceTree,
    output: str | os.PathLike[str],
    *,
    options: CompileOptions,
    manifest: Manifest,
    constants: Weights = (),
    observer: Observer | None = None,
) -> Path:
    """Builds `tree` into the artefact `output`, with `constants` and `manifest` behind its code.

    Its C header goes beside it (`model.h` for `model.so`) where the tree has the ABI layer.
    `output` appears complete or not at all, by a rename in its own folder; equal arguments and an
    equal compiler give equal bytes. The manifest's `compiler`, `program_digest` and
    `weights_digest` are filled in here.

    Raises CompilerNotFoundError, CompilerFailedError, or OutputError where `output` cannot be
    written.
    """
    observer = Observer(options) if observer is None else observer
    tools = find_tools(tree, options)
    target = Path(output).absolute()
    declarations = tree.headers.get(ABI_HEADER)
    with ExitStack() as opened:
        # the library is renamed into its place after the header: who sees it sees both
        aside = opened.enter_context(_written_aside(target))
        if declarations is not None:
            header_aside = opened.enter_context(_written_aside(target.with_suffix(".h")))
            header_aside.write_text(artefact_header(declarations, manifest), encoding="utf-8")
        folder = opened.enter_context(_scratch_folder())
        _write_files(tree, folder)
        _record_sources(tree, observer)
        compile_units(tree, folder, tools, options, observer)
        with observer.stage("link"):
            link_units(tree, folder, tools, options, observer)
            complete = complete_manifest(manifest, tree, tools, options)
            shutil.copyfile(folder / LINKED_NAME, aside)
            append_payload(aside, constants, complete)
    return target


def compile_units(
    tree: SourceTree, folder: Path, tools: Tools, options: CompileOptions, observer: Observer
) -> None:
    """Compiles every unit of a tree that lies in `folder`, or takes its object from the cache."""
    cache = ObjectCache(options.cache_path, options.cache_limit_bytes)
    commands = [compile_command(unit, tools, options) for unit in tree.units]
    if observer.wants(SHOW_SOURCES):
        commands.append(link_command(tree, tools, options))
        observer.record("commands.sh", "\n".join(map(shlex.join, commands)), SHOW_SOURCES)

    def task(unit: SourceUnit) -> Callable[[ChildProcesses], str]:
        return lambda children: _compile_unit(unit, tree, folder, tools, options, cache, children)

    # the longest first: the last one to end decides how long all take
    ordered = sorted(tree.units, key=lambda unit: -len(unit.text))
    with observer.stage("compile", len(ordered)):
        run_all(map(task, ordered), options.job_count, observer.progress.advance)
    if cache.misses:
        cache.trim()


def _compile_unit(
    unit: SourceUnit,
    tree: SourceTree,
    folder: Path,
    tools: Tools,
    options: CompileOptions,
    cache: ObjectCache,
    children: ChildProcesses,
) -> str:
    key = object_key(tree, unit, tools.identity, compile_flags(unit, tools, options))
    kept = cache.fetch(key)
    if kept is not None:
        (folder / unit.output).write_bytes(kept)
        return unit.output
    command = (*compile_command(unit, tools, options), prefix_map(unit, str(folder)))
    finished = children.run(command, folder)
    if finished.status != 0:
        raise failure(finished, tree)
    cache.keep(key, (folder / unit.output).read_bytes())
    return unit.output


def link_units(
    tree: SourceTree, folder: Path, tools: Tools, options: CompileOptions, observer: Observer
) -> None:
    """Links the objects of a tree in `folder` into LINKED_NAME there."""
    (folder / RESPONSE_FILE).write_text(response_text(tree), encoding="utf-8")
    command = link_command(tree, tools, options)

    def link(children: ChildProcesses) -> str:
        finished = children.run(command, folder)
        if finished.status != 0:
            raise failure(finished, tree)
        return LINKED_NAME

    run_all([link], 1, lambda _: None)


def complete_manifest(
    manifest: Manifest, tree: SourceTree, tools: Tools | None, options: CompileOptions
) -> Manifest:
    """`manifest` with the digest of the program's text and the compiler's version, where it lacks
    them.
    """
    digest = hashlib.sha256()
    for path, text in tree.files().items():
        digest.update(f"{path}\0{len(text)}\0{text}".encode("utf-8", "surrogatepass"))
    for unit in tree.units:
        digest.update(repr((unit.output, unit.flags, options.opt_level)).encode())
    return manifest._replace(
        program_digest=manifest.program_digest or digest.hexdigest(),
        compiler=manifest.compiler or (tools.version if tools else ""),
    )


def try_find_tools(tree: SourceTree, options: CompileOptions) -> Tools | None:
    """The tools to use, or None where one is missing: sources can be written without them."""
    with contextlib.suppress(CompilerNotFoundError):
        return find_tools(tree, options)
    return None


def _record_sources(tree: SourceTree, observer: Observer) -> None:
    """Shows what was generated for this program; the ABI layer is the same for all."""
    if not observer.wants(SHOW_SOURCES):
        return
    for path, text in {unit.path: unit.text for unit in tree.units}.items():
        if not path.startswith("abi/"):
            observer.record(path.replace("/", "_"), text, SHOW_SOURCES)


def _write_files(tree: SourceTree, folder: Path) -> None:
    for path, text in tree.files().items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")


@contextmanager
def _scratch_folder() -> Iterator[Path]:
    try:
        folder = tempfile.mkdtemp(prefix="castoff-")
    except OSError as error:
        raise OutputError(f"cannot make a folder to compile in: {error.strerror}") from None
    try:
        yield Path(folder).resolve()
    except OSError as error:
        raise _cannot_write(Path(error.filename or folder), error) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _written_aside(target: Path) -> Iterator[Path]:
    """Gives a new file beside `target`; renames it over `target` at the end, or removes it on any
    error.
    """
    if target.is_dir():
        raise OutputError(f"cannot write {target}: it is a folder")
    try:
        handle, name = tempfile.mkstemp(
            prefix=f".{target.name}.", suffix=".aside", dir=target.parent
        )
        os.close(handle)
    except OSError as error:
        raise _cannot_write(target, error) from None
    aside = Path(name)
    try:
        yield aside
        _publish(aside, target)
    except OSError as error:
        raise _cannot_write(target, error) from error
    finally:
        aside.unlink(missing_ok=True)


def _publish(aside: Path, target: Path) -> None:
    mask = os.umask(0)
    os.umask(mask)
    aside.chmod((0o666 if target.suffix == ".h" else 0o777) & ~mask)
    with open(aside, "rb") as file:
        os.fsync(file.fileno())
    os.replace(aside, target)
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some file systems do not sync folders
            os.fsync(folder)
    finally:
        os.close(folder)


def _cannot_write(target: Path, error: OSError) -> OutputError:
    what = {
        errno.ENOSPC: "the disk is full",
        errno.EDQUOT: "the disk quota is used up",
        errno.EACCES: "the folder cannot be written by this user",
        errno.EROFS: "it lies on a read-only file system",
        errno.ENOENT: f"the folder {target.parent} does not exist",
    }.get(error.errno or 0, error.strerror or str(error))
    return OutputError(f"cannot write {target}: {what}")

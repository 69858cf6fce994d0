"""The `castoff` command.

Exit status: 0 done; 1 the answer is no (verify: values differ; doctor: cannot compile here); 2
wrong use or option; 3 the file cannot be read; 4 operators that are not supported; 5 the C
compiler; 6 the call was refused or failed; 7 the output cannot be written; 130 interrupted.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from ..runtime.errors import ArtefactError, CastoffError, InputMismatchError, ProgramError
from ..runtime.manifest import read_manifest
from .errors import CaptureError, OptionError, OutputError, ToolchainError, UnsupportedOperatorError
from .options import LEVELS, CompileOptions, resolve_options

Command = Callable[[argparse.Namespace], int]

NO, BAD_USE, BAD_FILE, UNSUPPORTED, BAD_TOOLCHAIN, BAD_CALL, BAD_OUTPUT = 1, 2, 3, 4, 5, 6, 7
INTERRUPTED = 130

EMITTED = ("program", "ir", "kernel", "c", "so")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit status."""
    parser = _parser()
    try:
        chosen = _parsed(parser, arguments)
    except SystemExit as stop:  # argparse has printed help, a version or what is wrong
        return stop.code if isinstance(stop.code, int) else BAD_USE
    command: Command = chosen.command
    try:
        return command(chosen)
    except CastoffError as error:
        return _report(error, chosen.json)
    except KeyboardInterrupt:
        sys.stderr.write("castoff: interrupted\n")
        return INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()  # nobody reads on; Python would complain at exit
        return 0


def _parsed(parser: argparse.ArgumentParser, arguments: Sequence[str] | None) -> argparse.Namespace:
    """The arguments, where inputs may also stand behind options; argparse alone takes them at once."""
    chosen, rest = parser.parse_known_args(arguments)
    if rest:
        if "values" not in chosen or any(word.startswith("-") for word in rest):
            parser.error(f"unrecognized arguments: {' '.join(rest)}")
        chosen.values += rest
    return chosen


def _report(error: CastoffError, as_json: bool) -> int:
    status = _exit_status(error)
    if as_json:
        record = {"kind": type(error).__name__, "message": str(error), "status": status}
        print(json.dumps({"error": record}))
    else:
        sys.stderr.write(f"castoff: {error}\n")
    return status


def _exit_status(error: CastoffError) -> int:
    from .exported import ProgramFormatError

    table: tuple[tuple[type[CastoffError], int], ...] = (
        (OptionError, BAD_USE),
        (CaptureError, BAD_USE),
        (OutputError, BAD_OUTPUT),
        (UnsupportedOperatorError, UNSUPPORTED),
        (ToolchainError, BAD_TOOLCHAIN),
        (ProgramFormatError, BAD_FILE),
        (ArtefactError, BAD_FILE),
        (InputMismatchError, BAD_CALL),
        (ProgramError, BAD_CALL),
    )
    return next((status for kind, status in table if isinstance(error, kind)), BAD_FILE)


def _show(chosen: argparse.Namespace, record: object, text: str) -> None:
    print(json.dumps(record, default=str) if chosen.json else text)


# ---- commands ----


def _compile(chosen: argparse.Namespace) -> int:
    options = _options(chosen)
    program = _existing(chosen.program)
    output: str | None = chosen.output
    if chosen.emit != "so":
        from .commandline import emit

        result = emit.emit(program, chosen.emit, output, options)
        is_path = chosen.emit == "c" or output is not None
        _show(chosen, {"output" if is_path else chosen.emit: result}, result)
        return 0
    from .api import aot_compile  # after the cheap refusals: it brings in the whole compiler

    path = aot_compile(program, options=options, output=output)
    size, report = Path(path).stat().st_size, read_manifest(path).weights_report
    text = f"{path} ({size / 1024:.0f} KiB)" + (f"\n{report}" if report else "")
    _show(chosen, {"output": path, "size_bytes": size, "weights_report": report}, text)
    return 0


def _export(chosen: argparse.Namespace) -> int:
    from .commandline.export import export_function

    path = export_function(chosen.function, chosen.values, chosen.output)
    _show(chosen, {"output": path}, path)
    return 0


def _options(chosen: argparse.Namespace) -> CompileOptions:
    given: dict[str, object] = {
        name: getattr(chosen, name)
        for name in _OPTION_FLAGS
        if getattr(chosen, name, None) is not None
    }
    if chosen.progress is None:
        given["progress"] = sys.stderr.isatty()
    return resolve_options(given)


_OPTION_FLAGS = (
    "target_cpu", "compute", "weights", "opt_level", "random_seed", "debug", "sanitize", "cc", "jobs", "cache", "name",
    "progress", "dump", "debug_level", "device", "cuda_home", "cuda_architectures",
)  # fmt: skip


def _existing(path: str) -> str:
    if not Path(path).is_file():
        from .exported import ProgramFormatError

        raise ProgramFormatError(f"cannot read {path}: there is no such file")
    return path


def _run(chosen: argparse.Namespace) -> int:
    from .commandline import run

    if chosen.reference:
        from .commandline.reference import run_reference

        results = run_reference(_existing(chosen.artefact), chosen.values, chosen.output)
    else:
        choice = run.Choice(chosen.artefact, chosen.device, chosen.method, chosen.packaged)
        results = run.run_artefact(choice, chosen.values, chosen.output)
    _show(chosen, {"results": run.as_json(results)}, run.as_text(results))
    return 0


def _bench(chosen: argparse.Namespace) -> int:
    if chosen.profile:
        from .commandline import profile

        found = profile.profile_program(
            chosen.artefact, chosen.values, chosen.threads, chosen.trace
        )
        _show(chosen, asdict(found), profile.as_text(found))
        return 0
    from .commandline import run

    choice = run.Choice(chosen.artefact, chosen.device, chosen.method, chosen.packaged)
    timing = run.time_artefact(choice, chosen.values, chosen.seconds, chosen.threads)
    text = (
        f"median {timing.median_us:.1f} us (quartiles {timing.first_quartile_us:.1f} to "
        f"{timing.third_quartile_us:.1f} us, {timing.calls} calls)"
    )
    _show(chosen, asdict(timing), text)
    return 0


def _inspect(chosen: argparse.Namespace) -> int:
    from .commandline import inspect

    description = inspect.describe_file(chosen.file)
    _show(chosen, description, inspect.as_text(chosen.file, description))
    return 0


def _package_create(chosen: argparse.Namespace) -> int:
    from .commandline import package

    path = package.create(
        chosen.output,
        chosen.artefacts,
        programs=chosen.program,
        extra_files=chosen.extra,
        modules=chosen.module,
        requires=chosen.requires,
    )
    size = Path(path).stat().st_size
    _show(chosen, {"output": path, "size_bytes": size}, f"{path} ({size / 1024:.0f} KiB)")
    return 0


def _package_extract(chosen: argparse.Namespace) -> int:
    from .commandline import package

    path = package.extract(_existing(chosen.package), chosen.name, chosen.output)
    _show(chosen, {"output": path}, path)
    return 0


def _package_verify(chosen: argparse.Namespace) -> int:
    from ..runtime.package import Package

    package = Package(_existing(chosen.package))
    package.verify()
    _show(chosen, {"package": package.path, "is_whole": True}, f"{package.path} is whole")
    return 0


def _verify(chosen: argparse.Namespace) -> int:
    from .commandline import verify

    report = verify.verify(_existing(chosen.program), chosen.values, _options(chosen))
    _show(chosen, report.as_dict(), str(report))
    return 0 if report.is_equal else NO


def _doctor(chosen: argparse.Namespace) -> int:
    from .commandline import doctor

    findings = doctor.examine()
    records: list[Mapping[str, object]] = [asdict(finding) for finding in findings]
    _show(chosen, {"findings": records}, doctor.as_text(findings))
    return NO if any(finding.is_good is False for finding in findings) else 0


# ---- arguments ----


def _parser() -> argparse.ArgumentParser:
    from .. import __version__

    parser = argparse.ArgumentParser(
        prog="castoff",
        description="Compiles exported PyTorch programs to shared libraries, and runs them.",
    )
    parser.add_argument("--version", action="version", version=f"castoff {__version__}")
    commands = parser.add_subparsers(metavar="command", required=True)

    def add(name: str, command: Command, text: str) -> argparse.ArgumentParser:
        return _add_command(commands, name, command, text)

    compile_ = add("compile", _compile, "compile a .pt2 to a shared library")
    compile_.add_argument("program", help="what torch.export.save wrote")
    compile_.add_argument("-o", "--output", help="the file (--emit c: the folder) to write")
    compile_.add_argument("--emit", choices=EMITTED, default="so", help="stage to stop at")
    compile_.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    _add_options(compile_)

    export = add("export", _export, "capture a NumPy function of a Python file as a .pt2")
    export.add_argument("function", help="file.py:name, of a function or a castoff.Module")
    export.add_argument(
        "values", nargs="*", help="x:batchx3:float32 (a word is a size that varies), x=@x.npy, n=3"
    )
    export.add_argument("-o", "--output", help="the file to write; without it, NAME.pt2")

    run = add("run", _run, "call an artefact once")
    run.add_argument("artefact", help="a shared library or an archive; with --reference a .pt2")
    run.add_argument("values", nargs="*", help="x=@x.npy, n=3, or x:1x3x224 (arbitrary numbers)")
    run.add_argument("-o", "--output", help=".npz file to write the results to")
    run.add_argument(
        "--reference", action="store_true", help="call a .pt2 by the NumPy interpreter, uncompiled"
    )
    _add_choice(run)

    inspect = add("inspect", _inspect, "describe an artefact, archive or .pt2 without loading it")
    inspect.add_argument("file")

    verify = add("verify", _verify, "compile a .pt2 and compare it with the NumPy reference")
    verify.add_argument("program")
    verify.add_argument("values", nargs="*", help="inputs; without any, those stored in the .pt2")
    _add_options(verify)

    bench = add("bench", _bench, "time the calls of an artefact")
    bench.add_argument("artefact", help="a shared library; with --profile a .pt2 as well")
    bench.add_argument("values", nargs="*", help="inputs; those not named are arbitrary")
    bench.add_argument("--seconds", type=float, default=2.0, help="how long to measure")
    bench.add_argument("--threads", type=int, help="threads one call may use")
    bench.add_argument("--profile", action="store_true", help="the time of each step")
    bench.add_argument("--trace", help="with --profile: file to write a trace for Perfetto to")
    _add_choice(bench)

    _add_package(commands.add_parser("package", help="make, check and take apart archives"))

    add("doctor", _doctor, "say whether this machine can compile, and with what")
    return parser


def _add_command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    command: Command,
    text: str,
) -> argparse.ArgumentParser:
    added = commands.add_parser(name, help=text, description=text)
    added.add_argument("--json", action="store_true", help="print one JSON object")
    added.set_defaults(command=command)
    return added


def _add_choice(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("which artefact of an archive")
    group.add_argument("--device", default="cpu", help="cpu, cuda or cuda:1")
    group.add_argument("--method", help="the method it was packaged for")
    group.add_argument("--artefact", dest="packaged", metavar="NAME", help="its name")


def _add_package(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(metavar="command", required=True)
    create = _add_command(
        commands, "create", _package_create, "put artefacts and programs into one archive"
    )
    create.add_argument("artefacts", nargs="*", help="METHOD=m.so, or METHOD:NAME=m.so for several")
    create.add_argument("-o", "--output", required=True, help="the .pt2 file to write")
    for flag, shape, text in (
        ("--program", "NAME=FILE", "an exported program"),
        ("--extra", "NAME=FILE", "a file of your own"),
        ("--module", "NAME", "a Python module or package, as Python imports it here"),
        ("--requires", "NAME", "a Python package that is installed wherever modules are used"),
    ):
        create.add_argument(flag, action="append", default=[], metavar=shape, help=text)
    extract = _add_command(
        commands, "extract", _package_extract, "write an artefact of an archive as a file, for C"
    )
    extract.add_argument("package")
    extract.add_argument("name", help="the artefact's name; castoff inspect lists them")
    extract.add_argument("-o", "--output", help="the file to write; without it, NAME.so")
    verify = _add_command(
        commands, "verify", _package_verify, "read all of an archive and compare its digests"
    )
    verify.add_argument("package")


def _add_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("options of the compiler")
    group.add_argument("--target-cpu", help=f"portable, or some of {', '.join(LEVELS)}")
    group.add_argument("--compute", help="what float32 products are multiplied as: f32, bf16, tf32")
    group.add_argument("--weights", help="how weights of products are kept: full, int8, int4")
    group.add_argument("-O", "--opt-level", type=int, help="0 to 3")
    group.add_argument("--random-seed", type=int, help="of random operators; 0 if not given")
    group.add_argument("-g", "--debug", action="store_const", const=True)
    group.add_argument("--sanitize", help="address, undefined, thread")
    group.add_argument("--cc", help="the C compiler as a command")
    group.add_argument("-j", "--jobs", type=int, help="compilers that run at once")
    group.add_argument("--no-cache", dest="cache", action="store_const", const=False)
    group.add_argument("--cuda-home", help="folder of the CUDA toolkit")
    group.add_argument(
        "--cuda-architectures",
        type=_architectures,
        metavar="80,90",
        help="GPUs to hold machine code for, as nvcc numbers them",
    )
    group.add_argument("--name", help="what the program calls itself")
    group.add_argument("--dump", help="folder to write every stage to")
    group.add_argument("--debug-level", type=int, help="1 times, 2 graph, 3 kernels, 4 sources")
    group.add_argument("--progress", action=argparse.BooleanOptionalAction, default=None)


def _architectures(text: str) -> tuple[int, ...]:
    """Numbers between commas, with or without nvcc's sm_."""
    return tuple(int(part.strip().removeprefix("sm_")) for part in text.split(","))


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""Drives a bare checkout with the standard library alone.

Makes `.venv`, installs castoff into it, and runs what is asked:

python3 build.py run                                   compile and run the sample, examples/digits
python3 build.py test [--device cpu|cuda] [--all] ...  the tests; further arguments go to pytest
                                                       (--device cuda: see tests/device/suite.py)
python3 build.py gpu-check                             what a GPU is good for: tests, models, bandwidth, peers
python3 build.py bench [compare|cold|limits|list] ...  castoff beside its peers, see bench/README.md
python3 build.py compile model.pt2 -o model.so ...     the command `castoff compile`
python3 build.py setup                                 only make .venv
"""

import hashlib
import os
import shlex
import shutil
import subprocess
import sys
from typing import NoReturn  # with the quotes below, what Python 3.6 still understands

ROOT = os.path.dirname(os.path.abspath(__file__))
VENV = os.path.join(ROOT, ".venv")
PYTHON = os.path.join(VENV, "bin", "python")
STAMP = os.path.join(VENV, ".castoff-stamp")
BENCH_VENV = os.path.join(ROOT, ".venv-bench")
PEERS = os.path.join("bench", "requirements.txt")
DEFINITIONS = os.path.join("bench", "requirements-definitions.txt")
OLDEST_PYTHON = (3, 10)
EXTRAS = "test,dev"


def stop(sentence: "str") -> "NoReturn":
    """Ends with one sentence that says what to do."""
    sys.stderr.write("build.py: %s\n" % sentence)
    sys.exit(2)


def run(command: "list[str]", must_succeed: "bool" = True, folder: "str" = ROOT) -> "int":
    """Shows and runs a command; returns its exit status, or ends with it."""
    print("+ " + " ".join(shlex.quote(part) for part in command), flush=True)
    try:
        status = subprocess.call(command, cwd=folder)
    except KeyboardInterrupt:
        sys.exit(130)
    except OSError as error:
        stop("cannot start %s: %s" % (command[0], error.strerror))
    if status != 0 and must_succeed:
        sys.exit(status if status > 0 else 128 - status)
    return status


def check_python() -> "None":
    """Refuses a Python that is too old."""
    if sys.version_info < OLDEST_PYTHON:
        stop(
            "castoff needs Python %d.%d or newer and this is %d.%d; run it with a newer one, "
            "as `python3.12 build.py`, after `apt-get install python3.12`"
            % (OLDEST_PYTHON + sys.version_info[:2])
        )


def check_compiler() -> "None":
    """Refuses to go on where no C compiler can be found."""
    named = os.environ.get("CC")
    names = [shlex.split(named)[0]] if named else ["gcc", "clang", "cc", "zig"]
    if any(shutil.which(name) for name in names):
        return
    if not named and os.path.exists(PYTHON):
        probe = [PYTHON, "-c", "import ziglang"]
        if subprocess.call(probe, stderr=subprocess.DEVNULL) == 0:
            return
    if named:
        stop("$CC names %s, which cannot be found; unset CC or `apt-get install gcc`" % named)
    stop(
        "no C compiler found (tried %s); mend it with `apt-get install gcc`, or without root "
        "with `%s -m pip install ziglang`" % (", ".join(names), os.path.relpath(PYTHON))
    )


def wanted_stamp() -> "str":
    """Changes when .venv has to be made again."""
    digest = hashlib.sha256(("%s %s %s" % (sys.version, EXTRAS, ROOT)).encode())
    with open(os.path.join(ROOT, "pyproject.toml"), "rb") as file:
        digest.update(file.read())
    return digest.hexdigest()


def set_up() -> "None":
    """Makes .venv and installs castoff into it, unless that was done for this pyproject.toml."""
    try:
        with open(STAMP, encoding="ascii") as file:
            if file.read() == wanted_stamp():
                return
    except OSError:
        pass
    if not os.path.exists(PYTHON):
        make_environment(VENV)
    run(
        [PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        + ["--editable", ".[%s]" % EXTRAS]
    )
    with open(STAMP, "w", encoding="ascii") as file:
        file.write(wanted_stamp())


def make_environment(folder: "str") -> "None":
    """Makes a virtual environment, or says what this Python lacks."""
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError:
        stop(
            "this Python cannot make virtual environments; mend it with "
            "`apt-get install python%d.%d-venv`" % sys.version_info[:2]
        )
    run([sys.executable, "-m", "venv", folder])


def set_up_bench() -> "str":
    """Makes .venv-bench with castoff and its peers, unless it is there; returns its Python.

    The definitions come without what they depend on: they ask for another torch than the one that
    is measured, and are only read.
    """
    python = os.path.join(BENCH_VENV, "bin", "python")
    stamp = os.path.join(BENCH_VENV, ".castoff-stamp")
    wanted = wanted_stamp()
    for name in (PEERS, DEFINITIONS):
        with open(os.path.join(ROOT, name), "rb") as file:
            wanted += hashlib.sha256(file.read()).hexdigest()
    try:
        with open(stamp, encoding="ascii") as file:
            if file.read() == wanted:
                return python
    except OSError:
        pass
    if not os.path.exists(python):
        make_environment(BENCH_VENV)
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    run(install + ["--editable", ".", "--requirement", PEERS])
    run(install + ["--no-deps", "--requirement", DEFINITIONS])
    with open(stamp, "w", encoding="ascii") as file:
        file.write(wanted)
    return python


def take(arguments: "list[str]", name: "str", default: "str") -> "str":
    """Removes `--name value` or `--name=value` from arguments; returns the value."""
    for position, argument in enumerate(arguments):
        if argument == name:
            if position + 1 == len(arguments):
                stop("%s needs a value" % name)
            value = arguments[position + 1]
            del arguments[position : position + 2]
            return value
        if argument.startswith(name + "="):
            del arguments[position]
            return argument[len(name) + 1 :]
    return default


def command_run(arguments: "list[str]") -> "int":
    """Compiles and runs the sample."""
    return run([PYTHON, os.path.join("examples", "digits", "run.py")] + arguments, False)


def command_test(arguments: "list[str]") -> "int":
    """Runs pytest, without what is slow unless asked; or the suites of a GPU."""
    device = take(arguments, "--device", "cpu")
    if device not in ("cpu", "cuda"):
        stop("--device: expected cpu or cuda, got %s" % device)
    if device == "cuda":
        return run([PYTHON, "-m", "tests.device.suite"] + arguments, False)
    takes_all = "--all" in arguments
    arguments = [argument for argument in arguments if argument != "--all"]
    left_out = ([] if takes_all else ["slow"]) + ["cuda"]
    markers = ["-m", " and ".join("not " + name for name in left_out)] if left_out else []
    if "-m" in arguments:
        markers = []
    # Tests of one folder, which come one after another, may take most of the time: who is done takes over from others.
    jobs = ["-n", str(min(os.cpu_count() or 1, 8)), "--dist", "worksteal"]
    jobs = [] if has_jobs(arguments) else jobs
    return run([PYTHON, "-m", "pytest"] + jobs + markers + arguments, False)


def has_jobs(arguments: "list[str]") -> "bool":
    """Whether pytest's arguments say how many processes to use, or want to stop in a debugger."""
    return any(argument.startswith(("-n", "--numprocesses", "--pdb")) for argument in arguments)


def command_bench(arguments: "list[str]") -> "int":
    """Measures castoff beside its peers."""
    return run([set_up_bench(), "-m", "bench"] + arguments, False)


def command_gpu_check(arguments: "list[str]") -> "int":
    """Everything worth doing on a GPU, in eight minutes."""
    return run([PYTHON, "-m", "tests.device.gpu_check"] + arguments, False)


def command_compile(arguments: "list[str]") -> "int":
    """Runs `castoff compile`."""
    command = [PYTHON, "-m", "castoff.compiler.cli", "compile"] + arguments
    return run(command, False, os.getcwd())  # paths are those of the caller


def command_setup(arguments: "list[str]") -> "int":
    """Does nothing more than every command does first."""
    if arguments:
        stop("setup takes no arguments")
    print("ready: %s" % os.path.relpath(VENV))
    return 0


COMMANDS = {
    "run": command_run,
    "test": command_test,
    "bench": command_bench,
    "gpu-check": command_gpu_check,
    "compile": command_compile,
    "setup": command_setup,
}


def main(arguments: "list[str]") -> "int":
    """Runs one command; returns its exit status."""
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(__doc__.strip())
        return 0 if arguments else 2
    command = COMMANDS.get(arguments[0])
    if command is None:
        stop("no command %s; the commands are %s" % (arguments[0], ", ".join(COMMANDS)))
    check_python()
    if command is not command_bench:  # which has an environment of its own
        set_up()
    check_compiler()
    return command(arguments[1:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

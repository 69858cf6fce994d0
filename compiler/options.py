"""What a caller may choose about a compilation, and the only reader of the environment for it."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path

from ..runtime.cache_folder import OFF, default_cache_folder
from .errors import OptionError

LEVELS = ("x86-64", "x86-64-v3", "x86-64-v4", "x86-64-bf16", "x86-64-amx", "native")
"""CPU levels a file can hold code for, lowest first.

"portable" stands for the first three, and for "x86-64-bf16" (AVX-512 with BF16 and VNNI) and
"x86-64-amx" where the program multiplies bfloat16 or int8.
"""

SANITIZERS = ("address", "undefined", "thread")


@dataclass(frozen=True, slots=True)
class CompileOptions:
    """How to compile. Every field has a default; the environment fills in fields left at theirs.

    device: "cpu" or "cuda".
    cuda_home: folder of the CUDA toolkit; None takes $CUDA_HOME, else the toolkit of the nvcc on
        the PATH, else that of the nvidia-cuda-nvcc wheel.
    cuda_architectures: what a program for CUDA holds machine code for, as nvcc numbers them:
        (80, 90) for sm_80 and sm_90; PTX of the highest serves those to come. Empty: the common
        ones.
    target_cpu: "portable" (x86-64, x86-64-v3, x86-64-v4 and, for products of bfloat16 or int8,
        x86-64-bf16 and x86-64-amx in one file; the best one is chosen at load), or CPU levels between commas, or
        "native" for the processor at hand.
    compute: what float32 operands of matrix products and convolutions are multiplied as: "f32"; on
        a CPU "bf16", rounded to bfloat16; on a GPU "tf32", rounded to 10 bits of fraction. Sums are
        float32.
    weights: how constant matrices that products multiply with are kept: "full", "int8"
        (a code of 8 bits, a scale for each output channel) or "int4" (4 bits, a scale for every 64
        weights of an output channel). Activations are not rounded; what the weights lose is in the
        manifest.
    max_autotune: measure on this machine, one thread, how the program's float32 products are best
        cut and which form its convolutions take. The choices are in the manifest; bytes then depend
        on what was measured.
    opt_level: the C compiler's -O level. At 2, code for processors without AVX2 is compiled with -O1
        where the artefact has code for others too.
    random_seed: what the numbers of random operators depend on, beside their places in the program.
    debug: keep symbols and line numbers.
    sanitize: sanitizers to build with, between commas: address, undefined, thread.
    cc: the C compiler as a command; None takes $CC, else the first of gcc, clang, cc and zig that
        works.
    jobs: compilers that run at once; 0 takes one for each processor this process may use.
    cache: whether compiled objects are kept and found again.
    cache_folder: where; None takes $CASTOFF_CACHE, else ~/.cache/castoff.
    cache_limit_bytes: size that the cache is trimmed to.
    name: what the program calls itself; None takes the name of the output file.
    progress: report stages on standard error.
    profile: the program notes when each of its steps began and ended: `castoff bench --profile`.
    dump: folder that every stage is written to, numbered (CASTOFF_DUMP).
    debug_level: 1 times, 2 and the graph, 3 and the kernels, 4 and sources and commands, on
        standard error (CASTOFF_DEBUG).
    """

    device: str = "cpu"
    cuda_home: str | None = None
    cuda_architectures: tuple[int, ...] = ()
    target_cpu: str = "portable"
    compute: str = "f32"
    weights: str = "full"
    max_autotune: bool = False
    opt_level: int = 2
    random_seed: int = 0
    debug: bool = False
    sanitize: str = ""
    cc: str | None = None
    jobs: int = 0
    cache: bool = True
    cache_folder: str | None = None
    cache_limit_bytes: int = 2 << 30
    name: str | None = None
    progress: bool = False
    profile: bool = False
    dump: str | None = None
    debug_level: int = 0

    def __post_init__(self) -> None:
        problems = [
            f"{name} = {getattr(self, name)!r}: {wanted}"
            for name, (is_valid, wanted) in _RULES.items()
            if not is_valid(getattr(self, name))
        ]
        if self.compute == {"cpu": "tf32", "cuda": "bf16"}.get(self.device):
            problems.append(f"device = {self.device!r}: it does not multiply as {self.compute!r}")
        if self.device != "cpu" and self.max_autotune:
            problems.append(f'device = {self.device!r}: max_autotune measures kernels of "cpu"')
        if problems:
            raise OptionError("these options are out of range:\n  " + "\n  ".join(problems))

    def cpu_levels_for(self, *, is_narrow: bool) -> tuple[str, ...]:
        """The CPU levels to build, lowest first, for a program that has, or has no, products of
        bfloat16 or int8: ("x86-64", "x86-64-v3", "x86-64-v4").
        """
        if platform.machine() not in ("x86_64", "AMD64"):
            return ("native",) if "native" in self.target_cpu else ("generic",)
        named = _split(self.target_cpu)
        if "portable" in named:
            named |= set(LEVELS[: 5 if is_narrow else 3])
        return tuple(level for level in LEVELS if level in named)

    @property
    def sanitizers(self) -> tuple[str, ...]:
        """The sanitizers to build with, in a fixed order."""
        return tuple(name for name in SANITIZERS if name in _split(self.sanitize))

    @property
    def job_count(self) -> int:
        """How many compilers may run at once, at least 1."""
        return self.jobs or len(os.sched_getaffinity(0)) or 1

    @property
    def cache_path(self) -> Path | None:
        """The folder of the object cache, or None where it is switched off."""
        if not self.cache:
            return None
        if self.cache_folder is not None:
            return Path(self.cache_folder).expanduser()
        return Path(default_cache_folder())


def resolve_options(
    options: CompileOptions | Mapping[str, object] | None = None,
    environment: Mapping[str, str] | None = None,
) -> CompileOptions:
    """The options to compile with: `options`, then the environment for what they leave at its
    default.

    Raises OptionError for names that do not exist, with those that do, and for values out of range.
    """
    if options is None:
        chosen = CompileOptions()
    elif isinstance(options, CompileOptions):
        chosen = options
    elif isinstance(options, Mapping):
        chosen = _from_mapping(options)
    else:
        raise OptionError(
            f"options: expected a CompileOptions or a mapping, got {type(options).__name__}"
        )
    return _fill_in(chosen, os.environ if environment is None else environment)


def _from_mapping(options: Mapping[str, object]) -> CompileOptions:
    valid = [field.name for field in fields(CompileOptions)]
    unknown = sorted(str(name) for name in options if name not in valid)
    if unknown:
        raise OptionError(
            f"unknown option{'s' if len(unknown) > 1 else ''} {', '.join(unknown)}; "
            f"the options are {', '.join(valid)}"
        )
    return CompileOptions(**options)  # type: ignore[arg-type]  # __post_init__ checks the types


def _fill_in(options: CompileOptions, environment: Mapping[str, str]) -> CompileOptions:
    default = CompileOptions()
    given: dict[str, object] = {}
    for variable, name, parse in _VARIABLES:
        text = environment.get(variable, "")
        if not text or getattr(options, name) != getattr(default, name):
            continue
        try:
            given[name] = parse(text)
        except ValueError:
            raise OptionError(f"${variable} = {text!r}: {_RULES[name][1]}") from None
    if environment.get("CASTOFF_CACHE", "").lower() in OFF:
        given.pop("cache_folder", None)
        given["cache"] = False
    return replace(options, **given) if given else options  # type: ignore[arg-type]


_VARIABLES: tuple[tuple[str, str, Callable[[str], object]], ...] = (
    ("CC", "cc", str),
    ("CUDA_HOME", "cuda_home", str),
    ("CASTOFF_CACHE", "cache_folder", str),
    ("CASTOFF_DUMP", "dump", str),
    ("CASTOFF_DEBUG", "debug_level", int),
    ("CASTOFF_JOBS", "jobs", int),
    ("CASTOFF_TARGET_CPU", "target_cpu", str),
)


def _split(text: str) -> set[str]:
    return {part.strip() for part in text.split(",") if part.strip()}


def _is_bool(value: object) -> bool:
    return isinstance(value, bool)


def _is_text_or_none(value: object) -> bool:
    return value is None or (isinstance(value, str) and bool(value.strip()))


def _is_one_of(*values: str) -> Callable[[object], bool]:
    return lambda value: isinstance(value, str) and value in values


def _is_int(low: int, high: int | None = None) -> Callable[[object], bool]:
    def is_in_range(value: object) -> bool:
        if not isinstance(value, int) or isinstance(value, bool):
            return False
        return value >= low and (high is None or value <= high)

    return is_in_range


def _is_target_cpu(value: object) -> bool:
    if not isinstance(value, str):
        return False
    return bool(_split(value)) and _split(value) <= {*LEVELS, "portable"}


def _is_device(value: object) -> bool:
    return value in ("cpu", "cuda")


def _is_architectures(value: object) -> bool:
    return isinstance(value, tuple) and all(isinstance(x, int) and 75 <= x <= 999 for x in value)


def _is_sanitizers(value: object) -> bool:
    if not isinstance(value, str) or not _split(value) <= set(SANITIZERS):
        return False
    return not {"address", "thread"} <= _split(value)


def _is_name(value: object) -> bool:
    return value is None or (
        isinstance(value, str) and re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.+-]*", value) is not None
    )


_RULES: Mapping[str, tuple[Callable[[object], bool], str]] = {
    "device": (_is_device, 'expected "cpu" or "cuda"'),
    "cuda_home": (_is_text_or_none, "expected a folder or None"),
    "cuda_architectures": (
        _is_architectures,
        "expected a tuple of architectures from 75 on, as (80, 90) for sm_80 and sm_90",
    ),
    "target_cpu": (
        _is_target_cpu,
        f"expected one or more, between commas, of portable, {', '.join(LEVELS)}",
    ),
    "compute": (_is_one_of("f32", "bf16", "tf32"), 'expected "f32", "bf16" or "tf32"'),
    "weights": (_is_one_of("full", "int8", "int4"), 'expected "full", "int8" or "int4"'),
    "max_autotune": (_is_bool, "expected True or False"),
    "opt_level": (_is_int(0, 3), "expected 0, 1, 2 or 3"),
    "random_seed": (_is_int(0, 2**64 - 1), "expected a number of 64 bits, 0 or more"),
    "debug": (_is_bool, "expected True or False"),
    "sanitize": (
        _is_sanitizers,
        f"expected some of {', '.join(SANITIZERS)} between commas "
        "(address and thread exclude each other)",
    ),
    "cc": (_is_text_or_none, 'expected a command, as "gcc" or "zig cc", or None'),
    "jobs": (_is_int(0, 4096), "expected 0 (one for each processor) to 4096"),
    "cache": (_is_bool, "expected True or False"),
    "cache_folder": (_is_text_or_none, "expected a folder or None"),
    "cache_limit_bytes": (_is_int(0), "expected a number of bytes, 0 or more"),
    "name": (_is_name, "expected a name of letters, digits and _ . + - that begins with a letter"),
    "progress": (_is_bool, "expected True or False"),
    "profile": (_is_bool, "expected True or False"),
    "dump": (_is_text_or_none, "expected a folder or None"),
    "debug_level": (_is_int(0, 4), "expected 0, 1, 2, 3 or 4"),
}

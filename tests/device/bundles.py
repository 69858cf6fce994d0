"""Every CUDA source of the corpus through nvcc: `python -m tests.device.bundles [--family F] [--jobs N]`.

What nvcc does for a program of one operator is a tenth of what it costs to start its tools and read their headers. So
the programs that pass on CPUs are generated as ever, and the texts that differ are compiled many to a translation unit,
each in a namespace of its own, with the flags they have alone. A unit that fails is taken apart, and its programs are
compiled one by one. Objects go through the cache of the toolchain: a second run compiles what changed. Nothing is
linked here; the sample of `tests.device.suite` is.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from castoff.compiler.api import compile_stages
from castoff.compiler.codegen.source_tree import SourceTree, SourceUnit
from castoff.compiler.errors import CompilerFailedError
from castoff.compiler.observe import Observer
from castoff.compiler.ops import load_all
from castoff.compiler.options import CompileOptions, resolve_options
from castoff.compiler.toolchain.build import compile_units
from castoff.compiler.toolchain.commands import Tools, find_tools
from castoff.runtime.errors import CastoffError
from tests.conformance.corpus import FAMILIES, Family, find_corpus, register_containers
from tests.conformance.run import listed_as_passing

from .machine import architecture

BUNDLE_BYTES = 100_000
"""Text of a translation unit, about: then starting nvcc is a small part of what it costs."""
_ENTRY = "castoff_run_cuda"
_INCLUDE = re.compile(r"^#include .*\n", re.MULTILINE)
_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)


@dataclass(frozen=True, slots=True)
class DeviceSource:
    """A text for nvcc, and the cases whose programs have it."""

    unit: SourceUnit
    headers: Mapping[str, str] = field(repr=False)
    cases: list[str]

    @property
    def is_program(self) -> bool:
        """Whether it was generated: others are the same in every program that has them."""
        return self.unit.path == "program.cu"


def device_sources(cases: Iterable[tuple[str, SourceTree]]) -> list[DeviceSource]:
    """What nvcc has to compile for these trees, once where texts differ in comments alone."""
    found: dict[tuple[str, str], DeviceSource] = {}
    for case, tree in cases:
        for unit in tree.units:
            if unit.is_for_device:
                key = unit.path, _COMMENT.sub("", unit.text)
                source = found.setdefault(key, DeviceSource(unit, tree.headers, []))
                source.cases.append(case)
    return list(found.values())


def bundle(sources: Sequence[DeviceSource]) -> SourceTree:
    """One unit with all the sources: what they include first, then each in a namespace."""
    if len(sources) == 1:
        (only,) = sources
        return SourceTree("bundle", (only.unit,), only.headers)
    headers: dict[str, str] = {}
    includes: dict[str, None] = {}
    texts: list[str] = []
    for number, source in enumerate(sources):
        headers.update(source.headers)
        includes.update(dict.fromkeys(_INCLUDE.findall(source.unit.text)))
        text = _INCLUDE.sub("", source.unit.text).replace(_ENTRY, f"{_ENTRY}_{number}")
        texts.append(f"namespace case_{number} {{\n{text}\n}}\n")
    unit = SourceUnit("bundle.cu", "".join([*includes, *texts]), sources[0].unit.flags)
    return SourceTree("bundle", (unit,), headers)


def bundles(sources: Iterable[DeviceSource]) -> Iterator[list[DeviceSource]]:
    """The sources, together as far as they are programs, and as many as make a unit of BUNDLE_BYTES.

    Programs that include the same are together: a header that changes changes few units.
    """
    waiting: list[DeviceSource] = []
    for source in sorted(sources, key=lambda source: _INCLUDE.findall(source.unit.text)):
        if not source.is_program:
            yield [source]
            continue
        waiting.append(source)
        if sum(len(other.unit.text) for other in waiting) >= BUNDLE_BYTES:
            yield waiting
            waiting = []
    if waiting:
        yield waiting


def compile_sources(
    sources: Sequence[DeviceSource], tools: Tools, options: CompileOptions
) -> dict[str, str]:
    """What is wrong, by case; nothing where nvcc takes them all."""
    tree = bundle(sources)
    try:
        with tempfile.TemporaryDirectory(prefix="bundle-") as folder:
            for path, text in tree.files().items():
                file = Path(folder, path)
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text, encoding="utf-8")
            compile_units(tree, Path(folder), tools, options, Observer(options))
    except CompilerFailedError as error:
        if len(sources) == 1:
            return dict.fromkeys(sources[0].cases, str(error))
        apart = [compile_sources([source], tools, options) for source in sources]
        wrong = {case: text for found in apart for case, text in found.items()}
        return wrong or {sources[0].cases[0]: f"only together with others: {error}"}
    return {}


def corpus_trees(
    family: Family, options: CompileOptions, wrong: dict[str, str]
) -> Iterator[tuple[str, SourceTree]]:
    """The source tree of every case that passes on CPUs; what cannot be generated goes to `wrong`."""
    for name in listed_as_passing(family.name, "compiled"):
        case = family.load(name)
        try:
            stages = compile_stages(case.program, "program", options, Observer(options))
        except CastoffError as error:
            if case.expect_error is None or case.expect_error not in str(error):
                wrong[name] = f"{type(error).__name__}: {error}"
            continue
        yield name, stages.generated.tree


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; exit status 1 where nvcc refuses something, 2 where there is no corpus."""
    parser = argparse.ArgumentParser(prog="python -m tests.device.bundles", description=__doc__)
    parser.add_argument("--family", choices=FAMILIES, action="append")
    parser.add_argument("-j", "--jobs", type=int, default=1, help="translation units at a time")
    parser.add_argument(
        "--architecture", type=int, default=architecture(), metavar="SM", help="80, 90, …"
    )
    chosen = parser.parse_args(arguments)
    corpus = find_corpus()
    if corpus is None:
        print("no corpus: set CASTOFF_CORPUS to its folder", file=sys.stderr)
        return 2
    register_containers()
    load_all()
    options = resolve_options(
        {"device": "cuda", "cuda_architectures": (chosen.architecture,), "jobs": 1}
    )
    status = 0
    for name in chosen.family or FAMILIES:
        started = time.monotonic()
        wrong: dict[str, str] = {}
        sources = device_sources(corpus_trees(Family(corpus, name), options, wrong))
        parts = list(bundles(sources))
        compiled = partial(
            compile_sources, tools=find_tools(bundle(parts[0]), options), options=options
        )
        with ThreadPoolExecutor(chosen.jobs) as pool:
            for number, found in enumerate(pool.map(compiled, parts), 1):
                wrong.update(found)
                print(f"{name}: {number} of {len(parts)} units", flush=True)
        for case, problem in wrong.items():
            print(f"\n{case}: {problem}")
        cases = {case for source in sources for case in source.cases}
        print(
            f"\n{name}: the CUDA sources of {len(cases | wrong.keys()) - len(wrong)} of "
            f"{len(cases | wrong.keys())} cases compile for sm_{chosen.architecture}: "
            f"{len(sources)} that differ, in {len(parts)} units ({time.monotonic() - started:.0f} s)",
            flush=True,
        )
        status |= bool(wrong)
    return status


if __name__ == "__main__":
    sys.exit(main())

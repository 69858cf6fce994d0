"""The page of supported operators, from the registry, the samples and the conformance results:
`python -m tests.conformance.operators`.

`--update` first reads from the corpus which targets the passing cases exercise, and keeps that in
`passing/operators.txt`, so that the page can be made where the corpus is not.
"""

from __future__ import annotations

import argparse
import inspect
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from castoff.compiler import ops
from castoff.compiler.frontends.forms import functional_name
from castoff.compiler.ir.dtypes import DType
from castoff.compiler.ops.base import registered_targets
from castoff.compiler.ops.custom import find_custom_op
from castoff.compiler.ops.samples import all_samples

from ..ops.left_out import SIZES, left_out
from .check import MODES
from .corpus import FAMILIES, Family, find_corpus
from .run import PASSING, listed_as_passing

PAGE = Path(__file__).resolve().parents[2] / "docs" / "operators.md"
RESULTS = PASSING / "operators.txt"
_ORDER = {dtype.value: number for number, dtype in enumerate(DType)}


@dataclass
class Exercised:
    """How many passing cases call a target, and the element types of those that have one."""

    cases: int
    dtypes: set[str]


Results = Mapping[str, Mapping[str, Exercised]]
"""By target, then by mode."""


def read_corpus(corpus: Path) -> Results:
    """Which targets the listed cases of the corpus call."""
    ops.load_families()
    found: dict[str, dict[str, Exercised]] = {}
    for family in FAMILIES:
        if not Family.exists(corpus, family):
            continue
        index = json.loads(Family(corpus, family)._read("index.json"))
        cases = {case["name"]: case for case in index["cases"]}
        for mode in MODES:
            for name in listed_as_passing(family, mode):
                for target in {_registered(each) for each in cases[name]["targets"]} - {None}:
                    assert target is not None, "None was taken out"
                    entry = found.setdefault(target, {}).setdefault(mode, Exercised(0, set()))
                    entry.cases += 1
                    entry.dtypes |= {cases[name].get("dtype") or ""} & set(_ORDER)
    return found


def _registered(target: str) -> str | None:
    """The registered target that builds one of a program's."""
    target = target.removeprefix("torch.ops.")
    for candidate in (target, functional_name(target)):
        if candidate in registered_targets():
            return candidate
    return None


def write_results(results: Results) -> str:
    """The text of `passing/operators.txt`: target, mode, number of cases, element types."""
    lines = [
        " ".join([target, mode, str(entry.cases), *sorted(entry.dtypes, key=_ORDER.__getitem__)])
        for target, modes in sorted(results.items())
        for mode, entry in sorted(modes.items())
    ]
    return "\n".join(lines) + "\n"


def read_results() -> Results:
    """What `passing/operators.txt` says."""
    found: dict[str, dict[str, Exercised]] = {}
    for line in RESULTS.read_text(encoding="utf-8").splitlines():
        target, mode, cases, *dtypes = line.split()
        found.setdefault(target, {})[mode] = Exercised(int(cases), set(dtypes))
    return found


def page_text(results: Results) -> str:
    """The page."""
    ops.load_families()
    return "\n".join(_page(results)) + "\n"


def _page(results: Results) -> Iterator[str]:
    families: dict[str, list[str]] = {}
    modules: dict[str, str] = {}
    for name, function in registered_targets().items():
        if find_custom_op("::".join(name.split(".")[:2])) is None:
            module = inspect.getmodule(function)
            assert module is not None, f"{name} is defined nowhere"
            family = module.__name__.rpartition(".")[2]
            families.setdefault(family, []).append(name)
            modules[family] = (module.__doc__ or "").partition("\n\n")[0].replace("\n", " ")
    samples = all_samples()
    names = [name for members in families.values() for name in members]
    sampled = sum(name in samples for name in names)
    exercised = sum(name in results for name in names)
    yield "# Supported operators"
    yield ""
    yield "Made by `python -m tests.conformance.operators` from the registry and the test results;"
    yield "a test holds it against them. Do not edit it."
    yield ""
    yield f"{len(names)} operators of exported programs are registered. {sampled} have samples, which"
    yield f"tests run in each of the types given; {exercised} are called by programs of the conformance"
    yield "corpus that pass. In-place forms (`aten.add_.Tensor`) and forms with `out=` follow from the"
    yield "functional ones and are not listed. What is in no table is refused by name when a program is"
    yield "compiled, all of it at once; `castoff.register_custom_op` adds operators of your own."
    yield ""
    yield "*types of samples*: compiled and run by the reference interpreter, they give what PyTorch gives."
    yield "These are all types that PyTorch takes on a CPU, and every size of every sample may be a symbol that"
    yield "the run decides, but for what is [left out](#left-out). `python -m tests.ops.sweep` runs them all."
    yield "*programs*: how many passing corpus programs call the operator, run by the reference and"
    yield "compiled, and the types of the single-operator programs among them."
    for family, members in sorted(families.items()):
        yield ""
        yield f"## {family}"
        yield ""
        yield modules[family]
        yield ""
        yield "| operator | types of samples | programs | their types |"
        yield "|---|---|---|---|"
        for name in sorted(members):
            types = {d.value for sample in samples.get(name, ()) for d in sample.dtypes}
            modes = results.get(name, {})
            counts = ", ".join(f"{entry.cases} {mode}" for mode, entry in sorted(modes.items()))
            seen = {dtype for entry in modes.values() for dtype in entry.dtypes}
            yield f"| `{name}` | {_listed(types)} | {counts} | {_listed(seen)} |"

    yield ""
    yield "## left out"
    yield ""
    yield "| operator | what | why |"
    yield "|---|---|---|"
    for line in sorted(left_out(), key=lambda line: line.target):
        what = "symbols for all sizes" if line.what == (SIZES,) else " ".join(line.what)
        yield f"| `{line.target}` | {what} | {line.reason} |"


def _listed(dtypes: set[str]) -> str:
    return " ".join(sorted(dtypes, key=_ORDER.__getitem__))


def main(arguments: list[str]) -> int:
    """Writes the page; returns the exit status."""
    parser = argparse.ArgumentParser(description="Writes docs/operators.md.")
    parser.add_argument("--update", action="store_true", help="read the corpus first")
    ops.load_families()
    if parser.parse_args(arguments).update:
        corpus = find_corpus()
        if corpus is None:
            print("no conformance corpus: set CASTOFF_CORPUS to its folder", file=sys.stderr)
            return 1
        RESULTS.write_text(write_results(read_corpus(corpus)), encoding="utf-8")
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page_text(read_results()), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Measures castoff beside its peers: python3 build.py bench [compare|cold|limits|list] ...

compare  time of a call, engines in turns, every answer checked (the default)
cold     time to build from nothing, time from process start to the first answer, memory
limits   what one core can do at most
cuts     measures how products are best cut, and writes the table that the compiler takes it from
list     the models and engines that can be asked for
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from castoff.compiler.toolchain.limits import measure_limits

from .cold import (
    Start,
    build_sample,
    compile_bytecode,
    model_programs,
    start_programs,
    time_builds,
    time_starts,
)
from .compare import Comparison, compare, wrong_answers
from .cuts import write_cuts
from .engines import ENGINES
from .machine import installed_versions, machine
from .names import MODELS
from .report import (
    RESULTS,
    about,
    builds_table,
    comparison_record,
    comparison_table,
    limits_table,
    starts_table,
    summary_table,
    write,
)
from .store import DEFAULT_FOLDER, Store
from .workers import WorkerFailed, place_for

COMMANDS = ("compare", "cold", "limits", "cuts", "list")
COLD_MODELS = "mlp-small,bert-base-128,resnet50"


def main(arguments: Sequence[str]) -> int:
    """Runs one command; 1 where an answer was wrong or nothing could be measured."""
    options = parser().parse_args(arguments)
    if options.command == "list":
        print("models:  " + " ".join(MODELS) + "\nengines: " + " ".join(ENGINES))
        return 0
    if options.command == "limits":
        limits = measure_limits(pin=place_for(1, options.processor).pin)
        print(limits_table(limits))
        return 0
    if options.command == "cuts":
        return run_cuts(options)
    return run_cold(options) if options.command == "cold" else run_compare(options)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = argparse.ArgumentParser(
        prog="build.py bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = result.add_argument
    add("command", nargs="?", choices=COMMANDS, default="compare")
    add("--model", default="", help=f"models between commas; all by default (cold: {COLD_MODELS})")
    add("--engine", default="", help="engines between commas; all that are installed by default")
    add("--threads", type=int, default=1, help="of every engine, and processors they are tied to")
    add("--processor", type=int, help="the first processor to tie workers to; the last by default")
    add(
        "--seconds", type=float, default=20.0, help="timed seconds of a model, all engines together"
    )
    add("--rounds", type=int, default=12, help="turns that each engine gets")
    add("--tries", type=int, default=0, help="cold: builds (2) and starts (20) of each engine")
    add(
        "--cache", type=Path, default=DEFAULT_FOLDER, help="folder of exported models and artefacts"
    )
    add("--results", type=Path, default=RESULTS, help="folder that tables and JSON are written to")
    add("--name", default="", help="of the results; by default the command and the threads")
    return result


def chosen(text: str, known: Sequence[str], kind: str) -> list[str]:
    """The names between commas, all known ones where there are none."""
    names = [name for name in text.split(",") if name] or list(known)
    unknown = [name for name in names if name not in known]
    if unknown:
        raise SystemExit(f"no {kind} {', '.join(unknown)}; there are {', '.join(known)}")
    return names


def run_compare(options: argparse.Namespace) -> int:
    """Times models and writes `compare-N-threads`."""
    place = place_for(options.threads, options.processor)
    store = Store(options.cache.resolve())
    models = chosen(options.model, known_models(store), "model")
    facts = machine()
    versions, missing = installed_versions(chosen(options.engine, ENGINES, "engine"), store, place)
    report_missing(missing)
    limits = measure_limits(pin=place.pin)
    comparisons: list[Comparison] = []
    for model in models:
        try:
            case = store.case(model, place)
        except WorkerFailed as error:
            print(f"{model}: {error}", file=sys.stderr)
            continue
        comparisons.append(compare(case, versions, store, place, options.seconds, options.rounds))
        print(comparison_table(comparisons[-1:], limits, place.threads) + "\n", flush=True)
    facts["load after"] = f"{os.getloadavg()[0]:.2f}"
    title = f"One call, {place.threads} thread{'s' if place.threads > 1 else ''}"
    text = "\n\n".join(
        [
            about(facts, versions, limits),
            summary_table(comparisons),
            comparison_table(comparisons, limits, place.threads),
        ]
    )
    record = {
        "machine": facts,
        "versions": dict(versions),
        "limits": asdict(limits),
        "threads": place.threads,
        "models": [comparison_record(comparison) for comparison in comparisons],
    }
    name = options.name or f"compare-{place.threads}-thread{'s' if place.threads > 1 else ''}"
    print(summary_table(comparisons))
    print(f"written: {write(name, title, text, record, options.results)}")
    problems = wrong_answers(comparisons)
    print("\n".join(problems), file=sys.stderr, end="\n" if problems else "")
    return 1 if problems or not comparisons else 0


def run_cuts(options: argparse.Namespace) -> int:
    """Replaces the compiler's table of cuts."""
    place = place_for(1, options.processor)
    store = Store(options.cache.resolve())
    names = chosen(options.model, known_models(store), "model")
    cases = [store.case(name, place) for name in names]
    place.pin()
    print(write_cuts(cases))
    return 0


def run_cold(options: argparse.Namespace) -> int:
    """Times builds and starts and writes `cold`."""
    compile_bytecode()
    place = place_for(1, options.processor)
    store = Store(options.cache.resolve())
    facts = machine()
    versions, missing = installed_versions(
        chosen(options.engine or "castoff,aoti,onnxruntime", ENGINES, "engine"), store, place
    )
    report_missing(missing)
    tables: list[str] = []
    builds: dict[str, object] = {}
    starts: dict[str, dict[str, Start]] = {}
    compilers = [
        engine for engine in versions if engine != "onnxruntime"
    ]  # which reads what torch converted
    for model in chosen(options.model or COLD_MODELS, known_models(store), "model"):
        case = store.case(model, place)
        built, failures = time_builds(case, compilers, store, place, options.tries or 2)
        report_missing(failures)
        builds[model] = {engine: asdict(build) for engine, build in built.items()}
        tables.append(f"Building {model}, one core, nothing cached:\n\n" + builds_table(built))
        print(tables[-1] + "\n", flush=True)
        programs = model_programs(case, versions, store, place)
        starts[model] = time_starts(programs, place, options.tries or 10)
        title = f"Whole processes to the first answer of {model}, one thread:"
        tables.append(f"{title}\n\n{starts_table(starts[model])}")
        print(tables[-1] + "\n", flush=True)
    programs = start_programs(build_sample(store.folder / "sample"))
    starts["digits"] = time_starts(programs, place, options.tries or 20)
    title = "Whole processes, the sample program of examples/digits:"
    tables.append(f"{title}\n\n{starts_table(starts['digits'])}")
    print(tables[-1])
    record = {
        "machine": facts,
        "versions": dict(versions),
        "builds": builds,
        "starts": {
            model: {name: asdict(start) for name, start in programs.items()}
            for model, programs in starts.items()
        },
    }
    text = "\n\n".join([about(facts, versions, None), *tables])
    name = options.name or "cold"
    print(f"written: {write(name, 'Before the first call', text, record, options.results)}")
    return 0


def known_models(store: Store) -> list[str]:
    """The models of the project, and cases that somebody put into the store."""
    others = (path.name for path in sorted(store.folder.glob("cases/*/")) if path.is_dir())
    return [*MODELS, *(name for name in others if name not in MODELS)]


def report_missing(reasons: Mapping[str, str]) -> None:
    """Says which engines are left out and why."""
    for engine, reason in reasons.items():
        print(f"without {engine}: {reason}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""What the numbers were measured on and with."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timezone
from pathlib import Path

from .store import Store
from .workers import Place, Worker, WorkerFailed


def machine() -> dict[str, str]:
    """Processor, its number of cores, system, Python, C compiler, load and date."""
    return {
        "processor": processor_name(),
        "processors": str(len(os.sched_getaffinity(0))),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "compiler": compiler_version(),
        "load before": f"{os.getloadavg()[0]:.2f}",
        "date": today().isoformat(),
    }


def today() -> date:
    """The date in UTC."""
    return datetime.now(timezone.utc).date()


def processor_name() -> str:
    """What the processor calls itself, with family and model, which hypervisors leave as they are."""
    fields: dict[str, str] = {}
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or platform.machine()
    for line in text.splitlines():
        key, _, value = line.partition(":")
        fields.setdefault(key.strip(), value.strip())
    name = fields.get("model name", platform.machine())
    if "cpu family" not in fields:
        return name
    return f"{name} (family {fields['cpu family']}, model {fields['model']})"


def compiler_version() -> str:
    """The first line that $CC, or gcc, says of itself."""
    command = (os.environ.get("CC") or "gcc").split()
    try:
        said = subprocess.run([*command, "--version"], capture_output=True, text=True)
    except OSError:
        return "none"
    return said.stdout.splitlines()[0] if said.stdout else "none"


def installed_versions(
    engines: Sequence[str], store: Store, place: Place
) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """The version of each engine that can be imported, and for the others why not."""
    found: dict[str, str] = {}
    missing: dict[str, str] = {}
    nowhere = store.folder / "nowhere"
    for engine in engines:
        log = store.folder / "logs" / f"version-{engine}.txt"
        with Worker("version", engine, nowhere, nowhere, place, log) as worker:
            try:
                found[engine] = str(worker.answer()["version"])
            except WorkerFailed as error:
                missing[engine] = str(error)
    return found, missing

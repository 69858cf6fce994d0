"""What is kept between runs: cases, artefacts with the version that made them, logs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from .case import Case
from .workers import ROOT, Place, Worker, WorkerFailed

DEFAULT_FOLDER = ROOT / ".bench-cache"


@dataclass(frozen=True, slots=True)
class Store:
    """A folder that may be deleted at any time."""

    folder: Path

    def case(self, name: str, place: Place) -> Case:
        """The case of a model; exported first where that was not done yet, which needs torch.

        Raises WorkerFailed with the last line of what went wrong.
        """
        found = Case(self.folder / "cases" / name)
        if found.exists:
            return found
        finished = subprocess.run(
            [sys.executable, "-m", "bench.prepare", name, str(found.folder)],
            cwd=ROOT,
            env=place.environment(self.folder),
            capture_output=True,
            text=True,
            preexec_fn=place.pin,
        )
        if finished.returncode != 0:
            lines = finished.stderr.strip().splitlines() or ["nothing was said"]
            raise WorkerFailed(f"export failed: {lines[-1]}")
        return found

    def log(self, case: Case, engine: str) -> Path:
        """Where the worker of an engine writes what its libraries print."""
        return self.folder / "logs" / f"{case.name}-{engine}.txt"

    def artefact(self, case: Case, engine: str, version: str, place: Place) -> Path:
        """The folder of what an engine built from a case, built now where the version is another.

        Raises WorkerFailed where the engine cannot build it.
        """
        folder = self.folder / "artefacts" / case.name / engine
        stamp = folder / "built.json"
        if stamp.exists() and json.loads(stamp.read_text(encoding="utf-8"))["version"] == version:
            return folder
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        with Worker("build", engine, case.folder, folder, place, self.log(case, engine)) as worker:
            answer = worker.answer()
        aside = folder / "built.json.new"
        aside.write_text(json.dumps({"version": version, **answer}) + "\n", encoding="utf-8")
        os.replace(aside, stamp)
        return folder

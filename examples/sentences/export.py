"""Exports the encoder with torch, and keeps the embeddings PyTorch gives.

    python examples/sentences/export.py FOLDER [--onnx]

writes `sentences.pt2` and `embeddings.npz` to the folder, and `sentences.onnx` where asked.
"""

from __future__ import annotations

import contextlib
import sys
import warnings
from pathlib import Path

import numpy as np
import torch
from fetch import fetch_model
from model import load_encoder
from sentences import ANSWERS, SENTENCES
from tokens import load_tokenizer, tokenize


def main(folder: Path, with_onnx: bool) -> None:
    """Writes the files."""
    source = fetch_model()
    encoder = load_encoder(source / "model.safetensors")
    tokenizer = load_tokenizer(source)

    with torch.no_grad():
        embeddings = {
            name: encoder(*map(torch.from_numpy, tokenize(tokenizer, texts))).numpy()
            for name, texts in (("sentences", SENTENCES), ("questions", tuple(ANSWERS)))
        }
    np.savez(folder / "embeddings.npz", **embeddings)

    tokens, mask = map(torch.from_numpy, tokenize(tokenizer, SENTENCES[:3]))
    sizes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("tokens", max=512)}
    program = torch.export.export(encoder, (tokens, mask), dynamic_shapes=(sizes, sizes))
    torch.export.save(program, folder / "sentences.pt2")
    if with_onnx:
        write_onnx(program, folder / "sentences.onnx")


def write_onnx(program: torch.export.ExportedProgram, path: Path) -> None:
    """The same program for ONNX Runtime."""
    with contextlib.redirect_stdout(sys.stderr), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of what it does itself
        torch.onnx.export(
            program, (), path, dynamo=True, external_data=False, verbose=False, verify=False
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]), "--onnx" in sys.argv)

"""Sentences to the arrays the encoder takes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

LONGEST = 256  # tokens; the model was trained on sentences of at most so many
Ints: TypeAlias = npt.NDArray[np.int64]


def load_tokenizer(folder: Path) -> Tokenizer:
    """The model's tokenizer; a batch is padded to its longest sentence."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(LONGEST)
    tokenizer.enable_padding()
    return tokenizer


def tokenize(tokenizer: Tokenizer, sentences: Sequence[str]) -> tuple[Ints, Ints]:
    """Tokens and mask, i64[sentences, tokens]."""
    encodings = tokenizer.encode_batch(list(sentences))
    tokens = np.array([encoding.ids for encoding in encodings], np.int64)
    mask = np.array([encoding.attention_mask for encoding in encodings], np.int64)
    return tokens, mask

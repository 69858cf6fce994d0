"""The sentence encoder: BERT's layers, the mean over a sentence's tokens, and a length of one.

Attributes are named as in the weights file, so that `load_state_dict` takes it as it is.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

WIDTH, HEADS, LAYERS, INNER = 384, 12, 6, 1536
WORDS, POSITIONS, SEGMENTS = 30522, 512, 2
EPSILON = 1e-12


class Embeddings(nn.Module):
    """A vector for each token: of its word, its place, and the first segment."""

    def __init__(self) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(WORDS, WIDTH)
        self.position_embeddings = nn.Embedding(POSITIONS, WIDTH)
        self.token_type_embeddings = nn.Embedding(SEGMENTS, WIDTH)
        self.LayerNorm = nn.LayerNorm(WIDTH, EPSILON)

    def forward(self, tokens: Tensor) -> Tensor:
        places = torch.arange(tokens.shape[1], device=tokens.device)
        segment = self.token_type_embeddings.weight[0]
        vectors = self.word_embeddings(tokens) + segment + self.position_embeddings(places)
        normed: Tensor = self.LayerNorm(vectors)
        return normed


class Projection(nn.Module):
    """A linear layer whose result is added to what entered the block, and normed."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.dense = nn.Linear(width, WIDTH)
        self.LayerNorm = nn.LayerNorm(WIDTH, EPSILON)

    def forward(self, x: Tensor, entered: Tensor) -> Tensor:
        normed: Tensor = self.LayerNorm(self.dense(x) + entered)
        return normed


class Attention(nn.Module):
    """Every token looks at the tokens that are not padding."""

    def __init__(self) -> None:
        super().__init__()
        names = ("query", "key", "value")
        self.self = nn.ModuleDict({name: nn.Linear(WIDTH, WIDTH) for name in names})
        self.output = Projection(WIDTH)

    def forward(self, x: Tensor, is_token: Tensor) -> Tensor:
        query, key, value = (
            part(x).unflatten(-1, (HEADS, -1)).transpose(1, 2) for part in self.self.values()
        )
        seen = functional.scaled_dot_product_attention(query, key, value, is_token[:, None, None])
        mixed: Tensor = self.output(seen.transpose(1, 2).flatten(2), x)
        return mixed


class Layer(nn.Module):
    """Attention, then two linear layers with a GELU between them."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = Attention()
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(WIDTH, INNER)})
        self.output = Projection(INNER)

    def forward(self, x: Tensor, is_token: Tensor) -> Tensor:
        x = self.attention(x, is_token)
        fed: Tensor = self.output(functional.gelu(self.intermediate["dense"](x)), x)
        return fed


class Encoder(nn.Module):
    """The layers, one after the other."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.ModuleList(Layer() for _ in range(LAYERS))

    def forward(self, x: Tensor, is_token: Tensor) -> Tensor:
        for layer in self.layer:
            x = layer(x, is_token)
        return x


class SentenceEncoder(nn.Module):
    """Tokens and mask, i64[batch, tokens], to embeddings of length one, f32[batch, 384].

    The mask is 1 at tokens and 0 at padding; the dot product of two embeddings says how near in
    meaning their sentences are.
    """

    def __init__(self) -> None:
        super().__init__()
        self.embeddings = Embeddings()
        self.encoder = Encoder()

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        x = self.encoder(self.embeddings(tokens), mask.bool())
        weight = mask[:, :, None].to(x.dtype)
        mean = (x * weight).sum(1) / weight.sum(1).clamp(min=1e-9)
        return functional.normalize(mean, dim=1)


def load_encoder(weights: Path) -> SentenceEncoder:
    """The encoder with the weights of a `model.safetensors`."""
    # Not used: the table of places, which is 0, 1, 2, …, and the pooler over the first token.
    unused = ("embeddings.position_ids", "pooler.")
    stored = load_file(weights)
    encoder = SentenceEncoder().eval()
    encoder.load_state_dict(
        {name: value for name, value in stored.items() if not name.startswith(unused)}
    )
    return encoder

"""A decoder in the manner of LLaMA, one step with a cache: 134 M parameters, 12 layers of width 768.

The caches of keys and values are inputs; the new keys and values are outputs beside the logits.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

WIDTH, LAYERS, HEADS, INNER, VOCABULARY = 768, 12, 12, 2048, 32000
HEAD = WIDTH // HEADS


def decoder_inputs(cached: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """A token, its position, and caches of that many positions."""
    cache = (LAYERS, 1, HEADS, cached, HEAD)
    return torch.tensor([[17]]), torch.tensor([cached]), torch.randn(cache), torch.randn(cache)


def rotate(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Rotary position embedding: pairs (i, i + HEAD / 2) turned by their angles."""
    low, high = x.chunk(2, -1)
    return torch.cat([low * cosine - high * sine, high * cosine + low * sine], -1)


class RmsNorm(nn.Module):
    """x divided by its root mean square, times a weight."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5) * self.weight


class Layer(nn.Module):
    """Attention over the cache and the new position, then the gated product."""

    def __init__(self) -> None:
        super().__init__()
        self.attention_norm, self.product_norm = RmsNorm(), RmsNorm()
        self.query, self.key, self.value, self.out = (
            nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(4)
        )
        self.gate = nn.Linear(WIDTH, INNER, bias=False)
        self.up = nn.Linear(WIDTH, INNER, bias=False)
        self.down = nn.Linear(INNER, WIDTH, bias=False)

    def forward(
        self, x: Tensor, keys: Tensor, values: Tensor, cosine: Tensor, sine: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        normed = self.attention_norm(x)
        query, key, value = (
            part(normed).view(-1, 1, HEADS, HEAD).transpose(1, 2)
            for part in (self.query, self.key, self.value)
        )
        query, key = rotate(query, cosine, sine), rotate(key, cosine, sine)
        mixed = functional.scaled_dot_product_attention(
            query, torch.cat([keys, key], 2), torch.cat([values, value], 2)
        )
        x = x + self.out(mixed.transpose(1, 2).reshape(-1, 1, WIDTH))
        normed = self.product_norm(x)
        return x + self.down(functional.silu(self.gate(normed)) * self.up(normed)), key, value


class Decoder(nn.Module):
    """Logits of the next token, and what has to be added to the caches."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, WIDTH)
        self.layers = nn.ModuleList(Layer() for _ in range(LAYERS))
        self.norm = RmsNorm()
        self.head = nn.Linear(WIDTH, VOCABULARY, bias=False)
        self.frequencies = 10000.0 ** (-torch.arange(0, HEAD, 2).float() / HEAD)

    def forward(
        self, token: Tensor, position: Tensor, keys: Tensor, values: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        x = self.embedding(token)
        angle = position.to(torch.float32) * self.frequencies
        cosine, sine = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
        new_keys, new_values = [], []
        for number, layer in enumerate(self.layers):
            x, key, value = layer(x, keys[number], values[number], cosine, sine)
            new_keys.append(key)
            new_values.append(value)
        return self.head(self.norm(x)), torch.stack(new_keys), torch.stack(new_values)

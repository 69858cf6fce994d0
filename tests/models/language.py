# mypy: disable-error-code="no-any-return, no-untyped-call"
"""Small models of text: caches, routing, relative positions, recurrence, decoding."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.export import Dim
from torch.nn import functional

from .case import Case

WIDTH, HEADS, WORDS = 32, 4, 50


class CachedAttention(nn.Module):
    """Causal attention over what came before, kept in buffers."""

    keys: Tensor
    values: Tensor

    def __init__(self, longest: int) -> None:
        super().__init__()
        self.queries_keys_values = nn.Linear(WIDTH, 3 * WIDTH)
        self.output = nn.Linear(WIDTH, WIDTH, bias=False)
        for name in ("keys", "values"):
            self.register_buffer(name, torch.zeros(1, HEADS, longest, WIDTH // HEADS))

    def forward(self, x: Tensor, places: Tensor) -> Tensor:
        query, key, value = (
            part.unflatten(-1, (HEADS, -1)).transpose(1, 2)
            for part in self.queries_keys_values(x).chunk(3, dim=-1)
        )
        self.keys[:, :, places] = key
        self.values.index_copy_(2, places, value)
        seen = torch.arange(self.keys.shape[2]) <= places[:, None]
        mixed = functional.scaled_dot_product_attention(query, self.keys, self.values, seen)
        return self.output(mixed.transpose(1, 2).flatten(2))


class CachedDecoder(nn.Module):
    """A GPT that is given the next tokens and where they stand, and chooses the one after."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(WORDS, WIDTH)
        self.places = nn.Embedding(16, WIDTH)
        self.norms = nn.ModuleList(nn.LayerNorm(WIDTH) for _ in range(4))
        self.attentions = nn.ModuleList(CachedAttention(16) for _ in range(2))
        self.feeds = nn.ModuleList(
            nn.Sequential(nn.Linear(WIDTH, 64), nn.GELU(approximate="tanh"), nn.Linear(64, WIDTH))
            for _ in range(2)
        )

    def forward(self, tokens: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
        x = self.words(tokens) + self.places(places)
        for layer in range(2):
            x = x + self.attentions[layer](self.norms[2 * layer](x), places)
            x = x + self.feeds[layer](self.norms[2 * layer + 1](x))
        logits = x @ self.words.weight.T
        return logits, logits[:, -1].argmax(-1)


def decoder_calls() -> list[tuple[object, ...]]:
    tokens = torch.randint(0, WORDS, (1, 9))
    steps = [(0, 5), (5, 8), (8, 9)]
    return [(tokens[:, a:b], torch.arange(a, b)) for a, b in steps]


class RotaryAttention(nn.Module):
    """Grouped queries turned as complex numbers, within a window, as long as the input is."""

    turns: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.query = nn.Linear(WIDTH, WIDTH)
        self.key_value = nn.Linear(WIDTH, WIDTH)
        self.norm = nn.RMSNorm(WIDTH)
        frequencies = 1.0 / 10000 ** (torch.arange(0, 8, 2) / 8)
        turns = torch.outer(torch.arange(64), frequencies)
        self.register_buffer("turns", torch.polar(torch.ones_like(turns), turns))

    def turned(self, x: Tensor) -> Tensor:
        pairs = torch.view_as_complex(x.unflatten(-1, (-1, 2)).contiguous())
        return torch.view_as_real(pairs * self.turns[: x.shape[2]]).flatten(-2)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(x)
        query = self.query(y).unflatten(-1, (4, 8)).transpose(1, 2)
        key, value = self.key_value(y).unflatten(-1, (4, 8)).transpose(1, 2).split(2, dim=1)
        query, key = self.turned(query), self.turned(key).repeat_interleave(2, dim=1)
        length = x.shape[1]
        near = torch.ones(length, length, dtype=torch.bool).tril().triu(-3)
        scores = (query @ key.mT / math.sqrt(8)).masked_fill(~near, -torch.inf)
        mixed = scores.softmax(-1) @ value.repeat_interleave(2, dim=1)
        return x + mixed.transpose(1, 2).reshape(x.shape)


class RelativeAttention(nn.Module):
    """T5's buckets of distances, which are logarithms of integers."""

    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Embedding(8, HEADS)
        self.attention = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)

    def buckets(self, length: int) -> Tensor:
        distance = torch.arange(length)[None, :] - torch.arange(length)[:, None]
        is_right = (distance > 0).long() * 4
        distance = distance.abs()
        far = 2 + (torch.log(distance.float().clamp(min=1) / 2) / math.log(8) * 2).long()
        return is_right + torch.where(distance < 2, distance, far.clamp(max=3))

    def forward(self, x: Tensor, is_padding: Tensor) -> tuple[Tensor, Tensor]:
        bias = self.bias(self.buckets(x.shape[1])).permute(2, 0, 1)
        mask = bias[None].expand(x.shape[0], -1, -1, -1).flatten(0, 1)
        padding = torch.zeros(is_padding.shape).masked_fill_(is_padding, -1e9)
        mixed, weights = self.attention(x, x, x, key_padding_mask=padding, attn_mask=mask)
        return mixed, weights


class SparseExperts(nn.Module):
    """The two best of four experts for each token; each expert gathers its own tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Linear(WIDTH, 4, bias=False)
        self.experts = nn.ModuleList(
            nn.Sequential(nn.Linear(WIDTH, 48), nn.SiLU(), nn.Linear(48, WIDTH)) for _ in range(4)
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        tokens = x.reshape(-1, WIDTH)
        weights, chosen = self.gate(tokens).softmax(-1).topk(2)
        weights = weights / weights.sum(-1, keepdim=True)
        result = torch.zeros_like(tokens)
        for number, expert in enumerate(self.experts):
            rows, ranks = torch.where(chosen == number)
            result.index_add_(0, rows, expert(tokens[rows]) * weights[rows, ranks, None])
        return result.view_as(x), functional.one_hot(chosen, 4).sum((0, 1))


class StackedExperts(nn.Module):
    """Experts as one weight, tokens sorted by expert, their shares by cumulative counts."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Linear(WIDTH, 4)
        self.up = nn.Parameter(torch.randn(4, WIDTH, 24) / 6)
        self.down = nn.Parameter(torch.randn(4, 24, WIDTH) / 5)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        weight, chosen = self.gate(x).sigmoid().max(-1)
        order = chosen.argsort(stable=True)
        inner = torch.einsum("te,tei->ti", x[order], self.up[chosen[order]]).relu().square()
        outer = torch.bmm(inner[:, None], self.down[chosen[order]])[:, 0]
        result = torch.empty_like(outer).scatter_(0, order[:, None].expand_as(outer), outer)
        ends = torch.bincount(chosen, minlength=4).cumsum(0)
        return result * weight[:, None], ends


class Tagger(nn.Module):
    """Words to tags with two bidirectional LSTM layers, and the path Viterbi finds."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(WORDS, 12, padding_idx=0)
        self.lstm = nn.LSTM(12, 10, num_layers=2, bidirectional=True, batch_first=True)
        self.tags = nn.Linear(20, 5)
        self.steps = nn.Parameter(torch.randn(5, 5))

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        vectors, (hidden, _) = self.lstm(self.words(tokens))
        scores = self.tags(vectors).log_softmax(-1)
        best, back = scores[:, 0], []
        for place in range(1, tokens.shape[1]):
            best, origin = (best[:, :, None] + self.steps).max(1)
            best = best + scores[:, place]
            back.append(origin)
        path = [best.argmax(1)]
        for origin in reversed(back):
            path.append(origin.gather(1, path[-1][:, None])[:, 0])
        return scores, hidden, torch.stack(path[::-1], 1)


class Translator(nn.Module):
    """A GRU reads, a GRU cell with attention writes four words."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(WORDS, 12)
        self.reader = nn.GRU(12, 16)
        self.writer = nn.GRUCell(12 + 16, 16)
        self.logits = nn.Linear(16, WORDS)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        memory, state = self.reader(self.words(tokens).transpose(0, 1))
        state, word = state[0], tokens[:, 0]
        logits = []
        for _ in range(4):
            near = torch.einsum("sbh,bh->sb", memory, state).softmax(0)
            context = (near[..., None] * memory).sum(0)
            state = self.writer(torch.cat((self.words(word), context), 1), state)
            logits.append(self.logits(state))
            word = logits[-1].argmax(1)
        return torch.stack(logits, 1), word


class BeamStep(nn.Module):
    """One step of beam search: the best of beams times words, and the beams they come from."""

    def forward(
        self, scores: Tensor, logits: Tensor, tokens: Tensor
    ) -> dict[str, Tensor | tuple[Tensor, Tensor]]:
        beams, words = logits.shape[-2:]
        logits = logits.clone()
        logits[..., 0] = -torch.inf
        total = (scores[..., None] + logits.log_softmax(-1)).flatten(1)
        best, place = total.topk(beams, dim=1)
        beam, word = place // words, place % words
        kept = tokens.gather(1, beam[..., None].expand(-1, -1, tokens.shape[2]))
        is_done = word.eq(words - 1)
        return {
            "tokens": torch.cat((kept, word[..., None]), 2),
            "best": (best.masked_fill(is_done, 0), is_done.any(1)),
        }


class SelectiveScan(nn.Module):
    """A state space whose steps depend on the input; causal convolution before it."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(8, 8, 4, groups=8, padding=3)
        self.project = nn.Linear(8, 8 + 2 * 4)
        self.decay = nn.Parameter(torch.log(torch.arange(1.0, 5).repeat(8, 1)))
        self.skip = nn.Parameter(torch.ones(8))

    def forward(self, x: Tensor) -> Tensor:
        length = x.shape[1]
        y = functional.silu(self.convolution(x.mT)[..., :length].mT)
        step, entering, leaving = self.project(y).split([8, 4, 4], -1)
        step = functional.softplus(step)
        decay = torch.exp(step[..., None] * -self.decay.exp())
        driven = step[..., None] * entering[:, :, None] * y[..., None]
        state, outputs = torch.zeros_like(driven[:, 0]), []
        for place in range(length):
            state = decay[:, place] * state + driven[:, place]
            outputs.append((state @ leaving[:, place, :, None])[..., 0])
        return torch.stack(outputs, 1) + y * self.skip


BATCH, LENGTH = Dim("batch", max=64), Dim("length", max=16)

CASES = {
    "decoder_with_cache_in_buffers": Case(CachedDecoder, decoder_calls, ({1: LENGTH}, {0: LENGTH})),
    "rotary_attention_in_a_window": Case(
        RotaryAttention,
        lambda: [(torch.randn(b, s, WIDTH),) for b, s in ((2, 9), (1, 1), (3, 16))],
        ({0: BATCH, 1: LENGTH},),
    ),
    "relative_attention": Case(
        RelativeAttention,
        lambda: [
            (torch.randn(b, s, WIDTH), torch.arange(s) >= torch.tensor([[s - 1]] * b))
            for b, s in ((2, 9), (3, 12))
        ],
        ({0: BATCH, 1: LENGTH}, {0: BATCH, 1: LENGTH}),
    ),
    "experts_that_gather_their_tokens": Case(
        SparseExperts,
        lambda: [(torch.randn(b, 5, WIDTH),) for b in (3, 1)],
        ({0: BATCH},),
    ),
    "experts_over_sorted_tokens": Case(
        StackedExperts,
        lambda: [(torch.randn(n, WIDTH),) for n in (7, 1, 40)],
        ({0: BATCH},),
    ),
    "tagger": Case(
        Tagger, lambda: [(torch.randint(0, WORDS, (b, 6)),) for b in (3, 1, 8)], ({0: BATCH},)
    ),
    "translator": Case(
        Translator, lambda: [(torch.randint(0, WORDS, (b, 5)),) for b in (3, 2)], ({0: BATCH},)
    ),
    "beam_search_step": Case(
        BeamStep,
        lambda: [
            (torch.randn(b, 3), torch.randn(b, 3, 20), torch.randint(0, 20, (b, 3, s)))
            for b, s in ((2, 4), (5, 7))
        ],
        ({0: BATCH}, {0: BATCH}, {0: BATCH, 2: LENGTH}),
    ),
    "selective_scan": Case(
        SelectiveScan, lambda: [(torch.randn(b, 6, 8),) for b in (2, 5)], ({0: BATCH},)
    ),
}

"""Frames of sound to probabilities of a few classes, in NumPy."""

from __future__ import annotations

import numpy as np

import castoff

SAMPLES, BANDS, CLASSES = 256, 32, 4


class Dense(castoff.Module):
    """x @ weight + bias; the arrays are parameters because they are attributes."""

    def __init__(self, inputs: int, outputs: int, generator: np.random.Generator) -> None:
        super().__init__()
        scale = np.sqrt(2 / inputs)
        self.weight = (generator.standard_normal((inputs, outputs)) * scale).astype(np.float32)
        self.bias = np.zeros(outputs, np.float32)

    def forward(self, x: np.ndarray) -> np.ndarray:
        """float32[..., inputs] to float32[..., outputs]."""
        return x @ self.weight + self.bias


class Classifier(castoff.Module):
    """float32[frames, 256] to float32[frames, 4]; the mean of all spectra so far is its state."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        generator = np.random.default_rng(seed)
        self.layers = [Dense(BANDS, 64, generator), Dense(64, CLASSES, generator)]
        self.window = np.hanning(SAMPLES).astype(np.float32)
        self.register_buffer("mean", np.zeros(BANDS, np.float32))
        self.register_buffer("frames", np.zeros((), np.int64))

    def forward(self, sound: np.ndarray) -> np.ndarray:
        """Log power in bands, less its running mean, through the network."""
        spectrum = np.abs(np.fft.rfft(sound * self.window))[:, : 4 * BANDS]
        power = (spectrum**2).reshape(-1, BANDS, 4).sum(axis=-1)
        bands = np.log(power + 1e-6)
        self.frames += sound.shape[0]
        self.mean += (bands - self.mean).sum(axis=0) / self.frames.astype(np.float32)
        first, last = self.layers
        hidden = castoff.ops.aten.gelu(first(bands - self.mean))
        return castoff.ops.aten.softmax(last(hidden), -1)

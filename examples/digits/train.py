"""Trains the sample classifier and writes `digits.pt2` and `test_images.npz`.

Needs torch and scikit-learn; neither is needed for what it writes:

    python examples/digits/train.py
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits  # type: ignore[import-untyped]
from torch import nn

HERE = Path(__file__).resolve().parent
TEST_IMAGES = 400
EPOCHS = 40
BATCH = 64


class DigitClassifier(nn.Module):
    """Logits of ten digits for float32 images of shape [batch, 1, 8, 8] with values in 0 to 1."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, padding=1),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(32, 32, 3, padding=1),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        self.classifier = nn.Sequential(
            nn.Flatten(), nn.Linear(128, 64), nn.ReLU(), nn.Dropout(0.3), nn.Linear(64, 10)
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.classifier(self.features(images))
        return logits


def forget_folders(program: torch.export.ExportedProgram) -> None:
    """Leaves `train.py` and `torch/nn/…` in the recorded stack traces, not the folders of this
    machine."""
    for node in program.graph.nodes:
        if trace := node.meta.get("stack_trace"):
            trace = re.sub(r'File "[^"]*/site-packages/', 'File "', trace)
            node.meta["stack_trace"] = re.sub(r'File "/[^"]*/', 'File "', trace)


def main() -> None:
    """Trains, exports with a dynamic batch, and stores the answers PyTorch gives to the test
    images.
    """
    torch.manual_seed(0)
    digits = load_digits()
    images = torch.from_numpy((digits.images / 16).astype(np.float32))[:, None]
    labels = torch.from_numpy(digits.target.astype(np.int64))
    order = torch.randperm(len(images))
    test, training = order[:TEST_IMAGES], order[TEST_IMAGES:]

    model = DigitClassifier()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS)
    for _ in range(EPOCHS):
        model.train()
        for batch in training[torch.randperm(len(training))].split(BATCH):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(images[batch]), labels[batch])
            loss.backward()
            optimizer.step()
        schedule.step()

    model.eval()
    with torch.no_grad():
        logits = model(images[test])
        program = torch.export.export(
            model, (images[test][:4].clone(),), dynamic_shapes=({0: torch.export.Dim("batch")},)
        )
    forget_folders(program)
    torch.export.save(program, HERE / "digits.pt2")
    np.savez_compressed(
        HERE / "test_images.npz",
        images=images[test].numpy(),
        labels=labels[test].numpy(),
        logits=logits.numpy(),
    )
    accuracy = (logits.argmax(1) == labels[test]).float().mean().item()
    print(f"accuracy on {TEST_IMAGES} test images: {accuracy:.2%}")


if __name__ == "__main__":
    main()

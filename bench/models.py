"""The models that are measured: definitions of torch, torchvision and transformers with seeded random weights.

Needs torch; nothing is downloaded. A function under `@subject` returns what is exported and called.
"""

from __future__ import annotations

import contextlib
import copy
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import ModuleType

import torch
from torch import Tensor, nn
from torch.nn import functional

from .case import Terms
from .names import MODELS

Inputs = tuple[Tensor, ...]


FLOAT32 = Terms()
BFLOAT16 = Terms("bfloat16", tolerance=2e-2)


@dataclass(frozen=True, slots=True)
class Subject:
    """A float32 module, the inputs it is exported with, and the calls that are made (by default one,
    with those inputs). dynamic_shapes as `torch.export.export` takes it.
    """

    module: nn.Module
    example: Inputs
    calls: tuple[Inputs, ...] = ()
    dynamic_shapes: object = None
    terms: Terms = FLOAT32

    @property
    def program(self) -> nn.Module:
        """What is measured: the module, or, where the terms say so, the same in bfloat16."""
        return self.module if self.terms.precision == "float32" else Narrow(self.module)


class Narrow(nn.Module):
    """A module in bfloat16, with float32 at its borders."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = copy.deepcopy(module).bfloat16()

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """What the module gives, widened."""
        narrow = (x.bfloat16() if x.is_floating_point() else x for x in inputs)
        result = self.module(*narrow)
        results = (result,) if isinstance(result, Tensor) else result
        return tuple(x.float() if x.is_floating_point() else x for x in results)


SUBJECTS: dict[str, Callable[[], Subject]] = {}


def subject(name: str) -> Callable[[Callable[[], Subject]], Callable[[], Subject]]:
    """Enters a function into the table of models."""
    assert name in MODELS, f"{name} is missing in names.py"

    def enter(make: Callable[[], Subject]) -> Callable[[], Subject]:
        SUBJECTS[name] = make
        return make

    return enter


def make_subject(name: str) -> Subject:
    """The named model, the same weights and inputs each time, ready for inference."""
    torch.manual_seed(20)
    made = SUBJECTS[name]()
    made.module.eval().requires_grad_(False)
    return made


def image(batch: int) -> Inputs:
    """A batch of pictures, as networks for ImageNet take them."""
    return (torch.randn(batch, 3, 224, 224),)


def tokens(batch: int, length: int, vocabulary: int) -> Inputs:
    """A batch of token numbers."""
    return (torch.randint(0, vocabulary, (batch, length)),)


def dynamic_batch(module: nn.Module, make_inputs: Callable[[int], Inputs]) -> Subject:
    """Exported with a symbolic batch; timed with a batch of 1, checked with 1, 3 and 8."""
    batch = torch.export.Dim("batch", min=1, max=64)
    example = make_inputs(2)
    calls = tuple(make_inputs(size) for size in (1, 3, 8))
    return Subject(module, example, calls, tuple({0: batch} for _ in example))


class TwoInputAdd(nn.Module):
    """The least a program can do: shows what a call costs."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return x + y


@subject("two-input-add")
def _two_input_add() -> Subject:
    return Subject(TwoInputAdd(), (torch.randn(8, 8), torch.randn(8, 8)))


@subject("mlp-small")
def _mlp_small() -> Subject:
    layers = [nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64)]
    return Subject(nn.Sequential(*layers), (torch.randn(1, 64),))


class Pointwise(nn.Module):
    """A chain of elementwise operators, two of them transcendental."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.randn(1024))
        self.shift = nn.Parameter(torch.randn(1024))

    def forward(self, x: Tensor) -> Tensor:
        gated = functional.gelu(x * self.scale + self.shift) * torch.sigmoid(x)
        return gated * 0.5 + torch.relu(x)


@subject("pointwise-4M")
def _pointwise() -> Subject:
    return Subject(Pointwise(), (torch.randn(4096, 1024),))


class SoftmaxLayerNorm(nn.Module):
    """Two reductions along rows with pointwise work around them."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4096)
        nn.init.normal_(self.norm.weight)
        nn.init.normal_(self.norm.bias)

    def forward(self, x: Tensor) -> Tensor:
        normed: Tensor = self.norm(torch.softmax(x, -1) + x)
        return normed


@subject("softmax-layernorm")
def _softmax_layernorm() -> Subject:
    return Subject(SoftmaxLayerNorm(), (torch.randn(1024, 4096),))


@subject("linear-128x768x3072")
def _linear() -> Subject:
    return Subject(nn.Linear(768, 3072), (torch.randn(128, 768),))


@subject("conv3x3-64-56")
def _conv3x3() -> Subject:
    return Subject(nn.Conv2d(64, 64, 3, padding=1), (torch.randn(1, 64, 56, 56),))


@subject("resnet50")
def _resnet50() -> Subject:
    return Subject(_with_random_norms(_torchvision_models().resnet50()), image(1))


@subject("resnet50-dynamic")
def _resnet50_dynamic() -> Subject:
    return dynamic_batch(_with_random_norms(_torchvision_models().resnet50()), image)


@subject("mobilenetv2")
def _mobilenetv2() -> Subject:
    return Subject(_with_random_norms(_torchvision_models().mobilenet_v2()), image(1))


class Bert(nn.Module):
    """BERT-base: token numbers to the last hidden state and the pooled one."""

    def __init__(self) -> None:
        super().__init__()
        transformers = _transformers()
        self.model = transformers.BertModel(transformers.BertConfig())

    def forward(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        result = self.model(input_ids=ids, return_dict=True)
        return result.last_hidden_state, result.pooler_output


@subject("bert-base-128")
def _bert_base() -> Subject:
    return Subject(Bert(), tokens(1, 128, 30000))


@subject("bert-base-128-dynamic")
def _bert_base_dynamic() -> Subject:
    return dynamic_batch(Bert(), lambda batch: tokens(batch, 128, 30000))


class VisionTransformer(nn.Module):
    """ViT-B/16 with a classifier of 1000 classes."""

    def __init__(self) -> None:
        super().__init__()
        transformers = _transformers()
        config = transformers.ViTConfig(num_labels=1000)
        self.model = transformers.ViTForImageClassification(config)

    def forward(self, pixels: Tensor) -> Tensor:
        logits: Tensor = self.model(pixel_values=pixels, return_dict=True).logits
        return logits


@subject("vit-b16")
def _vit_b16() -> Subject:
    return Subject(VisionTransformer(), image(1))


class Gpt2(nn.Module):
    """GPT-2 (124 M parameters) over a whole prompt, no cache."""

    def __init__(self) -> None:
        super().__init__()
        transformers = _transformers()
        self.model = transformers.GPT2LMHeadModel(transformers.GPT2Config(use_cache=False))

    def forward(self, ids: Tensor) -> Tensor:
        logits: Tensor = self.model(input_ids=ids, use_cache=False, return_dict=True).logits
        return logits


@subject("gpt2-prefill-128")
def _gpt2_prefill() -> Subject:
    return Subject(Gpt2(), tokens(1, 128, 50000))


@subject("llama-decode-512")
def _llama_decode() -> Subject:
    from .llama import Decoder, decoder_inputs

    return Subject(Decoder(), decoder_inputs(cached=512))


@subject("bert-base-128-bf16")
def _bert_base_bf16() -> Subject:
    return replace(_bert_base(), terms=BFLOAT16)


@subject("resnet50-bf16")
def _resnet50_bf16() -> Subject:
    return replace(_resnet50(), terms=BFLOAT16)


@subject("llama-decode-512-bf16")
def _llama_decode_bf16() -> Subject:
    return replace(_llama_decode(), terms=BFLOAT16)


@subject("llama-decode-512-int8")
def _llama_decode_int8() -> Subject:
    terms = Terms(options='{"weights": "int8"}', tolerance=2e-2)
    return replace(_llama_decode(), terms=terms)


class WhisperEncoder(nn.Module):
    """The encoder of Whisper tiny: 30 seconds of sound as 3000 mel frames."""

    def __init__(self) -> None:
        super().__init__()
        from transformers.models.whisper.modeling_whisper import WhisperEncoder as Encoder

        config = _transformers().WhisperConfig(
            d_model=384, encoder_layers=4, encoder_attention_heads=6, encoder_ffn_dim=1536,
            decoder_layers=4, decoder_attention_heads=6, decoder_ffn_dim=1536,
        )  # fmt: skip
        self.model = Encoder(config)

    def forward(self, mel: Tensor) -> Tensor:
        state: Tensor = self.model(mel, return_dict=True).last_hidden_state
        return state


@subject("whisper-tiny-enc")
def _whisper_tiny_encoder() -> Subject:
    _transformers()
    return Subject(WhisperEncoder(), (torch.randn(1, 80, 3000),))


class Recurrent(nn.Module):
    """One LSTM layer over a sequence."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(256, 256, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        states: Tensor = self.lstm(x)[0]
        return states


@subject("lstm-256-100")
def _lstm() -> Subject:
    return Subject(Recurrent(), (torch.randn(1, 100, 256),))


def _with_random_norms(module: nn.Module) -> nn.Module:
    """Batch norms that do something: the initial ones would fold away to nothing."""
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            assert part.running_mean is not None and part.running_var is not None
            nn.init.uniform_(part.running_mean, -0.1, 0.1)
            nn.init.uniform_(part.running_var, 0.5, 1.5)
            nn.init.uniform_(part.weight, 0.5, 1.0)
            nn.init.uniform_(part.bias, -0.1, 0.1)
    return module


# torchvision's Python side asks for the operators of its C++ side when it is imported, and those load
# only with the torch they were built for. Only definitions are wanted here, so stand-ins will do; the
# library has to stay alive as long as they are to be known.
_STAND_INS: list[torch.library.Library] = []


def _torchvision_models() -> ModuleType:
    try:
        import torchvision.models as models
    except RuntimeError:
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        library = torch.library.Library("torchvision", "DEF")
        for operator in ("nms", "qnms"):
            library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _STAND_INS.append(library)
        import torchvision.models as models
    found: ModuleType = models
    return found


def _transformers() -> ModuleType:
    with contextlib.suppress(ImportError):
        _torchvision_models()  # transformers imports torchvision where it is installed
    import transformers

    found: ModuleType = transformers
    return found

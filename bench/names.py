"""The names of the models, apart from their definitions so that they can be listed without torch."""

MODELS = (
    "two-input-add",
    "mlp-small",
    "pointwise-4M",
    "softmax-layernorm",
    "linear-128x768x3072",
    "conv3x3-64-56",
    "lstm-256-100",
    "resnet50",
    "resnet50-dynamic",
    "mobilenetv2",
    "bert-base-128",
    "bert-base-128-dynamic",
    "vit-b16",
    "gpt2-prefill-128",
    "llama-decode-512",
    "whisper-tiny-enc",
    "bert-base-128-bf16",
    "resnet50-bf16",
    "llama-decode-512-bf16",
    "llama-decode-512-int8",
)

FLOAT32 = tuple(name for name in MODELS if not name.endswith(("-bf16", "-int8")))
"""Those whose numbers stay as they are."""

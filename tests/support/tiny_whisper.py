"""A Whisper model in CTranslate2's format that knows nothing: random weights, one layer, English alone.

What it answers is nonsense; what loads and calls it is the real package.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np

SIZE, HEADS, MELS = 8, 2, 80
_CONTROL = (
    "endoftext", "startoftranscript", "translate", "transcribe", "startoflm", "startofprev", "nospeech", "notimestamps",
)  # fmt: skip


def write_tiny_whisper(folder: Path) -> None:
    """Write the model; faster-whisper has to be installed. Its choices by chance are the same in each run."""
    folder.mkdir(parents=True)
    names = _write_tokenizer(folder / "tokenizer.json")
    importlib.import_module("ctranslate2").set_random_seed(1)
    spec: Any = importlib.import_module("ctranslate2.specs.whisper_spec").WhisperSpec(1, HEADS, 1, HEADS)
    _fill(spec, len(names), np.random.default_rng(1))
    spec.decoder.projection.bias = _likely(names)
    spec.register_vocabulary(names)
    spec.config.suppress_ids = spec.config.suppress_ids_begin = spec.config.lang_ids = []
    spec.config.alignment_heads = [(0, 0), (0, 1)]
    spec.validate()
    spec.optimize()
    spec.save(str(folder))


def _write_tokenizer(path: Path) -> list[str]:
    """Write the tokenizer, with a token for each byte, and return the names of its tokens."""
    tokenizers: Any = importlib.import_module("tokenizers")
    special = [f"<|{name}|>" for name in _CONTROL]
    special += [f"<|{step * 0.02:.2f}|>" for step in range(1_501)]
    letters = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE({name: at for at, name in enumerate(letters)}, []))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    tokenizer.add_special_tokens(special)
    tokenizer.save(str(path))
    return letters + special


def _likely(names: list[str]) -> Any:
    """Return what makes it say a few letters, and then end."""
    bias = np.zeros(len(names), np.float32)
    for name, likely in (("a", 8), ("b", 8), ("c", 8), ("d", 8), ("<|endoftext|>", 6)):
        bias[names.index(name)] = likely
    return bias


def _fill(spec: Any, tokens: int, chance: np.random.Generator) -> None:
    def random(*shape: int) -> Any:
        return chance.normal(0, 0.2, shape).astype(np.float32)

    def linear(layer: Any, outputs: int, inputs: int = SIZE) -> None:
        layer.weight, layer.bias = random(outputs, inputs), np.zeros(outputs, np.float32)

    def norm(layer: Any) -> None:
        layer.gamma, layer.beta = np.ones(SIZE, np.float32), np.zeros(SIZE, np.float32)

    def attention(layer: Any, *outputs: int) -> None:
        norm(layer.layer_norm)
        for each, count in zip(layer.linear, outputs, strict=True):
            linear(each, count)

    def block(layer: Any) -> None:
        attention(layer.self_attention, 3 * SIZE, SIZE)
        norm(layer.ffn.layer_norm)
        linear(layer.ffn.linear_0, 4 * SIZE)
        linear(layer.ffn.linear_1, SIZE, 4 * SIZE)

    for conv, inputs in ((spec.encoder.conv1, MELS), (spec.encoder.conv2, SIZE)):
        conv.weight, conv.bias = random(SIZE, inputs, 3), np.zeros(SIZE, np.float32)
    spec.encoder.position_encodings.encodings = random(1_500, SIZE)
    spec.decoder.position_encodings.encodings = random(448, SIZE)
    spec.decoder.embeddings.weight = spec.decoder.projection.weight = random(tokens, SIZE)
    for part in (spec.encoder, spec.decoder):
        norm(part.layer_norm)
        for layer in part.layer:
            block(layer)
    for layer in spec.decoder.layer:
        attention(layer.attention, SIZE, 2 * SIZE, SIZE)

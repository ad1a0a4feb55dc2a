"""Thinker and talker as GGUF of llama.cpp's architecture qwen2vl: which tensors, which metadata, what cannot be.

The talker takes rows in the thinker's width and first projects them to its own. That projection is no part of
qwen2vl, so it lies beside the graph (`projection`), and the runtime applies it before llama.cpp sees a row. The
architecture wants a token table in the talker's width: it gets the codes' embeddings, projected.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from gguf import GGML_QUANT_VERSION, MODEL_ARCH, GGMLQuantizationType, GGUFWriter, LlamaFileType, get_tensor_name_map

from ..models.errors import BundleError
from ..models.llama import ARCHITECTURE
from .checkpoint import Checkpoint
from .config import DecoderConfig
from .decoder import DecoderName, DecoderNames, decoder_of
from .gguf_file import F32, Content, Made, Stored, Tensor, write_file
from .gguf_vocab import add_vocabulary
from .graphs import Tick

FILE_TYPES = {
    "f32": (F32, LlamaFileType.ALL_F32),
    "f16": (GGMLQuantizationType.F16, LlamaFileType.MOSTLY_F16),
    "bf16": (GGMLQuantizationType.BF16, LlamaFileType.MOSTLY_BF16),
}
"""Types that are written directly: of the matrices, and what the file calls itself. Vectors are always f32."""
_BIASED = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")
_PLAIN = ("self_attn.o_proj", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj")
_NORMS = ("input_layernorm", "post_attention_layernorm")


def check_decoder(config: DecoderConfig, name: DecoderName) -> None:
    """Refuse what the architecture cannot carry.

    Raises:
        BundleError: the queries are not as wide as the rows (the 7B's talker, FACTS §1.2), which llama.cpp's qwen2vl
            takes for granted.
    """
    width = config.heads * config.head_dim
    if width != config.hidden:
        raise BundleError(
            f"the {name} cannot be GGUF: its queries are {width} wide and its rows {config.hidden}, and llama.cpp's "
            f"{ARCHITECTURE} takes only equal widths. Export it for onnx"
        )


def write_decoder(checkpoint: Checkpoint, name: DecoderName, path: Path, kind: str, tick: Tick) -> None:
    """Write a decoder in one of FILE_TYPES.

    Raises:
        BundleError: see `check_decoder`; or the checkpoint lacks a tensor.
    """
    config, names = decoder_of(checkpoint, name)
    check_decoder(config, name)
    matrices, file_type = FILE_TYPES[kind]
    writer = GGUFWriter(path, ARCHITECTURE)
    writer.add_type("model")
    writer.add_name(f"{checkpoint.folder.name} {name}")
    writer.add_file_type(file_type)
    writer.add_quantization_version(GGML_QUANT_VERSION)
    writer.add_context_length(config.context)
    writer.add_embedding_length(config.hidden)
    writer.add_block_count(config.layers)
    writer.add_feed_forward_length(config.intermediate)
    writer.add_head_count(config.heads)
    writer.add_head_count_kv(config.kv_heads)
    writer.add_rope_freq_base(config.rope_theta)
    writer.add_rope_dimension_sections([*config.mrope_section, 0])
    writer.add_layer_norm_rms_eps(config.norm_eps)
    writer.add_vocab_size(config.vocab)
    if name == "thinker":
        add_vocabulary(writer, checkpoint)
    else:
        # Codes have no text.
        writer.add_tokenizer_model("none")
    tensors = [
        Tensor(label, content, matrices if len(content.shape) > 1 else F32)
        for label, content in _tensors(checkpoint, config, names)
    ]
    write_file(writer, path, tensors, tick)


def _tensors(checkpoint: Checkpoint, config: DecoderConfig, names: DecoderNames) -> Iterator[tuple[str, Content]]:
    """llama.cpp's name and the values, layer by layer."""
    table = get_tensor_name_map(MODEL_ARCH.QWEN2VL, config.layers)

    def named(key: str) -> str:
        label = table.get_name(key)
        assert label is not None, key
        return label

    tokens: Content = Stored(checkpoint, f"{names.layers}embed_tokens.weight")
    if names.projection:
        weight, bias = projection(checkpoint, names.projection)
        tokens = Made(checkpoint.array(tokens.name) @ weight.T + bias)
    yield f"{named('model.embed_tokens')}.weight", tokens
    for layer in range(config.layers):
        for part in (*_NORMS, *_BIASED, *_PLAIN):
            label = named(f"model.layers.{layer}.{part}")
            key = f"{names.layers}layers.{layer}.{part}"
            yield f"{label}.weight", Stored(checkpoint, f"{key}.weight")
            if part in _BIASED:
                yield f"{label}.bias", Stored(checkpoint, f"{key}.bias")
    yield f"{named('model.norm')}.weight", Stored(checkpoint, f"{names.layers}norm.weight")
    yield f"{named('lm_head')}.weight", Stored(checkpoint, names.head)


def matrix_labels(config: DecoderConfig, names: DecoderNames) -> dict[str, str]:
    """The checkpoint's name of each matrix that rows are multiplied with -> llama.cpp's; by layer, the head last."""
    table = get_tensor_name_map(MODEL_ARCH.QWEN2VL, config.layers)
    matrices = {
        f"{names.layers}layers.{layer}.{part}.weight": f"model.layers.{layer}.{part}"
        for layer in range(config.layers)
        for part in (*_BIASED, *_PLAIN)
    }
    return {name: f"{table.get_name(key)}.weight" for name, key in {**matrices, names.head: "lm_head"}.items()}


def projection(checkpoint: Checkpoint, name: str) -> tuple[np.ndarray, np.ndarray]:
    """What stands before a talker's first layer: weight [hidden, rows] and bias [hidden], f32."""
    return checkpoint.array(f"{name}.weight"), checkpoint.array(f"{name}.bias")

"""The thinker's tokenizer inside a GGUF file, so that llama.cpp can be prompted with text (FACTS §3.1).

llama.cpp has no normaliser and a fixed set of pre-tokenizers. The published checkpoints' is its "qwen2"; a checkpoint
with another one (nano's folds case) is written the same way, and llama.cpp then splits text as qwen2 does. Our runtime
is not touched by that: it tokenizes by tokenizer.json and hands llama.cpp rows.
"""

from __future__ import annotations

import json
from typing import Any

from gguf import GGUFWriter, TokenType

from ..models.errors import BundleError
from .checkpoint import Checkpoint
from .front_ends import chat_template, tokenizer_json


def add_vocabulary(writer: GGUFWriter, checkpoint: Checkpoint) -> None:
    """Token texts, types, merges, special ids and the chat template.

    Raises:
        BundleError: the tokenizer is of another kind than byte-level BPE, or larger than the embedding table.
    """
    tokenizer = json.loads(tokenizer_json(checkpoint.folder))
    model: dict[str, Any] = tokenizer["model"]
    if model.get("type") != "BPE":
        raise BundleError(
            f"tokenizer.json in {checkpoint.folder} is no BPE but {model.get('type')}; export it for onnx"
        )
    texts, types = _tokens(model["vocab"], tokenizer["added_tokens"], checkpoint)
    ids = checkpoint.config.tokens
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(texts)
    writer.add_token_types(types)
    writer.add_token_merges(_merges(model["merges"]))
    # Nothing is put before a prompt, yet without an id llama.cpp would take some ordinary token for the bos.
    writer.add_bos_token_id(ids.pad)
    writer.add_add_bos_token(False)
    writer.add_eos_token_id(ids.eos[0])
    writer.add_pad_token_id(ids.pad)
    writer.add_chat_template(chat_template(checkpoint.folder))


def _tokens(
    vocabulary: dict[str, int], added: list[dict[str, Any]], checkpoint: Checkpoint
) -> tuple[list[str], list[TokenType]]:
    """One text and type for each row of the embedding table; rows without a token keep their place (FACTS §3.1)."""
    size = checkpoint.config.thinker.vocab
    texts = [f"[PAD{index}]" for index in range(size)]
    types = [TokenType.UNUSED] * size
    named = [(text, index, TokenType.NORMAL) for text, index in vocabulary.items()]
    named += [
        (token["content"], token["id"], TokenType.CONTROL if token["special"] else TokenType.USER_DEFINED)
        for token in added
    ]
    for text, index, kind in named:
        if index >= size:
            raise BundleError(f"tokenizer.json in {checkpoint.folder} has the id {index}; the model ends at {size}")
        texts[index], types[index] = text, kind
    return texts, types


def _merges(merges: list[str] | list[list[str]]) -> list[str]:
    """As pairs with a space between; tokenizer.json has them so, or as lists."""
    pairs = [merge if isinstance(merge, str) else " ".join(merge) for merge in merges]
    # llama.cpp insists on a merge. This one joins two zero bytes, which no text has.
    return pairs or ["Ā Ā"]

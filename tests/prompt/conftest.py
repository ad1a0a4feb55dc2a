"""A small byte-level BPE tokenizer with the control tokens of FACTS §3.1, and a chat template."""

from __future__ import annotations

from pathlib import Path

import pytest
import tokenizers
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers, trainers

from omni_edge.models.manifest import Clock, TokenIds
from omni_edge.runtime.prompt import ChatTemplate, PromptBuilder
from omni_edge.runtime.tokenizer import Tokenizer

CONTROLS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|AUDIO|>",
    "<|audio_bos|>",
    "<|audio_eos|>",
    "<|vision_bos|>",
    "<|vision_eos|>",
    "<|IMAGE|>",
    "<|VIDEO|>",
)
WORDS = ("<tool_call>", "<日>")
CORPUS = (
    "system\nYou are a helpful assistant.\n",
    "user\nWhat do you hear in the recording, and what do you see?\n\n",
    "assistant\nHello, hello world! I hear 3 birds.\n",
    "Ünïcödé 你好，世界 🦜🦜\n",
)
TEMPLATE = """\
{% for turn in messages %}
{% if loop.first and turn.role != "system" %}
{{ "<|im_start|>system\nBe kind.<|im_end|>\n" }}
{%- endif %}
{{- "<|im_start|>" + turn.role + "\n" }}
{%- for item in turn.content %}
{% if item.type == "text" %}{{ item.text }}{% endif %}
{% if item.type == "audio" %}<|audio_bos|><|AUDIO|><|audio_eos|>{% endif %}
{% if item.type == "image" %}<|vision_bos|><|IMAGE|><|vision_eos|>{% endif %}
{% if item.type == "video" %}<|vision_bos|><|VIDEO|><|vision_eos|>{% endif %}
{% endfor %}
{{- "<|im_end|>\n" }}
{%- endfor %}
{% if add_generation_prompt %}{{ "<|im_start|>assistant\n" }}{% endif %}
"""
CLOCK = Clock(ids_per_second=25, seconds_per_chunk=2.0)
MERGE = 2


def train() -> tokenizers.Tokenizer:
    bpe = tokenizers.Tokenizer(models.BPE())
    bpe.normalizer = normalizers.NFC()
    words = Regex(r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(words, "isolated"), pre_tokenizers.ByteLevel(False, use_regex=False)]
    )
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=420, show_progress=False, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    bpe.train_from_iterator(CORPUS * 3, trainer)
    bpe.add_special_tokens([AddedToken(name, normalized=False) for name in CONTROLS])
    bpe.add_tokens([AddedToken(name, normalized=False) for name in WORDS])
    return bpe


@pytest.fixture(scope="session")
def tokenizer_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    train().save(str(path))
    return path


@pytest.fixture(scope="session")
def tokenizer(tokenizer_file: Path) -> Tokenizer:
    return Tokenizer(tokenizer_file)


@pytest.fixture(scope="session")
def plain(tokenizer_file: Path) -> tokenizers.Tokenizer:
    """The library's tokenizer as the reference uses it: control tokens are parsed in all text."""
    return tokenizers.Tokenizer.from_file(str(tokenizer_file))


@pytest.fixture(scope="session")
def tokens(tokenizer: Tokenizer) -> TokenIds:
    ids = tokenizer.controls
    return TokenIds(
        audio=ids["<|AUDIO|>"],
        image=ids["<|IMAGE|>"],
        video=ids["<|VIDEO|>"],
        audio_start=ids["<|audio_bos|>"],
        audio_end=ids["<|audio_eos|>"],
        vision_start=ids["<|vision_bos|>"],
        vision_end=ids["<|vision_eos|>"],
        eos=(ids["<|im_end|>"],),
        pad=ids["<|endoftext|>"],
        tts_text_start=500,
        tts_text_end=501,
        tts_text_pad=502,
        codec_start=0,
        codec_end=1,
        codec_pad=2,
        codec_mask=3,
    )


@pytest.fixture(scope="session")
def template() -> str:
    return TEMPLATE


@pytest.fixture(scope="session")
def builder(tokenizer: Tokenizer, tokens: TokenIds, template: str) -> PromptBuilder:
    return PromptBuilder(tokenizer, ChatTemplate(template), tokens, CLOCK, MERGE)

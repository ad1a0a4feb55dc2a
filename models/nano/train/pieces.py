"""nano's tokenizer: letters, pairs of letters and short words, under the special tokens' true names.

Small pieces keep text near the rate of speech. The pieces come from the words of every ring, so that a checkpoint's
vocabulary stays as it is when the ring grows.
"""

from __future__ import annotations

import json
import string
from functools import lru_cache
from itertools import islice
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from ....export.tiny_tokenizer import NAMES, UNNAMED
from ..world.grammar import items
from ..world.lexicon import OUTSIDE, RINGS

PIECES = 320
"""Ids below the special tokens."""
LONGEST = 5
"""Bytes of the longest piece: a word of three letters with the space before it (two bytes here), or five letters."""

SPECIALS: dict[str, int] = {name: PIECES + index for index, name in enumerate((*NAMES, *UNNAMED))}
VOCABULARY = PIECES + len(SPECIALS)

# No system turn: nano was trained without one, and every token of it would cost time.
TEMPLATE = (
    "{% for message in messages %}{% if message['role'] != 'system' %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<|vision_bos|><|IMAGE|><|vision_eos|>"
    "{% elif part['type'] == 'audio' %}<|audio_bos|><|AUDIO|><|audio_eos|>"
    "{% elif part['type'] == 'video' %}<|vision_bos|><|VIDEO|><|vision_eos|>"
    "{% elif 'text' in part %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
ROLES = ("user\n", "assistant\n")
"""Whole pieces, because they stand in every turn."""


FILE = Path(__file__).with_name("pieces.json")
"""The tokenizer as it was built once: a grammar that changes must not change the ids of trained weights."""


@lru_cache(maxsize=1)
def tokenizer() -> Tokenizer:
    """The tokenizer that all of nano was trained with."""
    return Tokenizer.from_file(str(FILE))


def build() -> Tokenizer:
    """Choose pieces anew, for a nano that is to be trained from nothing; save it to `FILE`."""
    built = Tokenizer(models.BPE(unk_token=None))
    # What it has no letters for (capitals aside) is dropped rather than spelt in bytes that nano never saw.
    keep_known = normalizers.Replace(Regex(r"[^a-z0-9' \n]"), "")
    built.normalizer = normalizers.Sequence([normalizers.Lowercase(), keep_known])  # pyright: ignore
    split_words = pre_tokenizers.Split(Regex(r" ?[a-z']+|[0-9]|\n| "), "isolated")
    built.pre_tokenizer = pre_tokenizers.Sequence([split_words, pre_tokenizers.ByteLevel(False, use_regex=False)])  # pyright: ignore
    built.decoder = decoders.ByteLevel()  # pyright: ignore
    alphabet = sorted({*string.ascii_lowercase, *string.digits, "'", "Ġ", "Ċ"})
    trainer = trainers.BpeTrainer(
        vocab_size=PIECES - len(ROLES), initial_alphabet=alphabet, max_token_length=LONGEST, show_progress=False
    )
    built.train_from_iterator(_corpus(), trainer)
    if built.get_vocab_size() != PIECES - len(ROLES):
        raise ValueError(f"{built.get_vocab_size()} pieces came out of the corpus, not {PIECES - len(ROLES)}")
    built.add_tokens([AddedToken(role, normalized=False) for role in ROLES])
    built.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in NAMES])
    return built


def _corpus() -> list[str]:
    """Every word a few times, and the grammar's own sentences, whose frequent words so become whole pieces."""
    words = [word for ring in RINGS.values() for word in ring.words]
    talk = (item for ring in RINGS for item in islice(items("train", 0, ring), 1000))
    lines = [f"{turn.user} {turn.answer}" for item in talk for turn in item.turns]
    return lines + [f" {word}" for word in words for _ in range(20)] + words + OUTSIDE


def encode(text: str) -> list[int]:
    """Ids of a text that may hold special tokens."""
    return tokenizer().encode(text, add_special_tokens=False).ids


def decode(ids: list[int]) -> str:
    """The text of ids; special tokens and unnamed ids leave nothing."""
    return tokenizer().decode([index for index in ids if index < PIECES])


def write_tokenizer(folder: Path) -> None:
    """Write tokenizer.json, tokenizer_config.json and chat_template.json."""
    tokenizer().save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>",
        "chat_template": TEMPLATE,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")
    (folder / "chat_template.json").write_text(json.dumps({"chat_template": TEMPLATE}, indent=2) + "\n")

import json
from itertools import islice

import pytest

from omni_edge.models.nano.train import pieces
from omni_edge.models.nano.train.pieces import PIECES, SPECIALS, decode, encode
from omni_edge.models.nano.world.grammar import items
from omni_edge.models.nano.world.lexicon import OUTSIDE, RINGS


def test_text_survives():
    for item in islice(items("train", 0, 3), 300):
        for turn in item.turns:
            assert decode(encode(turn.user)) == turn.user
            assert decode(encode(turn.answer)) == turn.answer


def test_outside_words_are_spelt():
    for word in OUTSIDE:
        assert decode(encode(word)) == word


def test_typing_habits_do_not_matter():
    assert encode("What colour is the Circle?") == encode("what colour is the circle")
    assert encode("café ☕") == encode("caf ")


def test_pieces_are_small():
    for word in RINGS[3].words:
        assert len(encode(f" {word}")) >= len(f" {word}") / pieces.LONGEST


def test_special_tokens_have_their_true_names_and_ids():
    for name in pieces.NAMES:
        assert encode(name) == [SPECIALS[name]]
    assert min(SPECIALS.values()) == PIECES
    assert pieces.tokenizer().get_vocab_size() == PIECES + len(pieces.NAMES)
    assert max(encode("user\n")) < PIECES
    assert len(encode("assistant\n")) == 1


def test_template_has_no_system_turn(tmp_path):
    jinja2 = pytest.importorskip("jinja2")
    pieces.write_tokenizer(tmp_path)
    template = json.loads((tmp_path / "chat_template.json").read_text())["chat_template"]
    messages = [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "what do you see"}]},
    ]
    text = jinja2.Template(template).render(messages=messages, add_generation_prompt=True)
    assert text == (
        "<|im_start|>user\n<|vision_bos|><|IMAGE|><|vision_eos|>what do you see<|im_end|>\n<|im_start|>assistant\n"
    )
    assert len(encode(text)) == 13


def test_written_tokenizer_reads_back(tmp_path):
    tokenizers = pytest.importorskip("tokenizers")
    pieces.write_tokenizer(tmp_path)
    read = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert read.encode("say two red circles").ids == encode("say two red circles")

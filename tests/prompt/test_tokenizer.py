"""Encoding never makes control tokens; decoding one id at a time equals decoding all at once."""

from __future__ import annotations

from pathlib import Path

import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import decoders, models

from omni_edge.models.errors import BundleError, RequestError
from omni_edge.runtime.tokenizer import TextStream, Tokenizer

TEXTS = st.text(st.one_of(st.characters(codec="utf-8"), st.sampled_from("🦜日é\ufffd <|>")))


def streamed(tokenizer: Tokenizer, ids: list[int]) -> list[str]:
    stream = TextStream(tokenizer)
    return [*(stream.push(token) for token in ids), stream.finish()]


@pytest.mark.parametrize("name", ["<|im_start|>", "<|AUDIO|>", "<|endoftext|>"])
def test_names_of_control_tokens_are_text(tokenizer: Tokenizer, name: str) -> None:
    ids = tokenizer.encode(f"say {name} now")
    assert not set(ids) & set(tokenizer.controls.values())
    assert tokenizer.decode(ids) == f"say {name} now"


def test_other_added_tokens_are_words(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("<tool_call>")
    assert len(ids) == 1 and "<tool_call>" not in tokenizer.controls
    assert tokenizer.decode(ids) == "<tool_call>"


# A text that spells a control token is not ordinary, and drawn from this file's constants now and then.
@given(TEXTS.filter(lambda text: "<|" not in text))
def test_ordinary_text_encodes_as_in_the_library(tokenizer: Tokenizer, plain: tokenizers.Tokenizer, text: str) -> None:
    assert tokenizer.encode(text) == plain.encode(text).ids


@given(st.data())
def test_a_stream_gives_what_decode_gives(tokenizer: Tokenizer, data: st.DataObject) -> None:
    """Over all ids: halves of characters, control tokens, ids without a token."""
    ids = data.draw(st.lists(st.integers(0, 440), max_size=40))
    assert "".join(streamed(tokenizer, ids)) == tokenizer.decode(ids)


@given(st.binary(max_size=24))
def test_a_stream_of_any_bytes(tokenizer: Tokenizer, data: bytes) -> None:
    """Broken UTF-8 is replaced alike, wherever it breaks."""
    of_byte = {tokenizer.token_bytes(token): token for token in range(440)}
    ids = [of_byte[bytes([byte])] for byte in data]
    assert "".join(streamed(tokenizer, ids)) == tokenizer.decode(ids) == data.decode(errors="replace")


@given(TEXTS)
def test_a_stream_of_encoded_text(tokenizer: Tokenizer, text: str) -> None:
    ids = tokenizer.encode(text)
    *pushed, rest = streamed(tokenizer, ids)
    assert "".join(pushed) == tokenizer.decode(ids) and rest == ""


def test_an_incomplete_character_waits(tokenizer: Tokenizer) -> None:
    of_byte = {tokenizer.token_bytes(token): token for token in range(440)}
    ids = [of_byte[bytes([byte])] for byte in "a🦊b".encode()]
    assert streamed(tokenizer, ids) == ["a", "", "", "", "🦊", "b", ""]
    assert streamed(tokenizer, ids[:3]) == ["a", "", "", "\ufffd"]
    control = tokenizer.controls["<|im_end|>"]
    assert streamed(tokenizer, [*ids[:3], control, *ids[3:5]]) == ["a", "", "", "", "", "🦊", ""]


def test_a_finished_stream_starts_anew(tokenizer: Tokenizer) -> None:
    of_byte = {tokenizer.token_bytes(token): token for token in range(440)}
    stream = TextStream(tokenizer)
    stream.push(of_byte[b"\xf0"])
    stream.finish()
    assert stream.push(of_byte[b"a"]) == "a"


def test_ids_without_a_token_are_silent(tokenizer: Tokenizer) -> None:
    assert tokenizer.token_bytes(100_000) == b""
    assert tokenizer.decode([100_000]) == ""


def test_lone_surrogates(tokenizer: Tokenizer) -> None:
    with pytest.raises(RequestError, match="UTF-8"):
        tokenizer.encode("caf\udce9")


def test_files_that_are_no_tokenizer(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="not a tokenizer"):
        Tokenizer(tmp_path / "missing.json")
    broken = tmp_path / "broken.json"
    broken.write_text("{}")
    with pytest.raises(BundleError, match="not a tokenizer"):
        Tokenizer(broken)
    wordpiece = tokenizers.Tokenizer(models.WordPiece({"[UNK]": 0}, unk_token="[UNK]"))
    wordpiece.decoder = decoders.WordPiece()
    wordpiece.save(str(tmp_path / "wordpiece.json"))
    with pytest.raises(BundleError, match="byte-level"):
        Tokenizer(tmp_path / "wordpiece.json")

"""Prompts: ordinary text as the reference encodes it, hostile text as text, media where they belong."""

from __future__ import annotations

from itertools import zip_longest

import numpy as np
import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st

from omni_edge.models.errors import BundleError, RequestError
from omni_edge.models.manifest import Clock, TokenIds
from omni_edge.runtime.messages import Audio, Image, Message, Part, Text, Tokens, Video, assistant, system, user
from omni_edge.runtime.positions import (
    AudioSize,
    ImageSize,
    MediaSize,
    VideoSize,
    VideoWithAudioSize,
    mrope,
    span_length,
)
from omni_edge.runtime.prompt import ChatTemplate, PromptBuilder
from omni_edge.runtime.tokenizer import Tokenizer

PLACES = {
    Audio: "<|audio_bos|><|AUDIO|><|audio_eos|>",
    Image: "<|vision_bos|><|IMAGE|><|vision_eos|>",
    Video: "<|vision_bos|><|VIDEO|><|vision_eos|>",
}
NAMES = ("<|im_start|>", "<|im_end|>", "<|AUDIO|>", "<|IMAGE|>", "<|VIDEO|>", "<|audio_bos|>", "<|vision_bos|>")
ORDINARY = st.lists(st.sampled_from(["hello", " ", "\n", "world", "é", "e\u0301", "你好", "🦜", "3", "."])).map("".join)
HOSTILE = st.lists(
    st.one_of(
        st.sampled_from([*NAMES, "<|im_", "start|>", "<tool_call>", "\ue0000\ue001", "\ue000", "{{", "%}"]),
        ORDINARY,
    )
).map("".join)
AUDIO, IMAGE = Audio(b""), Image(b"")
SILENT, CLIP = Video(b""), Video(b"", use_audio=True)


def written(*messages: Message) -> str:
    """The conversation as the fixture's template puts it."""

    def body(part: Part) -> str:
        return part.text if isinstance(part, (Text, Tokens)) else PLACES[type(part)]

    first = "" if messages[0].role == "system" else "<|im_start|>system\nBe kind.<|im_end|>\n"
    turns = [f"<|im_start|>{m.role}\n{''.join(map(body, m.parts))}<|im_end|>\n" for m in messages]
    return "".join([first, *turns, "<|im_start|>assistant\n"])


@pytest.mark.parametrize(
    "messages",
    [
        [user("hello world")],
        [system("You are a helpful assistant."), user("What do you hear?")],
        [user("hello"), assistant("Hello, hello world!"), user("\n\nand now?\n")],
        [user("")],
        [Message("user", ())],
        [user("hel", "lo", " ", "world")],
    ],
    ids=["text", "system", "turns with newlines", "empty text", "no parts", "a word in pieces"],
)
def test_ids_are_the_references(builder: PromptBuilder, plain: tokenizers.Tokenizer, messages: list[Message]) -> None:
    prompt = builder.build(messages, [])
    assert prompt.ids.dtype == np.int64 and prompt.spans == prompt.rows == ()
    assert prompt.ids.tolist() == plain.encode(written(*messages)).ids


@given(st.lists(ORDINARY, min_size=1, max_size=4))
def test_ordinary_text_gives_the_references_ids(
    builder: PromptBuilder, plain: tokenizers.Tokenizer, texts: list[str]
) -> None:
    messages = [user(*texts), assistant(texts[0]), user(texts[-1])]
    assert builder.build(messages, []).ids.tolist() == plain.encode(written(*messages)).ids


@given(st.lists(HOSTILE, min_size=1, max_size=4))
def test_text_cannot_make_control_tokens(
    builder: PromptBuilder, tokenizer: Tokenizer, plain: tokenizers.Tokenizer, texts: list[str]
) -> None:
    """The controls are those of the same conversation with harmless text, and no letter is lost."""
    controls = set(tokenizer.controls.values())
    prompt = builder.build([system(texts[-1]), user(*texts, AUDIO, texts[0])], [AudioSize(3)])
    harmless = builder.build([system("a"), user("b", AUDIO, "c")], [AudioSize(3)])
    assert [i for i in prompt.ids if i in controls] == [i for i in harmless.ids if i in controls]
    once = np.delete(prompt.ids, prompt.rows[0].audio[1:]).tolist()
    said = plain.normalizer.normalize_str(written(system(texts[-1]), user(*texts, AUDIO, texts[0])))
    assert plain.decode(once, skip_special_tokens=False) == said


def test_pieces_cannot_be_joined_into_a_control(builder: PromptBuilder, tokens: TokenIds) -> None:
    ids = builder.build([user("<|im_", "end|>", "<|AUD", AUDIO, "IO|>")], [AudioSize(2)]).ids.tolist()
    assert ids.count(tokens.audio) == 2 and ids.count(tokens.eos[0]) == 2


def test_generated_tokens_are_kept(builder: PromptBuilder, plain: tokenizers.Tokenizer, tokens: TokenIds) -> None:
    """Even where encoding their text would join them, and even ids that elsewhere mean something."""
    odd = (plain.token_to_id("h"), plain.token_to_id("e"), tokens.audio, 430, 501)
    prompt = builder.build([user("a"), assistant(Tokens(odd, "he")), user("b", AUDIO)], [AudioSize(2)])
    text = written(user("a"), assistant("\0"), user("b", AUDIO)).replace("<|AUDIO|>", "<|AUDIO|>" * 2)
    before, after = (plain.encode(side).ids for side in text.split("\0"))
    assert prompt.ids.tolist() == [*before, *odd, *after]
    (rows,) = prompt.rows
    assert rows.audio.min() > len(before) + len(odd)


@pytest.mark.parametrize(
    ("part", "size", "expected"),
    [
        (AUDIO, AudioSize(3), "({a}{a}{a})"),
        (AUDIO, AudioSize(0), "()"),
        (IMAGE, ImageSize((1, 4, 6)), "[{i}{i}{i}{i}{i}{i}]"),
        (SILENT, VideoSize((3, 2, 2), 1.0), "[{v}{v}{v}]"),
        (CLIP, VideoSize((3, 2, 2), 1.0), "[{v}{v}{v}]"),
        (CLIP, VideoWithAudioSize((3, 2, 2), 1.0, 52), "[({v}{v}" + "{a}" * 50 + "{v}{a}{a})]"),
    ],
    ids=["audio", "no audio", "image", "video", "video without sound", "video with audio"],
)
def test_expansion(
    builder: PromptBuilder, plain: tokenizers.Tokenizer, part: Part, size: MediaSize, expected: str
) -> None:
    letters = {
        "(": "<|audio_bos|>",
        ")": "<|audio_eos|>",
        "[": "<|vision_bos|>",
        "]": "<|vision_eos|>",
        "{a}": "<|AUDIO|>",
        "{i}": "<|IMAGE|>",
        "{v}": "<|VIDEO|>",
    }
    for letter, name in letters.items():
        expected = expected.replace(letter, name)
    prompt = builder.build([user("hello ", part, " world")], [size])
    text = written(user("hello ", "\0", " world")).replace("\0", expected)
    assert prompt.ids.tolist() == plain.encode(text).ids
    (span,) = prompt.spans
    assert span.size == size
    stop = span.start + span_length(size, 2)
    assert plain.decode(prompt.ids[: span.start].tolist(), False).endswith(
        ("hello <|audio_bos|>", "hello <|vision_bos|>")
    )
    assert plain.decode(prompt.ids[stop:].tolist(), False).startswith(("<|audio_eos|> world", "<|vision_eos|> world"))


def test_rows_say_where_encoder_outputs_go(builder: PromptBuilder, tokens: TokenIds) -> None:
    sizes = [ImageSize((1, 2, 4)), AudioSize(3), VideoWithAudioSize((3, 2, 2), 1.0, 52)]
    prompt = builder.build([user(IMAGE, "and", AUDIO), user(CLIP)], sizes)
    assert [span.size for span in prompt.spans] == sizes
    image, audio, clip = prompt.rows
    assert set(prompt.ids[image.vision]) == {tokens.image} and image.audio.size == 0
    assert set(prompt.ids[audio.audio]) == {tokens.audio} and audio.vision.size == 0
    assert set(prompt.ids[clip.vision]) == {tokens.video} and set(prompt.ids[clip.audio]) == {tokens.audio}
    assert [len(rows.audio) for rows in prompt.rows] == [0, 3, 52]
    assert [len(rows.vision) for rows in prompt.rows] == [2, 0, 3]
    every = np.concatenate([np.sort(np.concatenate([rows.audio, rows.vision])) for rows in prompt.rows])
    placeholders = [tokens.audio, tokens.image, tokens.video]
    np.testing.assert_array_equal(every, np.flatnonzero(np.isin(prompt.ids, placeholders)))


def test_spans_fit_positions(builder: PromptBuilder) -> None:
    prompt = builder.build([user(CLIP, IMAGE)], [VideoWithAudioSize((3, 2, 2), 1.0, 52), ImageSize((1, 4, 4))])
    positions = mrope(len(prompt.ids), prompt.spans, Clock(ids_per_second=25, seconds_per_chunk=2.0), 2)
    start = prompt.spans[0].start
    assert positions.rows[:, start].tolist() == positions.rows[:, start - 1].tolist()


@pytest.mark.parametrize(
    ("parts", "sizes"),
    [
        ([AUDIO], []),
        ([], [AudioSize(1)]),
        ([AUDIO], [ImageSize((1, 2, 2))]),
        ([IMAGE], [VideoSize((1, 2, 2), 1.0)]),
        ([SILENT], [VideoWithAudioSize((1, 2, 2), 1.0, 3)]),
        ([AUDIO, IMAGE], [ImageSize((1, 2, 2)), AudioSize(1)]),
    ],
)
def test_sizes_of_something_else(builder: PromptBuilder, parts: list[Part], sizes: list[MediaSize]) -> None:
    with pytest.raises(ValueError, match="sizes"):
        builder.build([user(*parts)], sizes)


def test_no_message(builder: PromptBuilder) -> None:
    with pytest.raises(RequestError, match="no message"):
        builder.build([], [])


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("{% for m in messages %}{{ m.content[0].text }}{% endfor %}", "no place"),
        ("{% for m in messages %}<|AUDIO|><|IMAGE|>{{ m.content[0].text }}{% endfor %}", "no place"),
        ("{% for m in messages %}<|IMAGE|><|AUDIO|>{{ m.content[0].text }}{% endfor %}", "no place"),
        ("<|AUDIO|>", "does not take text"),
        ("{% for m in messages %}{{ m.content[0].text * 2 }}<|AUDIO|>{% endfor %}", "does not take text"),
        ("{{ raise_exception('roles must alternate') }}", "roles must alternate"),
        ("{{ messages[0].missing.text }}", "refuses"),
        ("{{ messages.append(1) }}", "refuses"),
    ],
)
def test_templates_that_do_not_fit(tokenizer: Tokenizer, tokens: TokenIds, source: str, complaint: str) -> None:
    clock = Clock(ids_per_second=25, seconds_per_chunk=2.0)
    builder = PromptBuilder(tokenizer, ChatTemplate(source), tokens, clock, 2)
    with pytest.raises(RequestError, match=complaint):
        builder.build([user("hello", AUDIO)], [AudioSize(1)])


def test_a_broken_template() -> None:
    with pytest.raises(BundleError, match="broken"):
        ChatTemplate("{% for %}")


def test_pieces_put_together_are_the_rendered_text(template: str) -> None:
    messages = [system("a"), user("b", IMAGE, "c"), assistant(Tokens((1, 2), "d")), user(CLIP)]
    pieces = ChatTemplate(template).pieces(messages)
    assert "".join(piece if isinstance(piece, str) else piece.text for piece in pieces) == written(*messages)
    kinds = [type(piece) for piece in pieces if not isinstance(piece, str)]
    assert all(a is b for a, b in zip_longest(kinds, [Text, Text, Text, Tokens]))

"""A reply that was stopped is cut to what was heard, and the conversation goes on as if no more had been said."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from omni_edge.models.bundle import open_bundle
from omni_edge.models.errors import RequestError
from omni_edge.models.store import NANO
from omni_edge.runtime.events import AudioDelta, Done
from omni_edge.runtime.heard import START, Pace, Utterance, is_edge, leading_words
from omni_edge.runtime.loading import load_stages
from omni_edge.runtime.messages import Tokens
from omni_edge.runtime.options import Options
from omni_edge.runtime.session import Session
from omni_edge.runtime.speech import Spoken
from omni_edge.runtime.tokenizer import Tokenizer

BUNDLE = open_bundle(NANO)
TOKENIZER = Tokenizer(BUNDLE.path(BUNDLE.manifest.tokenizer))
SECOND = BUNDLE.manifest.vocoder.rate
QUICK = Options(greedy=True, seed=1, solver="euler", flow_steps=2, guidance=0.0)
LONG = "say the red triangle is left of the blue square"
REPLY = "the red triangle is left of the blue square"


@pytest.fixture(scope="module")
def nano() -> Any:
    return load_stages(BUNDLE)


def tokens(text: str) -> Tokens:
    ids = tuple(TOKENIZER.encode(text))
    return Tokens(ids, TOKENIZER.decode(ids))


def utterance(text: str, codes: int, *, ended: bool) -> Utterance:
    spoken = Spoken(codes=[0] * codes, ended=ended)
    ids = list(tokens(text).ids)
    return Utterance((), np.zeros(3, np.int64), "slt", BUNDLE.manifest.tokens.eos, ids, spoken)


def test_what_is_only_written_is_read_as_it_comes():
    said = replace(utterance(REPLY, 0, ended=False), speaks=False)
    assert said.cut(0, Pace(), TOKENIZER, BUNDLE.manifest) == tokens(REPLY)


@pytest.mark.parametrize(
    ("text", "edges"),
    [
        ("", []),
        ("one", [3]),
        ("one two", [3, 7]),
        ("one, two. ", [4, 9, 10]),
        ("a  b", [1, 4]),
        ("你好吗", [1, 2, 3]),
        ("ok 你好 ok", [2, 4, 5, 8]),
    ],
)
def test_edges_of_words(text, edges):
    assert [place for place in range(len(text) + 1) if is_edge(text, place)] == edges


@settings(max_examples=200, deadline=None)
@given(text=st.text(st.sampled_from("abc ,.\n é你🙂"), max_size=40), characters=st.integers(0, 45))
@example(text=REPLY, characters=8)
@example(text="🙂🙂", characters=1)
def test_leading_words(text, characters):
    reply = tokens(text)
    said = leading_words(reply, characters, TOKENIZER)
    assert reply.ids[: len(said.ids)] == said.ids
    assert reply.text.startswith(said.text)
    assert said == reply or len(said.text) <= characters
    assert not said.ids or is_edge(reply.text, len(said.text))
    # No more tokens would do.
    for count in range(len(said.ids) + 1, len(reply.ids) + 1):
        longer = TOKENIZER.decode(reply.ids[:count])
        whole = "\ufffd" not in longer.removesuffix("\ufffd") or "\ufffd" in reply.text
        assert (
            len(longer) > characters or not is_edge(reply.text, len(longer)) or longer.endswith("\ufffd") or not whole
        )


@settings(max_examples=60, deadline=None)
@given(share=st.floats(0, 1.2), codes=st.integers(1, 300))
def test_of_a_finished_reply_the_share_of_the_samples_counts(share, codes):
    said = utterance(REPLY, codes, ended=True)
    samples = int(share * codes * SECOND / 50)
    heard = said.cut(samples, Pace(), TOKENIZER, BUNDLE.manifest).text
    assert len(heard) <= max(len(REPLY) * share + 1e-3, 0)
    assert heard == REPLY[: len(heard)]
    if share >= 1 and samples >= codes * SECOND / 50:
        assert heard == REPLY


def test_of_another_reply_the_pace_of_the_voice_counts():
    pace = Pace()
    said = utterance(REPLY, 40, ended=False)
    assert pace.of("slt") == START
    assert said.cut(SECOND, pace, TOKENIZER, BUNDLE.manifest).text == "the red"  # 14 characters
    pace.note("slt", 40, 2.0)
    pace.note("slt", 60, 3.0)
    pace.note("rms", 60, 1.0)
    assert pace.of("slt") == 20.0
    assert said.cut(SECOND, pace, TOKENIZER, BUNDLE.manifest).text == "the red triangle is"
    assert said.cut(100 * SECOND, pace, TOKENIZER, BUNDLE.manifest).text == REPLY


def spoken(session: Session, *parts: Any) -> tuple[Done, int]:
    events = list(session.respond(*parts, options=QUICK))
    return events[-1], sum(event.samples.size for event in events if isinstance(event, AudioDelta))


def test_cut_to_half(nano):
    session = Session(nano)
    done, samples = spoken(session, LONG)
    assert done.text == REPLY
    rows = done.stats.prompt_rows
    session.heard(samples // 2)
    kept = session.history[-1].parts[0]
    assert isinstance(kept, Tokens)
    assert kept.text == "the red triangle is"
    assert len(nano.thinker.context.ids) == rows + len(kept.ids)
    # Said again with other numbers, it is again the whole reply that is cut.
    session.heard(samples)
    assert session.history[-1].parts[0].text == REPLY
    session.heard(samples // 4)
    assert session.history[-1].parts[0].text == "the red"
    assert spoken(session, "hello")[0].text == "hello"
    assert [message.role for message in session.history] == ["user", "assistant"] * 2


def test_of_a_reply_of_which_nothing_was_heard_the_question_stays(nano):
    session = Session(nano)
    spoken(session, "my name is anna")
    spoken(session, LONG)
    session.heard(0)
    assert [message.role for message in session.history] == ["user", "assistant", "user"]
    done, _ = spoken(session, "what is my name")
    assert done.text == "anna"
    assert [message.role for message in session.history] == ["user", "assistant", "user", "user", "assistant"]


def test_a_reply_closed_before_its_first_word_keeps_its_question_too(nano):
    session = Session(nano)
    session.respond("my name is anna", options=QUICK).close()
    assert session.history == ()
    session.heard(0)
    assert [message.role for message in session.history] == ["user"]


def test_there_must_have_been_a_reply(nano):
    session = Session(nano)
    with pytest.raises(RequestError, match="no reply"):
        session.heard(0)
    response = session.respond("hello", options=QUICK)
    next(response)
    with pytest.raises(RequestError, match="still going on"):
        session.heard(0)
    response.close()
    session.heard(0)
    session.reset()
    with pytest.raises(RequestError, match="no reply"):
        session.heard(0)


def test_the_pace_is_learnt_from_replies_that_were_finished(nano):
    session = Session(nano)
    done, samples = spoken(session, LONG)
    pace = session._pace.of(BUNDLE.manifest.voices.default)
    assert pace == pytest.approx(len(done.text) / (samples / SECOND))
    response = session.respond(LONG, options=QUICK)
    for event in response:
        if isinstance(event, AudioDelta):
            break
    response.close()
    assert session._pace.of(BUNDLE.manifest.voices.default) == pytest.approx(pace)

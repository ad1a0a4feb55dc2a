"""What a conversation remembers: whatever was done before, it goes on as a new one with the same history."""

from __future__ import annotations

import dataclasses
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omni_edge.models.bundle import Bundle
from omni_edge.models.errors import RequestError
from omni_edge.runtime.events import Done, Notice
from omni_edge.runtime.loading import load_stages
from omni_edge.runtime.memory import turns
from omni_edge.runtime.messages import Audio, assistant, system, user
from omni_edge.runtime.options import Options
from omni_edge.runtime.session import Session
from omni_edge.runtime.stages import Stages

QUICK = Options(greedy=True, seed=1, max_tokens=6, max_codes=8, solver="euler", flow_steps=2, guidance=0.0)
NOISE = (np.random.default_rng(0).standard_normal(4 * 16000) * 0.1).astype(np.float32)
WORDS = ("Hello", "Tell me more", "And then?")


@pytest.fixture(scope="module")
def spare(bundle) -> Stages:
    return load_stages(bundle)


def with_context(bundle: Bundle, context: int) -> Stages:
    """Of the same bundle, as if the model had a smaller context."""
    manifest = bundle.manifest
    shapes = {name: msgspec.structs.replace(getattr(manifest, name), context=context) for name in ("thinker", "talker")}
    return load_stages(dataclasses.replace(bundle, manifest=msgspec.structs.replace(manifest, **shapes)))


def test_turns_begin_where_the_user_speaks_after_a_reply():
    head, rest = turns([system("s"), user("1"), user("2"), assistant("3"), user("4"), user("5")])
    assert [message.role for message in head] == ["system"]
    assert [[message.role for message in turn] for turn in rest] == [["user", "user", "assistant"], ["user", "user"]]
    assert turns([]) == ([], [])
    assert turns([system("s")]) == ([system("s")], [])


def respond(session: Session, word: int, read: int) -> None:
    """An answer of which so many events are read."""
    response = session.respond(WORDS[word % 3], options=QUICK)
    for _ in zip(range(read), response, strict=False):
        pass
    response.close()  # pyright: ignore


def listen(session: Session, size: int, steps: int, read: int) -> None:
    """A turn that is heard, and then answered, or dropped if nothing is read of an answer."""
    turn = session.listen(QUICK)
    for start in range(0, size, 16000):
        turn.hear(NOISE[start : start + 16000][: size - start])
        for _ in range(steps):
            turn.step()
    if not read:
        turn.drop()
        return
    answer = turn.answer()
    for _ in zip(range(read), answer, strict=False):
        pass
    answer.close()  # pyright: ignore


def heard(session: Session, samples: int) -> None:
    try:
        session.heard(samples)
    except RequestError as error:
        assert "no reply" in str(error)


ACTIONS = st.one_of(
    st.builds(lambda *values: ("respond", *values), st.integers(0, 2), st.integers(0, 12)),
    st.builds(lambda *values: ("listen", *values), st.integers(400, 64000), st.integers(0, 3), st.integers(0, 12)),
    st.builds(lambda *values: ("heard", *values), st.sampled_from([0, 500, 2000, 3500, 10**6])),
    st.just(("reset",)),
)


@settings(max_examples=20, deadline=None)
@given(actions=st.lists(ACTIONS, max_size=6))
def test_after_anything_it_goes_on_as_a_new_one_with_its_history(stages, spare, actions):
    session = Session(stages)
    for name, *values in actions:
        {"respond": respond, "listen": listen, "heard": heard, "reset": Session.reset}[name](session, *values)
    history = session.history
    again, expected = (list(each.respond("Go on", options=QUICK))[-1] for each in (session, Session(spare, history)))
    assert session.history[: len(history)] == history
    assert isinstance(again, Done)
    assert isinstance(expected, Done)
    assert (again.ids, again.codes) == (expected.ids, expected.codes)
    assert again.stats.prompt_rows == expected.stats.prompt_rows
    one, two = stages.thinker.context, spare.thinker.context
    assert (one.ids == two.ids).all()
    assert np.abs(one.talker_rows - two.talker_rows).max() < 1e-4
    for mine, other in ((stages.thinker, spare.thinker), (stages.speech._talker, spare.speech._talker)):
        assert mine._decoder.length == other._decoder.length


def talk(session: Session, count: int) -> list[tuple[int, Any]]:
    """So many turns. Returns the notices, with the turn at which each came."""
    notices = []
    for number in range(count):
        for event in session.respond(f"Turn {number}", options=QUICK):
            if isinstance(event, Notice):
                notices.append((number, event.text))
    return notices


def test_when_the_context_is_full_the_oldest_turns_go_whole(bundle, spare, ask):
    session = Session(with_context(bundle, 400), [system("Be brief."), user("Before"), assistant("This")])
    notices = talk(session, 14)
    assert notices
    assert all("forgotten" in text for _, text in notices)
    # Not every turn: what stays has to be read again.
    assert min(np.diff([0, *(number for number, _ in notices)])) > 1
    history = session.history
    assert history[0] == system("Be brief.")
    assert [message.role for message in history] == ["system", *["user", "assistant"] * (len(history) // 2)]
    assert history[1].parts[0] not in (user("Before").parts[0], user("Turn 0").parts[0])
    assert history[-2] == user("Turn 13")
    again, expected = ask(session, "Go on"), ask(Session(spare, history), "Go on")
    assert (again.ids, again.codes) == (expected.ids, expected.codes)


def test_while_listening_too(bundle, spare):
    session = Session(with_context(bundle, 460), [system("Be brief.")])
    talk(session, 3)
    before = len(session.history)
    turn = session.listen(QUICK)
    for _ in range(4):
        turn.hear(NOISE)
        while turn.step():
            pass
    events = list(turn.answer())
    assert isinstance(events[0], Notice)
    done = events[-1]
    assert isinstance(done, Done)
    assert done.stats.listened_rows >= 150
    assert len(session.history) < before + 2
    afresh = Session(spare, session.history[:-2])
    expected = list(afresh.respond(Audio(np.tile(NOISE, 4)), options=QUICK))[-1]
    assert isinstance(expected, Done)
    assert (done.ids, done.codes) == (expected.ids, expected.codes)


def test_a_turn_given_up_forgets_nothing(bundle):
    session = Session(with_context(bundle, 460), [system("Be brief.")])
    talk(session, 3)
    history = session.history
    turn = session.listen(QUICK)
    for _ in range(4):
        turn.hear(NOISE)
        while turn.step():
            pass
    turn.drop()
    assert session.history == history


def test_a_turn_alone_longer_than_the_context_is_refused_when_it_is_answered(bundle, ask):
    session = Session(with_context(bundle, 300), [system("Be brief.")])
    turn = session.listen(QUICK)
    for _ in range(4):
        turn.hear(NOISE)
        while turn.step():
            pass
    with pytest.raises(RequestError, match="the prompt takes"):
        turn.answer()
    assert ask(session, "Hello").ids


def test_room_runs_out_before_the_context_does(bundle):
    """A turn that is answered when there is no room left still gets a reply, and a second more is not much too long."""
    session = Session(with_context(bundle, 500), [system("Be brief.")])
    talk(session, 1)
    turn, heard_s = session.listen(QUICK), 0
    while turn.room:
        turn.hear(NOISE[:16000][: turn.room])
        heard_s += 1
        while turn.step():
            pass
    assert 8 < heard_s < 20
    done = list(turn.answer())[-1]
    assert isinstance(done, Done)
    assert done.ids
    assert 500 - 500 // 4 - 60 < done.stats.prompt_rows <= 500 - len(done.ids)

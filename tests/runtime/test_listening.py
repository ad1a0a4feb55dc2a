"""A turn that is read while it comes is, to the bit, the same turn given whole."""

from __future__ import annotations

import threading
from itertools import accumulate

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from omni_edge.models.bundle import open_bundle
from omni_edge.models.errors import MediaError, RequestError
from omni_edge.models.store import NANO
from omni_edge.runtime.events import Done
from omni_edge.runtime.listening import Listening
from omni_edge.runtime.loading import load_stages
from omni_edge.runtime.messages import Audio, Media, Video
from omni_edge.runtime.options import Options
from omni_edge.runtime.pixels import fit_frame
from omni_edge.runtime.session import Session
from omni_edge.runtime.stages import Stages

RATE = 16000
TEXT = Options(speech=False, greedy=True, seed=1)
SPOKEN = Options(greedy=True, seed=1, max_codes=30, solver="euler", flow_steps=2, guidance=0.0)


@pytest.fixture(scope="module")
def live() -> Stages:
    return load_stages(open_bundle(NANO))


@pytest.fixture(scope="module")
def whole() -> Stages:
    return load_stages(open_bundle(NANO))


def sound(seconds: float, seed: int = 0, levels: tuple[float, ...] = (-1.0,)) -> np.ndarray:
    """Noise, louder and quieter: `levels` are decades below full scale, of equal parts."""
    size = int(seconds * RATE)
    loudness = np.repeat(10.0 ** np.array(levels), -(-size // len(levels)))[:size]
    return (np.random.default_rng(seed).uniform(-1, 1, size) * loudness).astype(np.float32)


def film(count: int, seed: int = 0, height: int = 120, width: int = 160) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, height, width, 3), np.uint8)


def feed(turn: Listening, samples: np.ndarray, frames: np.ndarray, cuts: list[int], steps: list[int]) -> None:
    """Sound in pieces, each frame as soon as its time has come, and some steps after each piece."""
    edges = [0, *accumulate(cuts * (1 + samples.size // sum(cuts)))]
    shown = 0
    for number, start in enumerate(edge for edge in edges if edge < samples.size):
        piece = samples[start : edges[number + 1]]
        turn.hear(piece)
        while shown < len(frames) and shown * RATE / 2 <= start + piece.size:
            turn.see(frames[shown])
            shown += 1
        for _ in range(steps[number % len(steps)]):
            turn.step()


def run(turn: Listening) -> None:
    while turn.step():
        pass


def last(events) -> Done:
    return list(events)[-1]


def assert_same(live: Stages, whole: Stages, one: Done, two: Done) -> None:
    """Ids, places and rows of both caches, and what was answered."""
    mine, other = live.thinker.context, whole.thinker.context
    assert (mine.ids == other.ids).all()
    length = len(mine.ids)
    assert (mine._positions[:length] == other._positions[:length]).all()
    assert (mine.talker_rows == other.talker_rows).all()
    assert (one.text, one.ids, one.codes, one.samples) == (two.text, two.ids, two.codes, two.samples)
    assert one.stats.prompt_rows == two.stats.prompt_rows


@settings(max_examples=25, deadline=None)
@given(
    seconds=st.floats(0.03, 13),
    seed=st.integers(0, 2**16),
    levels=st.lists(st.floats(-7, 0), min_size=1, max_size=7),
    frames=st.none() | st.integers(1, 22),
    cuts=st.lists(st.integers(200, 30000), min_size=1, max_size=6),
    steps=st.lists(st.integers(0, 6), min_size=1, max_size=6),
    speech=st.booleans(),
)
@example(seconds=8.0, seed=1, levels=[-1.0], frames=16, cuts=[RATE], steps=[9], speech=True)
@example(seconds=8.0, seed=1, levels=[-7.0, -5.0, -3.0, 0.0], frames=None, cuts=[RATE], steps=[9], speech=True)
@example(seconds=4.0025, seed=2, levels=[-7.0, 0.0, -7.0], frames=3, cuts=[4000], steps=[3], speech=True)
def test_any_turn_in_any_pieces(live, whole, seconds, seed, levels, frames, cuts, steps, speech):
    options = SPOKEN if speech else TEXT
    samples = sound(seconds, seed, tuple(levels))
    pictures = film(0 if frames is None else min(frames, 1 + int(seconds * 2)), seed)
    turn = Session(live).listen(options, video=frames is not None)
    feed(turn, samples, pictures, cuts, steps)
    answer = last(turn.answer())
    part: Media = Video(pictures[:16], sound=samples) if len(pictures) else Audio(samples)
    expected = last(Session(whole).respond(part, options=options))
    assert_same(live, whole, answer, expected)
    stats = answer.stats
    assert stats.prompt_rows >= stats.prefilled_rows + stats.listened_rows


def test_only_the_tail_is_left(live):
    """Whatever the length: less than a chunk and the template's end."""
    for seconds in (3.0, 10.0, 25.0):
        session = Session(live)
        turn = session.listen(SPOKEN)
        feed(turn, sound(seconds, 3), film(0), [RATE // 10], [2])
        run(turn)
        read, rows = [], turn.rows
        for decoder in (live.thinker._decoder, live.speech._talker._decoder):
            read.append((decoder, decoder.length))
        answer = last(turn.answer())
        assert answer.stats.listened_rows == rows >= 50 * int((seconds * RATE - 40) // (2 * RATE))
        assert answer.stats.reread_rows == 0
        assert answer.stats.prefilled_rows <= 50 + 12
        for _, length in read:  # of thinker and of talker
            assert length == answer.stats.prompt_rows - answer.stats.prefilled_rows


def test_a_louder_chunk_has_the_earlier_ones_read_again(live, whole):
    """Its floor hides what was quiet: the rows change, are read again, and are counted."""
    samples = sound(7.0, 4, (-6.5, -6.5, -6.0, 0.0))
    turn = Session(live).listen(TEXT)
    feed(turn, samples, film(0), [RATE], [8])
    answer = last(turn.answer())
    assert answer.stats.reread_rows >= 50
    assert_same(live, whole, answer, last(Session(whole).respond(Audio(samples), options=TEXT)))
    # With nothing below the floor, a louder chunk costs nothing.
    turn = Session(live).listen(TEXT)
    feed(turn, sound(7.0, 4, (-1.0, -1.0, -0.8, 0.0)), film(0), [RATE], [8])
    assert last(turn.answer()).stats.reread_rows == 0


def test_turn_after_turn_reads_only_what_is_new(live, whole):
    one, two = Session(live), Session(whole)
    for seed, seconds in enumerate((2.5, 5.0, 0.7, 4.4)):
        before = len(live.thinker.context.ids) if seed else 0
        samples = sound(seconds, seed)
        turn = one.listen(SPOKEN)
        feed(turn, samples, film(0), [3000], [1])
        run(turn)
        answer = last(turn.answer())
        assert_same(live, whole, answer, last(two.respond(Audio(samples), options=SPOKEN)))
        if seed:
            stats = answer.stats
            # All but the rows of the conversation so far, whose last reply token was never read.
            assert stats.listened_rows + stats.prefilled_rows == stats.prompt_rows - before
    assert [len(message.parts) for message in one.history] == [1] * 8


def test_the_talker_reads_a_row_of_a_prompt_once(live, monkeypatch):
    session, read = Session(live), 0
    extend, decoder = type(live.speech._talker._decoder).extend, live.speech._talker._decoder

    def counted(self, rows, positions):
        nonlocal read
        read += len(rows) if self is decoder else 0
        return extend(self, rows, positions)

    session.reset()
    decoder.truncate(0)
    live.speech.keep(0)
    live.thinker.keep(np.zeros(0, np.int64))
    monkeypatch.setattr(type(decoder), "extend", counted)
    prompt = 0
    for seed in range(3):
        turn = session.listen(SPOKEN)
        feed(turn, sound(4.5, seed), film(0), [3000], [1])
        run(turn)
        answer = last(turn.answer())
        # The new rows, the voice and the reply's first row; then the reply's codes, all but the last.
        assert read == answer.stats.prompt_rows - prompt + 2 + len(answer.codes) - 1
        prompt, read = answer.stats.prompt_rows, 0


def test_what_was_answered_is_in_the_history(live, whole):
    session = Session(live)
    turn = session.listen(TEXT, video=True)
    samples, pictures = sound(5.3, 5), film(9, 5)
    feed(turn, samples, pictures, [2000], [1])
    last(turn.answer())
    (part,) = session.history[0].parts
    assert isinstance(part, Video)
    assert (part.sound == samples).all()
    assert (len(part.source), part.fps) == (9, 2.0)
    afresh, again = (last(Session(stages).respond(part, options=TEXT)) for stages in (whole, live))
    assert (afresh.ids, afresh.stats.prompt_rows) == (again.ids, again.stats.prompt_rows)


@pytest.mark.parametrize("after", [0, 1, 5, 40])
def test_a_turn_given_up_leaves_nothing(after, live, whole):
    session = Session(live)
    for each in (session, Session(whole)):
        last(each.respond(Audio(sound(2.4, 6)), options=SPOKEN))
        kept = each
    history = session.history
    turn = session.listen(SPOKEN, video=True)
    feed(turn, sound(6.0, 7), film(12, 7), [8000], [after])
    turn.drop()
    assert session.history == history
    answer = last(session.respond(Audio(sound(3.0, 8)), options=SPOKEN))
    assert_same(live, whole, answer, last(kept.respond(Audio(sound(3.0, 8)), options=SPOKEN)))
    with pytest.raises(RequestError, match="turn is over"):
        turn.step()


def test_listening_anew(live, whole):
    turn = Session(live).listen(TEXT, video=True)
    feed(turn, sound(5.0, 1), film(8, 1), [8000], [9])
    turn.reset()
    feed(turn, sound(4.5, 2), film(9, 2), [8000], [9])
    answer = last(turn.answer())
    expected = last(Session(whole).respond(Video(film(9, 2), sound=sound(4.5, 2)), options=TEXT))
    assert_same(live, whole, answer, expected)


def test_a_camera_that_is_lost_does_not_hold_up_the_sound(live, whole):
    """Its pictures end there; what comes later than a chunk is not seen."""
    samples = sound(9.0, 9)
    turn = Session(live).listen(TEXT, video=True)
    feed(turn, samples[: 3 * RATE], film(7, 9), [8000], [3])
    feed(turn, samples[3 * RATE :], film(0), [8000], [3])
    turn.see(film(1)[0])
    run(turn)
    assert turn.rows > 200 + 3 * 16
    answer = last(turn.answer())
    expected = last(Session(whole).respond(Video(film(7, 9), sound=samples), options=TEXT))
    assert_same(live, whole, answer, expected)


def test_a_camera_that_shows_nothing_leaves_a_sound(live, whole):
    samples = sound(6.5, 10)
    turn = Session(live).listen(TEXT, video=True)
    feed(turn, samples, film(0), [8000], [3])
    assert turn.rows >= 150
    assert isinstance(turn.part, Audio)
    answer = last(turn.answer())
    assert_same(live, whole, answer, last(Session(whole).respond(Audio(samples), options=TEXT)))


@pytest.mark.parametrize(
    ("budget", "fps", "size"),
    [(None, 2.0, (112, 140)), (20, 2.0, (112, 140)), (19, 1.0, (112, 140)), (9, 1.0, (84, 112)), (1, 1.0, (84, 112))],
)
def test_a_budget_lowers_the_rate_and_then_the_size(budget, fps, size, live, whole):
    """Frames of 20 tokens a second: fewer frames first, then smaller ones, down to the model's smallest."""
    samples, pictures = sound(6.0, 11), film(12, 11)
    turn = Session(live).listen(TEXT, video=True, budget=budget)
    feed(turn, samples, pictures, [4000], [2])
    part = turn.part
    assert isinstance(part, Video)
    assert isinstance(part.source, np.ndarray)
    assert (part.fps, part.source.shape) == (fps, (6 * fps, *size, 3))
    kept = pictures[:: round(2 / fps)]
    assert all((fit_frame(frame, *size) == seen).all() for frame, seen in zip(kept, part.source, strict=True))
    answer = last(turn.answer())
    assert_same(live, whole, answer, last(Session(whole).respond(part, options=TEXT)))


def test_threads_may_hear_while_another_steps(live, whole):
    samples, done = sound(9.0, 12), threading.Event()
    turn = Session(live).listen(TEXT)

    def work() -> None:
        while not done.is_set():
            turn.step()

    worker = threading.Thread(target=work)
    worker.start()
    for start in range(0, samples.size, 1600):
        turn.hear(samples[start : start + 1600])
    done.set()
    worker.join()
    answer = last(turn.answer())
    assert_same(live, whole, answer, last(Session(whole).respond(Audio(samples), options=TEXT)))


def test_what_is_refused(live):
    session = Session(live)
    for wishes in ({"budget": 0}, {"budget": -1.0}, {"budget": float("nan")}):
        with pytest.raises(RequestError, match="budget"):
            session.listen(**wishes)
    with pytest.raises(RequestError, match="no voice"):
        session.listen(Options(voice="Nobody"))
    turn = session.listen()
    for refused in (session.listen, session.reset, lambda: session.respond("Hello"), lambda: session.heard(0)):
        with pytest.raises(RequestError, match="listened to"):
            refused()
    with pytest.raises(RequestError, match="shape"):
        turn.hear(np.zeros((2, 100), np.float32))
    with pytest.raises(MediaError, match="not numbers"):
        turn.hear(np.full(100, np.nan, np.float32))
    for frame in (np.zeros((2, 100), np.uint8), np.zeros((4, 4, 3), np.float32), np.zeros((0, 4, 3), np.uint8)):
        with pytest.raises(RequestError, match="frame"):
            turn.see(frame)
    turn.hear(np.zeros(300 * RATE, np.float32))
    with pytest.raises(MediaError, match="300 s"):
        turn.hear(np.zeros(1, np.float32))
    turn.drop()
    turn = session.listen(TEXT)
    turn.hear(np.zeros(300, np.float32))
    with pytest.raises(MediaError, match="too short"):
        turn.answer()
    assert session.history == ()
    with pytest.raises(RequestError, match="turn is over"):
        turn.hear(np.zeros(300, np.float32))
    assert last(session.respond("hello", options=TEXT)).text == "hello"


def test_a_frame_with_no_size_to_see_it_in(live):
    session = Session(live)
    turn = session.listen(TEXT, video=True)
    turn.see(np.zeros((2, 900, 3), np.uint8))
    with pytest.raises(MediaError, match="200 times"):
        turn.step()
    turn.drop()
    assert last(session.respond("hello", options=TEXT)).text == "hello"

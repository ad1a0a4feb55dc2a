"""How nano speaks: heard by itself and by an independent recogniser, against the voices that taught it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from statistics import median

import numpy as np
import soxr
from numpy.typing import NDArray

from ...models.nano.world.flite import flite
from ...models.nano.world.grammar import sentences
from ...models.nano.world.hearing import RATE
from ...models.nano.world.listen import Listener
from ...models.nano.world.speakers import SPEAKERS, Speaker
from ...models.nano.world.words_wrong import word_error_rate
from ...runtime.messages import Audio
from ...runtime.options import Options
from ...runtime.session import Session
from .asking import Answer, ask
from .figures import Figure, Line, Tick, share

QUESTION_SECONDS = 3.0
QUESTIONS = 20
"""Timed questions of QUESTION_SECONDS."""
LENGTHS = (0.6, 1.5)
"""A reply outside this many times its teacher's length was cut short or did not end in time."""
REPLIES = 2.5
"""Spoken replies for each item that other lines have: 500 where they have 200."""


@dataclass(frozen=True)
class _Reply:
    text: str
    speaker: Speaker
    answer: Answer
    teacher: NDArray[np.float32]
    teacher_rate: int


def speech_lines(session: Session, limit: int, seed: int) -> Iterator[Line]:
    """Word errors of the speech, whether it ends with its text, and how fast it comes."""
    replies = int(REPLIES * limit)
    yield Line("speech", 2 * replies, lambda tick: _spoken(session, replies, seed, tick))
    yield Line("first_sound", QUESTIONS, lambda tick: _timed(session, seed, tick))


def spoken_texts(seed: int) -> Iterator[str]:
    """What is to be said: every fifth text of one or two words, the others longer and of the test half."""
    short = (text for text in sentences("test", seed) if len(text.split()) <= 2)
    longer = (text for text in sentences("test", seed) if len(text.split()) > 2)
    while True:
        yield next(short)
        yield from islice(longer, 4)


def heard_by(session: Session, samples: NDArray[np.float32], rate: int) -> str:
    """What a model itself hears: samples [n] at a rate, as text."""
    session.reset()
    heard = Audio(soxr.resample(samples, rate, RATE).astype(np.float32))
    return ask(session, "write", heard, options=Options(speech=False, greedy=True)).done.text


def _spoken(session: Session, count: int, seed: int, tick: Tick) -> dict[str, Figure]:
    listener, replies = Listener(), []
    for index, text in enumerate(islice(spoken_texts(seed), count)):
        replies.append(_reply(session, text, SPEAKERS[index % len(SPEAKERS)]))
        tick()
    figures: dict[str, Figure] = {}
    own, judged, taught = [], [], []
    for reply in replies:
        rate = reply.answer.done.rate
        own.append((reply.text, heard_by(session, reply.answer.samples, rate)))
        judged.append((reply.text, listener.hear(reply.answer.samples, rate)))
        taught.append((reply.text, listener.hear(reply.teacher, reply.teacher_rate)))
        tick()
    figures["speech_heard_by_nano"] = Figure("wer", word_error_rate(own), len(own))
    for name, pairs in (("judged", judged), ("teacher", taught)):
        figures[f"speech_{name}"] = Figure("wer", word_error_rate(pairs), len(pairs))
        for speaker in SPEAKERS:
            mine = [pair for pair, reply in zip(pairs, replies, strict=True) if reply.speaker == speaker]
            figures[f"speech_{name}_{speaker.name}"] = Figure("wer", word_error_rate(mine), len(mine))
    teacher = figures["speech_teacher"].value
    figures["speech_over_teacher"] = Figure("ratio", figures["speech_judged"].value / max(teacher, 1e-9), len(judged))
    lengths = [_length(reply) for reply in replies]
    figures["speech_ends"] = share(LENGTHS[0] <= length <= LENGTHS[1] for length in lengths)
    busy = median(reply.answer.done.stats.real_time_factor for reply in replies)
    figures["speech_real_time_factor"] = Figure("ratio", busy, len(replies))
    return figures


def _reply(session: Session, text: str, speaker: Speaker) -> _Reply:
    session.reset()
    answer = ask(session, f"say {text}", options=Options(voice=speaker.name, seed=0))
    taught = flite().speak(answer.done.text or text, speaker.name, pitch=speaker.pitch)
    return _Reply(answer.done.text, speaker, answer, taught.samples, taught.rate)


def _length(reply: _Reply) -> float:
    """Over the teacher's, both without the silence around them."""
    mine, taught = _sounding(reply.answer.samples), _sounding(reply.teacher)
    return mine / reply.answer.done.rate / max(1e-3, taught / reply.teacher_rate)


def _sounding(samples: NDArray[np.float32]) -> int:
    """Samples from the first to the last that is louder than a hundredth of the loudest."""
    loud = np.flatnonzero(np.abs(samples) > 0.01 * np.abs(samples).max(initial=0.0))
    return int(loud[-1] - loud[0]) if loud.size else 0


def _timed(session: Session, seed: int, tick: Tick) -> dict[str, Figure]:
    """From the end of a question of three seconds to the first sample of the answer."""
    seconds = []
    for index, text in enumerate(islice(spoken_texts(seed + 1), QUESTIONS)):
        session.reset()
        spoken = flite().speak(f"say {text}", SPEAKERS[index % len(SPEAKERS)].name)
        samples = soxr.resample(spoken.samples, spoken.rate, RATE).astype(np.float32)[: int(QUESTION_SECONDS * RATE)]
        question = np.pad(samples, (0, int(QUESTION_SECONDS * RATE) - len(samples)))
        answer = ask(session, Audio(question), options=Options(seed=0))
        if answer.samples.size:
            seconds.append(answer.done.stats.first_audio_s)
        tick()
    return {"first_sound": Figure("seconds", median(seconds) if seconds else float("nan"), len(seconds))}
